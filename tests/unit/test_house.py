"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import snakefold
from snakefold import engines

PACKAGE = Path(snakefold.__file__).parent


def comparisons(path: Path) -> Iterator[tuple[int, str]]:
    """Texts that something is compared with, matched by `case`, or looked up by `.get`, with their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Compare):
            inside: list[ast.AST] = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            inside = [node.value]
        else:
            continue
        for part in inside:
            for each in ast.walk(part):
                if isinstance(each, ast.Constant) and isinstance(each.value, str):
                    yield each.lineno, each.value


def test_nobody_outside_engines_compares_the_name_of_one() -> None:
    names = {*engines.names(), "reuse"}
    files = [path for path in PACKAGE.rglob("*.py") if "engines" not in path.relative_to(PACKAGE).parts]
    assert len(files) > 100
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in files
        for line, text in comparisons(path)
        if text in names
    ]
    assert found == []


def test_specs_of_engines_import_nothing_heavy() -> None:
    code = (
        "import sys; from snakefold.config import load_config; load_config({})\n"
        "print(sorted({'jax', 'torch', 'anarci', 'flash_abb', 'openmm', 'alphafold'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_starts_without_what_a_command_may_not_need() -> None:
    """A run of 100,000 targets starts it ten thousand times."""
    code = (
        "import sys; import snakefold.cli; snakefold.cli.parser()\n"
        "print(sorted({'numpy', 'pandas', 'pydantic', 'gemmi', 'jinja2', 'boto3'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_configuration_is_read_without_arrays() -> None:
    code = (
        "import sys; from snakefold.config import load_config; load_config({})\n"
        "print(sorted({'numpy', 'pandas', 'gemmi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["collect", "metrics", "summary", "requests"])
def test_local_steps_import_neither_pandas_nor_jax(module: str) -> None:
    """Every batch starts some of them: pandas takes 0.3 CPU seconds, JAX one."""
    code = (
        f"import sys; import snakefold.run.{module}\n"
        "print(sorted({'pandas', 'jax', 'alphafold', 'openmm', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Lock the extra `antibody`: run this again whenever run.lock or antibody.in changes. Needs uv.

On Linux the torch of PyPI needs gigabytes of CUDA libraries, which a machine without a GPU has no use for.
PyTorch builds one for the CPU as well (version 2.13.0+cpu), but not on PyPI. Hence two files; either is
installed on top of run.lock with `pip install --require-hashes --no-deps -r …`:

- antibody.lock: torch for the CPU, CPython 3.11 on Linux x86-64. pip must be told where it is
  (`--extra-index-url` or `--find-links`), and takes no other.
- antibody-pypi.lock: torch of PyPI and, on Linux, its CUDA libraries. For GPUs, other systems, Python 3.12.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: sha256 of torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl.
CPU_BUILD = "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b"
_CUDA = re.compile(r"(nvidia-|cuda-|triton\b)")


def resolve() -> dict[str, str]:
    """Entries of the whole lock by requirement, marker included (a name may have several)."""
    command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-emit-index-url", "--no-annotate", "--no-header"]
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "lock"
        command += ["-c", str(HERE / "run.lock"), str(HERE / "antibody.in"), "-o", str(lock)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        entries = re.split(r"^(?=\S)", lock.read_text(), flags=re.MULTILINE)
    return {_requirement(entry): entry for entry in entries if "==" in entry}


def _requirement(entry: str) -> str:
    return entry.partition(" \\")[0]


def main() -> None:
    """Write both locks."""
    known = {_requirement(line) for line in (HERE / "run.lock").read_text().splitlines() if "==" in line}
    entries = {name: entry for name, entry in resolve().items() if name not in known}
    (HERE / "antibody-pypi.lock").write_text("".join(entries.values()))
    torch = next(name for name in entries if name.startswith("torch=="))
    entries[torch] = f"{torch} \\\n    --hash=sha256:{CPU_BUILD}\n"
    (HERE / "antibody.lock").write_text(
        "".join(entry for name, entry in entries.items() if not _CUDA.match(name))
    )


if __name__ == "__main__":
    main()

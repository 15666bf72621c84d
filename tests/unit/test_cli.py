"""The command line: help with an example everywhere, honest exit codes, and what `run` becomes."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from snakefold import cli, engines
from snakefold.cli._settings import settings_of
from snakefold.cli.run import prepare, snakemake_command
from snakefold.config import Config
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.paths import house
from snakefold.plan import settings_docs
from snakefold.plan.lock import hold_results


def commands() -> dict[str, argparse.ArgumentParser]:
    (actions,) = (
        action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(actions.choices)


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_help_with_an_example_that_parses(name: str) -> None:
    text = commands()[name].format_help()
    assert "Example: snakefold " in text
    epilog = commands()[name].epilog or ""
    cli.parse(epilog.removeprefix("Example: snakefold ").split(" > ")[0].split())


def options(*arguments: str) -> argparse.Namespace:
    return cli.parse(["run", *arguments])


def config_of(command: list[str]) -> dict[str, object]:
    """Settings as Snakemake reads them: the file after --configfile."""
    file = command[command.index("--configfile") + 1]
    return dict(yaml.safe_load(Path(file).read_text()))


def test_run_becomes_snakemake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fasta = tmp_path / "my set.fasta"
    fasta.write_text(">a\nMKT\n")
    command = prepare(
        options(str(fasta), "--set", "msa.tool=mmseqs", "--set", "msa.threads=4", "--set", "results=out")
    )
    assert config_of(command) == {
        "input": [str(fasta)],
        "msa": {"tool": "mmseqs", "threads": 4},
        "results": "out",
    }
    assert str(house() / "workflow" / "Snakefile") in command
    assert str(house() / "profiles" / "default") in command


def test_options_after_two_dashes_go_to_snakemake() -> None:
    assert snakemake_command(options("--", "--cores", "8", "--forceall"), None)[-3:] == [
        "--cores",
        "8",
        "--forceall",
    ]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], True),
        (["--", "--logger-snakefold-interval", "5"], True),
        (["--verbose"], False),
        (["--dry-run"], False),
        (["--", "--logger", "other"], False),
    ],
)
def test_a_run_has_the_panel_unless_it_is_asked_for_something_else(words: list[str], shown: bool) -> None:
    command = snakemake_command(options(*words), None)
    assert ("snakefold" in command) == shown
    if shown:  # the option takes all words up to the next one
        assert command[command.index("--logger") + 2].startswith("--")


def test_settings_of_sections_in_sections_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "known.pdb").touch()
    settings = [
        "msa.server.url=https://msa.lab.example:8080",
        "msa.server.databases=20261129",
        "msa.server.max_queries=3",
        # What has no sections takes the rest as one name.
        "references.sp.P12.x=known.pdb",
        "gpu.workers.ada_24=2",
    ]
    command = prepare(options(*(word for setting in settings for word in ("--set", setting))))
    assert config_of(command) == {
        "msa": {"server": {"url": "https://msa.lab.example:8080", "databases": "20261129", "max_queries": 3}},
        "references": {"sp.P12.x": "known.pdb"},
        "gpu": {"workers": {"ada_24": 2}},
    }


@pytest.mark.parametrize("setting", ["tool", "=x", "msa.=x", "msa.server.=x"])
def test_malformed_setting_is_named(setting: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--set", setting]) == 2
    assert f"--set {setting}: expected NAME=VALUE" in capsys.readouterr().err


def test_missing_input_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "no/such.fasta"]) == 2
    assert "no/such.fasta: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["weights", "fetch", "FILE"],
        ["weights", "rehearsal", "FILE"],
        ["weights", "rehearsal", "FILE/x", "--blocks", "1"],
    ],
    ids=" ".join,
)
def test_a_file_where_a_folder_is_needed_is_named(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert cli.main([word.replace("FILE", str(file)) for word in command]) == 2
    assert capsys.readouterr().err == (
        f"snakefold: {file}: is a file, expected a folder. Give another one.\n"
    )


def test_a_folder_of_parameters_that_cannot_be_made_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["weights", "fetch", "flashabb", "/proc/nowhere"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("snakefold: /proc/nowhere: cannot be made a folder of parameters (")
    assert said.count("\n") == 1


def fail_with(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("snakefold.cli.weights._fetch", fail)


def test_a_folder_where_a_file_is_needed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As `os.replace` says it of a file that is written beside its place.
    fail_with(monkeypatch, IsADirectoryError(21, "Is a directory", "part", None, str(tmp_path)))
    assert cli.main(["weights", "fetch", str(tmp_path)]) == 2
    assert f"{tmp_path}: is a folder, expected a file." in capsys.readouterr().err


@pytest.mark.parametrize("kind", [FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError])
def test_a_path_that_nobody_gave_is_a_defect(
    kind: type[OSError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    fail_with(monkeypatch, kind(-1, "a defect", str(tmp_path / "file")))
    with pytest.raises(kind):
        cli.main(["weights", "fetch", str(tmp_path)])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nosuch"], "nosuch: neither an engine ("),
        (["nosuch", "folder"], "nosuch: neither an engine ("),
        (["flashab"], "./flashab"),
    ],
)
def test_a_mistyped_engine_is_no_folder_to_fetch_into(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for action in ("fetch", "check"):
        assert cli.main(["weights", action, *words]) == 2
        assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_declares_no_weights_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines.get("alphafold2"), "weights", None, raising=False)
    assert cli.main(["weights", "fetch", "alphafold2"]) == 2
    assert "engine alphafold2: has no parameters to fetch" in capsys.readouterr().err


def test_weights_are_checked_where_auto_finds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SNAKEFOLD_WEIGHTS", str(tmp_path))
    for words in ([], ["alphafold2"], [str(tmp_path)], ["alphafold2", str(tmp_path)]):
        assert cli.main(["weights", "check", *words]) == 1
        assert f"{tmp_path}/params" in capsys.readouterr().out


def test_engines_that_are_named_are_those_of_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("install", "doctor"):
        assert cli.main(["engines", action, "nosuch"]) == 2
        said = capsys.readouterr().err
        assert f"Installed: {', '.join(engines.names())}. " in said and "reuse" not in said


def test_documented_settings_are_the_real_ones() -> None:
    table = (house() / "config" / "README.md").read_text()
    assert table == settings_docs.markdown() + "\n"
    schema = json.loads((house() / "workflow" / "schemas" / "config.schema.json").read_text())
    assert schema == settings_docs.schema()
    names = {name for name, *_ in settings_docs.rows()}
    assert {"msa.tool", "alphafold2.num_recycle", "relax.models_to_relax", "input"} <= names
    assert all(text for *_, text in settings_docs.rows()), "every setting has a description"


@pytest.mark.parametrize("path", sorted((house() / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_configuration_files_that_come_with_it_are_valid(path: Path) -> None:
    Config.model_validate(yaml.safe_load(path.read_text()))


def test_one_run_a_folder_at_a_time(tmp_path: Path) -> None:
    """The lock is the process's: it is free again once the process is gone, however it went."""
    script = (
        "from pathlib import Path; from snakefold.plan.lock import hold_results; "
        f"hold_results(Path({str(tmp_path)!r})); "
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script + "print('held', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(SnakefoldError, match="another run is active"):
        hold_results(tmp_path)
    process.kill()
    process.communicate()
    hold_results(tmp_path)


def test_a_configfile_that_comes_with_snakefold_is_found_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_of(options("--configfile", "config/demo.yaml")).wanted_engines == [
        "flashabb",
        "alphafold2",
    ]
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "demo.yaml").write_text("engine: alphafold2\n")
    assert settings_of(options("--configfile", "config/demo.yaml")).wanted_engines == ["alphafold2"]
    with pytest.raises(SnakefoldError, match=r"config/none\.yaml: no such file"):
        settings_of(options("--configfile", "config/none.yaml"))

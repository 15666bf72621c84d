"""Step commands whose input is missing or damaged: one line that names the file, and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from snakefold import cli
from snakefold.kernel import archive
from snakefold.plan.mark import write_mark

COMMANDS = {
    "msa": "msa FILE --config config.yaml --out out.json",
    "request": "request FILE --config config.yaml --out r/request.json",
    "request, of a chunk": "request batch.json --config config.yaml --msas FILE --out r/request.json",
    "task": "task FILE --out out.tar.zst",
    "restore": "restore FILE --config config.yaml --out out.tar.zst",
    "collect": "collect FILE --config config.yaml --batch batch.json --structures s --table t.parquet",
    "collect, of a batch": "collect archive.tar.zst --config config.yaml --batch FILE --structures s "
    "--table t.parquet",
    "metrics": "metrics FILE",
    "report": "report FILE",
    "report, of tables that are there": "report FILE --only-page",
    "summary": "summary FILE",
}
FILES = {
    "missing": None,
    "empty": b"",
    "cut": b'{"chunk": "m0001", "recipe"',
    "binary": b"\xff\xfe\0" * 40_000,
    "of something else": b'{"targets": 1, "x": "' + b"y" * 40_000 + b'"}',
}
BATCH = (
    b'{"batch": "b", "engine": "alphafold2", "recipe": "0", "msa_recipes": {}, "rehearsal": true, '
    b'"chunks": [], "targets": []}'
)
RESPONSE = (
    b'{"batch": "b", "engine": "alphafold2", "engine_version": "1", "recipe": "0000000000000000", '
    b'"rehearsal": true, "outcomes": []}'
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("{}")
    Path("batch.json").write_bytes(BATCH)
    Path("archive.tar.zst").write_bytes(archive.pack({"response.json": RESPONSE}))
    return tmp_path


@pytest.mark.parametrize("what", [*FILES, "a folder"])
@pytest.mark.parametrize("command", COMMANDS)
def test_the_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str], command: str, what: str) -> None:
    path = folder / "the-file"
    if what == "a folder":
        path.mkdir()
    elif (content := FILES[what]) is not None:
        path.write_bytes(content)
    words = COMMANDS[command].replace("FILE", str(path)).split()
    before = sorted(folder.rglob("*"))
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    # Whatever the endpoints take may be a request: what is none is told by its keys.
    assert str(path) in said or (command == "task" and "is no request" in said)
    assert said.count("\n") == 1
    assert len(said) < 700
    assert sorted(folder.rglob("*")) == before


def test_a_damaged_table_of_the_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("targets.tsv", "batches.tsv"):
        path = folder / "plan" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("batch\tengine\nb0001")
    assert cli.main(["report", str(folder)]) == 2
    assert f"{folder / 'plan' / 'batches.tsv'}: is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["targets.tsv", "batches.tsv"])
def test_a_report_is_not_made_of_a_part_of_the_plan(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It would count what it does not find as gone, and move its structures aside."""
    plan = folder / "plan"
    plan.mkdir()
    for table in ("targets.tsv", "batches.tsv"):
        (plan / table).write_text("id\tbatch\na\tb0001\n")
    write_mark(plan / "contents" / "0123456789abcdef", plan)
    (plan / name).write_text("id\tbatch\n")
    assert cli.main(["report", str(folder)]) == 2
    assert f"{plan / name}: missing or changed since the plan was made" in capsys.readouterr().err

"""Steps of a run on the command line: alone at their output, and in few words where they fail for good."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from snakefold import cli
from snakefold.cli import _step
from snakefold.config import load_config, read_config
from snakefold.kernel import archive
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, StoreError
from snakefold.kernel.recipes import digest, sequence_key
from snakefold.kernel.store import Entry
from snakefold.kernel.store.folder import FolderStore
from snakefold.msa import search
from snakefold.msa.databases.presets import load_preset
from snakefold.msa.planned import PlannedChain, PlannedChunk
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.run.retries import read_final


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    """A killed run leaves its jobs at work: the next one's must not compute beside them."""
    out = tmp_path / "b.tar.zst"
    program = (
        "import sys; from pathlib import Path; from snakefold.cli._step import alone\n"
        "with alone(Path(sys.argv[1]), lambda line: print(line, flush=True)) as waited:\n"
        "    print('at work', waited, flush=True); sys.stdin.read()"
    )

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, str(out)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with start() as first, start() as second:
        said = {process: process.stdout.readline().split()[0] for process in (first, second)}  # type: ignore[union-attr]
        (owner,) = (process for process, word in said.items() if word == "at")
        (waiting,) = (process for process, word in said.items() if word != "at")
        owner.kill()
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "at work True\n"
        waiting.communicate("")
    with start() as third:
        assert third.communicate("")[0] == "at work False\n"
    assert list(tmp_path.iterdir()) == []


def test_without_locks_a_step_goes_on_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_step.fcntl, "flock", refuse)
    said: list[str] = []
    with _step.alone(tmp_path / "b.tar.zst", said.append) as waited:
        assert not waited
    assert "has no locks (No locks available)" in said[0]


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """The command line handles SIGTERM; processes that other tests fork must not."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def settings_file(folder: Path) -> Path:
    config = load_config({"msa": {"tool": "single_sequence"}, "store": str(folder / "store")})
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return folder / "config.yaml"


def chunk_file(folder: Path) -> tuple[Path, Entry]:
    sequence = "ACDEFGHIKL"
    key = sequence_key([sequence])
    settings = read_config(settings_file(folder)).msa
    recipe = digest(
        search.recipe(settings, load_preset(settings.db_preset, settings.db_root), multimer=False)
    )
    chunk = PlannedChunk(chunk="m0001", recipe=recipe, chains=[PlannedChain(key=key, sequence=sequence)])
    (folder / "m0001.json").write_text(chunk.model_dump_json())
    return folder / "m0001.json", Entry("msa", recipe, key)


def call(*words: str | Path) -> int:
    return cli.main([str(word) for word in words])


@pytest.mark.needs("root")
def test_a_full_disk_and_a_closed_folder_are_one_line_each(
    tmp_path: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chunk, _ = chunk_file(tmp_path)
    words = ("msa", chunk, "--config", settings_file(tmp_path), "--out", small_disk / "m0001.json")
    (small_disk / "ballast").write_bytes(bytes(1 << 20))
    assert call(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"snakefold: {small_disk}: the disk is full (0.0 MB are free). Free disk space")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert call(*words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"snakefold: {small_disk}: the file system may only be read. Correct the perm")
    assert call("report", small_disk) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_full_store_is_noted_for_the_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = PlannedBatch(
        batch="s0001",
        engine="alphafold2",
        recipe="0" * 16,
        msa_recipes={},
        rehearsal=True,
        chunks=[],
        targets=[],
    )
    (tmp_path / "s0001.json").write_text(planned.model_dump_json())
    out = tmp_path / "s0001.tar.zst"
    words = ("restore", tmp_path / "s0001.json", "--config", settings_file(tmp_path), "--out", out)

    def full(*_: object) -> None:
        raise StoreError("store/x: cannot be written") from OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as patched:
        patched.setattr("snakefold.run.restore.write_atomically", full)
        assert call(*words) == 2
    found = read_final(out)
    assert found is not None and (found.reason, found.message) == (
        Reason.NO_SPACE,
        "store/x: cannot be written",
    )
    assert call(*words) == 0
    assert read_final(out) is None


def test_a_search_outlives_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was searched while the store was away is put there by the next step that finds it back."""
    chunk, entry = chunk_file(tmp_path)
    config, out = settings_file(tmp_path), tmp_path / "results" / "msa" / "m0001.json"

    with monkeypatch.context() as patched:
        patched.setattr("snakefold.kernel.store.open_store", lambda location: Away(Path(location)))
        assert call("msa", chunk, "--config", config, "--out", out) == 0
    assert json.loads(out.read_text())["searched"] == [entry.key]
    store = FolderStore(tmp_path / "store")
    assert not store.has(entry)
    assert call("msa", chunk, "--config", config, "--out", out) == 0
    assert json.loads(out.read_text())["searched"] == [], "not searched again"
    assert store.has(entry)


class Away(FolderStore):
    """A store that takes nothing."""

    def put(self, entry: Entry, data: bytes) -> None:
        raise StoreError("The server cannot be reached.")


#: Runs `snakefold` with the arguments, then tells what of the searches was loaded.
LOADED = """
import sys
from snakefold import cli
code = cli.main(sys.argv[1:])
print("loaded:", *(name for name in sys.modules if name.startswith("snakefold.msa.")))
sys.exit(code)
"""


def batch_file(folder: Path, entry: Entry, sequence: str) -> Path:
    target = TargetInput(id="a", key=entry.key, chains=[sequence])
    planned = PlannedBatch(
        batch="b0001-l0010",
        engine="alphafold2",
        recipe="0" * 16,
        msa_recipes={entry.key: entry.recipe},
        rehearsal=True,
        chunks=["m0001"],
        targets=[PlannedTarget(target=target)],
    )
    (folder / "b0001-l0010.json").write_text(planned.model_dump_json())
    return folder / "b0001-l0010.json"


def test_a_request_searches_nothing(tmp_path: Path) -> None:
    """It runs on the machine that Snakemake runs on, which may be a login node: rule msa has the searches."""
    chunk, entry = chunk_file(tmp_path)
    config, msas = settings_file(tmp_path), tmp_path / "results" / "msa" / "m0001.json"
    assert call("msa", chunk, "--config", config, "--out", msas) == 0
    batch = batch_file(tmp_path, entry, "ACDEFGHIKL")
    out = tmp_path / "results" / "requests" / "b0001-l0010" / "request.json"
    words = ["request", batch, "--config", config, "--msas", msas, "--out", out]

    def request() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", LOADED, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    process = request()
    assert process.returncode == 0, process.stderr
    (loaded,) = (line for line in process.stdout.splitlines() if line.startswith("loaded:"))
    light = ("planned", "settings", "template_files", "server", "server.facts", "server.settings")
    assert set(loaded.split()[1:]) == {f"snakefold.msa.{name}" for name in light}
    files = archive.unpack(out.with_name("inputs.tar.zst").read_bytes())
    assert f"chains/{entry.key}/msa.a3m" in files
    # Nor when the store has lost the only alignment that the batch has.
    for path in out.parent.iterdir():
        path.unlink()
    FolderStore(tmp_path / "store").remove(entry)
    process = request()
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert entry.name in line and "Run again: rule msa searches them." in line
    final = read_final(out)
    assert final is not None and final.reason == Reason.LOST
    assert not out.exists() and not list(FolderStore(tmp_path / "store").listing("msa"))

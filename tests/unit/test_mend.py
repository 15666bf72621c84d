"""At the start of a run: what was deleted, damaged, superseded or failed is made right, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldResponse, TargetInput, TargetOutcome
from snakefold.kernel.errors import RETRIED, Reason
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, open_store
from snakefold.plan.files import PlannedBatch, PlannedTarget
from snakefold.plan.mark import write_mark
from snakefold.run import products
from snakefold.run.collect import collect_batch
from snakefold.run.mend import mend
from snakefold.run.superseded import count_aside, set_others_aside

RECIPE, BATCH = "0" * 16, "b0001-l0010"
SEQUENCES = {"a": "ACDEFGHIKL", "b": "LKIHGFEDCA", "c": "ACDEFGHIKK"}
KEYS = {name: sequence_key([sequence]) for name, sequence in SEQUENCES.items()}


class Results:
    """A finished batch of `a` (and its duplicate `copy`), `b` and `c`, as a run leaves it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        targets = [
            PlannedTarget(
                target=TargetInput(id=name, key=KEYS[name], chains=[sequence]),
                duplicates=["copy"] if name == "a" else [],
            )
            for name, sequence in SEQUENCES.items()
        ]
        planned = PlannedBatch(
            batch=BATCH,
            engine="alphafold2",
            recipe=RECIPE,
            msa_recipes={},
            rehearsal=True,
            chunks=["m0001"],
            targets=targets,
        )
        (folder / "plan" / "batches").mkdir(parents=True)
        (folder / "plan" / "batches" / f"{BATCH}.json").write_text(planned.model_dump_json())
        (folder / "plan" / "targets.tsv").write_text("id\n" + "".join(f"{name}\n" for name in SEQUENCES))
        # As releases before 0.3 wrote it: what they left must go on.
        (folder / "plan" / "batches.tsv").write_text(
            "batch\tengine\tgpu\tcomplexes\tbucket_edges\ttargets\tresidues\tshortest\tlongest\tchunks\t"
            "seconds\tdollars\tmemory_gb\truntime_seconds\n"
            f"{BATCH}\talphafold2\tlocal\tFalse\t10\t3\t30\t10\t10\tm0001\t1\t0\t1\t900\n"
        )
        self.mark = folder / "plan" / "contents" / "0123456789abcdef"
        write_mark(self.mark, folder / "plan")
        (folder / "predictions").mkdir()
        (folder / "msa").mkdir()
        self.summary({})
        (folder / "report" / "data").mkdir(parents=True)
        for name in ("metrics.tsv", "metrics.parquet", "failures.tsv", "summary.txt", "report/data/a.js"):
            (folder / name).write_text(name)
        self.pack({})
        self.collect()
        products.note_report(folder)

    def summary(self, failed: dict[str, str]) -> None:
        (self.folder / "msa" / "m0001.json").write_text(json.dumps({"failed": failed}))

    def pack(self, failed: dict[str, Reason]) -> None:
        """The batch's archive, in which these targets failed."""
        outcomes = [
            TargetOutcome(
                id=name,
                key=KEYS[name],
                result_key=KEYS[name],
                state="failed" if name in failed else "done",
                reason=failed.get(name),
            )
            for name in SEQUENCES
        ]
        response = FoldResponse(
            batch=BATCH,
            engine="alphafold2",
            engine_version="1",
            recipe=RECIPE,
            rehearsal=True,
            outcomes=outcomes,
        )
        files = {
            f"targets/{KEYS[name]}.tar.zst": archive.pack(members(sequence))
            for name, sequence in SEQUENCES.items()
        }
        files["response.json"] = response.model_dump_json().encode()
        self.archive.write_bytes(archive.pack(files))

    def collect(self) -> None:
        made = products.read_batch(self.folder, BATCH)
        response = collect_batch(
            self.archive,
            self.folder / "plan" / "batches" / f"{BATCH}.json",
            self.folder / "structures",
            self.table,
            known=None if made is None else made.targets,
        )
        rows = [
            {"id": name, "state": each.state, "reason": each.reason}
            for each in response.outcomes
            for name in ([each.id, "copy"] if each.id == "a" else [each.id])
        ]
        products.note_batch(self.folder, BATCH, rows, ())

    def mend(self, *, dry: bool = False) -> None:
        self.said.clear()
        mend(self.folder, str(self.folder / "store"), self.said.append, dry=dry)

    @property
    def archive(self) -> Path:
        return products.archive_of(self.folder, BATCH)

    @property
    def table(self) -> Path:
        return products.table_of(self.folder, BATCH)

    @property
    def notes(self) -> str:
        path = self.folder / "lost.tsv"
        return path.read_text() if path.exists() else ""

    def structures(self) -> set[str]:
        return {path.name for path in (self.folder / "structures").iterdir()}


def members(sequence: str) -> dict[str, bytes]:
    confidence = {
        "key": sequence_key([sequence]),
        "engine": "alphafold2",
        "rehearsal": True,
        "chain_lengths": [len(sequence)],
        "models": [
            {
                "name": "model_1_ptm_pred_0",
                "plddt": [50.0] * len(sequence),
                "mean_plddt": 50.0,
                "ranking_confidence": 50.0,
            }
        ],
    }
    return {"confidence.json": json.dumps(confidence).encode(), "ranked_0.pdb": b"END\n"}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "results")


def everything(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_is_whole_is_left_alone(results: Results) -> None:
    before = everything(results.folder)
    results.mend()
    assert everything(results.folder) == before
    assert results.said == []


@pytest.mark.parametrize("deleted", ["a", "copy", "b/ranked_0.pdb", "b/scores.json", "c/confidence.json"])
def test_what_is_deleted_is_made_again_from_the_archive(results: Results, deleted: str) -> None:
    path = results.folder / "structures" / deleted
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = everything(results.folder)
    results.mend(dry=True)
    assert everything(results.folder) == before
    assert "would be made again" in results.said[0]
    results.mend()
    assert deleted.partition("/")[0] in results.said[0]
    assert not results.table.exists() and not (results.folder / "summary.txt").exists()
    assert results.archive.exists() and not results.notes, "nothing is planned, nothing is computed"
    results.collect()
    assert path.exists()
    results.mend()
    assert results.table.exists() and len(results.said) == 1, "only the report has still to be made"


@pytest.mark.parametrize("content", [b"", b"EN", b"DNE\n"])
def test_damage_is_seen_whatever_its_size(results: Results, content: bytes) -> None:
    path = results.folder / "structures" / "b" / "ranked_0.pdb"
    path.write_bytes(content)
    scores = results.folder / "structures" / "a" / "scores.json"
    good = scores.read_text()
    scores.write_text(good.replace("[", "[ "))
    results.mend()
    assert "2 targets (a, b)" in results.said[0]
    results.collect()
    assert path.read_bytes() == b"END\n"
    assert scores.read_text() == good


def test_a_table_that_is_cut_is_made_again(results: Results) -> None:
    before = results.table.read_bytes()
    results.table.write_bytes(before[:100])
    results.mend()
    assert not results.table.exists() and results.archive.exists()
    results.collect()
    assert results.table.read_bytes() == before


@pytest.mark.parametrize("archive_is", ["gone", "cut"])
def test_without_the_archive_the_plan_looks_into_the_store(results: Results, archive_is: str) -> None:
    if archive_is == "gone":
        results.archive.unlink()
    else:
        results.archive.write_bytes(results.archive.read_bytes()[:50])
    results.mend()
    assert not results.notes and results.table.exists(), "an archive is not missed where nothing else is"
    shutil.rmtree(results.folder / "structures" / "b")
    results.mend()
    assert results.notes == f"b\t{BATCH}\tits structure and archive are gone\n"
    assert not results.mark.exists(), "without its mark the plan is made anew"
    assert not results.table.exists() and not results.archive.exists()
    assert products.read_batch(results.folder, BATCH) is None


@pytest.mark.parametrize("name", ["metrics.tsv", "failures.tsv", "report/data/a.js"])
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_report_is_made_again(results: Results, name: str, *, cut: bool) -> None:
    path = results.folder / name
    path.write_text("") if cut else path.unlink()
    results.mend()
    assert "made again" in results.said[0]
    assert not (results.folder / "summary.txt").exists() and not (results.folder / "failures.tsv").exists()
    assert results.table.exists()


@pytest.mark.parametrize("reason", list(Reason))
def test_failures_whose_cause_may_be_gone_are_planned_again(results: Results, reason: Reason) -> None:
    results.pack({"b": reason})
    results.summary({KEYS["b"]: "no such database"} if reason == Reason.MSA_FAILED else {})
    results.collect()
    results.mend(dry=True)
    assert results.archive.exists()
    results.mend()
    again = reason in RETRIED
    assert again == (reason not in (Reason.INVALID_INPUT, Reason.RELAX_FAILED, Reason.INTERNAL))
    assert results.notes == (f"b\t{BATCH}\t{reason}\n" if again else "")
    assert results.archive.exists() == results.table.exists() == results.mark.exists() == (not again)
    assert any("tried again" in line for line in results.said) == again


@pytest.mark.parametrize("name", ["batches.tsv", "targets.tsv", f"batches/{BATCH}.json"])
@pytest.mark.parametrize("damage", ["cut", "empty", "deleted"])
def test_a_plan_that_is_not_as_it_was_made_is_made_anew(results: Results, name: str, damage: str) -> None:
    path = results.folder / "plan" / name
    path.write_bytes({"cut": path.read_bytes()[:-5], "empty": b""}.get(damage, b""))
    if damage == "deleted":
        path.unlink()
    shutil.rmtree(results.folder / "structures" / "b")
    results.mend(dry=True)
    assert results.mark.exists() and results.table.exists()
    results.mend()
    assert not results.mark.exists()
    assert f"{name}: missing or changed" in results.said[0]
    assert not results.table.exists(), "what else is missing is seen all the same"


def test_what_a_user_puts_beside_a_structure_stays(results: Results) -> None:
    folder = results.folder / "structures" / "b"
    (folder / "session.pse").write_text("mine")
    (folder / "docking").mkdir()
    (folder / "docking" / "out.txt").write_text("mine")
    results.mend()
    assert results.table.exists() and not results.said
    (folder / "ranked_0.pdb").unlink()
    results.mend()
    results.collect()
    assert (folder / "ranked_0.pdb").exists()
    assert (folder / "session.pse").exists() and (folder / "docking" / "out.txt").exists()


def test_a_file_in_the_place_of_a_structure_is_replaced(results: Results) -> None:
    folder = results.folder / "structures" / "b"
    shutil.rmtree(folder)
    folder.write_text("")
    results.mend()
    results.collect()
    assert (folder / "ranked_0.pdb").exists()


def test_a_target_that_was_given_up_gets_one_more_try(results: Results) -> None:
    store = open_store(results.folder / "store")
    attempt = Entry("attempt", RECIPE, KEYS["b"])
    store.put(attempt, b'{"count": 3}')
    results.pack({"b": Reason.LOST})
    results.collect()
    results.mend()
    assert json.loads(store.get(attempt) or b"") == {"count": 2}


def test_a_folder_of_an_earlier_version_is_taken_as_it_is(results: Results) -> None:
    shutil.rmtree(results.folder / ".snakefold")
    shutil.rmtree(results.folder / "structures" / "c")
    results.mend()
    assert "1 batch of an earlier snakefold" in results.said[0]
    assert "1 target (c)" in results.said[1]
    results.collect()
    products.note_report(results.folder)
    results.mend()
    assert results.said == []


def test_failures_of_an_earlier_version_are_tried_again(results: Results) -> None:
    results.pack({"b": Reason.OUT_OF_MEMORY})
    results.collect()
    shutil.rmtree(results.folder / ".snakefold")
    results.mend()
    assert results.notes == f"b\t{BATCH}\tout_of_memory\n"


def test_the_structure_of_a_failed_target_is_moved_aside(results: Results) -> None:
    results.pack({"a": Reason.INTERNAL})
    results.collect()
    assert results.structures() == {"b", "c"}
    aside = results.folder / "superseded"
    assert {path.name for path in aside.iterdir()} == {"a", "copy"}
    assert (aside / "a" / "ranked_0.pdb").is_file()
    rows = [line.split("\t")[:3] for line in (results.folder / "superseded.tsv").read_text().splitlines()]
    assert rows == [
        ["id", "folder", "why"],
        ["a", "superseded/a", "the target failed"],
        ["copy", "superseded/copy", "the target failed"],
    ]
    results.pack({})
    results.collect()
    assert results.structures() == {"a", "b", "c", "copy"}, "an id that comes back"
    (results.folder / "structures" / "a" / "notes.txt").write_text("mine")
    results.pack({"a": Reason.INTERNAL})
    results.collect()
    assert {path.name for path in aside.iterdir()} == {"a", "a.2", "copy"}, "the same is not kept twice"
    assert count_aside(results.folder) == 3


def test_structures_of_ids_that_left_the_run_are_moved_aside(results: Results) -> None:
    (results.folder / "structures" / "mine").mkdir()
    (results.folder / "structures" / ".a.0123abcd.part").mkdir()
    planned = {"a": KEYS["a"], "b": KEYS["b"], "c": "another sequence"}
    moved = set_others_aside(results.folder, planned, done=["a"], failed=[])
    assert moved == ["c", "copy"], "b is not finished, and its folder is of its own sequence"
    assert results.structures() == {"a", "b", "mine"}

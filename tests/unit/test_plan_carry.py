"""Batches that fit what the executor can carry, and the demo database where it is not for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from planning import RECIPES, table

from snakefold.cli import main
from snakefold.config import load_config
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.paths import house
from snakefold.plan.carry import CarryError
from snakefold.plan.demo import hold_to_purpose
from snakefold.plan.draft import Draft
from snakefold.plan.executors import Executor, announce, announced, describe, of_profile
from snakefold.plan.planner import draft_plan

AMINO = "ARNDCQEGHILKMFPSTWYV"
RUNPOD = describe("runpod", {})


def proteins(folder: Path, *lengths: int) -> Path:
    """A FASTA file of different proteins of these lengths."""
    path = folder / "proteins.fasta"
    records = [
        f">p{number}\n{AMINO[number % 20]}{AMINO[number // 20]}" + "ACDEFGHIKL" * (length // 10)
        for number, length in enumerate(lengths)
    ]
    path.write_text(
        "\n".join(record[: record.index("\n") + 1 + lengths[i]] for i, record in enumerate(records))
    )
    return path


def drafted(path: Path, executor: Executor | None, **values: object) -> Draft:
    settings = {"input": str(path), "msa": {"db_preset": "full_dbs"}, "gpu": {"classes": ["ampere_80"]}}
    config = load_config(settings | values)
    return draft_plan(config, name=lambda _: RECIPES, executor=executor, log=lambda _: None)


def test_a_real_set_fits_what_runpod_carries_without_storage(tmp_path: Path) -> None:
    path = proteins(tmp_path, *([150] * 30 + [250] * 30 + [350] * 30))
    free, kept = drafted(path, Executor("slurm")), drafted(path, RUNPOD)
    assert len(kept.batches) > len(free.batches)
    assert not free.notes
    (note,) = kept.notes
    assert f"{len(kept.batches)} batches instead of {len(free.batches)}" in note
    assert "runpod-bucket" in note
    assert "runpod-volume and runpod-datacenter" in note
    members = sorted(index for batch in kept.batches for index in batch.members)
    assert members == list(range(90))
    assert len({batch.name for batch in kept.batches}) == len(kept.batches)
    for batch in kept.batches:
        lengths = [int(kept.records.lengths[index]) for index in batch.members]
        # 10,000 rows, in and out, and five models with their PAE out: at the very least.
        assert sum(3_000 * length for length in lengths) < 5_900_000
        assert sum(3_000 * length + 5 * length**2 for length in lengths) < 3_200_000
        assert max(batch.bucket_edges) >= max(lengths)
        assert all(any(edge >= length for length in lengths) for edge in batch.bucket_edges)


def test_a_batch_that_fits_keeps_its_name_and_its_targets(tmp_path: Path) -> None:
    path = proteins(tmp_path, *([40] * 6 + [600] * 12))
    values = {"msa": {"tool": "single_sequence"}, "batch": {"bucket_edges": [40, 600], "max_targets": 6}}
    free, kept = drafted(path, None, **values), drafted(path, RUNPOD, **values)
    small = [
        batch for batch in free.batches if sum(free.records.lengths[i] ** 2 for i in batch.members) < 5e5
    ]
    assert small
    assert set(small) <= set(kept.batches)
    assert len(kept.batches) > len(free.batches)


def test_a_target_that_cannot_travel_stops_the_plan_with_what_to_set(tmp_path: Path) -> None:
    path = proteins(tmp_path, 100, 2500)
    with pytest.raises(CarryError) as caught:
        drafted(path, RUNPOD)
    told = str(caught.value)
    assert "1 of the targets" in told
    assert "p1 (2500 residues)" in told
    assert "runpod-bucket (S3), or runpod-volume and runpod-datacenter" in told
    assert "nothing has been spent" in told
    for stored in (
        {"bucket": "b"},
        {"volume": "v", "datacenter": "EU-RO-1"},
        {"transfer": "s3", "bucket": "b"},
    ):
        assert len(drafted(path, describe("runpod", stored)).batches) >= 1
    # A bucket that files may not use is none.
    with pytest.raises(CarryError, match="runpod-transfer: auto"):
        drafted(path, describe("runpod", {"transfer": "inline", "bucket": "b"}))


def test_results_that_no_archive_holds_are_cut_or_refused_on_any_executor(tmp_path: Path) -> None:
    pairs = {
        "msa": {"tool": "single_sequence"},
        "alphafold2": {"save_pair_representations": True},
        "rehearsal": {"models": [1, 2, 3, 4, 5]},
    }
    small = proteins(tmp_path, *([600] * 10))
    plain = drafted(small, None, msa=pairs["msa"], batch={"max_targets": 10})
    assert len(plain.batches) == 1
    assert not plain.notes
    # 600 residues: five models of 92 MB each.
    kept = drafted(small, None, **pairs, batch={"max_targets": 10})
    assert sorted(len(batch.members) for batch in kept.batches) == [2, 4, 4]
    assert "results of a batch are kept below 2147.5 MB" in "".join(kept.notes)
    with pytest.raises(CarryError, match=r"than an archive holds.*p1 \(2000 residues: 51") as caught:
        drafted(proteins(tmp_path, 1000, 2000), Executor("slurm"), **pairs)
    assert "Nothing has been started" in str(caught.value)


def test_an_alignment_that_is_given_counts_with_its_size(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(4):
        query = AMINO[number] + "MKTAYIAKQRQISFVKSH" * 5
        rows = "".join(f">r{row}\n{query}\n" for row in range(60_000))
        (folder / f"t{number}.a3m").write_text(f">q\n{query}\n{rows}")
    values = {"msa": {"tool": "precomputed"}}
    assert len(drafted(folder, Executor("slurm"), **values).batches) == 1
    assert len(drafted(folder, RUNPOD, **values).batches) == 4


def test_the_executor_is_told_of_and_read_from_the_profile() -> None:
    environment: dict[str, str] = {}
    announce(RUNPOD, environment)
    assert announced(environment) == RUNPOD
    assert announced({}) == announced({"SNAKEFOLD_EXECUTOR": "{"}) == Executor()
    shipped = yaml.safe_load((house() / "profiles" / "runpod" / "config.v9+.yaml").read_text())
    assert of_profile(shipped) == RUNPOD
    assert of_profile({**shipped, "runpod-bucket": "mine"}).inputs is None
    assert of_profile({"executor": "slurm"}) == Executor("slurm")
    assert not of_profile({}).elsewhere


def test_endpoints_are_told_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "endpoints.lock.yaml").write_text("endpoints: {fold-a: x, boltz: y}\ntemplates: {other: z}\n")
    entries = {"executor": "runpod", "runpod-endpoints": "endpoints.lock.yaml"}
    there = of_profile(entries, tmp_path)
    assert there.endpoints == ("boltz", "fold-a")
    environment: dict[str, str] = {}
    announce(there, environment)
    assert announced(environment) == there
    assert of_profile(entries).endpoints == ()  # nothing is deployed yet
    assert describe("runpod", {"endpoints": ["one=x", "two = y"]}).endpoints == ("one", "two")
    # What the executor will refuse, or what is not for the plan to say, is not known.
    (tmp_path / "endpoints.lock.yaml").write_text("[")
    assert of_profile(entries, tmp_path).endpoints is None
    assert of_profile({**entries, "runpod-fallback": "local"}).endpoints is None
    assert of_profile({**entries, "set-resources": {"predict": {"runpod_endpoint": "x"}}}).endpoints is None
    assert Executor("slurm").endpoints is None


def test_limits_are_those_of_the_executor_and_of_the_worker() -> None:
    from snakefold.kernel.envelope import INLINE_INPUTS, INLINE_LIMIT, INLINE_RESULTS, REQUEST_LIMIT, RESERVED
    from snakemake_executor_plugin_runpod.transfer import INLINE_BYTES

    assert REQUEST_LIMIT == INLINE_BYTES
    # As base64, in the JSON of a request and of a response.
    assert INLINE_INPUTS * 4 / 3 < INLINE_BYTES - 100_000
    assert INLINE_RESULTS * 4 / 3 <= INLINE_LIMIT - RESERVED


def test_the_preview_of_the_shipped_profile_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = proteins(tmp_path, *[300] * 20)
    words = ["plan", str(path), "--profile", "runpod", "--out", str(tmp_path / "quote")]
    words += ["--set", f"results={tmp_path / 'results'}", "--set", "msa.db_preset=reduced_dbs"]
    assert main(words) == 0
    assert "warning: " in (told := capsys.readouterr().out)
    assert "without storage a job on runpod carries" in told
    quote = json.loads((tmp_path / "quote" / "quote.json").read_text())
    assert quote["batches"] == len(table(tmp_path / "quote" / "batches.tsv")) > 5


@pytest.mark.parametrize("profile", ["runpod", "http", "slurm", "kubernetes"])
def test_real_proteins_meet_the_demo_database_only_where_somebody_asked_for_it(
    profile: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(house() / "profiles")  # that of kubernetes names its table as seen from there
    path = proteins(tmp_path, 40, 50)
    common = ["--out", str(tmp_path / "quote"), "--set", f"results={tmp_path / 'results'}"]
    words = ["plan", str(path), "--profile", profile, "--set", "msa.db_preset=demo", *common]
    assert main([*words, "--set", f"store={tmp_path / 'store'}"]) == 2
    assert "msa.db_preset is demo" in (told := capsys.readouterr().err)
    assert "msa.allow_demo_database: true" in told
    assert not (tmp_path / "quote" / "batches.tsv").exists()


def test_a_setting_that_nobody_gave_does_not_plan_old_results_again() -> None:
    assert "allow_demo_database" not in load_config({}).model_dump(mode="json")["msa"]
    asked = load_config({"msa": {"allow_demo_database": True}})
    assert load_config(asked.model_dump(mode="json")) == asked


def test_the_demo_database_is_a_warning_here_and_nothing_for_the_demo(tmp_path: Path) -> None:
    path = proteins(tmp_path, 40)
    local, runpod = describe("local", {}), RUNPOD
    own = load_config({"input": str(path)})
    (warning,) = hold_to_purpose(own, local)
    assert warning.startswith("msa.db_preset is demo")
    asked = load_config({"input": str(path), "msa": {"allow_demo_database": True}})
    for executor in (runpod, describe("slurm", {}), describe("kubernetes", {})):
        with pytest.raises(ConfigError, match="allow_demo_database"):
            hold_to_purpose(own, executor)
        assert hold_to_purpose(asked, executor) == [warning]
    for values in (
        {},
        {"input": str(house() / "resources" / "demo" / "proteins.fasta")},
        {"input": str(path), "msa": {"tool": "single_sequence"}},
        {"input": str(path), "msa": {"tool": "precomputed"}},
        {"input": str(path), "msa": {"db_preset": "reduced_dbs"}},
    ):
        assert hold_to_purpose(load_config(values), runpod) == []

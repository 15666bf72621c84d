"""The stages of a run: settings, what they depend on, what is left of a limit, which one is at work."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from tests.backbones import helix

from snakefold.config import Config, load_config
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.configure import configure, hand_on
from snakefold.plan.contents import contents_of, name_of
from snakefold.plan.lock import held_since, hold_results
from snakefold.plan.mark import bring_back, changed_files, drop_marks, keep, write_mark
from snakefold.plan.stages import depend, planned_for, stages_of, with_what_is_left
from snakefold.run.status.stages import at_work, folders_of, run_of


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.chdir(tmp_path)
    Path("a.pdb").write_text(helix("ACDEFGHIKLMNPQRSTVWY", "A"))
    return load_config(
        {
            "input": "a.pdb",
            "engine": "flashabb",
            "design": {"engine": "proteinmpnn"},
            "publish": "s3://bucket/prefix",
            "budget": 3.0,
            "deadline": 2.0,
        }
    )


def test_a_design_run_has_two_stages_and_one_store(config: Config) -> None:
    first, second = stages_of(config).values()
    assert (first.results, first.publish, first.design.stage) == ("results/design", None, "sequences")
    assert (second.results, second.publish, second.design.stage) == (
        "results",
        "s3://bucket/prefix",
        "structures",
    )
    assert first.store == second.store == "results/store"
    assert first.designs and first.inputs == [Path("a.pdb")]
    assert not second.designs and second.inputs == [Path("results/designs/sequences.csv")]


def test_other_runs_have_one_stage_with_the_names_that_they_had(config: Config) -> None:
    for other in (Config(), stages_of(config)["design/"]):
        assert stages_of(other) == {"": other}
        found, name = depend({"": other})
        assert found[""].contents == contents_of(other) and name == name_of(contents_of(other))


def test_both_stages_have_the_name_of_all_that_either_depends_on(config: Config) -> None:
    _, name = depend(stages_of(config))
    Path("results/designs").mkdir(parents=True)
    Path("results/designs/sequences.csv").write_text("id,sequence\n")
    assert depend(stages_of(config))[1] == name  # the run makes it
    Path("a.pdb").write_text(helix("ACDEFGHIKLMNPQRSTVWW", "A"))
    assert depend(stages_of(config))[1] != name
    with_limits = config.model_copy(update={"max_length": 4000})
    assert depend(stages_of(with_limits))[1] != name


def test_each_stage_gets_its_settings(config: Config) -> None:
    found, name = depend(stages_of(config))
    hand_on((each.config, each.contents) for each in found.values())
    for stage in stages_of(config).values():
        results = Path(stage.results)
        configure(results / "settings" / f"{name}.yaml", results / "config.yaml")
        assert load_config(yaml.safe_load((results / "config.yaml").read_text())) == stage


def test_the_second_stage_has_what_the_first_left(config: Config) -> None:
    first, second = stages_of(config).values()
    assert with_what_is_left(first) is first
    assert with_what_is_left(second).budget == 3.0
    Path(first.results).mkdir(parents=True)
    bill = Path(first.results, "bill.json")
    bill.write_text(json.dumps({"dollars": {"billed": 1.25}}))
    assert with_what_is_left(second).budget == 1.75
    bill.write_text(json.dumps({"dollars": {"billed": 3.0}}))
    with pytest.raises(SnakefoldError, match=r"used all of \$3\.00.*results/designs/sequences\.csv"):
        with_what_is_left(second)


def test_the_deadline_is_of_the_whole_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    second = stages_of(config)[""]
    monkeypatch.setenv("SNAKEFOLD_LOCK", "")  # put back at the end
    assert held_since(Path("results")) == 0.0
    hold_results(Path("results"))
    lock = Path("results/.snakefold/run.lock")
    began = lock.stat().st_mtime
    os.utime(lock, (began - 3600, began - 3600))
    left = with_what_is_left(second).deadline
    assert left is not None and 0.9 < left <= 1.0
    os.utime(lock, (began - 7300, began - 7300))
    with pytest.raises(SnakefoldError, match="took all of 2 hours"):
        with_what_is_left(second)


def test_a_plan_for_designs_that_are_what_they_were_stays(config: Config) -> None:
    second = stages_of(config)[""]
    plan = Path("results/plan")
    mark = plan / "contents" / "0123"
    for name in ("batches", "contents"):
        (plan / name).mkdir(parents=True)
    sequences = Path("results/designs/sequences.csv")
    sequences.parent.mkdir()
    sequences.write_text("id,sequence\na,ACD\n")
    (plan / "targets.tsv").write_text("targets")
    (plan / "batches" / "b0001.json").write_text("{}")
    write_mark(mark, plan)
    keep(mark, plan, planned_for(second))
    noted = mark.read_bytes()

    def removed() -> None:
        for path in (mark, plan / "targets.tsv"):
            path.unlink(missing_ok=True)

    removed()
    assert bring_back(mark, plan, planned_for(second))
    assert mark.read_bytes() == noted and changed_files(plan) == []
    # Of other designs, of other settings, with a batch that is gone, or where it is to be made anew.
    removed()
    assert not bring_back(mark.with_name("4567"), plan, planned_for(second))
    sequences.write_text("id,sequence\na,ACE\n")
    assert not bring_back(mark, plan, planned_for(second))
    sequences.write_text("id,sequence\na,ACD\n")
    (plan / "batches" / "b0001.json").unlink()
    assert not bring_back(mark, plan, planned_for(second))
    (plan / "batches" / "b0001.json").write_text("{}")
    assert bring_back(mark, plan, planned_for(second))
    drop_marks(plan)
    assert not bring_back(mark, plan, planned_for(second))


def test_the_stage_at_work_is_the_first_until_its_designs_are_handed_on(tmp_path: Path) -> None:
    run = tmp_path / "results"
    first = run / "design"

    def write(path: Path, text: str = "") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write(first / "config.yaml", "design: {engine: proteinmpnn, stage: sequences}")
    assert folders_of(run) == [first, run] and at_work(run) == first
    write(run / "config.yaml", "design: {engine: proteinmpnn, stage: structures}")
    assert run_of(first) == run and run_of(run) == run
    write(first / "plan" / "contents" / "new")
    for name in ("metrics.tsv", "failures.tsv"):
        write(first / name)
    assert at_work(run) == first
    write(run / "designs" / "sequences.csv")
    assert at_work(run) == run
    # Its designs are made again: the files of the second stage are those of the last run.
    (first / "failures.tsv").unlink()
    assert at_work(run) == first
    write(first / "failures.tsv")
    (first / "plan" / "contents" / "new").unlink()
    write(run / "settings" / "new.yaml")
    write(run / "plan" / "contents" / "old")
    assert at_work(run) == first
    # A batch of the first was lost, and the others' designs are folded.
    (run / "plan" / "contents" / "old").rename(run / "plan" / "contents" / "new")
    assert at_work(run) == run


def test_a_run_without_designs_has_one_stage_whatever_lies_below(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("engine: flashabb\n")
    (tmp_path / "design").mkdir()
    (tmp_path / "design" / "config.yaml").write_text("design: {engine: proteinmpnn, stage: sequences}")
    assert folders_of(tmp_path) == [tmp_path] and at_work(tmp_path) == tmp_path
    assert run_of(tmp_path / "design") == tmp_path / "design"

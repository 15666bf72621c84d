"""Endpoints of a plan's batches: each engine has one, and a missing one is refused with advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from snakefold.config import Config, load_config
from snakefold.kernel.errors import ConfigError
from snakefold.plan.contents import contents_of
from snakefold.plan.endpoints import check, check_planned, missing
from snakefold.plan.executors import Executor
from snakefold.plan.files import BatchRow, Kind
from snakefold.plan.preview import preview
from snakefold.plan.tables import write_table

NAMES = {"endpoint": "fold", "endpoints": {"boltz2": "other"}}


def config(**runpod: object) -> Config:
    return load_config({"runpod": runpod})


def batch(engine: str, gpu: str = "ada_24", kind: Kind = Kind.PREDICT, name: str = "c0001-l0020") -> BatchRow:
    return BatchRow(
        name, kind=kind, engine=engine, gpu=gpu, bucket_edges="", targets=1, residues=20, shortest=20,
        longest=20, chunks="",
    )  # fmt: skip


def runpod(*names: str) -> Executor:
    return Executor("runpod", endpoints=names)


def test_an_engine_without_an_environment_of_its_own_has_the_common_one() -> None:
    asked = config(**NAMES).runpod
    assert [asked.endpoint_of(name) for name in ("alphafold2", "flashabb", "boltz2")] == ["fold"] * 2 + [
        "other"
    ]
    assert config(endpoint="fold").runpod.endpoint_of("boltz2") is None
    assert config(**{**NAMES, "endpoints": {"flashabb": "own"}}).runpod.endpoint_of("flashabb") == "own"
    assert config().runpod.endpoint_of("alphafold2") is None


def test_each_class_is_looked_for_and_then_the_name_alone() -> None:
    rows = [batch("boltz2", "ada_24"), batch("boltz2", "ada_48_pro"), batch("alphafold2")]
    assert missing(rows, config(**NAMES), runpod("fold", "other-ada_24", "other-ada_48_pro")) == []
    assert missing(rows, config(**NAMES), runpod("fold", "other")) == []
    (said,) = missing(rows, config(**NAMES), runpod("fold-ada_24", "other-ada_24"))
    assert "Jobs of engine boltz2 go to the endpoint other-ada_48_pro (or other)" in said
    assert "there are: fold-ada_24, other-ada_24." in said
    assert "build_and_push.sh --engine=boltz2" in said and "--image other=IMAGE" in said
    (said,) = missing(rows, config(**NAMES), runpod("other"))
    assert "of engine alphafold2" in said and "apply --image IMAGE" in said and "--engine" not in said
    # Nobody knows, or nothing is predicted there.
    assert missing(rows, config(**NAMES), Executor("slurm")) == []
    assert missing([batch("boltz2", "", Kind.RESTORE)], config(**NAMES), runpod()) == []


def test_an_engine_that_no_setting_names_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Set runpod\.endpoints\.boltz2.*nothing has been spent"):
        check([batch("boltz2")], config(endpoint="fold"), runpod("fold"))
    # Else they would run on this machine, unasked.
    with pytest.raises(ConfigError, match=r"Set runpod\.endpoint, as settings\.yaml.*replaces that file"):
        check([batch("alphafold2")], config(), runpod("fold"))


def test_of_an_earlier_plan_only_what_is_left_is_looked_for(tmp_path: Path) -> None:
    write_table(tmp_path / "plan" / "batches.tsv", BatchRow, [batch("boltz2")])
    with pytest.raises(ConfigError, match="there is none"):
        check_planned(tmp_path, config(**NAMES), runpod("fold"))
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "c0001-l0020.tar.zst").touch()
    check_planned(tmp_path, config(**NAMES), runpod("fold"))


def test_a_quote_says_what_a_run_would_refuse(tmp_path: Path) -> None:
    (tmp_path / "one.fasta").write_text(">one\nMKTAYIAKQRQISFVKSHFSRQ\n")
    asked = load_config(
        {
            "input": str(tmp_path / "one.fasta"),
            "results": str(tmp_path / "results"),
            "weights": "rehearsal",
            "msa": {"tool": "single_sequence"},
            "gpu": {"classes": ["ampere_24"]},
            "runpod": NAMES,
        }
    )
    said: list[str] = []
    quote = preview(asked, tmp_path / "quote", said.append, runpod("other"))
    assert any("go to the endpoint fold-ampere_24" in text for text in quote.warnings)
    assert "go to the endpoint fold-ampere_24" in "".join(said)
    quote = preview(asked, tmp_path / "quote", said.append, runpod("fold"))
    assert not any("endpoint" in text for text in quote.warnings)


def test_where_jobs_go_plans_nothing_anew() -> None:
    assert contents_of(config(**NAMES)) == contents_of(config())

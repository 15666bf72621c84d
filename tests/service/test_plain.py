"""Texts for users name no path of the service's machine, and lose nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from snakefold.service.plain import Plain, plain_of
from snakefold.service.settings import ServiceSettings

SET = "20261130t191558947-4009168a7cdaa54f02f293d5"


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plain:
    """Of a service whose databases are below `/alphafold dbs`, and whose workers have others."""
    monkeypatch.setenv("SNAKEFOLD_DB_ROOT", "/many")
    configfile = tmp_path / "config.yaml"
    configfile.write_text(
        yaml.safe_dump({"weights": "auto", "msa": {"db_root": "/odd/alphafold dbs"}, "gpu": {"table": None}})
    )
    return plain_of(
        ServiceSettings(folder=Path("/odd/service"), store="/elsewhere/store", configfile=configfile)
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("msa.db_root: /odd/alphafold dbs: is not used.", "msa.db_root: alphafold dbs: is not used."),
        ("/odd/alphafold dbs/mgnify/a.fasta is missing", "alphafold dbs/mgnify/a.fasta is missing"),
        ("'/many' has no a.fasta; /manyfold/a.fasta", "'many' has no a.fasta; /manyfold/a.fasta"),
        (f"/odd/service/sets/{SET}/input/a.fasta:3: bad", "a.fasta:3: bad"),
        (f"report: file:///odd/service/sets/{SET}/results/report/x", "report: results/report/x"),
        ("--set store=/elsewhere/store --cores 2", "--set store=store --cores 2"),
        (r'{"message": "no\n/home/ada/w/params.npz"}', r'{"message": "no\nparams.npz"}'),
        ("in /root/.cache/x/file/tmp/../c.yaml, line 3.", "in c.yaml, line 3."),
        ('File "/opt/venv/lib/python3.11/a.py", line 2', 'File "a.py", line 2'),
        ("fetch it into /srv/alphafold/weights.", "fetch it into weights."),
    ],
)
def test_a_path_becomes_a_name(plain: Plain, text: str, said: str) -> None:
    assert plain(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "GET /v2/fold/status/7c6f and https://example.org/home/ada/x",
        "POST /run, then /api/runs/ID/events or ./data/x, ../tmp/x, a/usr/b and ~/data/x",
        "3/4 of N/A; A/tmp/B; QUJD+/tmp/QUJD/b and ≈/",
        "s3://bucket/home/ada?region=eu",
    ],
)
def test_addresses_and_relative_paths_stay(plain: Plain, text: str) -> None:
    assert plain(text) == text


def test_of_an_answer_only_what_it_says_is_changed(plain: Plain) -> None:
    text = "/odd/service/store is full"
    answer = {"a3m": f">{text}\nMK", "warnings": [text], "results": {"one": {"error": {"message": text}}}}
    assert plain.of(answer) == {
        "a3m": f">{text}\nMK",
        "warnings": ["service/store is full"],
        "results": {"one": {"error": {"message": "service/store is full"}}},
    }

"""`snakefold plan`: settings as Snakemake counts them, a price without anything to run with, exit codes."""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.backbones import helix

from snakefold import cli
from snakefold.cli._settings import settings_of
from snakefold.cli.run import prepare
from snakefold.config import Config, load_config
from snakefold.kernel.errors import ConfigError, SnakefoldError
from snakefold.kernel.paths import house
from snakefold.plan.quote import Quote
from snakefold.plan.quote.text import quote_text

FASTA = f">one\n{'MKTAYIAKQR' * 8}\n>two\n{'MKTAYIAKQR' * 30}\n>again\n{'MKTAYIAKQR' * 8}\n>bad\nMK1\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder with a FASTA file, and a user who has no parameters and no calibration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nothing"))
    monkeypatch.delenv("SNAKEFOLD_WEIGHTS", raising=False)
    (tmp_path / "my.fasta").write_text(FASTA)
    return tmp_path


def options(*words: str) -> argparse.Namespace:
    return cli.parse(["plan", *words])


def test_a_known_structure_of_nobody_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "known.pdb").touch()
    words = ["--set", "references.one=known.pdb", "--set", "references.noe=known.pdb"]
    assert cli.main(["plan", "my.fasta", "--set", "msa.tool=single_sequence", *words]) == 0
    assert "warning: references: no record is called noe." in capsys.readouterr().out


def test_programs_get_the_quote_as_json_also_one_above_a_limit(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "plan",
        "my.fasta",
        "--json",
        "--set",
        "msa.tool=single_sequence",
        "--set",
        "gpu.classes=[ampere_80]",
    ]
    assert cli.main(words) == 0
    said = capsys.readouterr()
    quote = Quote.model_validate_json(said.out)
    assert quote.targets["to_do"] == 2 and quote.dollars.expected > 0
    assert "Nothing was started." in said.err
    assert cli.main([*words, "--set", "budget=0.000001"]) == 2
    said = capsys.readouterr()
    assert Quote.model_validate_json(said.out).dollars == quote.dollars
    assert "budget: under $0.0001, but the quote is" in said.err
    # What is refused has no quote.
    (folder / "my.fasta").write_text(">bad\nMK1\n")
    assert cli.main(words) == 2
    assert capsys.readouterr().out == ""


def test_engines_are_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["engines", "list", "--json"]) == 0
    rows = {row["engine"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["alphafold2"]["takes"] == "proteins" and rows["alphafold2"]["installed"] == "here"


@pytest.mark.parametrize("name", ["20261129", "1_000", "a #b", "x: y", "[a]", "é'"])
def test_a_text_is_taken_as_it_stands(name: str) -> None:
    """YAML would read a number, a comment or a mapping."""
    found = settings_of(options("--set", f"results={name}", "--set", f"msa.db_root={name}"))
    assert (found.results, found.msa.db_root) == (name, name)
    assert settings_of(options("--set", "results='q r'")).results == "q r"


@pytest.mark.parametrize(
    ("given", "meant"),
    {
        "A B": "A B",
        "1": "1",
        "1e5": "1e5",
        "[H": "[H",
        "H, L": "H, L",
    }.items(),
)
def test_chains_are_a_text(given: str, meant: str) -> None:
    assert settings_of(options("--set", f"design.chains={given}")).design.chains == meant


def test_chains_are_a_list_as_well(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On the command line, in a file and in a profile, for a plan and for what Snakemake is started with."""
    (folder / "list.yaml").write_text("design:\n  chains: [L, '1']\n")
    words: dict[str, list[str]] = {
        "set": ["--set", "design.chains=[L, 1]"],
        "file": ["--configfile", "list.yaml"],
        "profile": ["--profile", profile(folder, config={"design": {"chains": ["L", "1"]}})],
    }
    pdb = "".join(helix("GSHMEELLKKAEELLK", name, origin=(12 * at, 0, 0)) for at, name in enumerate("HL1"))
    (folder / "fab.pdb").write_text(pdb)
    for name, given in words.items():
        found = settings_of(options(*given))
        assert found.design.chains == ["L", "1"], name
        assert found == snakemakes(folder, *given), name
        engine = ["--set", "design.engine=proteinmpnn", "--set", "msa.tool=single_sequence"]
        assert cli.main(["plan", "fab.pdb", "--out", name, *engine, *given]) == 0, capsys.readouterr().err


def profile(folder: Path, **entries: object) -> str:
    path = folder / "profile"
    path.mkdir(exist_ok=True)
    (path / "config.yaml").write_text(yaml.safe_dump(entries))
    return str(path)


def snakemakes(folder: Path, *words: str) -> Config:
    """The configuration as Snakemake itself puts it together from the command line of `snakefold run`."""
    snakefile = folder / "Snakefile"
    snakefile.write_text(
        f"configfile: {str(house() / 'config' / 'config.yaml')!r}\n"
        "import json\nopen('found.json', 'w').write(json.dumps(config))\n"
    )
    command = [*prepare(cli.parse(["run", *words])), "--dry-run"]
    command[command.index("--snakefile") + 1] = str(snakefile)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = folder / "found.json"
    assert found.is_file(), done.stderr
    return load_config(json.loads(found.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        [],
        ["my.fasta", "--set", "batch.max_targets=7", "--set", "gpu.classes=[ampere_80]"],
        ["--configfile", "mine.yaml", "--set", "budget=4", "--set", "msa.chunk_size=8"],
    ],
    ids=["profile", "set", "all"],
)
def test_settings_are_those_that_snakemake_finds(folder: Path, words: list[str]) -> None:
    """What a profile says is not forgotten because the command line says something, too."""
    (folder / "mine.yaml").write_text("msa:\n  chunk_size: 5\nbudget: 3\n")
    (folder / "theirs.yaml").write_text("msa:\n  threads: 3\n  chunk_size: 9\ndeadline: 30\n")
    chosen = profile(
        folder,
        configfile="theirs.yaml",
        config={"results": "elsewhere", "msa": {"mem_mb": 5000}, "budget": "12"},
    )
    words = [*words, "--profile", chosen]
    found = settings_of(options(*words))
    assert found == snakemakes(folder, *words)
    assert (found.results, found.msa.mem_mb, found.msa.threads) == ("elsewhere", 5000, 3)
    assert found.budget == (4 if "budget=4" in words else 12)


def test_profile_says_what_the_command_line_does_not(folder: Path) -> None:
    chosen = profile(folder, config=["budget=12", "gpu={classes: [ampere_24]}"])
    found = settings_of(options("--workflow-profile", chosen))
    assert (found.budget, found.gpu.classes) == (12.0, ["ampere_24"])
    with pytest.raises(SnakefoldError, match="no such profile"):
        settings_of(options("--workflow-profile", "nowhere"))
    with pytest.raises(SnakefoldError, match="no such file"):
        settings_of(options("--configfile", "nowhere.yaml"))
    with pytest.raises(ConfigError, match=r"budgett"):
        settings_of(options("--set", "budgett=3"))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_price_first_without_databases_or_parameters(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--set", "msa.db_preset=full_dbs", "--set", f"msa.db_root={folder / 'none'}"]
    assert cli.main(["plan", "my.fasta", *words, "--set", "gpu.classes=[ampere_80]"]) == 0
    text = capsys.readouterr().out
    assert "store was not consulted" in text
    assert "No model parameters are here" in text
    assert "Nothing was started" in text
    assert "REHEARSAL: " not in text
    # Nothing but the quote: no parameters are drawn, no database is made, no plan of a run is touched.
    written = files(folder) - {"my.fasta"}
    assert all(name.startswith("results/quote/") for name in written)
    quote = Quote.model_validate_json((folder / "results" / "quote" / "quote.json").read_bytes())
    assert quote.targets == {"to_do": 2, "stored": 0, "reused": 0, "duplicate_of": 1, "refused": 1}
    assert " 1 duplicate: computed once" in quote_text(quote)
    assert quote.dollars.expected > 0
    assert quote.msa_cpu_hours.expected > 0
    with (folder / "results" / "quote" / "targets.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    idle = quote.classes[0].idle_hours.expected * 3600 * quote.classes[0].dollars_per_second
    assert sum(float(row["dollars"]) for row in rows) + idle == pytest.approx(
        quote.dollars.expected, rel=1e-3
    )
    assert {row["id"]: float(row["dollars"]) > 0 for row in rows if row["state"] != "refused"} == {
        "one": True,
        "two": True,
        "again": False,
    }


def test_kernels_that_a_run_does_not_get_are_told_before_anything_is_paid(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "own.yaml").write_text("mine: {title: x, speed: 1, speed_source: x}\n")
    words = ["plan", "my.fasta", "--set", "msa.tool=single_sequence", "--set", "gpu.table=own.yaml"]
    assert cli.main([*words, "--set", "gpu.classes=[mine]"]) == 0
    assert "warning: alphafold2.kernels: auto takes stock, which is slower" in capsys.readouterr().out
    assert cli.main([*words, "--set", "gpu.classes=[mine]", "--set", "weights=rehearsal"]) == 0
    assert "kernels" not in capsys.readouterr().out
    (folder / "own.yaml").write_text("mine: {title: x, speed: 1, speed_source: x, compute_capability: 6.1}\n")
    fused = ["--set", "gpu.classes=[mine]", "--set", "alphafold2.kernels=fused"]
    assert cli.main([*words, *fused]) == 2
    assert "alphafold2.kernels: fused: " in capsys.readouterr().err


def test_a_rehearsal_is_priced_as_one(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["my.fasta", "--set", "msa.tool=single_sequence"]
    assert cli.main(["plan", *words, "--out", "official"]) == 0
    assert cli.main(["plan", *words, "--out", "rehearsal", "--set", "weights=rehearsal"]) == 0
    assert "REHEARSAL: random parameters" in capsys.readouterr().out
    official, rehearsal = (
        Quote.model_validate_json((folder / name / "quote.json").read_bytes())
        for name in ("official", "rehearsal")
    )
    assert rehearsal.rehearsal
    assert not official.rehearsal
    assert rehearsal.hours.expected < official.hours.expected / 2


def test_over_the_limits_the_exit_code_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "my.fasta", "--set", "msa.tool=single_sequence", "--set", "gpu.classes=[ampere_80]"]
    assert cli.main([*words, "--set", "budget=0.001"]) == 2
    captured = capsys.readouterr()
    assert "dollars" in captured.out  # the quote is shown all the same
    assert "budget: $0.0010, but the quote is" in captured.err
    assert "nothing has been spent" in captured.err
    assert "two (300 residues" in captured.err
    assert cli.main([*words, "--set", "deadline=0.001"]) == 2
    assert "deadline: 4 s, but the run would take" in capsys.readouterr().err
    assert cli.main([*words, "--set", "budget=100", "--set", "deadline=100"]) == 0


def test_a_runs_own_plan_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "my.fasta", "--out", "results/plan"]) == 2
    assert cli.main(["plan", "my.fasta", "--config", "results/config.yaml"]) == 2
    assert cli.main(["plan", "nowhere.fasta"]) == 2
    assert "no such file" in capsys.readouterr().err
    assert files(folder) == {"my.fasta"}


def test_what_no_class_can_hold_is_refused_and_the_rest_is_priced(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "my.fasta").write_text(f"{FASTA}>huge\n{'MKTAYIAKQR' * 200}\n")
    assert cli.main(["plan", "my.fasta", "--set", "gpu.classes=[ampere_16, ampere_24]"]) == 0
    refused = {item["header"]: item for item in json.loads(Path("results/quote/refusals.json").read_text())}
    assert refused["huge"]["code"] == "out_of_memory"
    assert "ampere_24" in refused["huge"]["message"]
    assert "gpu.classes" in refused["huge"]["advice"]
    assert "2 to predict" in capsys.readouterr().out
    assert cli.main(["plan", "my.fasta", "--set", "gpu.classes=[ampere_80]"]) == 0
    assert "3 to predict" in capsys.readouterr().out

"""What a run leaves for other programs, read by them: MultiQC itself, the rocrate library."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored_files

from snakefold.cli import main
from snakefold.config import load_config
from snakefold.kernel import citations
from snakefold.run import methods
from snakefold.run.exports import target_dollars, write_exports
from snakefold.run.metrics import METRICS_COLUMNS
from snakefold.structures.confidence import read_pae
from snakefold.structures.scores import Interface, ReferenceScores

HOUSE = Path(__file__).parents[2]
HOSTILE = "<script>window.hacked=1</script> & 'x'"


def search(tool: str, values: dict[str, Any], names: list[str]) -> dict[str, Any]:
    files = [{"name": f"{name}.fasta", "size": 5, "ends_sha256": "ab" * 32} for name in names]
    databases = [
        {"name": name, "limit": 10000, "pairing": name == "uniprot", "files": [file]}
        for name, file in zip(names, files, strict=True)
    ]
    return {"tool": tool, "parameters": {tool: values}, "databases": databases}


def provenance(
    *,
    rehearsal: bool = False,
    complexes: bool = True,
    tool: str = "jackhmmer",
    on_gpu: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """What the plan step records, for a run of monomers and complexes."""
    config = load_config({"msa": {"tool": tool}, **settings})
    values = {"jackhmmer": {"pyhmmer": "0.12.3", "iterations": 1, "-E": 0.0001}}.get(tool, {"version": "17"})
    values |= {"gpu": True} if on_gpu else {}
    weights = {"rehearsal": True, "seed": 0} if rehearsal else {"params_model_1_ptm.npz": {"size": 1}}

    def fold(preset: str, names: list[str]) -> dict[str, Any]:
        if config.engine == "flashabb":
            return {"rehearsal": False, "msa": None, "engine": {"engine": "flashabb", "settings": {}}}
        own = config.alphafold2.model_dump(mode="json") | {"model_preset": preset}
        return {
            "rehearsal": rehearsal,
            "relax": config.relax.model_dump(mode="json"),
            "msa": search(tool, values, names),
            "templates": None,
            "engine": {"engine": "alphafold2", "settings": own, "weights": weights},
        }

    return {
        "snakefold": "0.1.0",
        "python": "3.11.7",
        "packages": {"alphafold-colabfold": "2.3.20", "snakemake": "9.27.1", "openmm": "8.6.1"},
        "settings": config.model_dump(mode="json"),
        "recipe": {
            "fold": fold("monomer_ptm", ["uniref90"]),
            "complex_fold": fold("multimer", ["uniref90", "uniprot"]) if complexes else {},
            "msa": search(tool, values, ["uniref90"]),
        },
    }


@pytest.fixture(scope="module", params=[False, True], ids=["real", "rehearsal"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collected run with its exports."""
    folder = tmp_path_factory.mktemp("exports")
    (folder / "in.fasta").write_text(">a\nACDEFGHIK\n")
    results = scored_files.make_run(folder / "results", rehearsal=request.param, models=2)
    text = (results / "failures.tsv").read_text().replace("Not a protein: J", HOSTILE)
    assert HOSTILE in text
    (results / "failures.tsv").write_text(text)
    (results / "config.yaml").write_text(f"input: {folder / 'in.fasta'}\n")
    (results / "provenance.json").write_text(json.dumps(provenance(rehearsal=request.param)))
    said: list[str] = []
    write_exports(results, said.append)
    assert said == []
    return results


def test_methods_say_what_was_used_and_nothing_else(run: Path) -> None:
    text = (run / "methods.md").read_text()
    for words in (
        "alphafold-colabfold 2.3.20",
        "snakefold 0.1.0 on Snakemake 9.27.1 (Mölder et al. 2021)",
        "Complexes were predicted by the multimer (v3) network, models 1, 2, 3, 4 and 5, with 3 recycles",
        "jackhmmer (PyHMMER 0.12.3, 1 iteration, E-value 0.0001) (Eddy 2011; Larralde and Zeller 2023)",
        "uniref90 [uniref90.fasta; at most 10,000 rows] (Suzek et al. 2015)",
        "for pairing chains] (The UniProt Consortium 2023)",
        "OpenMM 8.6.1",
        "ipSAE and pDockQ2 (Dunbrack 2025; Zhu et al. 2023)",
        "No templates were used.",
    ):
        assert words in text
    assert ("REHEARSAL" in text) == ("rehearsal" in str(run)) or text.count("REHEARSAL") <= 1
    for words in ("HHblits", "MMseqs2 ", "TM-align", "AlphaFold DB", "None"):
        assert words not in text


@pytest.mark.parametrize(
    ("made", "cited", "not_cited"),
    [
        (
            {},
            {"evans2021", "eddy2011", "uniprot2023", "zhu2023", "eastman2024"},
            {"steinegger2017", "varadi2024"},
        ),
        ({"complexes": False}, {"jumper2021", "suzek2015"}, {"evans2021", "dunbrack2025", "uniprot2023"}),
        ({"tool": "mmseqs"}, {"steinegger2017"}, {"eddy2011", "larralde2023", "kallenborn2025"}),
        ({"tool": "mmseqs", "on_gpu": True}, {"steinegger2017", "kallenborn2025"}, {"eddy2011"}),
        ({"tool": "hhblits"}, {"steinegger2019a"}, {"eddy2011"}),
        ({"relax": {"models_to_relax": "none"}}, {"jumper2021"}, {"eastman2024", "hornak2006"}),
        ({"references": {"a": "a.pdb"}}, {"zhang2005", "mariani2013"}, set()),
        ({"reuse": ["mine"]}, {"varadi2024"}, set()),
        ({"engine": "flashabb"}, {"ellmen2026", "dunbar2016"}, {"jumper2021", "mirdita2022", "eddy2011"}),
    ],
)
def test_bibtex_has_the_sources_of_what_was_used(
    made: dict[str, Any], cited: set[str], not_cited: set[str]
) -> None:
    text = methods.bibtex(provenance(**made))
    keys = set(re.findall(r"^@article\{(\w+),$", text, re.MULTILINE))
    assert cited <= keys
    assert not not_cited & keys
    # What the paragraph names in brackets is what the file holds, and the other way round.
    paragraph, sources = methods.paragraph(provenance(**made)), citations.load()
    assert {key for key, item in sources.items() if item.short in paragraph} == keys
    for entry in text.split("\n\n"):
        assert entry.count("{") == entry.count("}") > 0
        assert {"author", "title", "journal", "year", "doi"} <= set(
            re.findall(r"^  (\w+) = \{", entry, re.MULTILINE)
        )


def test_sources_are_told_apart() -> None:
    sources = citations.load().values()
    assert len({item.doi for item in sources}) == len({item.short for item in sources}) == len(sources)
    assert all(re.fullmatch(r"10\.\d{4,}/\S+", item.doi) for item in sources)


@pytest.mark.parametrize(
    "content", [{}, {"recipe": None}, {"recipe": {"engine": "alphafold2"}, "packages": None}]
)
def test_a_provenance_that_tells_little_makes_a_short_paragraph(content: dict[str, Any]) -> None:
    text = methods.paragraph(content)
    assert text.startswith("Structures were predicted in a run of snakefold on Snakemake")
    assert "None" not in text
    assert "AlphaFold" not in text, "nobody recorded which engine it was"
    assert "molder2021" in methods.bibtex(content)


def test_the_methods_say_that_real_proteins_were_searched_in_the_demo_database() -> None:
    assert "msa.db_preset is demo" in methods.paragraph(provenance(input="my.fasta"))
    assert "msa.db_preset is demo" not in methods.paragraph(provenance())
    searched = provenance(input="my.fasta")
    searched["settings"]["msa"]["db_preset"] = "reduced_dbs"
    assert "demo" not in methods.paragraph(searched)


@pytest.mark.parametrize(
    ("page", "command"),
    [("results.md", ["columns"]), ("citations.md", ["methods", "--all"]), ("errors.md", ["errors"])],
)
def test_pages_are_as_their_source(page: str, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 0
    assert (HOUSE / "docs" / page).read_text() == capsys.readouterr().out


def test_the_page_of_columns_has_every_column() -> None:
    rows = [
        line for line in (HOUSE / "docs" / "results.md").read_text().splitlines() if line.startswith("| `")
    ]
    names = [line.split("`")[1] for line in rows]
    assert names[: len(METRICS_COLUMNS)] == list(METRICS_COLUMNS)
    assert {*Interface.model_fields, *ReferenceScores.model_fields} <= set(names)


@pytest.mark.needs("multiqc")
def test_multiqc_shows_the_run(run: Path, tmp_path: Path) -> None:
    rows = (run / "metrics.tsv").read_text().splitlines()
    row = dict(zip(rows[0].split("\t"), rows[2].split("\t"), strict=True))
    sections = {path.name: json.loads(path.read_text()) for path in (run / "multiqc").iterdir()}
    texts = [json.dumps(section) for section in sections.values()]
    assert [("REHEARSAL" in text) for text in texts] == [row["rehearsal"] == "True"] * 3
    if row["rehearsal"] != "True":
        return  # MultiQC itself takes long to start
    command = [sys.executable, "-m", "multiqc", str(run), "--outdir", str(tmp_path), "--no-ansi", "--strict"]
    quiet = {**os.environ, "MULTIQC_NO_VERSION_CHECK": "true"}
    done = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "multiqc_data" / "multiqc_data.json").read_text())
    (general,) = data["report_general_stats_data"].values()
    assert set(general) == {"nanobody", "antibody", "copy"}
    for name in ("mean_plddt", "ptm", "iptm", "interface_ipsae", "msa_depth", "reference_lddt"):
        assert general["antibody"][name] == pytest.approx(float(row[name]))
    bands = (tmp_path / "multiqc_data" / "multiqc_snakefold_plddt_plot.txt").read_text().splitlines()
    assert float(bands[1].split("\t")[1]) == pytest.approx(100 * float(row["fraction_very_high"]), abs=0.01)
    page = (tmp_path / "multiqc_report.html").read_text()
    assert "REHEARSAL: pLDDT" in page
    assert "broken" in page
    assert HOSTILE not in page


@pytest.mark.needs("rocrate")
def test_the_crate_is_read_by_its_library(run: Path) -> None:
    from rocrate.rocrate import ROCrate

    crate = ROCrate(run)
    rehearsal = "REHEARSAL" in (run / "methods.md").read_text()
    assert crate.name.startswith("REHEARSAL: Predicted" if rehearsal else "Predicted structures of 3 targets")
    assert ("REHEARSAL" in crate.description) == rehearsal
    assert crate.mainEntity.id == "workflow/Snakefile"
    assert set(crate.mainEntity.type) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    action = crate.root_dataset["mentions"]
    assert action.type == "CreateAction"
    assert action["instrument"].id == "workflow/Snakefile"
    assert {item.id for item in action["result"]} >= {
        "metrics.tsv",
        "metrics.parquet",
        "structures/",
        "failures.tsv",
    }
    digest = hashlib.sha256(b">a\nACDEFGHIK\n").hexdigest()
    assert [item["sha256"] for item in action["object"] if item["name"] == "in.fasta"] == [digest]
    assert {item["name"]: item["version"] for item in crate.mainEntity["softwareRequirements"]}[
        "openmm"
    ] == "8.6.1"
    assert "https://doi.org/10.1038/s41586-021-03819-2" in {
        item.id for item in crate.root_dataset["citation"]
    }
    licence = crate.dereference("#parameters-alphafold2").get("license")
    assert licence is None if rehearsal else licence.id == "https://creativecommons.org/licenses/by/4.0/"
    for entity in crate.data_entities:
        if entity.id.startswith("ni:"):
            continue
        place = run / entity.id
        assert place.exists(), entity.id
        if place.is_file():
            assert entity["sha256"] == hashlib.sha256(place.read_bytes()).hexdigest()
            assert int(entity["contentSize"]) == place.stat().st_size


def test_the_crate_names_no_entity_that_it_lacks_and_no_place_of_this_machine(run: Path) -> None:
    text = (run / "ro-crate-metadata.json").read_text()
    graph = json.loads(text)["@graph"]
    ids = [item["@id"] for item in graph]
    assert len(ids) == len(set(ids))
    named = set(re.findall(r'\{\s*"@id": "([^"]+)"\s*\}', text))
    outside = {
        "https://w3id.org/ro/crate/1.1",
        "http://schema.org/CompletedActionStatus",
        "https://snakemake.github.io",
    }
    assert named - set(ids) == outside
    assert str(run.parent) not in text
    written = (run / "metrics.tsv").stat().st_mtime_ns
    write_exports(run, print)
    assert (run / "ro-crate-metadata.json").read_text() == text
    assert (run / "metrics.tsv").stat().st_mtime_ns == written


def test_what_cannot_be_written_is_said_and_costs_nothing_else(tmp_path: Path) -> None:
    results = scored_files.make_run(tmp_path / "results", models=1)
    said: list[str] = []
    write_exports(results, said.append)
    assert [text.split(":")[0] for text in said] == ["crate"]
    assert (results / "multiqc" / "snakefold_plddt_mqc.json").is_file()
    (results / "bill.tsv").write_text("nonsense\n1\n")
    assert target_dollars(results, said.append) == {}
    assert said[1].startswith("bill.tsv: ")


@pytest.mark.parametrize("rehearsal", [True, False])
def test_pae_is_exported_as_alphafold_db_has_it(
    tmp_path: Path, rehearsal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    results = scored_files.make_run(tmp_path / "results", rehearsal=rehearsal, models=2)
    assert main(["export", "pae", str(results)]) == 0
    assert {path.name for path in (results / "pae").iterdir()} == {
        f"{name}_pae_0.json" for name in ("nanobody", "copy", "antibody")
    }
    out = tmp_path / "other"
    assert (
        main(["export", "pae", str(results), "--out", str(out), "--target", "antibody", "--all-models"]) == 0
    )
    assert {path.name for path in out.iterdir()} == {"antibody_pae_0.json", "antibody_pae_1.json"}
    stored = read_pae((results / "structures" / "antibody" / "pae.npz").read_bytes())
    for rank, matrix in stored.items():
        (entry,) = json.loads((out / f"antibody_pae_{rank}.json").read_text())
        assert entry["max_predicted_aligned_error"] == 31.75
        assert entry["predicted_aligned_error"] == np.rint(matrix.astype(float)).astype(int).tolist()
        assert isinstance(entry["predicted_aligned_error"][0][0], int)
        assert entry.get("REHEARSAL", False) is rehearsal
    assert "2 files" in capsys.readouterr().out


@pytest.mark.parametrize("rehearsal", [True, False])
def test_scores_are_exported_under_alphafold_3s_names(
    tmp_path: Path, rehearsal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    results = scored_files.make_run(tmp_path / "results", rehearsal=rehearsal, models=2)
    assert main(["export", "summary", str(results)]) == 0
    assert {path.name for path in (results / "summaries").iterdir()} == {
        f"{name}_summary_confidences_0.json" for name in ("nanobody", "copy", "antibody")
    }
    out = tmp_path / "other"
    words = ["--out", str(out), "--target", "antibody", "--all-models"]
    assert main(["export", "summary", str(results), *words]) == 0
    told = json.loads((results / "structures" / "antibody" / "confidence.json").read_text())
    stored = read_pae((results / "structures" / "antibody" / "pae.npz").read_bytes())
    first, second = told["chain_lengths"]
    for rank, model in enumerate(told["models"]):
        made = json.loads((out / f"antibody_summary_confidences_{rank}.json").read_text())
        assert made.get("REHEARSAL", False) is rehearsal
        assert (made["ptm"], made["iptm"], made["seed"]) == (model["ptm"], model["iptm"], model["seed"])
        assert made["ranked_by"] == "iptm+ptm" and made["chain_ids"] == ["A", "B"]
        across = float(stored[rank][:first, first:].min()), float(stored[rank][first:, :first].min())
        assert made["chain_pair_pae_min"][0][1] == pytest.approx(across[0], abs=1e-3)
        assert made["chain_pair_pae_min"][1][0] == pytest.approx(across[1], abs=1e-3)
        assert len(stored[rank]) == first + second
        # No engine gave these, and none is made up.
        assert not {"ranking_score", "has_clash", "fraction_disordered", "chain_pair_iptm"} & set(made)
    assert "2 files" in capsys.readouterr().out
    (results / "structures" / "nanobody" / "pae.npz").unlink()
    assert main(["export", "summary", str(results), "--target", "nanobody"]) == 0
    made = json.loads((results / "summaries" / "nanobody_summary_confidences_0.json").read_text())
    assert "chain_pair_pae_min" not in made and "iptm" not in made


def test_an_export_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = scored_files.make_run(tmp_path / "results", models=1)
    assert main(["export", "pae", str(tmp_path)]) == 2
    assert main(["export", "pae", str(results), "--target", "nanobody", "nobody"]) == 2
    (results / "structures" / "copy" / "pae.npz").unlink()
    (results / "structures" / "nanobody" / "pae.npz").write_bytes(b"PK")
    assert main(["export", "pae", str(results), "--target", "nanobody"]) == 2
    said = capsys.readouterr().err
    assert "structures: no such folder" in said and "no structure of nobody" in said
    assert "nanobody: pae.npz or confidence.json is damaged" in said
    assert main(["export", "pae", str(results), "--target", "copy"]) == 0
    assert "no PAE: copy" in capsys.readouterr().out

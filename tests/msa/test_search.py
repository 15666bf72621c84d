"""The MSA step as a whole: files of a chain, order of databases, failures, parity with AlphaFold."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from one_database import one_database

from snakefold.kernel import recipes
from snakefold.kernel.contracts import MsaMeta
from snakefold.kernel.errors import DatabaseMissingError, Reason, TargetError
from snakefold.msa import a3m, jackhmmer, search
from snakefold.msa.bundle import RawMsa
from snakefold.msa.databases.presets import Database, Preset, load_preset
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

UBIQUITIN = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFAGKQLEDGRTLSDYNIQKESTLHLVLRLRGG"
ALPHA = "MFLSFPTTKTYFPHFDLSHGSAQVKGHGKKVADALTNAVAHVDDMPNALSALSDLHAHKLRVDPVNFK"
BETA = "LLVVYPWTQRFFESFGDLSTPDAVMGNPKVKAHGKKVLGAFSDGLAHLDNLKGTFATLSELHCDKLHVDPENFR"
ORPHAN = "WCMHWCYHMWCHYMWPCHMWYCHWMPCYHWMCHYW"


def chain(sequence: str) -> PlannedChain:
    return PlannedChain(key=recipes.sequence_key([sequence]), sequence=sequence)


CHAINS = [chain(sequence) for sequence in (UBIQUITIN, ALPHA, BETA, ORPHAN)]


def run(
    work: Path, chains: list[PlannedChain] = CHAINS, preset: Preset | None = None, **settings: Any
) -> dict[str, dict[str, bytes] | TargetError]:
    multimer = settings.pop("multimer", True)
    return dict(
        search.search_chunk(
            chains,
            # The plain mmseqs search: a profile search costs ten times the CPU time and is tested elsewhere.
            MsaSettings(mmseqs_recipe="simple", **settings),
            preset or load_preset("demo"),
            work=work,
            log=lambda line: None,
            multimer=multimer,
        )
    )


def files(found: dict[str, dict[str, bytes] | TargetError], sequence: str) -> dict[str, bytes]:
    result = found[chain(sequence).key]
    assert not isinstance(result, TargetError), result
    known = {"meta.json", "msa.a3m", "pairing.a3m", "hits.tsv"}
    assert all(name in known or name.startswith("raw/") for name in result)
    return result


def meta(found: dict[str, dict[str, bytes] | TargetError], sequence: str) -> MsaMeta:
    return MsaMeta.model_validate_json(files(found, sequence)["meta.json"])


def split_swissprot(folder: Path) -> Preset:
    """Three databases with rows in common, in AlphaFold's order, and one for pairing."""
    demo = load_preset("demo").root
    records = (demo / "swissprot.fasta").read_text().split("\n>")
    records[0] = records[0].removeprefix(">")
    parts = {"uniref90": records[:1800], "small_bfd": records[1000:], "mgnify": records[500:]}
    limits = {"uniref90": 10_000, "small_bfd": None, "mgnify": 21}
    databases = []
    for name, part in parts.items():
        path = folder / f"{name}.fasta"
        path.write_text("".join(f">{record}\n" for record in part))
        databases.append(
            Database(
                name, frozenset({"jackhmmer"}), "fasta", path, (path,), limits[name], False, False, 0.1, "x"
            )
        )
    path = demo / "uniprot.fasta"
    databases.append(
        Database("uniprot", frozenset({"jackhmmer"}), "fasta", path, (path,), 200, True, False, 0.1, "x")
    )
    return Preset("split", folder, tuple(databases))


@pytest.mark.parametrize("tool", ["jackhmmer", "mmseqs"])
def test_files_of_a_chain(tmp_path: Path, tool: str) -> None:
    found = run(tmp_path, tool=tool)
    assert list(found) == [each.key for each in CHAINS]
    deep = files(found, UBIQUITIN)
    msa = a3m.parse_a3m(deep["msa.a3m"].decode())
    facts = meta(found, UBIQUITIN)
    assert msa.query == UBIQUITIN
    assert facts.depth == msa.depth > 30
    assert 1 < facts.neff < facts.depth
    assert facts.neff == pytest.approx(a3m.neff(msa), abs=1e-3)
    assert facts.tool == tool
    assert {use.name: use.kept for use in facts.databases}["swissprot"] >= facts.depth - 1
    assert any(tool in command for command in facts.commands)
    hits = list(csv.DictReader(io.StringIO(deep["hits.tsv"].decode()), delimiter="\t"))
    assert set(hits[0]) == {"query", "target", "evalue", "pident", "alnlen", "database"}
    assert {hit["query"] for hit in hits} == {chain(UBIQUITIN).key}
    assert max(float(hit["pident"]) for hit in hits) == 100.0


def test_what_a_limit_left_out_is_in_the_files_of_a_chain(tmp_path: Path) -> None:
    path = load_preset("demo").root / "swissprot.fasta"
    whole = Preset("whole", path.parent, (one_database(path, "swissprot", "fasta", "mmseqs"),))
    facts = meta(run(tmp_path, preset=whole, tool="mmseqs", mmseqs={"max_seqs": 20}), UBIQUITIN)
    [use] = facts.databases
    [step] = use.steps
    assert step.limited
    assert (step.limit, step.hits, use.rows) == (20, 20, 20)
    assert [text.partition(":")[0] for text in facts.warnings] == ["limited_search"]


@pytest.mark.parametrize("tool", ["jackhmmer", "single_sequence"])
def test_no_hits_leave_the_query_alone(tmp_path: Path, tool: str) -> None:
    found = run(tmp_path, [chain(ORPHAN)], tool=tool)
    assert a3m.parse_a3m(files(found, ORPHAN)["msa.a3m"].decode()).rows == [ORPHAN]
    assert (meta(found, ORPHAN).depth, meta(found, ORPHAN).neff) == (1, 1.0)
    assert len(files(found, ORPHAN)["hits.tsv"].splitlines()) == 1


@pytest.mark.parametrize("tool", ["jackhmmer", "mmseqs"])
def test_pairing_rows_keep_species(tmp_path: Path, tool: str) -> None:
    """AlphaFold finds species that both chains of haemoglobin have."""
    from alphafold.data import parsers, pipeline

    found = run(tmp_path, [chain(ALPHA), chain(BETA)], tool=tool)
    species = []
    for sequence in (ALPHA, BETA):
        msa = parsers.parse_a3m(files(found, sequence)["pairing.a3m"].decode())
        features = pipeline.make_msa_features([msa])
        species.append(set(features["msa_species_identifiers"].tolist()) - {b""})
    assert len(species[0] & species[1]) > 50
    own = a3m.parse_a3m(files(found, ALPHA)["msa.a3m"].decode())
    assert not any(name.startswith("sp|") for name in own.names)


def test_without_multimer_nothing_is_searched_for_pairing(tmp_path: Path) -> None:
    found = run(tmp_path, [chain(ALPHA)], multimer=False)
    assert "pairing.a3m" not in files(found, ALPHA)
    assert [use.name for use in meta(found, ALPHA).databases] == ["swissprot"]


def test_features_are_those_of_alphafolds_pipeline(tmp_path: Path) -> None:
    """Same raw files: AlphaFold's parsers, order, limits and its original dropping of duplicates."""
    from alphafold.data import parsers, pipeline

    preset = split_swissprot(tmp_path)
    found = run(tmp_path / "work", preset=preset, keep_raw=True)
    for sequence in (UBIQUITIN, ALPHA, BETA, ORPHAN):
        ours = files(found, sequence)
        raw = {
            name: parsers.parse_stockholm(ours[f"raw/{name}.sto"].decode())
            for name in ("uniref90", "small_bfd", "mgnify", "uniprot")
        }
        for name, merged, order in (
            ("msa.a3m", "msa", ("uniref90", "small_bfd", "mgnify")),
            ("pairing.a3m", "pairing", ("uniprot",)),
        ):
            msas = [raw[each] for each in order]
            features = pipeline.make_msa_features(msas)
            sequences = [row for msa in msas for row in msa.sequences]
            seen: set[str] = set()
            keep = [number for number, row in enumerate(sequences) if not (row in seen or seen.add(row))]  # type: ignore[func-returns-value]
            own = pipeline.make_msa_features([parsers.parse_a3m(ours[name].decode())])
            for feature in ("msa", "deletion_matrix_int", "msa_species_identifiers"):
                assert (own[feature] == features[feature][keep]).all(), (merged, feature)
    uses = {use.name: use for use in meta(found, UBIQUITIN).databases}
    assert uses["mgnify"].kept == 20 < uses["mgnify"].rows


def test_order_is_the_presets(tmp_path: Path) -> None:
    preset = split_swissprot(tmp_path)
    forward = files(run(tmp_path, [chain(UBIQUITIN)], preset), UBIQUITIN)["msa.a3m"]
    reversed_ = dataclasses.replace(preset, databases=preset.databases[::-1])
    backward = files(run(tmp_path, [chain(UBIQUITIN)], reversed_), UBIQUITIN)["msa.a3m"]
    assert forward != backward


def test_missing_databases_stop_everything_first(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissingError, match=r"swissprot\.fasta"):
        run(tmp_path, preset=load_preset("demo", tmp_path))


def test_a_failing_chain_does_not_lose_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = jackhmmer._Query._alignment

    def fail_one(query: Any, limit: int | None) -> Any:
        if query.chain.sequence == ALPHA:
            raise OverflowError("numerical overflow")
        return real(query, limit)

    monkeypatch.setattr(jackhmmer._Query, "_alignment", fail_one)
    found = run(tmp_path)
    failed = found[chain(ALPHA).key]
    assert isinstance(failed, TargetError)
    assert failed.reason == Reason.MSA_FAILED
    assert "numerical overflow" in str(failed)
    assert meta(found, UBIQUITIN).depth > 30


def test_when_every_chain_has_failed_no_more_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(query: Any, limit: int | None) -> Any:
        raise OverflowError("numerical overflow")

    monkeypatch.setattr(jackhmmer._Query, "_alignment", fail)
    assert all(isinstance(result, TargetError) for result in run(tmp_path).values())


def test_an_alignment_of_another_query_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {each.key: [RawMsa("swissprot", "a3m", ">q\nACD\n")] for each in CHAINS[:1]}
    monkeypatch.setattr(jackhmmer, "search", lambda *args, **names: wrong)
    failed = run(tmp_path, CHAINS[:1])[CHAINS[0].key]
    assert isinstance(failed, TargetError)
    assert "different queries" in str(failed)


def test_precomputed_asks_for_an_a3m(tmp_path: Path) -> None:
    failed = run(tmp_path, [chain(UBIQUITIN)], tool="precomputed")[chain(UBIQUITIN).key]
    assert isinstance(failed, TargetError)
    assert "no A3M was given" in str(failed)


def test_recipe_names_what_results_depend_on() -> None:
    demo = load_preset("demo")

    def named(**settings: Any) -> str:
        multimer = settings.pop("multimer", True)
        return recipes.digest(search.recipe(MsaSettings(**settings), demo, multimer=multimer))

    assert named() == named(threads=7, chunk_size=3, mem_mb=900, keep_raw=True)
    different = [
        named(),
        named(tool="mmseqs"),
        named(tool="mmseqs", mmseqs_recipe="simple"),
        named(tool="single_sequence"),
        named(multimer=False),
    ]
    assert len(set(different)) == len(different)
    json.dumps(search.recipe(MsaSettings(), demo))

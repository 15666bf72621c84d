"""Plans that ask an MSA server: what is asked, what is said of it, and when nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from planning import table
from sequence_files import CRN, UBQ, write

from snakefold.config import Config, load_config
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, MsaMeta
from snakefold.kernel.errors import ConfigError, TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.msa.planned import read_chunk
from snakefold.plan.executors import msa_minutes
from snakefold.plan.files import PlannedBatch, read_batch, read_rows
from snakefold.plan.preview import preview
from snakefold.plan.quote.model import Quote
from snakefold.plan.run import plan_run
from snakefold.run.alignments import unaligned
from snakefold.run.requests import gather_inputs, make_request, read_inputs

PUBLIC = "https://api.colabfold.com"
OTHER = {"url": "http://msa.lab.example", "contact": "me@lab.example"}
SET = f">ubq\n{UBQ}\n>pair\n{CRN}:{UBQ}:{CRN}\n>homo\n{CRN}:{CRN}\n>again\n{UBQ}\n"
#: Keys of what is searched for the set.
CHAINS = {sequence_key([UBQ]), sequence_key([CRN])}
TOGETHER = sequence_key([CRN, UBQ])


def settings(folder: Path, text: str = SET, own: str = "", **values: Any) -> Config:
    paths = [write(folder, "set.fasta", text)]
    if own:
        paths.append(write(folder, "own.a3m", own))
    msa = {"tool": "server", "server": OTHER, **values.pop("msa", {})}
    return load_config(
        {
            "input": [str(path) for path in paths],
            "results": str(folder / "results"),
            "weights": "rehearsal",
            "rehearsal": {"models": [1], "blocks": 1},
            "msa": msa,
            **values,
        }
    )


def plan(config: Config) -> tuple[Quote, list[str]]:
    lines: list[str] = []
    quote = plan_run(config, Path(config.results) / "plan", lines.append)
    return quote, "\n".join(lines).splitlines()


def batches(config: Config) -> list[PlannedBatch]:
    folder = Path(config.results) / "plan"
    return [read_batch(folder, row.batch) for row in read_rows(folder)]


@pytest.fixture(autouse=True)
def own_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_chains_and_complexes_are_asked_for_once_in_chunks_of_their_own(tmp_path: Path) -> None:
    config = settings(tmp_path)
    quote, lines = plan(config)
    folder = tmp_path / "results" / "plan"
    rows = table(folder / "chains.tsv")
    assert {(row["key"], row["missing"], row["length"]) for row in rows} == {
        (sequence_key([UBQ]), "msa", str(len(UBQ))),
        (sequence_key([CRN]), "msa", str(len(CRN))),
        (TOGETHER, "pairs", str(len(CRN) + len(UBQ))),
    }
    first, second = (read_chunk(folder, name) for name in ("m0001", "m0002"))
    assert ({chain.key for chain in first.chains}, first.complexes, first.pairing) == (CHAINS, [], False)
    # The different chains, in the order of the target: as ColabFold asks.
    assert [(each.key, each.chains) for each in second.complexes] == [(TOGETHER, [CRN, UBQ])]
    assert second.chains == []
    assert second.pairs != first.recipe
    of_pair = next(each for each in batches(config) if each.pairs)
    assert of_pair.complexes == [TOGETHER]
    assert of_pair.chunks == ["m0001", "m0002"]
    monomers = next(each for each in batches(config) if "ubq" in {one.target.id for one in each.targets})
    assert (monomers.pairs, monomers.complexes, monomers.chunks) == (None, [], ["m0001"])
    assert (quote.chains, quote.complexes, quote.chunks, quote.server) == (2, 1, 2, OTHER["url"])
    assert "2 chains to align, 1 complex to pair in 2 chunks" in lines[0]


def test_the_quote_says_what_leaves_and_how_long_it_takes(tmp_path: Path) -> None:
    quote, lines = plan(settings(tmp_path))
    leaving = [line for line in lines if "sequences of 2 chains are sent to http://msa.lab.example" in line]
    assert len(leaving) == 1
    assert "whose operator can read them" in leaving[0]
    assert any("http://msa.lab.example is not encrypted" in line for line in lines)
    [alignments] = [line for line in lines if line.strip().startswith("alignments")]
    assert "2 chains and 1 complex to pair in 2 chunks" in alignments
    assert "at http://msa.lab.example, one query at a time" in alignments
    # Three queries of 150 s, one after the other, and next to nothing on this machine.
    assert quote.msa_wall_hours.expected * 3600 == pytest.approx(450)
    assert quote.msa_cpu_hours.expected * 3600 < 2
    assert quote.wall_hours.expected >= quote.msa_wall_hours.expected


def test_a_plan_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a plan that speaks HTTP")

    monkeypatch.setattr("socket.socket.connect", refused)
    plan(settings(tmp_path, msa={"server": {"url": PUBLIC, "contact": "me@lab.example"}}))


def test_colabfolds_server_is_not_asked_without_a_contact(tmp_path: Path) -> None:
    config = settings(tmp_path, msa={"server": {}})
    with pytest.raises(ConfigError, match=r"msa\.server\.contact is empty.*--set msa\.server\.contact="):
        plan(config)
    assert not (tmp_path / "results" / "plan" / "batches.tsv").exists()
    # The price is told all the same.
    assert json.loads((tmp_path / "results" / "plan" / "quote.json").read_text())["server"] == PUBLIC
    plan(settings(tmp_path, msa={"server": {"contact": "me@lab.example"}}))
    # Another operator may not care.
    plan(settings(tmp_path, msa={"server": {"url": "https://msa.lab.example"}}))


def test_more_queries_than_allowed_are_not_started(tmp_path: Path) -> None:
    allowed = {**OTHER, "max_queries": 2}
    said = r"max_queries is 2, and the run needs 3 queries of .*: 2 chains to align and 1 complex to pair\."
    with pytest.raises(ConfigError, match=said):
        plan(settings(tmp_path, msa={"server": allowed}))
    plan(settings(tmp_path, msa={"server": {**OTHER, "max_queries": 3}}))


def fill(store: Store, batch: PlannedBatch, *, pairs: bool = True) -> None:
    """What a search would leave in the store."""
    for key, recipe in batch.msa_recipes.items():
        sequence = UBQ if key == sequence_key([UBQ]) else CRN
        meta = MsaMeta(key=key, length=len(sequence), tool="server", depth=1, neff=1)
        files = {
            "msa.a3m": f">q\n{sequence}\n".encode(),
            "meta.json": meta.model_dump_json().encode(),
            "raw/pdb70_hits.txt": b"1abc_A\n",
        }
        store.put(Entry("msa", recipe, key), archive.pack(files))
    if batch.pairs and pairs:
        texts = [f">q\n{each}\n>r\n{each}\n".encode() for each in (CRN, UBQ)]
        files = {f"paired_{number}.a3m": text for number, text in enumerate(texts, 1)}
        store.put(Entry("pairs", batch.pairs, TOGETHER), archive.pack(files | {"pairs.json": b"{}"}))


def test_what_the_store_has_is_not_sent(tmp_path: Path) -> None:
    config = settings(tmp_path)
    plan(config)
    store = open_store(config.store)
    for batch in batches(config):
        fill(store, batch, pairs=False)
    quote, lines = plan(config)
    assert (quote.chains, quote.complexes) == (0, 1)
    [row] = table(tmp_path / "results" / "plan" / "chains.tsv")
    assert row["missing"] == "pairs"
    reasons = {row["id"]: row["reason"] for row in table(tmp_path / "results" / "plan" / "targets.tsv")}
    assert "its chains are to be paired" in reasons["pair"]
    assert "its alignment is in the store" in reasons["ubq"]
    for batch in batches(config):
        fill(store, batch)
    # Nothing is sent, so that nobody must be told who sends it.
    quote, lines = plan(config)
    assert quote.chunks == 0
    assert not any("are sent to" in line for line in lines)


def test_own_alignments_are_taken_and_not_asked_for(tmp_path: Path) -> None:
    own = f"#{len(CRN)},{len(UBQ)}\t1,1\n>101\t102\n{CRN}{UBQ}\n>101\n{CRN}{'-' * len(UBQ)}\n"
    config = settings(tmp_path, text=f">ubq\n{UBQ}\n", own=own)
    quote, lines = plan(config)
    assert (quote.chains, quote.complexes) == (1, 0)
    assert any("The sequence of 1 chain is sent" in line for line in lines)


def requested(config: Config, batch: PlannedBatch) -> tuple[FoldRequest, dict[str, bytes]]:
    return make_request(batch, config), gather_inputs(batch, {}, open_store(config.store))


def test_paired_rows_travel_to_the_engine(tmp_path: Path) -> None:
    config = settings(tmp_path)
    plan(config)
    batch = next(each for each in batches(config) if each.pairs)
    fill(open_store(config.store), batch)
    request, files = requested(config, batch)
    assert not any("raw/" in name for name in files)
    msas, failed = read_inputs(request, files)
    assert failed == {}
    by_id = {each.id: msas[each.result_key] for each in request.targets}
    assert by_id["pair"].paired == [f">q\n{each}\n>r\n{each}\n" for each in (CRN, UBQ)]
    assert len(by_id["pair"].chains) == 3
    if "homo" in by_id:
        assert by_id["homo"].paired is None


def test_a_complex_that_was_not_paired_fails_alone(tmp_path: Path) -> None:
    config = settings(tmp_path)
    plan(config)
    batch = next(each for each in batches(config) if each.pairs)
    fill(open_store(config.store), batch, pairs=False)
    request = make_request(batch, config)
    files = gather_inputs(batch, {TOGETHER: "the server answered ERROR."}, open_store(config.store))
    msas, failed = read_inputs(request, files)
    pair = next(each for each in request.targets if each.id == "pair")
    assert list(failed) == [pair.result_key]
    assert isinstance(failed[pair.result_key], TargetError)
    assert "the server answered ERROR." in failed[pair.result_key].message
    assert len(msas) == len(request.targets) - 1
    # Without a word of the search, the store has lost it.
    _, lost = read_inputs(request, gather_inputs(batch, {}, open_store(config.store)))
    assert "no longer in the store" in lost[pair.result_key].message


def test_lost_pairs_are_searched_again(tmp_path: Path) -> None:
    config = settings(tmp_path)
    plan(config)
    store = open_store(config.store)
    for batch in batches(config):
        fill(store, batch, pairs=False)
    msa = tmp_path / "results" / "msa"
    msa.mkdir()
    for name in ("m0001", "m0002"):
        (msa / f"{name}.json").write_text(json.dumps({"failed": {}}))
    found = list(unaligned(tmp_path / "results", lambda: store))
    assert [name for name, *_ in found] == ["pair"]


def test_templates_need_no_database(tmp_path: Path) -> None:
    config = settings(tmp_path, msa={"templates": "hhsearch"})
    plan(config)
    chunk = read_chunk(tmp_path / "results" / "plan", "m0001")
    assert chunk.templates is not None
    assert chunk.depends_on["templates"]["databases"] == []


def test_a_preview_needs_no_database_and_says_what_leaves(tmp_path: Path) -> None:
    lines: list[str] = []
    quote = preview(settings(tmp_path, weights="auto"), tmp_path / "preview", lines.append)
    assert (quote.chains, quote.complexes) == (2, 1)
    assert any("are sent to http://msa.lab.example" in line for line in lines)
    assert not any("databases are missing" in text for text in quote.warnings)


def test_adding_a_complex_leaves_monomers_and_homomers_their_results(tmp_path: Path) -> None:
    config = settings(tmp_path, text=f">ubq\n{UBQ}\n>homo\n{CRN}:{CRN}\n")
    plan(config)
    before = {one.target.id: batch.recipe for batch in batches(config) for one in batch.targets}
    plan(settings(tmp_path))
    after = {one.target.id: batch.recipe for batch in batches(config) for one in batch.targets}
    assert {name: after[name] for name in before} == before


def test_a_job_has_time_for_all_its_answers(tmp_path: Path) -> None:
    config = settings(tmp_path, msa={"server": {**OTHER, "wait_minutes": 60, "chains_per_query": 1}})
    plan(config)
    folder = tmp_path / "results" / "plan"
    assert msa_minutes(folder, "m0001", config) >= 2 * 60
    assert msa_minutes(folder, "m0002", config) >= 60


def test_who_asked_is_not_passed_on_with_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNAKEFOLD_COMMAND", "snakefold run --set msa.server.contact=me@lab.example a.fasta")
    plan(settings(tmp_path))
    text = (tmp_path / "results" / "provenance.json").read_text()
    assert OTHER["url"] in text
    assert "me@lab.example" not in text
    assert "--set msa.server.contact=" in text


def test_recipes_of_other_tools_are_what_they_were(tmp_path: Path) -> None:
    config = settings(tmp_path, msa={"tool": "jackhmmer", "server": {}})
    assert "server" not in config.model_dump(mode="json")["msa"]
    plan(config)
    for batch in batches(config):
        assert "pairs" not in batch.model_dump(mode="json")
    provenance = json.loads((tmp_path / "results" / "provenance.json").read_text())
    assert all("pairs" not in each["recipe"] for each in provenance["recipe"]["predictions"])


def test_one_sequence_is_sent(tmp_path: Path) -> None:
    lines: list[str] = []
    config = settings(tmp_path, f">one\n{UBQ}\n", weights="auto")
    preview(config, tmp_path / "preview", lines.append)
    assert any("The sequence of 1 chain is sent to http://msa.lab.example" in line for line in lines)

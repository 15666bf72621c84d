"""Alignments, paired rows and templates from an MSA server: those of ColabFold's own client, in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from erythrocruorin import CHAINS, RELATIVE, write_pdb
from families import HAEMOGLOBIN_ALPHA, ORPHAN, THIOREDOXIN, UBIQUITIN, chain, database, write_fasta
from one_database import one_database
from tests.servers.msa_server import MsaServer, canned, msa_server, searched

from snakefold.kernel import archive, recipes
from snakefold.kernel.contracts import MsaMeta
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.kernel.unchanged import ChangedError
from snakefold.msa import a3m, search, template_files, templates
from snakefold.msa.chunk import search_to_store
from snakefold.msa.databases.presets import Preset, load_preset
from snakefold.msa.planned import PlannedChunk, PlannedComplex
from snakefold.msa.server import facts as server_facts
from snakefold.msa.server.client import Pace, ServerError
from snakefold.msa.settings import MsaSettings

FAST = Pace(look=0.02, longest_look=0.1, pause=0.02, longest_pause=0.1)
PAIR = (UBIQUITIN, THIOREDOXIN)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("snakefold.msa.server.client.PACE", FAST)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(server: MsaServer, templates: str = "none", **more: Any) -> MsaSettings:
    return MsaSettings.model_validate(
        {
            "tool": "server",
            "templates": templates,
            "server": {"url": server.url, "contact": "me@lab.example", **more},
        }
    )


def chunk(asked: MsaSettings, *sequences: str, complexes: Sequence[tuple[str, ...]] = ()) -> PlannedChunk:
    """What the plan makes of these chains and complexes."""
    preset = load_preset("demo")
    msa = search.recipe(asked, preset)
    names = {"msa": msa, "pairs": server_facts.pairs_recipe(asked.server)}
    if asked.templates != "none":
        names["templates"] = templates.recipe(asked, preset, msa)
    digests = {name: recipes.digest(recipe) for name, recipe in names.items()}
    return PlannedChunk(
        chunk="m0001",
        recipe=digests["msa"],
        templates=digests.get("templates"),
        depends_on=names,
        chains=[chain(sequence) for sequence in sequences],
        pairs=digests["pairs"],
        complexes=[PlannedComplex(key=sequence_key(each), chains=list(each)) for each in complexes],
    )


def run(
    planned: PlannedChunk, asked: MsaSettings, store: Store, tmp_path: Path, lines: list[str] | None = None
) -> dict[str, Any]:
    log = [] if lines is None else lines
    return search_to_store(planned, asked, store, tmp_path / "work", log.append)


def files(store: Store, kind: str, planned: PlannedChunk, *sequences: str) -> dict[str, bytes]:
    recipe = {"msa": planned.recipe, "pairs": planned.pairs}[kind]
    entry = store.get(Entry(kind, recipe or "", sequence_key(sequences)))
    assert entry is not None
    return archive.unpack(entry)


def rows(text: str) -> list[str]:
    return list(a3m.parse_a3m(text).rows)


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Preset:
    """Databases of families, as a real server would have: two for alignments, one for pairing."""
    folder = tmp_path_factory.mktemp("databases")
    made = []
    for seed, name in enumerate(("uniref", "environmental", "uniprot"), 1):
        path = write_fasta(database(seed=seed, members=20, random_sequences=60), folder / f"{name}.fasta")
        made.append(one_database(path, name, "fasta", "mmseqs", pairing=name == "uniprot"))
    # Some rows are in both, for ColabFold keeps duplicates.
    made[1].path.write_text(made[1].path.read_text() + made[0].path.read_text())
    return Preset("test", folder, tuple(made))


@pytest.fixture
def colabfold(tmp_path: Path, server: MsaServer) -> Any:
    """ColabFold's own client, asking the same server."""
    from colabfold.colabfold import run_mmseqs2

    def ask(sequences: list[str], **options: Any) -> Any:
        return run_mmseqs2(
            sequences, str(tmp_path / "theirs"), host_url=server.url, user_agent="test/1 me@x", **options
        )

    return ask


@pytest.fixture(scope="module")
def searching(preset: Preset) -> Iterator[MsaServer]:
    with msa_server(searched(preset)) as running:
        yield running


@pytest.fixture
def server() -> Iterator[MsaServer]:
    with msa_server() as running:
        yield running


def test_rows_equal_those_of_colabfolds_client_on_a_real_search(
    searching: MsaServer, store: Store, tmp_path: Path
) -> None:
    from colabfold.colabfold import run_mmseqs2

    chains = [UBIQUITIN, HAEMOGLOBIN_ALPHA, ORPHAN]
    asked = settings(searching)
    planned = chunk(asked, *chains, complexes=[PAIR])
    summary = run(planned, asked, store, tmp_path)
    assert (summary["failed"], len(summary["searched"])) == ({}, 4)
    assert [len(searching.submitted(kind)) for kind in ("msa", "pair")] == [1, 1]

    def theirs(sequences: list[str], **options: Any) -> Any:
        # An equal query is the same ticket, which is complete: nothing is searched or waited for.
        return run_mmseqs2(
            sequences, str(tmp_path / "theirs"), host_url=searching.url, user_agent="t/1 me@x", **options
        )

    for sequence, expected in zip(chains, theirs(chains), strict=True):
        found = files(store, "msa", planned, sequence)
        assert rows(found["msa.a3m"].decode()) == rows(expected)
        meta = MsaMeta.model_validate_json(found["meta.json"])
        assert (meta.tool, meta.depth) == ("server", len(rows(expected)))
        assert [used.name for used in meta.databases] == ["uniref", "environmental"]
        assert (meta.depth > 40) == (sequence != ORPHAN)
    # Rows of both databases and each one's copy of the query are kept.
    deep = rows(files(store, "msa", planned, UBIQUITIN)["msa.a3m"].decode())
    assert deep.count(UBIQUITIN) >= 2
    assert len(set(deep)) < len(deep)

    paired = server_facts.paired_texts(files(store, "pairs", planned, *PAIR))
    expected = theirs(list(PAIR), use_pairing=True, use_env=False)
    assert [rows(text) for text in paired] == [rows(text) for text in expected]
    assert len(rows(paired[0])) == len(rows(paired[1])) > 3
    assert len(searching.submitted("msa")) == len(searching.submitted("pair")) == 2
    assert len({each.form["q"] for each in searching.submitted("msa")}) == 1


@pytest.mark.parametrize(
    ("mode", "options", "names"),
    [
        ("env", {}, ["uniref", "environmental"]),
        ("all", {"use_env": False}, ["uniref"]),
        ("env-nofilter", {"use_filter": False}, ["uniref", "environmental"]),
        ("nofilter", {"use_env": False, "use_filter": False}, ["uniref"]),
    ],
)
def test_every_mode_is_colabfolds(
    server: MsaServer,
    store: Store,
    tmp_path: Path,
    colabfold: Any,
    *,
    mode: str,
    options: dict[str, Any],
    names: list[str],
) -> None:
    asked = settings(server, mode=mode)
    planned = chunk(asked, UBIQUITIN)
    run(planned, asked, store, tmp_path)
    found = files(store, "msa", planned, UBIQUITIN)
    [expected] = colabfold([UBIQUITIN], **options)
    assert rows(found["msa.a3m"].decode()) == rows(expected)
    assert [used.name for used in MsaMeta.model_validate_json(found["meta.json"]).databases] == names
    assert {each.form["mode"] for each in server.submitted("msa")} == {mode}


@pytest.mark.parametrize(
    ("pairing", "options"),
    [
        ("pairgreedy", {"use_env": False}),
        ("paircomplete", {"use_env": False, "pairing_strategy": "complete"}),
        ("pairgreedy-env", {}),
        ("paircomplete-env", {"pairing_strategy": "complete"}),
    ],
)
def test_every_mode_of_pairing_is_colabfolds(
    server: MsaServer, store: Store, tmp_path: Path, colabfold: Any, *, pairing: str, options: dict[str, Any]
) -> None:
    asked = settings(server, pairing=pairing)
    planned = chunk(asked, complexes=[PAIR])
    run(planned, asked, store, tmp_path)
    paired = server_facts.paired_texts(files(store, "pairs", planned, *PAIR))
    assert [rows(text) for text in paired] == [
        rows(text) for text in colabfold(list(PAIR), use_pairing=True, **options)
    ]
    assert {each.form["mode"] for each in server.submitted("pair")} == {pairing}


def test_colabfolds_client_takes_all_faults_of_the_server(
    server: MsaServer, colabfold: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.faults["submit"].extend(["RATELIMIT", "UNKNOWN", "PENDING", "RATELIMIT"])
    server.faults["status"].extend(["PENDING", "RUNNING", "UNKNOWN"])
    # `PENDING` has no ticket: the client asks for one that is called nothing, until it is complete.
    server.faults["status"].append("ERROR")
    with pytest.raises(Exception, match="MMseqs2 API is giving errors"):
        colabfold([UBIQUITIN])
    server.faults.clear()
    server.faults["submit"].append("MAINTENANCE")
    with pytest.raises(Exception, match="undergoing maintenance"):
        colabfold([UBIQUITIN, UBIQUITIN, ORPHAN])
    server.faults["submit"].append("RATELIMIT")
    found = colabfold([UBIQUITIN, UBIQUITIN, ORPHAN])
    assert found[0] == found[1] != found[2]


def test_chains_are_asked_for_together_and_stored_as_they_come(
    server: MsaServer, store: Store, tmp_path: Path
) -> None:
    asked = settings(server, chains_per_query=2)
    planned = chunk(asked, UBIQUITIN, THIOREDOXIN, ORPHAN)
    # The second query meets a server that does not answer any more.
    server.faults["submit"].extend(["", *["500"] * 100])
    with pytest.raises(ServerError, match="got no answer"):
        run(planned, asked, store, tmp_path)
    assert [each.form["q"].count(">") for each in server.submitted("msa")[:2]] == [2, 1]
    server.faults.clear()
    summary = run(planned, asked, store, tmp_path)
    assert [len(summary[name]) for name in ("stored", "searched", "failed")] == [2, 1, 0]
    # What is in the store is not asked for again.
    before = len(server.asked)
    assert len(run(planned, asked, store, tmp_path)["stored"]) == 3
    assert len(server.asked) == before


def test_one_chain_without_an_answer_does_not_lose_the_others(store: Store, tmp_path: Path) -> None:
    def search(kind: str, mode: str, records: Any) -> Any:
        if any(text == ORPHAN for _, text in records):
            raise ValueError("no such thing")
        return canned(kind, mode, records)

    with msa_server(search) as server:
        asked = settings(server)
        summary = run(chunk(asked, UBIQUITIN, ORPHAN, THIOREDOXIN), asked, store, tmp_path)
    assert len(summary["searched"]) == 2
    assert list(summary["failed"]) == [sequence_key([ORPHAN])]
    assert "the server answered ERROR. Run again later, or give" in summary["failed"][sequence_key([ORPHAN])]
    assert len(server.submitted("msa")) == 4


def test_a_server_with_errors_only_is_left_alone(server: MsaServer, store: Store, tmp_path: Path) -> None:
    asked = settings(server, chains_per_query=1)
    server.faults["submit"].extend(["ERROR"] * 100)
    with pytest.raises(ServerError, match="3 queries in a row failed"):
        run(chunk(asked, UBIQUITIN, ORPHAN, THIOREDOXIN, RELATIVE), asked, store, tmp_path)
    assert len(server.asked) == 3


def test_a_broken_archive_is_fetched_again(server: MsaServer, store: Store, tmp_path: Path) -> None:
    asked = settings(server)
    server.faults["download"].extend(["broken", "cut"])
    assert len(run(chunk(asked, UBIQUITIN), asked, store, tmp_path)["searched"]) == 1
    server.faults["download"].extend(["broken"] * 100)
    summary = run(chunk(asked, ORPHAN, complexes=[PAIR]), asked, store, tmp_path)
    told = list(summary["failed"].values())
    assert len(told) == 2
    assert all("the archive cannot be read" in text and "(fetched 3 times)" in text for text in told)


def test_paired_rows_that_do_not_pair_are_refused(store: Store, tmp_path: Path) -> None:
    def search(kind: str, mode: str, records: Any) -> dict[str, bytes]:
        (first, one), (second, two) = records
        return {"pair.a3m": f">{first}\n{one}\n>a\n{one}\n\0>{second}\n{two}\n\0".encode()}

    with msa_server(search) as server:
        asked = settings(server)
        summary = run(chunk(asked, complexes=[PAIR]), asked, store, tmp_path)
    assert "different numbers of rows: 2, 1" in summary["failed"][sequence_key(PAIR)]


def test_what_the_store_has_says_whom_and_when(server: MsaServer, store: Store, tmp_path: Path) -> None:
    asked = settings(server)
    planned = chunk(asked, UBIQUITIN, complexes=[PAIR])
    run(planned, asked, store, tmp_path)
    meta = MsaMeta.model_validate_json(files(store, "msa", planned, UBIQUITIN)["meta.json"])
    assert {used.fingerprint for used in meta.databases} == {f"{server.url}, asked on {server_facts.today()}"}
    facts = json.loads(files(store, "pairs", planned, *PAIR)["pairs.json"])
    assert (facts["server"], facts["asked"], facts["rows"]) == (server.url, server_facts.today(), 3)
    hits = files(store, "msa", planned, UBIQUITIN)["hits.tsv"].decode().splitlines()
    assert len(hits) == 5


def test_another_server_mode_or_release_is_another_recipe(server: MsaServer) -> None:
    first = settings(server)
    names = {
        chunk(each, UBIQUITIN).recipe
        for each in (
            first,
            settings(server, mode="all"),
            settings(server, databases="uniref30_2302"),
            settings(server, url="http://127.0.0.1:1"),
        )
    }
    assert len(names) == 4
    # Who asks, and how fast, changes no result.
    slower = settings(server, contact="you@lab.example", max_queries=3, chains_per_query=1, wait_minutes=2)
    assert chunk(slower, UBIQUITIN).recipe == chunk(first, UBIQUITIN).recipe


def test_a_plan_of_other_settings_is_refused(server: MsaServer, store: Store, tmp_path: Path) -> None:
    planned = chunk(settings(server), UBIQUITIN)
    with pytest.raises(ChangedError):
        run(planned, settings(server, mode="all"), store, tmp_path)
    paired = chunk(settings(server), complexes=[PAIR])
    with pytest.raises(ChangedError):
        run(paired, settings(server, pairing="paircomplete"), store, tmp_path)
    assert server.asked == []


@pytest.fixture(scope="module")
def structures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bytes]]:
    folder = tmp_path_factory.mktemp("pdb")
    write_pdb(folder)
    cif = (folder / "mmcif_files" / "2gtl.cif").read_bytes()
    return {f"2gtl_{name}": (text, cif) for name, text in CHAINS.items()}


def with_hits(*names: str) -> Any:
    """A search that finds these entries of pdb70 for the first chain of a query."""

    def search(kind: str, mode: str, records: Any) -> dict[str, bytes]:
        lines = [f"{records[0][0]}\t{name}\t0.9\t1\t2\t3\t4\t5\t6\t7\t1e-5\t99\t10M\n" for name in names]
        return canned(kind, mode, records) | {"pdb70.m8": "".join(lines).encode()}

    return search


def test_templates_equal_colabfolds(
    structures: dict[str, tuple[str, bytes]], store: Store, tmp_path: Path
) -> None:
    import numpy as np
    from colabfold.batch import mk_template
    from colabfold.colabfold import run_mmseqs2

    with msa_server(with_hits("2gtl_D", "2gtl_A", "9zzz_B"), structures=structures) as server:
        asked = settings(server, "hhsearch")
        planned = chunk(asked, RELATIVE, UBIQUITIN)
        summary = run(planned, asked, store, tmp_path)
        assert len(summary["templates"]) == 2
        entry = store.get(Entry("templates", planned.templates or "", sequence_key([RELATIVE])))
        # The same query, so the same ticket.
        lines, folders = run_mmseqs2(
            [RELATIVE, UBIQUITIN],
            str(tmp_path / "theirs"),
            use_templates=True,
            host_url=server.url,
            user_agent="test/1 me@x",
        )
    found = template_files.unpack(entry or b"")
    assert found.names[0] == "2gtl_D"
    assert any("9zzz_B: the server sent no structure" in text for text in found.warnings)
    expected = mk_template(lines[0], folders[0], RELATIVE)
    features = templates.load(found.npz or b"")
    assert sorted(features) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(features[name], value)
    assert folders[1] is None
    bare = store.get(Entry("templates", planned.templates or "", sequence_key([UBIQUITIN])))
    assert template_files.unpack(bare or b"").npz is None


def test_templates_of_a_stored_alignment_cost_no_other_query(
    structures: dict[str, tuple[str, bytes]], store: Store, tmp_path: Path
) -> None:
    with msa_server(with_hits("2gtl_D"), structures=structures) as server:
        run(chunk(settings(server), RELATIVE), settings(server), store, tmp_path)
        asked = settings(server, "hhsearch")
        summary = run(chunk(asked, RELATIVE), asked, store, tmp_path)
        assert len(summary["templates"]) == 1
        assert len(server.submitted("msa")) == 1
        assert [each.path for each in server.asked if "template" in each.path] == ["/template/2gtl_D"]


def test_templates_that_cannot_be_had_fail_their_chain_only(
    structures: dict[str, tuple[str, bytes]], store: Store, tmp_path: Path
) -> None:
    with msa_server(with_hits("2gtl_D"), structures=structures) as server:
        asked = settings(server, "hhsearch")
        server.faults["template"].append("broken")
        summary = run(chunk(asked, RELATIVE, UBIQUITIN), asked, store, tmp_path)
    assert summary["templates"] == [sequence_key([UBIQUITIN])]
    assert "templates 2gtl_D" in summary["failed"][sequence_key([RELATIVE])]


def test_settings_of_local_databases_contradict_a_server(server: MsaServer) -> None:
    first = settings(server).model_dump()
    for name, value, default in (
        ("db_preset", "reduced_dbs", "demo"),
        ("db_root", "/data", "null"),
        ("mmseqs_recipe", "simple", "colabfold"),
    ):
        with pytest.raises(ValueError, match=rf"and msa\.{name} says .* msa\.{name}={default}\)"):
            MsaSettings.model_validate({**first, name: value})
    with pytest.raises(ValueError, match="hhsearch, or none"):
        MsaSettings.model_validate({**first, "templates": "hmmsearch"})

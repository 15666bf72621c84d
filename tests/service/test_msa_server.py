"""The MSA server: its routes and searches, and what its clients make of the answers."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from families import ORPHAN, THIOREDOXIN, UBIQUITIN, chain
from serving import Serving, colabfold_databases, running

from snakefold.kernel import archive, recipes
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry
from snakefold.msa import a3m, search
from snakefold.msa.chunk import search_to_store
from snakefold.msa.databases.presets import load_preset
from snakefold.msa.planned import PlannedChunk, PlannedComplex
from snakefold.msa.server import facts as server_facts
from snakefold.msa.server.client import Pace
from snakefold.msa.settings import MsaSettings
from snakefold.service.msa.pairing import paired
from snakefold.service.msa.search import Searches, searches
from snakefold.service.msa.settings import ServedMsa

UNIREF, ENVIRONMENT = "uniref.a3m", "bfd.mgnify30.metaeuk30.smag30.a3m"
PAIR = (UBIQUITIN, THIOREDOXIN)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colabfold_databases(tmp_path_factory.mktemp("databases"))


@pytest.fixture(scope="module")
def settings(root: Path) -> MsaSettings:
    """One plain search per database: a tenth of the time."""
    return MsaSettings(
        tool="mmseqs", mmseqs_recipe="simple", db_preset="colabfold", db_root=str(root), threads=2
    )


@pytest.fixture
def serving(tmp_path: Path, settings: MsaSettings) -> Iterator[Serving]:
    with running(tmp_path / "served", settings) as server:
        yield server


@pytest.fixture
def colabfold(tmp_path: Path, serving: Serving, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """ColabFold's own client, which waits less."""
    from colabfold import colabfold as client

    monkeypatch.setattr(client.random, "randint", lambda low, high: -4.9)
    prefix = str(tmp_path / "theirs")

    def ask(*sequences: str, **options: Any) -> Any:
        return client.run_mmseqs2(
            list(sequences), prefix, host_url=serving.url, user_agent="test/1", **options
        )

    return ask


def files(serving: Serving, answered: httpx.Response) -> dict[str, bytes]:
    """What a client downloads."""
    assert serving.wait(answered) == "COMPLETE"
    packed = httpx.get(f"{serving.url}/result/download/{answered.json()['id']}")
    assert packed.headers["content-type"] == "application/gzip"
    with tarfile.open(fileobj=io.BytesIO(packed.content)) as found:
        return {each.name: found.extractfile(each).read() for each in found}  # type: ignore[union-attr]


def stored(serving: Serving, recipe: Any, sequence: str) -> dict[str, bytes]:
    entry = serving.store.get(Entry("msa", recipes.digest(recipe), sequence_key([sequence])))
    assert entry is not None
    return archive.unpack(entry)


def planned(recipe: Any, *sequences: str, pairing: bool = False) -> PlannedChunk:
    """A chunk of the workflow."""
    chains = [chain(each) for each in sequences]
    return PlannedChunk(chunk="m0001", recipe=recipes.digest(recipe), pairing=pairing, chains=chains)


def rows(text: bytes, number: int = 101) -> list[str]:
    blocks = [block for block in text.decode().split("\0") if block.startswith(f">{number}\n")]
    return list(a3m.parse_a3m("".join(blocks)).rows)


def test_colabfolds_client_gets_the_alignments_of_the_workflow(
    colabfold: Callable[..., Any], serving: Serving, settings: MsaSettings, tmp_path: Path
) -> None:
    first, again, orphan = colabfold(UBIQUITIN, UBIQUITIN, ORPHAN)
    assert first == again
    # The row of a query is in both files.
    assert orphan == f">102\n{ORPHAN}\n" * 2
    assert first.count(">101\n") == 2
    before = serving.searches
    assert before == 2
    # The workflow finds them in the store: nothing is searched twice.
    recipe = search.recipe(settings, load_preset("colabfold", settings.db_root), multimer=False)
    summary = search_to_store(
        planned(recipe, UBIQUITIN, ORPHAN), settings, serving.store, tmp_path, serving.log.append
    )
    assert len(summary["stored"]) == 2
    theirs = [line for line in first.splitlines() if line and line[0] != ">"]
    msa = a3m.parse_a3m(stored(serving, recipe, UBIQUITIN)["msa.a3m"].decode())
    assert len(msa) > 10
    assert theirs[:1] + [row for row in theirs if row != UBIQUITIN] == list(msa.rows)


def test_all_rows_are_given_where_no_filter_is_set(serving: Serving) -> None:
    answered = [files(serving, serving.ask("msa", mode, UBIQUITIN)) for mode in ("env", "env-nofilter")]
    assert answered[0][UNIREF] == answered[1][UNIREF]
    assert serving.searches == 2


def test_mode_nofilter_leaves_colabfolds_filters_out() -> None:
    served = ServedMsa(msa=MsaSettings(tool="mmseqs", db_preset="colabfold"))
    assert served.unfiltered == served.msa.model_copy(update={"mmseqs_recipe": "colabfold_unfiltered"})
    assert ServedMsa().unfiltered == ServedMsa().msa


def test_equal_chains_are_searched_once_across_tickets_users_and_the_workflow(
    serving: Serving, settings: MsaSettings, tmp_path: Path
) -> None:
    recipe = searches(settings).msa
    search_to_store(planned(recipe, THIOREDOXIN), settings, serving.store, tmp_path, lambda _: None)
    files(serving, serving.ask("msa", "all", THIOREDOXIN))
    assert serving.searches == 0
    # Two tickets at once, and the same in another order later: one search in each database.
    answered = [serving.ask("msa", mode, UBIQUITIN) for mode in ("env", "all")]
    first, second = (files(serving, each) for each in answered)
    assert first[UNIREF] == second[UNIREF]
    assert ENVIRONMENT not in second
    assert serving.searches == 2
    both = files(serving, serving.ask("msa", "env", THIOREDOXIN, UBIQUITIN))
    assert rows(both[UNIREF], 102) == rows(first[UNIREF])
    assert (serving.searches, serving.ran) == (2, 4)
    # An equal ticket is answered at once.
    assert serving.ask("msa", "env", UBIQUITIN).json()["status"] == "COMPLETE"
    assert serving.ran == 4


@pytest.mark.parametrize("first", ["msa", "pair"])
def test_a_complex_is_searched_once_whichever_ticket_comes_first(
    first: str, serving: Serving, settings: MsaSettings, tmp_path: Path
) -> None:
    """colabfold_batch asks for alignments first, boltz for pairs."""
    modes = {"msa": "env", "pair": "pairgreedy-env"}
    order = [first, "pair" if first == "msa" else "msa"]
    answers = {kind: files(serving, serving.ask(kind, modes[kind], *PAIR)) for kind in order}
    # Two databases for the chains' own rows, one for pairing.
    assert serving.searches == 3
    found = searches(settings)
    entry = stored(serving, found.pairing, UBIQUITIN)
    whole = open_whole(settings, found, tmp_path)
    for name in ("msa.a3m", "pairing.a3m", "hits.tsv"):
        assert entry[name] == whole[name], name
    described, expected = (json.loads(each["meta.json"]) for each in (entry, whole))
    assert described["databases"] == expected["databases"]
    assert described["seconds"].keys() == expected["seconds"].keys()
    assert (
        rows(answers["msa"][UNIREF])
        == list(a3m.parse_a3m(entry["msa.a3m"].decode()).rows)[: described["first_depth"]]
    )
    left, right = (rows(answers["pair"]["pair.a3m"], number) for number in (101, 102))
    assert (left[0], right[0]) == PAIR
    assert len(left) == len(right) == 11  # of ten species
    assert "no species" in json.loads(answers["pair"]["snakefold.json"])["notes"][0]


def open_whole(settings: MsaSettings, found: Searches, tmp_path: Path) -> dict[str, bytes]:
    """The entry of a chain of a complex, as the workflow makes it alone."""
    from snakefold.kernel.store import open_store

    store = open_store(tmp_path / "other")
    chunk = planned(found.pairing, *PAIR, pairing=True)
    assert len(search_to_store(chunk, settings, store, tmp_path, lambda _: None)["searched"]) == 2
    entry = store.get(Entry("msa", chunk.recipe, sequence_key([UBIQUITIN])))
    assert entry is not None
    return archive.unpack(entry)


def test_our_own_client_runs_against_it(
    serving: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("snakefold.msa.server.client.PACE", Pace(look=0.02, pause=0.02, longest_pause=0.1))
    asked = MsaSettings.model_validate({"tool": "server", "server": {"url": serving.url}})
    chunk = PlannedChunk(
        chunk="m0001",
        recipe=recipes.digest(server_facts.recipe(asked.server)),
        chains=[chain(each) for each in (*PAIR, ORPHAN)],
        pairs=recipes.digest(server_facts.pairs_recipe(asked.server)),
        complexes=[PlannedComplex(key=sequence_key(PAIR), chains=list(PAIR))],
    )
    serving.refusals[""] = 2
    lines: list[str] = []
    summary = search_to_store(chunk, asked, serving.store, tmp_path, lines.append)
    assert any("Too many queries at once" in line for line in lines)
    assert len(summary["searched"]) == 4
    assert summary["failed"] == {}
    entry = serving.store.get(Entry("pairs", chunk.pairs or "", sequence_key(PAIR)))
    assert entry is not None
    assert json.loads(archive.unpack(entry)["pairs.json"])["rows"] == 11


def test_without_some_databases_the_answer_is_the_query(
    root: Path, settings: MsaSettings, tmp_path: Path
) -> None:
    """No environmental database, none for pairing: both files are there."""
    for path in root.glob("uniref30_2302_db*"):
        (tmp_path / path.name).symlink_to(path)
    alone = settings.model_copy(update={"db_root": str(tmp_path)})
    with running(tmp_path / "served", alone) as serving:
        found = files(serving, serving.ask("msa", "env", UBIQUITIN))
        assert found[ENVIRONMENT].decode() == f">101\n{UBIQUITIN}\n\0"
        assert len(rows(found[UNIREF])) > 3
        pairs = files(serving, serving.ask("pair", "pairgreedy", *PAIR))
    assert pairs["pair.a3m"].decode() == f">101\n{PAIR[0]}\n\0>102\n{PAIR[1]}\n\0"
    assert "no database for pairing" in json.loads(pairs["snakefold.json"])["notes"][0]
    assert serving.searches == 2  # of the second ticket, its second chain


def test_the_query_keeps_its_letters(serving: Serving) -> None:
    selenium = UBIQUITIN.replace("S", "U").lower()
    found = files(serving, serving.ask("msa", "env", selenium))
    assert rows(found[UNIREF])[0] == rows(found[ENVIRONMENT])[0] == selenium.upper()
    assert serving.store.has(
        Entry(
            "msa",
            recipes.digest(searches(serving.served.msa).msa),
            sequence_key([UBIQUITIN.replace("S", "C")]),
        )
    )


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"q": ">101\nMKT1\n", "mode": "env"}, "101 is no sequence"),
        ({"q": ">101\nMK-T\n", "mode": "env"}, "101 is no sequence"),
        ({"q": ">101\n\n", "mode": "env"}, "101 is no sequence"),
        ({"q": "MKT", "mode": "env"}, "expected FASTA"),
        ({"q": "", "mode": "env"}, "expected FASTA"),
        ({"q": ">../../x\nMKT\n", "mode": "env"}, "no name of a sequence"),
        ({"q": ">101\nMKT\n>101\nMKV\n", "mode": "env"}, "the same name"),
        ({"q": f">101\n{'ACGT' * 10}\n", "mode": "env"}, "looks like DNA"),
        ({"q": f">101\n{'M' * 500}\n", "mode": "env"}, "500 residues; this server takes 400"),
        ({"q": "".join(f">{n}\n{'M' * 300}\n" for n in (1, 2, 3)), "mode": "env"}, "900 residues"),
        ({"q": "".join(f">{n}\nMKT\n" for n in range(5)), "mode": "env"}, "takes 4 per ticket"),
        ({"q": f">101\n{'M' * 100_000}\n", "mode": "env"}, "The form has more than"),
        ({"q": ">101\nMKT\n", "mode": "pairgreedy"}, "no mode of ticket/msa"),
        ({"q": ">101\nMKT\n"}, "is no mode"),
        ({f"k{n}": "x" for n in range(50)}, "cannot be read"),
    ],
)
def test_bad_forms_are_refused_in_words(
    form: dict[str, str], said: str, settings: MsaSettings, tmp_path: Path
) -> None:
    with running(tmp_path, settings, max_queries=4, max_length=400, max_residues=800) as serving:
        answered = httpx.post(f"{serving.url}/ticket/msa", data=form)
    assert answered.status_code == 400
    told = answered.json()
    assert told["status"] == "ERROR"
    assert said in told["reason"]
    assert serving.ran == 0


def test_who_asks_too_much_waits_and_others_do_not(serving: Serving, colabfold: Callable[..., Any]) -> None:
    serving.refusals.update({"": 2, "other": 1})
    # ColabFold's client asks until it may.
    assert colabfold(ORPHAN) == [f">101\n{ORPHAN}\n" * 2]
    limited = serving.ask("msa", "env", UBIQUITIN, key="other")
    assert (limited.status_code, limited.json()["status"]) == (429, "RATELIMIT")
    assert limited.headers["Retry-After"] == "10"
    serving.wait(serving.ask("msa", "env", UBIQUITIN, key="third"))
    serving.refusals["other"] = 9
    # What has been computed costs nothing.
    assert serving.ask("msa", "env", UBIQUITIN, key="other").json()["status"] == "COMPLETE"


def test_clients_print_their_own_words_when_refused(colabfold: Callable[..., Any]) -> None:
    with pytest.raises(Exception, match="confirm your input is a valid protein sequence"):
        colabfold("MKT1")


def test_who_may_not_ask_is_told_so_in_the_apis_words(serving: Serving) -> None:
    refused = serving.ask("msa", "env", UBIQUITIN, key="wrong")
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Basic")
    assert refused.json() == {"id": "", "status": "ERROR", "reason": "No such token."}
    assert serving.ran == 0


def test_a_changed_database_is_another_ticket(tmp_path: Path) -> None:
    demo = load_preset("demo").root
    for path in demo.glob("*.fasta"):
        shutil.copy(path, tmp_path)
    settings = MsaSettings(tool="mmseqs", mmseqs_recipe="simple", db_root=str(tmp_path))
    with running(tmp_path / "served", settings) as serving:
        first = serving.ask("msa", "all", UBIQUITIN)
        assert serving.wait(first) == "COMPLETE"
        path = tmp_path / "swissprot.fasta"
        path.rename(tmp_path / "away")
        meanwhile = serving.ask("msa", "all", UBIQUITIN).json()
        assert (meanwhile["id"], meanwhile["status"]) == ("", "MAINTENANCE")
        path.write_text((tmp_path / "away").read_text() + f">sp|Q00001|MORE_YEAST\n{UBIQUITIN[:-1]}A\n")
        second = serving.ask("msa", "all", UBIQUITIN)
        found = files(serving, second)
    assert second.json()["id"] != first.json()["id"]
    assert UBIQUITIN[:-1] in "".join(rows(found[UNIREF])[1:])
    assert serving.searches == 2


@pytest.mark.parametrize("name", ["../../etc/passwd", "..%2F..%2Fetc%2Fpasswd", "0" * 64, "x", "%00"])
def test_unknown_names_lead_nowhere(name: str, serving: Serving) -> None:
    for path in ("result/download", "template"):
        assert httpx.get(f"{serving.url}/{path}/{name}").status_code == 404
    ticket = httpx.get(f"{serving.url}/ticket/{name}")
    assert ticket.status_code == 404 or ticket.json() == {"id": "", "status": "UNKNOWN"}


def test_a_failed_search_keeps_its_reason_here(serving: Serving, root: Path, tmp_path: Path) -> None:
    serving.served = serving.served.model_copy(
        update={"msa": serving.served.msa.model_copy(update={"db_root": str(tmp_path / "gone")})}
    )
    answered = serving.ask("msa", "env", UBIQUITIN)
    assert serving.wait(answered) == "ERROR"
    name = answered.json()["id"]
    told = httpx.get(f"{serving.url}/ticket/{name}").json()
    assert str(tmp_path) not in told["reason"]
    assert "files or folders are missing" in (serving.of_ticket(name) / "error.txt").read_text()
    assert httpx.get(f"{serving.url}/result/download/{name}").status_code == 404
    # What is put right is computed when it is asked for again.
    serving.served = serving.served.model_copy(
        update={"msa": serving.served.msa.model_copy(update={"db_root": str(root)})}
    )
    assert serving.wait(serving.ask("msa", "env", UBIQUITIN)) == "COMPLETE"
    assert not (serving.of_ticket(name) / "error.txt").exists()


def test_pairs_are_the_best_of_each_species() -> None:
    def msa(query: str, *of: tuple[str, str]) -> a3m.Msa:
        names = [f"tr|A0A00{number}|A0A00{number}_{species}/1-3" for number, (species, _) in enumerate(of)]
        return a3m.Msa(["q", *names], [query, *(row for _, row in of)])

    first = msa("MKT", ("HUMAN", "MKA"), ("HUMAN", "MAA"), ("YEAST", "MRT"), ("MOUSE", "M-T"))
    second = msa("GSW", ("MOUSE", "GSA"), ("HUMAN", "GAW"), ("ECOLI", "AAA"))
    third = msa("LSD", ("YEAST", "LAD"), ("HUMAN", "LSA"))
    greedy = paired([first, second, third], complete=False)
    assert [list(each.rows) for each in greedy] == [
        ["MKT", "MKA", "MRT", "M-T"],
        ["GSW", "GAW", "---", "GSA"],
        ["LSD", "LSA", "LAD", "---"],
    ]
    assert greedy[1].names[2] == "DUMMY"
    complete = paired([first, second, third], complete=True)
    assert [list(each.rows) for each in complete] == [["MKT", "MKA"], ["GSW", "GAW"], ["LSD", "LSA"]]
    assert [len(each) for each in paired([first], complete=False)] == [1]

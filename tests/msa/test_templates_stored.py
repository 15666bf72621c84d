"""Templates apart from MSAs: what they are searched with, and what is searched again after a change."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from erythrocruorin import CHAINS, QUERY, RELATIVE, write_reduced_dbs
from families import ORPHAN, chain

from snakefold import cli
from snakefold.config import load_config
from snakefold.engines.spec import ChainMsa
from snakefold.engines.template_table import template_table
from snakefold.kernel import recipes
from snakefold.kernel.contracts import MsaMeta
from snakefold.kernel.store import Entry, open_store
from snakefold.kernel.unchanged import ChangedError
from snakefold.msa import a3m, jackhmmer, programs, search, templates
from snakefold.msa.chunk import search_to_store
from snakefold.msa.databases.presets import load_preset
from snakefold.msa.planned import PlannedChunk, read_chunk
from snakefold.msa.settings import MsaSettings
from snakefold.plan.files import read_batch
from snakefold.plan.run import plan_run
from snakefold.run.requests import gather_inputs

OTHER = chain(RELATIVE[:80])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("databases")
    write_reduced_dbs(folder)
    return folder


def silent(line: str) -> None:
    """A log nobody reads."""


@pytest.fixture(scope="module")
def aligned(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    ((_, files),) = search.search_chunk(
        [QUERY],
        MsaSettings(keep_raw=True),
        load_preset("reduced_dbs", root),
        work=tmp_path_factory.mktemp("work"),
        log=silent,
    )
    assert isinstance(files, dict)
    return files


def test_searched_with_what_alphafold_searches_with(aligned: dict[str, bytes]) -> None:
    """UniRef90's own alignment, by AlphaFold's functions, against the first rows of the merged MSA."""
    from alphafold.data import parsers
    from alphafold.data.tools.hmmbuild import Hmmbuild

    raw = parsers.deduplicate_stockholm_msa(aligned["raw/uniref90.sto"].decode())
    theirs = parsers.remove_empty_columns_from_stockholm_msa(raw)
    ours = templates.query(aligned)
    assert 1 < len(ours) < a3m.parse_a3m(aligned["msa.a3m"].decode()).depth
    assert any(letter.islower() for row in ours.rows for letter in row)
    # hhsearch reads this:
    rows = parsers.parse_fasta(parsers.convert_stockholm_to_a3m(theirs))[0]
    assert list(ours.rows) == rows
    # hmmsearch reads the profile that hmmbuild makes of it; rows in another order round otherwise.
    hmmbuild = Hmmbuild(binary_path=str(programs.find("hmmbuild")))
    expected, profile = (
        hmmbuild.build_profile_from_sto(text, model_construction="hand")
        for text in (theirs, ours.to_stockholm())
    )
    assert numbers(profile) == pytest.approx(numbers(expected), abs=2e-5)
    assert len(numbers(profile)) > 40 * len(RELATIVE)


def numbers(profile: str) -> list[float]:
    """All numbers of a profile but its checksum."""
    words = (line.split() for line in profile.splitlines() if not line.startswith(("NAME", "DATE", "CKSUM")))
    return [
        float(word) for line in words for word in line if word.replace(".", "").replace("-", "").isdigit()
    ]


def test_stockholm_is_the_a3m() -> None:
    msa = a3m.Msa(["q", "a", "a"], ["ACDE", "AklC-mE", "-Cd--nop"])
    again = a3m.parse_stockholm(msa.to_stockholm())
    assert list(again.rows) == list(msa.rows)
    assert "#=GC RF x..x.x.x...\n" in msa.to_stockholm()


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Chains searched, by program and database."""
    counts: Counter[str] = Counter()
    real_pass, real_run = jackhmmer.search_database, programs.run

    def search_database(chains: Any, database: Any, *rest: Any) -> Any:
        counts[f"jackhmmer {database.name}"] += len(chains)
        return real_pass(chains, database, *rest)

    def run(arguments: Any, *rest: Any, **names: Any) -> Any:
        counts[Path(arguments[0]).name] += 1
        return real_run(arguments, *rest, **names)

    monkeypatch.setattr(jackhmmer, "search_database", search_database)
    monkeypatch.setattr(programs, "run", run)
    return counts


ALIGNED = {f"jackhmmer {name}": 2 for name in ("uniref90", "small_bfd", "mgnify")}
TEMPLATES = {"hmmbuild": 2, "hmmsearch": 2}


class House:
    """Runs of the plan and MSA steps on one store, in folders of their own."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root, self.runs = folder, root, 0
        self.store = open_store(folder / "store")
        (folder / "set.fasta").write_text(
            "".join(f">{each.key[:4]}\n{each.sequence}\n" for each in (QUERY, OTHER))
        )

    def run(self, **msa: Any) -> tuple[str, dict[str, bytes]]:
        """Recipe of the predictions, and the inputs of all batches."""
        self.runs += 1
        plan = self.folder / str(self.runs) / "plan"
        config = load_config(
            {
                "input": str(self.folder / "set.fasta"),
                "store": str(self.folder / "store"),
                "weights": "rehearsal",
                "rehearsal": {"blocks": 1, "models": [1]},
                "msa": {"db_preset": "reduced_dbs", "db_root": str(self.root), **msa},
            }
        )
        plan_run(config, plan, silent)
        for path in sorted(plan.glob("chunks/*.json")):
            chunk = read_chunk(plan, path.stem)
            summary = search_to_store(chunk, config.msa, self.store, self.folder / "work", silent)
            assert not summary["failed"]
            # A job that is run again finds all of it.
            again = search_to_store(chunk, config.msa, self.store, self.folder / "work", silent)
            assert again["stored"] == [each.key for each in chunk.chains]
        inputs: dict[str, bytes] = {}
        recipe = ""
        for path in (plan / "batches").iterdir():
            batch = read_batch(plan, path.stem)
            recipe = batch.recipe
            inputs |= gather_inputs(batch, {}, self.store)
        return recipe, inputs

    def stored(self, kind: str) -> Counter[str]:
        """Entries by recipe."""
        return Counter(listed.entry.recipe for listed in self.store.listing(kind))


@pytest.fixture
def made(tmp_path: Path, root: Path) -> House:
    return House(tmp_path, root)


def meta(inputs: dict[str, bytes]) -> MsaMeta:
    return MsaMeta.model_validate_json(inputs[f"chains/{QUERY.key}/meta.json"])


def assert_the_table_says_so(inputs: dict[str, bytes]) -> None:
    """templates.tsv of the target: the best template is the chain that the query was made from."""
    found = ChainMsa(
        inputs[f"chains/{QUERY.key}/msa.a3m"].decode(), templates=inputs[f"chains/{QUERY.key}/templates.npz"]
    )
    lone = ChainMsa(f">q\n{ORPHAN}\n")
    rows = list(csv.DictReader(io.StringIO((template_table([lone, found]) or b"").decode()), delimiter="\t"))
    assert 2 <= len(rows) <= 4
    assert (rows[0]["chain"], rows[0]["template"]) == ("2", "2gtl_D")
    same = sum(ours == theirs for ours, theirs in zip(RELATIVE, CHAINS["D"][5:-5], strict=True))
    assert float(rows[0]["identity"]) == pytest.approx(same / len(RELATIVE), abs=0.02)
    assert float(rows[0]["coverage"]) > 0.95
    assert rows[0]["sum_probs"] == "", "hmmsearch has no such score"


def test_template_settings_search_templates_and_msa_settings_both(made: House, ran: Counter[str]) -> None:
    npz = f"chains/{QUERY.key}/templates.npz"

    def run(**msa: Any) -> tuple[str, dict[str, bytes], dict[str, int]]:
        ran.clear()
        recipe, inputs = made.run(**msa)
        return recipe, inputs, dict(ran)

    plain, inputs, done = run()
    assert done == ALIGNED
    assert npz not in inputs
    assert (meta(inputs).templates, made.stored("templates")) == (0, Counter())

    # Switched on: templates alone, from the stored MSA.
    with_templates, inputs, done = run(templates="hmmsearch")
    assert done == TEMPLATES
    assert meta(inputs).templates >= 2
    assert [Path(command.split()[0]).name for command in meta(inputs).commands[-2:]] == [
        "hmmbuild",
        "hmmsearch",
    ]
    assert templates.load(inputs[npz])["template_domain_names"][0] == b"2gtl_D"
    assert_the_table_says_so(inputs)
    assert run(templates="hmmsearch")[2] == {}

    # Another date: templates alone; and the one that had them is not touched.
    before, late, done = run(templates="hmmsearch", max_template_date="2000-01-01")
    assert done == TEMPLATES
    assert npz not in late
    assert list(made.stored("templates").values()) == [2, 2]
    assert run(templates="hmmsearch")[1][npz] == inputs[npz]

    # Another template database: templates alone.
    seqres = made.root / "pdb_seqres" / "pdb_seqres.txt"
    text = seqres.read_text()
    try:
        seqres.write_text(f"{text}>8zzz_A mol:protein length:{len(ORPHAN)}  Orphan\n{ORPHAN}\n")
        other_database, _, done = run(templates="hmmsearch")
        assert done == TEMPLATES
    finally:
        seqres.write_text(text)
    assert list(made.stored("msa").values()) == [2]

    # Another alignment database: both.
    mgnify = made.root / "mgnify" / "mgy_clusters_2022_05.fa"
    text = mgnify.read_text()
    try:
        mgnify.write_text(f"{text}>orphan\n{ORPHAN}\n")
        other_msas, _, done = run(templates="hmmsearch")
        assert done == ALIGNED | TEMPLATES
    finally:
        mgnify.write_text(text)
    recipes = [plain, with_templates, before, other_database, other_msas]
    assert len(set(recipes)) == len(recipes), "predictions depend on all of it"


def test_what_the_store_lost_is_searched_and_nothing_else(
    made: House, ran: Counter[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made.run(templates="hmmsearch")
    ran.clear()
    (msa,), (found,) = made.stored("msa"), made.stored("templates")
    for entry in (Entry("templates", found, QUERY.key), Entry("msa", msa, OTHER.key)):
        made.store.remove(entry)
    _, inputs = made.run(templates="hmmsearch")
    assert dict(ran) == dict.fromkeys((*ALIGNED, *TEMPLATES), 1)
    assert meta(inputs).templates >= 2

    # `snakefold store` counts, moves and checks them like any other kind.
    location, other = str(made.folder / "store"), str(tmp_path / "other")
    assert cli.main(["store", "stats", "--store", location]) == 0
    assert f"templates  {found}  2 " in capsys.readouterr().out
    packed = str(tmp_path / "templates.tar")
    assert cli.main(["store", "export", packed, "--kind", "templates", "--store", location]) == 0
    assert cli.main(["store", "import", packed, "--store", other]) == 0
    assert cli.main(["store", "verify", "--store", other]) == 0
    assert {listed.entry.recipe for listed in open_store(other).listing("templates")} == {found}
    assert cli.main(["store", "gc", "--keep", "0s", "--store", other]) == 0
    assert not list(open_store(other).listing())

    # A damaged MSA is found out before templates are searched with it.
    ran.clear()
    assert made.store.local is not None
    path = made.store.local / Entry("msa", msa, QUERY.key).name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    made.run(templates="hmmsearch", max_template_date="2000-01-01")
    assert dict(ran) == {**dict.fromkeys(ALIGNED, 1), **TEMPLATES}


def test_templates_that_fail_leave_the_msa(
    made: House, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = templates._Searching.templates

    def fail_one(searching: Any, *rest: Any) -> Any:
        if searching.chain.key == OTHER.key:
            raise ValueError("an mmCIF file that is none")
        return real(searching, *rest)

    monkeypatch.setattr(templates._Searching, "templates", fail_one)
    config = load_config(
        {"msa": {"db_preset": "reduced_dbs", "db_root": str(root), "templates": "hmmsearch"}}
    )
    preset = load_preset("reduced_dbs", root)
    msa = search.recipe(config.msa, preset, multimer=False)
    chunk = PlannedChunk(
        chunk="m0001",
        recipe=recipes.digest(msa),
        templates=recipes.digest(templates.recipe(config.msa, preset, msa)),
        chains=[QUERY, OTHER],
    )
    summary = search_to_store(chunk, config.msa, made.store, tmp_path / "work", silent)
    assert (summary["searched"], summary["templates"]) == ([QUERY.key, OTHER.key], [QUERY.key])
    assert list(summary["failed"]) == [OTHER.key]
    assert "an mmCIF file that is none" in summary["failed"][OTHER.key]
    json.dumps(summary)
    monkeypatch.undo()
    again = search_to_store(chunk, config.msa, made.store, tmp_path / "work", silent)
    assert (again["stored"], again["searched"], again["templates"]) == ([QUERY.key], [], [OTHER.key])


@pytest.mark.parametrize("when", ["before", "during"])
def test_templates_of_a_database_that_changed_are_not_stored(
    made: House, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The chunk's alignments are right, and stay."""
    made.run()
    (msa,) = made.stored("msa")
    seqres = made.root / "pdb_seqres" / "pdb_seqres.txt"
    text = seqres.read_text()
    add = f"{text}>8zzz_A mol:protein length:{len(ORPHAN)}  Orphan\n{ORPHAN}\n"
    real, real_plan = templates._Searching.templates, plan_run

    def templates_then_change(searching: Any, *rest: Any) -> Any:
        found = real(searching, *rest)
        seqres.write_text(add)
        return found

    def plan_then_change(*arguments: Any) -> Any:
        real_plan(*arguments)
        seqres.write_text(add)

    if when == "during":
        monkeypatch.setattr(templates._Searching, "templates", templates_then_change)
    else:
        monkeypatch.setattr("test_templates_stored.plan_run", plan_then_change)
    try:
        with pytest.raises(ChangedError, match=r"pdb_seqres\.txt"):
            made.run(templates="hmmsearch")
    finally:
        seqres.write_text(text)
    assert made.stored("templates") == Counter()
    assert made.stored("msa") == Counter({msa: 2})

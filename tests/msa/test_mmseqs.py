"""The mmseqs step against colabfold_search and against the database it searched."""

from __future__ import annotations

import gzip
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from families import (
    ORPHAN,
    THIOREDOXIN,
    UBIQUITIN,
    chain,
    database,
    descendant,
    expandable_database,
    mmseqs,
    queries,
    write_fasta,
)
from one_database import one_database

from snakefold.kernel.errors import DatabaseMissingError, SnakefoldError
from snakefold.msa import mmseqs as step
from snakefold.msa import programs
from snakefold.msa.bundle import RawMsa
from snakefold.msa.databases.presets import Database, Format, Preset
from snakefold.msa.mmseqs_steps import steps_of
from snakefold.msa.settings import MmseqsSettings, MsaSettings


def silent(line: str) -> None:
    """A log nobody reads."""


def described(path: Path, name: str, form: Format = "mmseqs", *, pairing: bool = False) -> Database:
    return one_database(path, name, form, "mmseqs", pairing=pairing)


def preset(*databases: Database) -> Preset:
    return Preset("test", databases[0].path.parent, databases)


def settings(recipe: str = "simple") -> MsaSettings:
    return MsaSettings(tool="mmseqs", mmseqs_recipe=recipe, threads=2)


def rows(a3m: str) -> list[str]:
    """All records but the query's, byte for byte."""
    return re.split(r"^>", a3m, flags=re.MULTILINE)[2:]


def names(msa: RawMsa) -> list[str]:
    return [record.split()[0] for record in rows(msa.text)]


@pytest.fixture(scope="module")
def expandable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("expandable")
    expandable_database(folder, "uniref_db", seed=1)
    expandable_database(folder, "env_db", seed=2)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fasta(database(seed=3), tmp_path_factory.mktemp("plain") / "uniprot.fasta")


def colabfold_search(folder: Path, out: Path, *options: str) -> dict[str, str]:
    """A3M by chain key, from the real program."""
    fasta = out.with_suffix(".fasta")
    fasta.write_text("".join(f">{query.key}\n{query.sequence}\n" for query in queries()))
    program = Path(sys.executable).with_name("colabfold_search")
    command = [
        program,
        fasta,
        folder,
        out,
        "--db1",
        "uniref_db",
        "--db3",
        "env_db",
        "--threads",
        "2",
        *options,
    ]
    command += ["--mmseqs", programs.find("mmseqs")]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return {query.key: (out / f"{query.key}.a3m").read_text() for query in queries()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sensitivity", "environment"),
    [(["-s", "8"], 8.0, True), ([], 5.7, False)],
    ids=["sensitivity 8, environmental database", "colabfold's default"],
)
def test_colabfold_recipe_gives_the_bytes_of_colabfold_search(
    expandable: Path, tmp_path: Path, options: list[str], sensitivity: float, environment: bool
) -> None:
    expected = colabfold_search(expandable, tmp_path / "theirs", "--use-env", str(int(environment)), *options)
    databases = [described(expandable / "uniref_db", "uniref30")]
    if environment:
        databases.append(described(expandable / "env_db", "envdb"))
    found = step.search(
        queries(), preset(*databases), settings("colabfold"), tmp_path, silent, sensitivity=sensitivity
    )
    for query in queries():
        msas = found[query.key]
        assert [msa.database for msa in msas] == [database.name for database in databases]
        # colabfold_search joins the databases' alignments, each with its own copy of the query.
        ours = [row for msa in msas for row in rows(msa.text)]
        theirs = [row for row in rows(expected[query.key]) if row != f"101\n{query.sequence}\n"]
        assert ours == theirs
        assert (len(ours) > 30) == (query.sequence != ORPHAN)


@pytest.mark.slow
def test_colabfolds_filters_can_be_left_out(tmp_path: Path) -> None:
    """Filters begin at a hundred hits; the worst of these are dropped by them."""
    draw = random.Random(5)
    rates = (0.05 + 0.75 * number / 160 for number in range(160))
    records = {f"member{n}": descendant(UBIQUITIN, draw, rate) for n, rate in enumerate(rates)}
    expandable_database(tmp_path, "uniref_db", seed=1, records=records)
    databases = preset(described(tmp_path / "uniref_db", "uniref30"))
    found = {}
    for recipe, filtered in (("colabfold", "1"), ("colabfold_unfiltered", "0")):
        options = ("--use-env", "0", "-s", "8", "--filter", filtered)
        expected = colabfold_search(tmp_path, tmp_path / recipe, *options)
        [msa] = step.search([chain(UBIQUITIN)], databases, settings(recipe), tmp_path, silent)[
            chain(UBIQUITIN).key
        ]
        assert rows(msa.text) == rows(expected[msa.text[1:65]])
        found[recipe] = len(rows(msa.text))
    assert found["colabfold_unfiltered"] > found["colabfold"] > 50


def test_hits_of_the_colabfold_recipe_describe_the_rows(expandable: Path, tmp_path: Path) -> None:
    only = preset(described(expandable / "uniref_db", "uniref30"))
    query = chain(UBIQUITIN)
    [msa] = step.search([query], only, settings("colabfold"), tmp_path, silent)[query.key]
    assert [hit.target for hit in msa.hits] == names(msa)
    assert msa.found == len(msa.hits) > 30
    best = msa.hits[0]
    assert best.evalue < 1e-20
    assert best.pident > 85
    assert 70 <= best.alnlen <= 82
    assert any("expandaln" in command for command in msa.commands)


def test_an_index_is_used_and_changes_nothing(expandable: Path, tmp_path: Path) -> None:
    for file in expandable.glob("uniref_db*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    mmseqs(tmp_path, "createindex", "uniref_db", "tmp", "--remove-tmp-files", "1", "--threads", "2")
    lines: list[str] = []
    found = [
        step.search(
            queries(),
            preset(described(folder / "uniref_db", "u")),
            settings("colabfold"),
            tmp_path,
            lines.append,
        )
        for folder in (expandable, tmp_path)
    ]
    assert any("uniref_db.idx" in line and "--db-load-mode 2" in line for line in lines)
    for query in queries():
        assert rows(found[0][query.key][0].text) == rows(found[1][query.key][0].text)


@pytest.mark.parametrize(
    ("recipe", "suffix"), [("simple", ""), ("simple", ".gz"), ("simple", ".zst"), ("colabfold", "")]
)
def test_a_fasta_database_is_searched(plain: Path, tmp_path: Path, recipe: str, suffix: str) -> None:
    content = plain.read_bytes()
    packed = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}[suffix](content)
    path = tmp_path / f"uniprot.fasta{suffix}"
    path.write_bytes(packed)
    query = chain(THIOREDOXIN)
    [msa] = step.search(
        [query], preset(described(path, "uniprot", "fasta")), settings(recipe), tmp_path, silent
    )[query.key]
    assert msa.text.startswith(f">{query.key}\n{THIOREDOXIN}\n>")
    assert msa.found >= 20
    # Accessions of the family begin with its letter and the seed.
    assert all("T3" in hit.target for hit in msa.hits[:20])
    assert [path.name for path in tmp_path.iterdir()] == [f"uniprot.fasta{suffix}"]


def test_simple_recipe_lists_its_hits_and_keeps_uniprot_names(plain: Path, tmp_path: Path) -> None:
    only = preset(described(plain, "uniprot", "fasta", pairing=True))
    found = step.search(queries(), only, settings("colabfold"), tmp_path, silent, pairing=True)
    records = database(seed=3)
    for query in queries():
        [msa] = found[query.key]
        assert msa.pairing
        if query.sequence == ORPHAN:
            assert msa.text == f">{query.key}\n{ORPHAN}\n"
            assert not msa.hits
            continue
        assert sorted(hit.target for hit in msa.hits) == sorted(names(msa))
        for record in rows(msa.text):
            header, row = record.splitlines()
            name = header.split("\t")[0]
            assert row.replace("-", "").upper() in records[name]
            assert sum(letter.isupper() or letter == "-" for letter in row) == len(query.sequence)
        assert all(hit.evalue <= 1e-4 for hit in msa.hits)


def test_simple_recipe_reads_the_representatives_of_an_expandable_database(
    expandable: Path, tmp_path: Path
) -> None:
    mmseqs(expandable, "convert2fasta", "uniref_db", str(tmp_path / "consensus.fasta"))
    consensus = (tmp_path / "consensus.fasta").read_text().replace("\n", "")
    only = preset(described(expandable / "uniref_db", "uniref30"))
    query = chain(THIOREDOXIN)
    [msa] = step.search([query], only, settings(), tmp_path, silent)[query.key]
    assert msa.found > 5
    assert all(row.splitlines()[1].replace("-", "").upper() in consensus for row in rows(msa.text))


@pytest.mark.parametrize("recipe", ["simple", "colabfold"])
def test_odd_folder_names_do_no_harm(plain: Path, tmp_path: Path, recipe: str) -> None:
    folder = tmp_path / "my $(touch made) 'work' & more"
    folder.mkdir()
    path = folder / "data base.fasta"
    path.write_bytes(plain.read_bytes())
    query = chain(UBIQUITIN)
    odd, even = (
        step.search([query], preset(described(file, "u", "fasta")), settings(recipe), work, silent)[query.key]
        for file, work in ((path, folder / "w"), (plain, tmp_path))
    )
    assert odd[0].text == even[0].text
    assert odd[0].found > 20
    assert not list(Path.cwd().glob("made"))


def test_databases_for_pairing_are_left_alone_for_monomers(plain: Path, tmp_path: Path) -> None:
    both = preset(described(plain, "uniref90", "fasta"), described(plain, "uniprot", "fasta", pairing=True))
    [msa] = step.search([chain(UBIQUITIN)], both, settings(), tmp_path, silent)[chain(UBIQUITIN).key]
    assert msa.database == "uniref90"


def test_a_batch_gives_what_single_searches_give(plain: Path, tmp_path: Path) -> None:
    only = preset(described(plain, "uniref90", "fasta"))
    together = step.search(queries(), only, settings(), tmp_path, silent)
    for query in queries():
        assert step.search([query], only, settings(), tmp_path, silent)[query.key][0].text == (
            together[query.key][0].text
        )


def test_parameters_tell_the_recipes_apart() -> None:
    simple, colabfold = (step.parameters(settings(recipe)) for recipe in ("simple", "colabfold"))
    assert simple["own"] != colabfold["own"]
    assert simple["pairing"] == colabfold["pairing"] == simple["own"]


def test_commands_are_logged_and_can_be_repeated(plain: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    query = chain(UBIQUITIN)
    [msa] = step.search(
        [query], preset(described(plain, "uniref90", "fasta")), settings(), tmp_path, lines.append
    )[query.key]
    assert [f"$ {command}" for command in msa.commands] == lines
    modules = [command.split()[1] for command in msa.commands]
    assert modules == ["createdb", "createdb", "search", "convertalis", "result2msa", "unpackdb"]


def test_a_missing_database_is_named(tmp_path: Path) -> None:
    absent = described(tmp_path / "uniref30_2302_db", "uniref30")
    with pytest.raises(DatabaseMissingError, match=r"uniref30_2302_db.dbtype.*Make it"):
        step.search([chain(UBIQUITIN)], preset(absent), settings(), tmp_path, silent)
    assert not list(tmp_path.iterdir())


def test_a_damaged_database_is_an_error_that_shows_the_command(plain: Path, tmp_path: Path) -> None:
    mmseqs(tmp_path, "createdb", str(plain), "broken")
    (tmp_path / "broken.index").write_text("")
    (tmp_path / "broken").unlink()
    with pytest.raises(programs.ProgramError, match=r"(?s)mmseqs search .*left with status"):
        step.search(
            [chain(UBIQUITIN)], preset(described(tmp_path / "broken", "b")), settings(), tmp_path, silent
        )


@pytest.mark.parametrize("recipe", ["simple", "colabfold"])
def test_names_that_are_no_utf_8(tmp_path: Path, recipe: str) -> None:
    fasta = tmp_path / "db.fasta"
    odd = b">caf\xe9_HUMAN \xff\n%s\n>sp|P12345|X\xe9_RABIT words\n%s\n" % ((UBIQUITIN.encode(),) * 2)
    fasta.write_bytes(odd + write_fasta(database(seed=3), tmp_path / "more.fasta").read_bytes())
    only = preset(described(fasta, "uniref90", "fasta"))
    [msa] = step.search([chain(UBIQUITIN)], only, settings(recipe), tmp_path, silent)[chain(UBIQUITIN).key]
    assert "caf?_HUMAN" in names(msa)
    assert "caf?_HUMAN" in {hit.target for hit in msa.hits}


def damaged(folder: Path, what: str) -> str:
    """Damage a database, and what is to be said of it."""
    path = {
        "data": folder / "db",
        "index": folder / "db.index",
        "type": folder / "db.dbtype",
        "headers": folder / "db_h.index",
    }[what.rsplit(maxsplit=1)[-1]]
    if what.startswith("no"):
        path.unlink()
        return rf"{path.name}\b.* (missing|no such file)"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 - 3])
    return rf"{path.name}\b"


@pytest.mark.parametrize("what", ["no data", "cut data", "no index", "no headers", "no type"])
@pytest.mark.parametrize("recipe", ["simple", "colabfold"])
def test_the_damaged_file_is_named(plain: Path, tmp_path: Path, what: str, recipe: str) -> None:
    mmseqs(tmp_path, "createdb", str(plain), "db")
    said = damaged(tmp_path, what)
    with pytest.raises(SnakefoldError, match=rf"^{tmp_path}.*{said}.*Make it") as caught:
        step.search(
            [chain(UBIQUITIN)], preset(described(tmp_path / "db", "b")), settings(recipe), tmp_path, silent
        )
    assert len(str(caught.value)) < 4000


def limited(recipe: str, max_seqs: int) -> MsaSettings:
    return MsaSettings(
        tool="mmseqs", mmseqs_recipe=recipe, threads=2, mmseqs=MmseqsSettings(max_seqs=max_seqs)
    )


@pytest.mark.parametrize("recipe", ["simple", "colabfold"])
def test_homologs_beyond_the_limit_are_told(plain: Path, tmp_path: Path, recipe: str) -> None:
    """A family of 40 in the database: a limit of 10 leaves out most, one of 1000 leaves out none."""
    only = preset(described(plain, "uniref90", "fasta"))
    for limit in (10, 1000):
        found = step.search(queries(), only, limited(recipe, limit), tmp_path, silent)
        for query in queries():
            [msa] = found[query.key]
            assert len(msa.steps) == {"simple": 1, "colabfold": 3}[recipe]
            assert sum(each.hits for each in msa.steps) >= msa.found
            assert all(each.hits <= each.candidates <= each.limit == limit for each in msa.steps)
            family = query.sequence != ORPHAN
            assert msa.steps[0].limited == (limit == 10 and (family or recipe == "simple"))
            assert (msa.found >= 30) == (family and limit == 1000)
            # Chance matches that fill the limit, as of the orphan by an ungapped prefilter, are no loss.
            codes = [text.partition(":")[0] for text in msa.warnings]
            assert codes == ["limited_search"] * (family and limit == 10)
            if msa.warnings:
                assert "uniref90: step 1 of" in msa.warnings[0]
                assert "its limit of 10 candidates; of the 1 weakest, 1 are hits" in msa.warnings[0]


def test_a_later_step_counts_what_its_prefilter_passed_on(plain: Path, tmp_path: Path) -> None:
    """Of steps after the first the prefilter's own results are thrown away: they are made again here."""
    mmseqs(tmp_path, "createdb", str(plain), "db")
    (tmp_path / "query.fasta").write_text(f">q\n{THIOREDOXIN}\n")
    mmseqs(tmp_path, "createdb", "query.fasta", "query", "--dbtype", "1")
    for limit in (12, 1000):
        flags = ("--max-seqs", str(limit), "--threads", "1")
        iterations = ("--num-iterations", "2", "-a", "-e", "0.1")
        mmseqs(tmp_path, "search", "query", "db", f"hits{limit}", f"tmp{limit}", *iterations, *flags)
        [[first, second]] = steps_of(tmp_path / f"tmp{limit}/latest", tmp_path / f"hits{limit}", limit, 1)
        assert first.hits + second.hits == (tmp_path / f"hits{limit}").read_bytes().count(b"\n")
        profile = f"tmp{limit}/latest/profile_0"
        mmseqs(tmp_path, "prefilter", profile, "db", f"again{limit}", *flags)
        passed = (tmp_path / f"again{limit}").read_bytes().count(b"\n")
        assert second.limited == (passed >= limit) == (limit == 12)


def test_no_chains_need_no_search(tmp_path: Path) -> None:
    assert step.search([], preset(described(tmp_path / "none", "n")), settings(), tmp_path, silent) == {}

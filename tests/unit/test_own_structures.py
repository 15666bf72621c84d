"""Structures that a target brings: read, refused, named by content, in the plan and in a request."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gemmi
import pytest
from planning import table
from sequence_files import CRN, UBQ, write
from tests.known import toy_pdb

from snakefold.config import load_config
from snakefold.kernel.errors import InputError, Refusal, SnakefoldError
from snakefold.kernel.store import open_store
from snakefold.molecules.entities import Assembly
from snakefold.molecules.known_chains import BadStructureError, entry_name, matched, read_chains
from snakefold.molecules.own_templates import carried
from snakefold.molecules.samplesheet import sheet_files
from snakefold.molecules.target import Target
from snakefold.molecules.targets import read_records
from snakefold.plan.files import PlannedBatch, read_batch
from snakefold.plan.planner import make_plan
from snakefold.plan.present import Recipes
from snakefold.plan.records import target_input
from snakefold.run.requests import gather_inputs, make_request, read_inputs

DNA = "".join(
    f"ATOM  {n:5d}  P    DA A{n:4d}    {n:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00           P\n"
    for n in range(1, 5)
)
RECIPES = Recipes(
    ["0" * 16, "1" * 16, "2" * 16, "3" * 16], "4" * 16, "4" * 16, [True] * 4, templates="5" * 16
)


def read(path: Path, low: int = 10) -> Target | Refusal:
    (found,) = read_records([path], min_length=low, max_length=500, judge=lambda _: None)
    return found


def refused(path: Path) -> Refusal:
    found = read(path)
    assert isinstance(found, Refusal)
    return found


def accepted(path: Path) -> Target:
    found = read(path)
    assert isinstance(found, Target), found
    return found


def files(folder: Path) -> None:
    write(folder, "known.pdb", toy_pdb(CRN, UBQ))
    write(folder, "guess.pdb", toy_pdb(UBQ, CRN))


def as_cif(pdb: str) -> str:
    structure = gemmi.read_pdb_string(pdb)
    structure.setup_entities()
    return structure.make_mmcif_document().as_string()


@pytest.mark.parametrize("column", ["templates", "templatepath"])
def test_a_sheet_names_structures(column: str, tmp_path: Path) -> None:
    files(tmp_path)
    write(tmp_path, "known.cif.gz", gzip.compress(as_cif(toy_pdb(CRN)).encode()))
    sheet = write(
        tmp_path,
        "in.csv",
        f"id,sequence,{column},initial_guess\n"
        f"one,{UBQ}:{CRN},known.pdb; known.cif.gz,guess.pdb\ntwo,{UBQ},,\n",
    )
    one, two = read_records([sheet], min_length=10, max_length=500, judge=lambda _: None)
    assert isinstance(one, Target) and isinstance(two, Target)
    assert two.assembly is None and two.chains == (UBQ,), "a row without structures is what it always was"
    told = target_input(one)
    assert [each["sequence"] for each in told.proteins] == [UBQ, CRN]
    assert set(carried(told.assembly).values()) == {digest for digest, _ in one.files}
    assert sorted(path.name for _, path in one.files) == ["guess.pdb", "known.cif.gz", "known.pdb"]
    assert sorted(path.name for path in sheet_files(sheet)) == ["guess.pdb", "known.cif.gz", "known.pdb"]


def test_a_sheet_may_have_ligands_beside_structures(tmp_path: Path) -> None:
    files(tmp_path)
    sheet = write(tmp_path, "in.csv", f"id,sequence,ligand_ccd,templates\none,{CRN},ATP,known.pdb\n")
    assembly = accepted(sheet).assembly
    assert assembly is not None
    assert [entity.kind for entity in assembly.entities] == ["protein", "ligand"]
    assert len(assembly.templates) == 1


def test_a_yaml_names_a_guess(tmp_path: Path) -> None:
    files(tmp_path)
    text = f"version: 1\nsequences:\n  - protein: {{id: X, sequence: {UBQ}}}\ninitial_guess: guess.pdb\n"
    target = accepted(write(tmp_path, "in.yaml", text))
    assert list(carried(target_input(target).assembly)) == [f"initial_guess/{target.files[0][0]}.pdb"]


def key_of(folder: Path, cells: Mapping[str, str]) -> str:
    row = f"one,{UBQ}:{CRN},{','.join(cells.values())}"
    sheet = write(folder, "in.csv", f"id,sequence,{','.join(cells)}\n{row}\n")
    return accepted(sheet).key


def test_a_key_is_that_of_the_contents(tmp_path: Path) -> None:
    files(tmp_path)
    write(tmp_path, "copy.pdb", toy_pdb(CRN, UBQ))
    write(tmp_path, "other.pdb", toy_pdb(CRN, UBQ, first=2))
    packed = write(tmp_path, "packed.pdb.gz", gzip.compress(toy_pdb(CRN, UBQ).encode()))
    keys = {
        name: key_of(tmp_path, {"templates": name}) for name in ("known.pdb", "copy.pdb", "other.pdb", "")
    }
    assert keys["known.pdb"] == keys["copy.pdb"] == key_of(tmp_path, {"templates": packed.name})
    assert len(set(keys.values())) == 3
    orders = ("known.pdb;other.pdb", "other.pdb;copy.pdb")
    pair, swapped = (key_of(tmp_path, {"templates": text}) for text in orders)
    assert pair == swapped, "in any order"
    assert key_of(tmp_path, {"initial_guess": "known.pdb"}) not in {*keys.values(), pair}


def test_the_keys_of_stored_results_stay(tmp_path: Path) -> None:
    plain = accepted(write(tmp_path, "a.fasta", f">one\n{UBQ}:{CRN}\n"))
    files(tmp_path)
    assert key_of(tmp_path, {"templates": "", "initial_guess": ""}) == plain.key


@pytest.mark.parametrize(
    ("cells", "code", "says"),
    [
        ({"templates": "none.pdb"}, "templates", "template 'none.pdb': There is no such file."),
        ({"templates": "known.sdf"}, "templates", "'known.sdf' has no ending of a structure."),
        ({"templates": "https://x/1abc.cif"}, "missing", "is no path of a file"),
        ({"templates": "known.pdb;dna.pdb"}, "templates", "template 'dna.pdb': It has no protein chain."),
        ({"templates": "text.cif"}, "templates", "template 'text.cif': It is no cif file"),
        (
            {"templates": "empty.pdb"},
            "templates",
            "template 'empty.pdb': It is no pdb file with",
        ),
        ({"templates": "cut.pdb.gz"}, "templates", "template 'cut.pdb.gz': The gzip file is damaged"),
        ({"initial_guess": "one.pdb;two.pdb"}, "initial_guess", "The row has 2 initial guesses."),
        (
            {"initial_guess": "gap.pdb"},
            "initial_guess",
            "sequence of chain 1 of the target. The nearest, A, lacks residues 4 to 5 of it (FV)",
        ),
        (
            {"initial_guess": "long.pdb"},
            "initial_guess",
            "The nearest, A, has AA more after residue 76",
        ),
        (
            {"initial_guess": "mutant.pdb"},
            "initial_guess",
            "sequence of chain 2 of the target. The nearest, B, has W in place of its residues 3 (C).",
        ),
        ({"initial_guess": "alone.pdb"}, "initial_guess", "It has no chain left for chain 2 of the target"),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_line(
    cells: dict[str, str], code: str, says: str, tmp_path: Path
) -> None:
    files(tmp_path)
    write(tmp_path, "dna.pdb", DNA)
    write(tmp_path, "text.cif", "nothing\n")
    write(tmp_path, "empty.pdb", "REMARK nothing\n")
    write(tmp_path, "cut.pdb.gz", gzip.compress(toy_pdb(CRN).encode())[:-20])
    write(tmp_path, "gap.pdb", toy_pdb(UBQ, left_out=[3, 4]))
    write(tmp_path, "long.pdb", toy_pdb(UBQ + "AA"))
    write(tmp_path, "mutant.pdb", toy_pdb(UBQ, CRN[:2] + "W" + CRN[3:]))
    write(tmp_path, "alone.pdb", toy_pdb(UBQ))
    sheet = write(
        tmp_path,
        "in.csv",
        f"id,sequence,{','.join(cells)}\none,{UBQ}:{CRN},{','.join(cells.values())}\ntwo,{UBQ}," + "\n",
    )
    found, other = read_records([sheet], min_length=10, max_length=500, judge=lambda _: None)
    assert isinstance(found, Refusal) and isinstance(other, Target)
    assert (found.code, found.line, found.record) == (code, 2, 1)
    assert says in found.message


@pytest.mark.parametrize("column", ["templates", "initial_guess"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("     nan     nan     nan", "coordinates that are no numbers"),
        ("     inf     inf     inf", "coordinates that are no numbers"),
        ("  abcdef  ******  ******", "are at one place"),
    ],
)
def test_coordinates_that_are_none_are_refused(column: str, damage: str, said: str, tmp_path: Path) -> None:
    lines = [
        line[:30] + damage + line[54:] if line[22:26] == "   5" else line
        for line in toy_pdb(CRN).splitlines()
    ]
    write(tmp_path, "bad.pdb", "\n".join(lines))
    refusal = refused(write(tmp_path, "in.csv", f"id,sequence,{column}\none,{CRN},bad.pdb\n"))
    assert refusal.line == 2
    assert said in refusal.message
    assert "residue 5" in refusal.message


def test_a_guess_has_what_alphafold_reads_of_it(tmp_path: Path) -> None:
    bare = [line for line in toy_pdb(CRN).splitlines() if line[12:16].strip() in ("CA", "")]
    write(tmp_path, "ca.pdb", "\n".join(bare))
    refusal = refused(write(tmp_path, "in.csv", f"id,sequence,initial_guess\none,{CRN},ca.pdb\n"))
    assert "Chain A lacks CB of residue" in refusal.message
    assert accepted(write(tmp_path, "in.csv", f"id,sequence,templates\none,{CRN},ca.pdb\n"))


def test_a_template_given_twice_is_read_once(tmp_path: Path) -> None:
    files(tmp_path)
    once = key_of(tmp_path, {"templates": "known.pdb"})
    assert key_of(tmp_path, {"templates": "known.pdb;known.pdb"}) == once


def test_two_columns_of_one_meaning_are_refused(tmp_path: Path) -> None:
    found = refused(write(tmp_path, "in.csv", f"id,sequence,templates,templatepath\none,{UBQ},,\n"))
    assert "The column 'templates' is there twice." in found.message


def test_a_chain_that_a_yaml_names_must_be_of_protein(tmp_path: Path) -> None:
    write(tmp_path, "mixed.pdb", toy_pdb(CRN).replace("END\n", "") + DNA.replace(" A", " D") + "END\n")
    start = f"version: 1\nsequences:\n  - protein: {{id: X, sequence: {CRN}}}\ntemplates:\n"
    accepted(write(tmp_path, "a.yaml", start + "  - {pdb: mixed.pdb, chain_id: X, template_id: A}\n"))
    found = refused(write(tmp_path, "b.yaml", start + "  - {pdb: mixed.pdb, chain_id: X, template_id: D}\n"))
    assert "It has no protein chain D; it has A" in found.message
    assert found.line == 5


def test_residues_that_are_not_modelled_have_their_places() -> None:
    seqres = "SEQRES   1 A    6  MET GLN ILE PHE VAL LYS\n"
    (chain,) = read_chains((seqres + toy_pdb("MQIFVK", left_out=[0, 3])).encode(), "pdb")
    assert (chain.sequence, chain.places, chain.modelled) == ("MQIFVK", (1, 2, 4, 5), "QIVK")
    (chain,) = read_chains(toy_pdb("MQIFVK", left_out=[0, 3]).encode(), "pdb")
    assert (chain.sequence, chain.places) == ("QIVK", (0, 1, 2, 3)), "a file that names none has none"


def test_a_modified_residue_is_the_one_that_it_derives_from() -> None:
    text = toy_pdb("MQ").replace("MET", "MSE").replace(" CB  MSE", "SE   MSE").replace("ATOM  ", "HETATM", 5)
    (chain,) = read_chains(text.encode(), "pdb")
    assert chain.sequence == "MQ"
    assert "SD" in chain.atoms[0] and "SE" not in chain.atoms[0]


def test_of_conformations_the_one_with_the_highest_occupancy_is_read() -> None:
    first = toy_pdb("MQ").splitlines()[1]
    second = f"{first[:16]}B{first[17:30]}{9.0:8.3f}{first[38:54]}  0.70{first[60:]}"
    first = f"{first[:16]}A{first[17:54]}  0.30{first[60:]}"
    text = toy_pdb("MQ").splitlines()
    (chain,) = read_chains("\n".join([text[0], first, second, *text[2:]]).encode(), "pdb")
    assert chain.atoms[0]["CA"][0] == 9.0


def test_equal_chains_are_taken_in_the_order_of_the_file() -> None:
    chains = read_chains(toy_pdb(CRN, UBQ, CRN).encode(), "pdb")
    assert [chain.name for chain in matched(chains, [CRN, CRN, UBQ])] == ["A", "C", "B"]
    assert matched(chains, ["X" + CRN[1:]])[0].name == "A", "X is any residue"
    with pytest.raises(BadStructureError, match="no chain left"):
        matched(chains[:1], [CRN, CRN])


def test_what_a_file_calls_itself() -> None:
    header = f"{'HEADER    PLANT PROTEIN':<50}30-APR-81   1CRN\n"
    assert entry_name((header + toy_pdb(CRN)).encode(), "pdb") == "1CRN"
    assert entry_name(toy_pdb(CRN).encode(), "pdb") == ""


def planned(folder: Path, sheet: Path, **settings: Any) -> list[PlannedBatch]:
    values = {"input": [str(sheet)], "alphafold2": {"use_templates": True, **settings}}
    config = load_config({**values, "msa": {"db_preset": "reduced_dbs", "templates": "hmmsearch"}})
    make_plan(config, folder / "plan", name=lambda _: RECIPES)
    return [
        read_batch(folder / "plan", path.stem) for path in sorted((folder / "plan" / "batches").iterdir())
    ]


def test_a_target_with_templates_is_of_a_group_of_its_own(tmp_path: Path) -> None:
    files(tmp_path)
    sheet = write(
        tmp_path,
        "in.csv",
        f"id,sequence,templates,initial_guess\none,{UBQ},known.pdb,\ntwo,{CRN},,\nthree,{CRN},,known.pdb\n",
    )
    batches = {batch.targets[0].target.id: batch for batch in planned(tmp_path, sheet)}
    assert {name: batch.recipe for name, batch in batches.items()} == {"one": "2" * 16, "two": "0" * 16}
    # A guess changes the key alone; no templates are searched for a target that brings some.
    assert sorted(each.target.id for each in batches["two"].targets) == ["three", "two"]
    assert batches["one"].templates is None and batches["two"].templates == "5" * 16
    missing = {row["length"]: row["missing"] for row in table(tmp_path / "plan" / "chains.tsv")}
    assert missing == {str(len(UBQ)): "msa", str(len(CRN)): "msa,templates"}
    rows = {row["id"]: row for row in table(tmp_path / "plan" / "targets.tsv")}
    assert {row["state"] for row in rows.values()} == {"to_do"}, "equal sequences, and not the same target"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"use_templates": False}, "alphafold2.use_templates is false"),
        ({"models": [3, 4]}, "of the monomer models only 1 and 2 read any"),
    ],
)
def test_templates_that_would_not_be_read_are_refused(
    settings: dict[str, Any], says: str, tmp_path: Path
) -> None:
    files(tmp_path)
    sheet = write(tmp_path, "in.csv", f"id,sequence,templates\none,{UBQ},known.pdb\n")
    with pytest.raises(InputError) as raised:
        planned(tmp_path, sheet, **settings)
    assert says in str(raised.value)


def test_a_guess_bounds_the_passes_of_a_short_monomer(tmp_path: Path) -> None:
    files(tmp_path)
    sheet = write(tmp_path, "in.csv", f"id,sequence,initial_guess\none,{CRN},known.pdb\n")
    assert planned(tmp_path, sheet, num_recycle=len(CRN) - 1)
    with pytest.raises(InputError) as raised:
        planned(tmp_path, sheet, num_recycle=len(CRN))
    assert f"{len(CRN)} residues, an initial guess, {len(CRN) + 1} passes" in str(raised.value)


def test_a_request_has_the_files_unpacked(tmp_path: Path) -> None:
    files(tmp_path)
    text = toy_pdb(CRN, UBQ)
    write(tmp_path, "packed.pdb.gz", gzip.compress(text.encode()))
    # One file may be both.
    row = f"one,{UBQ},packed.pdb.gz,packed.pdb.gz"
    sheet = write(tmp_path, "in.csv", f"id,sequence,templates,initial_guess\n{row}\n")
    (batch,) = planned(tmp_path, sheet)
    config = load_config({"input": [str(sheet)], "msa": {"tool": "single_sequence"}})
    request = make_request(batch, config)
    gathered = gather_inputs(batch, {}, open_store(tmp_path / "store"))
    digest = hashlib.sha256(text.encode()).hexdigest()
    names = {f"templates/{digest}.pdb", f"initial_guess/{digest}.pdb"}
    assert {gathered[name] for name in names} == {text.encode()}
    (target,) = request.targets
    a3m = f">query\n{UBQ}\n".encode()
    folder = next(name for name in gathered if name.startswith("chains/")).rpartition("/")[0]
    whole = {name: data for name, data in gathered.items() if not name.endswith("failed.json")}
    msas, failed = read_inputs(request, {**whole, f"{folder}/msa.a3m": a3m})
    assert not failed
    assert set(msas[target.result_key].files) == names
    assert [chain.a3m.encode() for chain in msas[target.result_key].given] == [a3m]
    lacking = {name: data for name, data in gathered.items() if not name.startswith("initial_guess/")}
    _, failed = read_inputs(request, lacking)
    assert f"The request lacks initial_guess/{digest}.pdb" in failed[target.result_key].message
    write(tmp_path, "packed.pdb.gz", gzip.compress(b"REMARK\n"))
    with pytest.raises(SnakefoldError, match=r"Changed since the run was planned: .*packed\.pdb\.gz"):
        gather_inputs(batch, {}, open_store(tmp_path / "store"))


def test_an_engine_that_takes_none_says_so(tmp_path: Path) -> None:
    files(tmp_path)
    sheet = write(tmp_path, "in.csv", f"id,sequence,templates,engine\none,{UBQ},known.pdb,esmfold\n")
    with pytest.raises(InputError) as raised:
        planned(tmp_path, sheet)
    said = "engine esmfold takes no templates; engines that take it: af3, alphafold2. Set engine: af3."
    assert "template sha256:" in str(raised.value) and said in str(raised.value)


def test_an_assembly_must_have_read_its_guess() -> None:
    values = {"entities": [{"kind": "protein", "sequence": CRN}]}
    assembly = Assembly.model_validate({**values, "initial_guess": {"form": "pdb", "file": "file:x.pdb"}})
    with pytest.raises(ValueError, match="initial guess has not been read"):
        _ = assembly.key

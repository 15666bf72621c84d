"""Ligands: typed FASTA, columns of a sheet, screens of a receptor with SMILES, an SDF or a table."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem
from sequence_files import CRN, UBQ, write

from snakefold.kernel.errors import Refusal
from snakefold.molecules.entities import Assembly, Kind
from snakefold.molecules.ligands import screened
from snakefold.molecules.own_msa import own_text
from snakefold.molecules.targets import Target, read_records

THREE = f"{UBQ}:{UBQ}:{CRN}"


def read(path: Path) -> list[Target | Refusal]:
    """As for an engine that takes everything."""
    return read_records([path], min_length=1, max_length=500, judge=lambda _: None)


def target(path: Path) -> Target:
    (found,) = read(path)
    assert isinstance(found, Target), found
    return found


def said(assembly: Assembly | None) -> list[tuple[str, str, int]]:
    assert assembly is not None
    return [
        (str(each.kind), each.sequence or each.smiles or "-".join(each.ccd), each.copies)
        for each in assembly.entities
    ]


def test_colabfolds_record_is_one_target(tmp_path: Path) -> None:
    text = f">c one\n{UBQ}:\n{UBQ}:dna|ACGT:RNA|acgu|2:CCD|ATP|2:smiles|c1ccccc1[Fe;1]\n>plain\n{CRN}\n"
    first, second = read(write(tmp_path, "a.fasta", text))
    assert isinstance(first, Target)
    assert isinstance(second, Target)
    assert (first.id, second.chains) == ("c", (CRN,))
    # A SMILES keeps its small letters, and ';' is ':'.
    assert said(first.assembly) == [
        ("protein", UBQ, 1),
        ("protein", UBQ, 1),
        ("dna", "ACGT", 1),
        ("rna", "ACGU", 2),
        ("ligand", "ATP", 2),
        ("ligand", "c1ccccc1[Fe:1]", 1),
    ]


def test_formats_agree_on_the_shortest_target(tmp_path: Path) -> None:
    """`min_length` is of proteins alone: with a ligand a peptide may be short, in any form."""
    yaml = "version: 1\nsequences:\n- protein: {id: A, sequence: MQIF%s}\n%s"
    ligand, alone = "- ligand: {id: B, smiles: CCO}\n", ", msa: empty"
    json = '{"name": "x", "modelSeeds": [1], "dialect": "alphafold3", "version": 1, "sequences": [%s]}'
    protein = '{"protein": {"id": "A", "sequence": "MQIF"}}'
    files = {
        "a.fasta": (">c\nMQIF:smiles|CCO\n", ">c\nMQIF\n"),
        "b.csv": ("id,sequence,ligand_smiles\nc,MQIF,CCO\n", "id,sequence,ligand_smiles\nc,MQIF,\n"),
        "c.yaml": (yaml % ("", ligand), yaml % ("", "")),
        "d.yaml": (yaml % (alone, ligand), yaml % (alone, "")),
        "e.json": (
            json % f'{protein}, {{"ligand": {{"id": "B", "smiles": "CCO"}}}}',
            json % protein,
        ),
        "f.csv": ("id,sequence,ligand_ccd\nc,MQIF,ATP\n", "id,sequence\nc,MQIF\n"),
    }
    for name, texts in files.items():
        found = [
            read_records([write(tmp_path, name, text)], min_length=5, max_length=6, judge=lambda _: None)
            for text in texts
        ]
        assert [isinstance(each, Target) for (each,) in found] == [True, False], name
        assert found[1][0].code == "too_short", name  # type: ignore[union-attr]


def test_formats_agree_on_one_key(tmp_path: Path) -> None:
    files = {
        "colabfold.fasta": f">x\n{UBQ}:{UBQ}:ccd|ATP|2:smiles|CCO\n",
        "boltz.fasta": f">A|protein\n{UBQ}\n>B|protein\n{UBQ}\n>C|ccd\nATP\n>D|ccd\nATP\n>E|smiles\nCCO\n",
        "boltz.yaml": "version: 1\nsequences:\n"
        f"  - protein: {{id: [A, B], sequence: {UBQ}}}\n"
        "  - ligand: {id: [C, D], ccd: ATP}\n  - ligand: {id: E, smiles: CCO}\n",
        "sheet.csv": f"id,sequence,ligand_smiles,ligand_ccd,copies\nx,{UBQ}:{UBQ},CCO,ATP,1;2\n",
    }
    keys = {name: target(write(tmp_path, name, text)).key for name, text in files.items()}
    # A sheet names SMILES first: the order of chains has a meaning.
    swapped = f">x\n{UBQ}:{UBQ}:smiles|CCO:ccd|ATP|2\n"
    assert keys.pop("sheet.csv") == target(write(tmp_path, "swapped.fasta", swapped)).key
    assert len(set(keys.values())) == 1


@pytest.mark.parametrize(
    ("kind", "sequence", "code"),
    [
        ("protein", "MSIF", "SEP"),
        ("protein", "MXIF", "SEP"),
        ("protein", "MGIF", "CRO"),  # derives from three residues
        ("protein", "MAIF", "DAL"),  # of which the dictionary says nothing
        ("dna", "ATGC", "PSU"),
        ("dna", "ANGC", "5CM"),
        ("rna", "AUGC", "5MU"),
    ],
)
def test_a_modification_of_what_it_derives_from_is_taken(
    tmp_path: Path, kind: str, sequence: str, code: str
) -> None:
    modified = f"modifications: [{{position: 2, ccd: {code}}}]"
    text = f"sequences:\n- {kind}: {{id: A, sequence: {sequence}, {modified}}}\n"
    assert target(write(tmp_path, "a.yaml", text)).assembly is not None


def test_chais_modifications_are_named_by_their_letter(tmp_path: Path) -> None:
    chai = target(write(tmp_path, "a.fasta", ">protein|name=x\nMQ(SEP)IF(MSE)K\n>rna|name=y\nAC(PSU)\n"))
    assert chai.assembly is not None
    protein, rna = chai.assembly.entities
    assert (protein.sequence, rna.sequence) == ("MQSIFMK", "ACU")
    assert [(each.position, each.ccd) for each in protein.modifications] == [(3, "SEP"), (6, "MSE")]
    assert [(each.position, each.ccd) for each in rna.modifications] == [(3, "PSU")]


def test_a_sheet_has_ligands_beside_proteins(tmp_path: Path) -> None:
    sheet = (
        "id,sequence,ligand_smiles,ligand_ccd,copies,affinity,engine\n"
        f"one,{THREE},CCO,,,yes,dock\n"
        f"two,{UBQ},CCO; CCN,HEM,2,,\n"
        f"alone,{UBQ},,,,no,\n"
    )
    one, two, alone = read(write(tmp_path, "s.csv", sheet))
    assert isinstance(one, Target)
    assert isinstance(two, Target)
    assert isinstance(alone, Target)
    assert said(one.assembly) == [("protein", UBQ, 2), ("protein", CRN, 1), ("ligand", "CCO", 1)]
    assert one.assembly is not None
    assert (one.assembly.affinity, one.engine, one.line) == ("D", "dock", 2)
    assert said(two.assembly)[1:] == [("ligand", "CCO", 2), ("ligand", "CCN", 2), ("ligand", "HEM", 2)]
    assert (alone.assembly, alone.chains) == (None, (UBQ,))


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ("CCO,,,maybe", "affinity is 'maybe'"),
        ("CCO;CCN,,,yes", "the row has 2 ligands"),
        (",,,yes", "the row has no ligand"),
        ("CCO,,x,", "copies is 'x'"),
        ("CCO,,0,", "copies is '0'"),
        ("CCO;CCN;CO,,1;2,", "copies has 2 numbers for 3 ligands"),
        ("CC(,,,", "a '(' is not closed"),
        ("CC(C)(C)(C)C,,,", "Explicit valence"),
        (",QQQQ,,", "QQQQ is no code"),
        ("CCO,,600,", "copies is '600'"),
    ],
)
def test_a_row_that_is_wrong_is_refused_alone(cells: str, says: str, tmp_path: Path) -> None:
    sheet = f"id,sequence,ligand_smiles,ligand_ccd,copies,affinity\nbad,{UBQ},{cells}\ngood,{UBQ},CCO,,,\n"
    refusal, good = read(write(tmp_path, "s.csv", sheet))
    assert isinstance(refusal, Refusal)
    assert says in refusal.message
    assert (refusal.line, refusal.header) == (2, "bad")
    assert isinstance(good, Target)


def receptor(folder: Path) -> Target:
    return target(write(folder, "receptor.fasta", f">receptor\n{UBQ}:{UBQ}\n"))


def sdf(*named: tuple[str, str]) -> str:
    """As programs export it, flat."""
    return "".join(
        Chem.MolToMolBlock(Chem.MolFromSmiles(smiles)).replace("\n", f"{name}\n", 1) + "> <ID>\n1\n\n$$$$\n"
        for name, smiles in named
    )


LIGANDS = [("ethanol", "CCO"), ("benzene", "c1ccccc1"), ("L-alanine", "C[C@H](N)C(=O)O")]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.smi", "smiles name\n# mine\nCCO ethanol\n\nc1ccccc1\tbenzene\nC[C@H](N)C(=O)O L-alanine\n"),
        ("l.csv", "name,smiles\nethanol,CCO\nbenzene,c1ccccc1\nL-alanine,C[C@H](N)C(=O)O\n"),
        ("l.tsv", "ligand_smiles\tid\nCCO\tethanol\nc1ccccc1\tbenzene\nC[C@H](N)C(=O)O\tL-alanine\n"),
        ("l.sdf", sdf(*LIGANDS)),
        ("l.sdf", sdf(*LIGANDS).replace("\n", "\r\n")),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_screen_has_a_target_for_each_ligand(tmp_path: Path, name: str, text: str, packed: bool) -> None:
    path = write(tmp_path, f"{name}.gz" if packed else name, gzip.compress(text.encode()) if packed else text)
    rows = screened(receptor(tmp_path), path, affinity=True)
    targets = [row for row in rows if isinstance(row, Target)]
    assert len(targets) == len(rows)
    assert [row.id for row in targets] == [name for name, _ in LIGANDS]
    for row, (_, smiles) in zip(targets, LIGANDS, strict=True):
        assert row.assembly is not None
        assert row.assembly.affinity == "C"
        assert said(row.assembly)[0] == ("protein", UBQ, 2)
        (ligand,) = [each for each in row.assembly.entities if each.kind is Kind.LIGAND]
        assert Chem.CanonSmiles(ligand.smiles) == Chem.CanonSmiles(smiles)
        assert row.searched == (UBQ,)


def test_stereochemistry_of_a_3d_sdf_is_kept(tmp_path: Path) -> None:
    from rdkit.Chem import AllChem

    for smiles in ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "C/C=C/C", "C/C=C\\C"):
        molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
        assert AllChem.EmbedMolecule(molecule, randomSeed=7) == 0
        flat = Chem.MolToMolBlock(molecule, includeStereo=False)
        (row,) = screened(receptor(tmp_path), write(tmp_path, "l.sdf", f"{flat}$$$$\n"), affinity=False)
        assert isinstance(row, Target)
        assert row.assembly is not None
        assert row.assembly.entities[-1].smiles == Chem.CanonSmiles(smiles)
        assert row.id == "ligand-1"


def test_a_bad_ligand_is_refused_alone_with_its_line(tmp_path: Path) -> None:
    broken = sdf(LIGANDS[0]).replace("  1  2  1  0", "  1  9  1  0")
    text = sdf(LIGANDS[0]) + broken + sdf(LIGANDS[1])
    first, second, third = screened(receptor(tmp_path), write(tmp_path, "l.sdf", text), affinity=False)
    assert isinstance(first, Target)
    assert isinstance(second, Refusal)
    assert (second.record, second.line, second.code) == (2, len(sdf(LIGANDS[0]).splitlines()) + 1, "ligand")
    assert isinstance(third, Target)
    rows = screened(receptor(tmp_path), write(tmp_path, "l.smi", "CCO a\nCC( b\nCCO a\n"), affinity=False)
    assert [getattr(row, "id", None) for row in rows] == ["a", None, "a-2"]
    assert isinstance(rows[1], Refusal)
    assert (rows[1].line, rows[1].file) == (2, str(tmp_path / "l.smi"))


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("l.smi", "# none\n", "The file has no ligands."),
        ("l.csv", "a,b\n1,2\n", "The columns are 'a,b'"),
        ("l.mol2", "CCO\n", "no ending that is known"),
        ("l.smi", None, "no such file"),
    ],
)
def test_a_file_that_is_no_list_is_refused(name: str, text: str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / name if text is None else write(tmp_path, name, text)
    (refusal,) = screened(receptor(tmp_path), path, affinity=False)
    assert isinstance(refusal, Refusal)
    assert says in refusal.message


def test_a_receptors_own_alignment_goes_with_each_ligand(tmp_path: Path) -> None:
    a3m = write(tmp_path, "r.a3m", f">q\n{UBQ}\n>a\n{UBQ[:-1]}-\n")
    ligands = write(tmp_path, "l.smi", "CCO\nCCN\n")
    for row in screened(target(a3m), ligands, affinity=False):
        assert isinstance(row, Target)
        assert (row.msa, row.searched) == (None, ())
        ((name, path),) = row.files
        assert row.assembly is not None
        assert row.assembly.entities[0].msa == f"sha256:{name}"
        assert own_text(path, name, [UBQ]) == a3m.read_text()
    of_two = write(tmp_path, "c.a3m", f"#{len(UBQ)},{len(CRN)}\t1,1\n>q\n{UBQ}{CRN}\n")
    (refusal,) = screened(target(of_two), ligands, affinity=False)
    assert isinstance(refusal, Refusal)
    assert "an A3M of several chains" in refusal.message


@given(st.lists(st.sampled_from([UBQ, CRN, "MQIF"]), min_size=1, max_size=6))
def test_merged_copies_are_the_chains(chains: list[str]) -> None:
    from snakefold.molecules.complexes import proteins_of

    entities = proteins_of(chains)
    whole = Assembly(entities=tuple(entities))
    assert list(whole.plain_chains or ()) == chains
    assert all(one.sequence != other.sequence for one, other in itertools.pairwise(entities))


@pytest.mark.parametrize(
    ("column", "meant"),
    [("Ligand SMILES", "ligand_smiles"), ("ligand_smile", "ligand_smiles"), ("ligand-ccd", "ligand_ccd")],
)
def test_a_misspelt_column_of_ligands_is_not_passed_over(tmp_path: Path, column: str, meant: str) -> None:
    path = write(tmp_path, "sheet.csv", f"id,sequence,{column}\na,MKTAYIAKQRQISFVKSHFSRQ,CCO\n")
    (refused,) = read_records([path], min_length=1, max_length=1000)
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.line) == ("no_columns", 1)
    assert f"Is {meant} meant?" in refused.advice


def test_an_affinity_of_nothing_is_refused_and_a_measured_one_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "sheet.csv", f"id,sequence,affinity\na,{UBQ},yes\nb,{CRN},7.5\nc,{CRN}A,\n")
    refused, *taken = read_records([path], min_length=1, max_length=1000)
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.line) == ("affinity", 2)
    assert "no column of ligands" in refused.message
    assert [type(each) for each in taken] == [Target, Target]

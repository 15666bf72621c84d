"""Assemblies written in other programs' formats, and read back: the same molecules, or a refusal by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sequence_files import CRN, UBQ, write
from test_entities import assemblies

from snakefold.cli import main
from snakefold.kernel import archive
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, open_store
from snakefold.molecules.blocks import read_blocks
from snakefold.molecules.components import component
from snakefold.molecules.constraints import Atom, Bond
from snakefold.molecules.entities import Assembly, Entity, Kind
from snakefold.molecules.readers import alphafold3 as read_alphafold3
from snakefold.molecules.readers import boltz as read_boltz
from snakefold.molecules.readers import labels
from snakefold.molecules.readers.common import Found
from snakefold.molecules.targets import Target, read_records
from snakefold.molecules.writers import alphafold3, boltz, chai
from snakefold.molecules.writers.common import Alignment, Beside, Unsayable
from snakefold.run.convert import convert


def without_files(assembly: Assembly) -> Assembly:
    """An assembly whose alignments are searched or none: files are tested as files."""
    return assembly.model_copy(
        update={
            "entities": tuple(
                each.model_copy(update={"msa": None}) if each.msa != "empty" else each
                for each in assembly.entities
            )
        }
    )


@st.composite
def bonded(draw: st.DrawFn) -> Assembly:
    """Assemblies of which some have bonds, and chain ids of every kind."""
    assembly = without_files(draw(assemblies()))
    chains = list(assembly.chains())
    ends = [(name, each) for name, each in chains if not each.smiles]
    constraints = list(assembly.constraints)
    if len(ends) > 1 and draw(st.booleans()):
        atoms = [
            Atom(chain=name, residue=draw(st.integers(1, each.length)), atom="N") for name, each in ends[:2]
        ]
        constraints = [Bond(kind="bond", atoms=(atoms[0], atoms[1]))]
    if draw(st.booleans()) and not constraints and assembly.affinity is None:
        # YAML takes some of these for something else.
        names = iter(["no", "1", "N", "null", "1e3", "on", "0x1", *(f"z{number}" for number in range(600))])
        entities = [
            each.model_copy(update={"chains": tuple(next(names) for _ in range(each.copies))})
            for each in assembly.entities
        ]
        return Assembly(entities=tuple(entities))
    return Assembly(entities=assembly.entities, constraints=tuple(constraints), affinity=assembly.affinity)


@given(bonded())
def test_boltz_says_all_of_it(assembly: Assembly) -> None:
    if any(each.msa and each.kind is not Kind.PROTEIN for each in assembly.entities):
        with pytest.raises(Unsayable):
            boltz.write(assembly, "x", Beside())
        return
    text = boltz.write(assembly, "x", Beside())
    found = read_boltz.read(text, "x").assembly
    assert found.key == assembly.key
    assert [name for name, _ in found.chains()] == [name for name, _ in assembly.chains()]
    # What PyYAML reads is what Boltz reads: ids are texts.
    ids = [next(iter(each.values()))["id"] for each in yaml.safe_load(text)["sequences"]]
    assert all(isinstance(name, str) for each in ids for name in ([each] if isinstance(each, str) else each))


@given(bonded())
def test_alphafold3_says_what_it_has_words_for(assembly: Assembly) -> None:
    lacking = (
        assembly.affinity is not None
        or any(each.cyclic for each in assembly.entities)
        or any(not isinstance(each, Bond) for each in assembly.constraints)
    )
    if lacking:
        with pytest.raises(
            Unsayable, match=r"AlphaFold 3's JSON cannot say: .*(affinity|cyclic|pocket|contact)"
        ):
            alphafold3.write(assembly, "x", Beside())
        return
    text = alphafold3.write(assembly, "x y", Beside())
    (found,) = read_alphafold3.read(text, "stem")
    assert isinstance(found, Found)
    assert found.name == "x y"
    assert found.assembly.key == assembly.key
    names = [name for name, _ in found.assembly.chains()]
    assert all(name.isupper() and name.isalpha() for name in names)


@given(bonded())
def test_chai_says_chains(assembly: Assembly) -> None:
    def letter(each: Entity) -> bool:
        return all(
            (known := component(one.ccd)) is not None and known.letter == each.sequence[one.position - 1]
            for one in each.modifications
        )

    sayable = (
        assembly.affinity is None
        and not assembly.constraints
        and all(
            not each.ccd and not each.cyclic and each.msa is None and letter(each)
            for each in assembly.entities
        )
    )
    if not sayable:
        with pytest.raises(Unsayable, match="Chai's FASTA cannot say: "):
            chai.write(assembly, "x", Beside())
        return
    text = chai.write(assembly, "x", Beside())
    assert labels.read(read_blocks(text.splitlines()), "x").assembly.key == assembly.key


@given(st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1, max_size=20), st.data())
def test_chai_says_modifications(sequence: str, data: st.DataObject) -> None:
    codes = {"S": "SEP", "T": "TPO", "Y": "PTR", "M": "MSE", "K": "MLY"}
    places = [place for place, letter in enumerate(sequence, 1) if letter in codes]
    chosen = data.draw(st.lists(st.sampled_from(places), unique=True)) if places else []
    protein = Entity(
        kind=Kind.PROTEIN,
        sequence=sequence,
        modifications=[{"position": place, "ccd": codes[sequence[place - 1]]} for place in chosen],
    )
    assembly = Assembly(entities=(protein,))
    text = chai.write(assembly, "x", Beside())
    assert labels.read(read_blocks(text.splitlines()), "x").assembly.key == assembly.key


# ---- the command, with files
A3M = f">q\n{UBQ}\n>hit\n{UBQ[:-1]}-\n"


def read(path: Path) -> Target:
    (found,) = read_records([path], min_length=1, max_length=500, judge=lambda _: None)
    assert isinstance(found, Target), found
    return found


def test_alignments_that_a_target_brings_go_along(tmp_path: Path) -> None:
    write(tmp_path, "in/own.csv", f"key,sequence\n4,{UBQ}\n,{UBQ}\n")
    write(tmp_path, "in/own.a3m", f">q\n{CRN}\n>x\n{CRN}\n")
    write(
        tmp_path,
        "in/known.pdb",
        "ATOM      1  CA  MET X   1       0.0     0.0     0.0    1.00  0.00           C\n",
    )
    text = (
        "version: 1\nsequences:\n"
        f"  - protein: {{id: A, sequence: {UBQ}, msa: own.csv}}\n"
        f"  - protein: {{id: [B, C], sequence: {CRN}, msa: own.a3m}}\n"
        "  - ligand: {id: L, smiles: 'C#N'}\n"
        "templates: [{pdb: known.pdb, chain_id: A, template_id: X, force: true, threshold: 2.5}]\n"
        "properties: [{affinity: {binder: L}}]\n"
    )
    source = write(tmp_path, "in/x.yaml", text)
    done = convert([source], tmp_path / "out" / "x.yaml", "boltz")
    assert (len(done.written), done.aligned, done.unsayable) == (1, 1, [])
    assert read(tmp_path / "out" / "x.yaml").key == read(source).key
    names = sorted(path.name for path in (tmp_path / "out" / "x_files").iterdir())
    assert names == ["msa_1.csv", "msa_2.a3m", "template_1.pdb"]
    other = convert([source], tmp_path / "out" / "x.json", "alphafold3")
    assert other.written == []
    (said,) = other.unsayable
    for thing in ("template", "affinity of ligand L", "rows of protein A that are paired by keys"):
        assert thing in said


def test_alignments_of_alphafold3_survive_the_way_there_and_back(tmp_path: Path) -> None:
    job = {
        "name": "job",
        "modelSeeds": [1],
        "sequences": [
            {"protein": {"id": "A", "sequence": UBQ, "unpairedMsa": A3M, "pairedMsa": A3M}},
            {"protein": {"id": ["B", "C"], "sequence": CRN, "unpairedMsa": "", "pairedMsa": ""}},
        ],
        "dialect": "alphafold3",
        "version": 1,
    }
    source = write(tmp_path, "job.json", json.dumps(job))
    convert([source], tmp_path / "again.json", "alphafold3")
    assert read(tmp_path / "again.json").key == read(source).key
    written = json.loads((tmp_path / "again.json").read_text())["sequences"]
    assert written[0]["protein"]["pairedMsa"] == written[0]["protein"]["unpairedMsa"] == A3M
    boltz_s = convert([source], tmp_path / "again.yaml", "boltz")
    assert "paired rows of protein A apart from its other rows" in boltz_s.unsayable[0]


def stored(folder: Path, recipe: str, **chains: str) -> None:
    store = open_store(str(folder))
    for sequence, pairing in chains.items():
        files = {"msa.a3m": f">q\n{sequence}\n>h\n{sequence}\n".encode(), "pairing.a3m": pairing.encode()}
        store.put(Entry("msa", recipe, sequence_key([sequence])), archive.pack(files))


def test_what_the_store_has_goes_along(tmp_path: Path) -> None:
    stored(tmp_path / "store", "a" * 16, **{UBQ: ">q\nPAIRED\n"})
    source = write(tmp_path, "x.fasta", f">x\n{UBQ}:{CRN}:smiles|CCO\n")
    store = open_store(str(tmp_path / "store"))
    convert([source], tmp_path / "x.json", "alphafold3", store=store)
    found, lacking, ligand = json.loads((tmp_path / "x.json").read_text())["sequences"]
    assert found["protein"]["unpairedMsa"] == f">q\n{UBQ}\n>h\n{UBQ}\n"
    assert found["protein"]["pairedMsa"] == ">q\nPAIRED\n"
    assert set(lacking["protein"]) == {"id", "sequence"}
    assert ligand["ligand"] == {"id": "C", "smiles": "CCO"}
    convert([source], tmp_path / "x.yaml", "boltz", store=store)
    assert "msa: x_files/msa_1.a3m" in (tmp_path / "x.yaml").read_text()
    assert (tmp_path / "x_files" / "msa_1.a3m").read_text() == f">q\n{UBQ}\n>h\n{UBQ}\n"
    stored(tmp_path / "store", "b" * 16, **{UBQ: ""})
    with pytest.raises(SnakefoldError, match=r"by 2 recipes: a{16} and b{16}\. Choose one by --recipe"):
        convert([source], tmp_path / "y.json", "alphafold3", store=store)
    convert([source], tmp_path / "y.json", "alphafold3", store=store, recipe="b" * 16)
    (first, *_) = json.loads((tmp_path / "y.json").read_text())["sequences"]
    assert first["protein"]["pairedMsa"] == ""


def test_the_command_says_what_it_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path, "in/a.fasta", f">one\n{UBQ}:{CRN}\n>two\n{CRN}:ccd|ATP\n>bad\nMQ1\n")
    out = tmp_path / "out"
    words = ["convert", str(source), str(out), "--to", "chai"]
    assert main(words) == 1
    said = capsys.readouterr()
    assert said.out == "1 file written, 0 with alignments.\n"
    assert "(two): Chai's FASTA cannot say: ligand ATP by its code (give its SMILES)." in said.err
    assert "refused: " in said.err
    assert "The digit '1'" in said.err
    assert (out / "one.fasta").read_text() == f">protein|name=A\n{UBQ}\n>protein|name=B\n{CRN}\n"
    assert main(words) == 2
    assert "one.fasta: is there already" in capsys.readouterr().err
    assert main(["convert", str(source), str(tmp_path / "x.yaml")]) == 2
    assert "is one file, and the input has 2 targets" in capsys.readouterr().err
    assert main(["convert", str(source), str(tmp_path / "x.txt")]) == 2
    assert "no format has this ending" in capsys.readouterr().err


def test_an_alignment_with_keys_is_boltzs_alone() -> None:
    protein = Entity(kind=Kind.PROTEIN, sequence=UBQ)
    beside = Beside({UBQ: Alignment(A3M, keys=(1, None))}, {UBQ: "x.csv"})
    assembly = Assembly(entities=(protein,))
    assert "msa: x.csv" in boltz.write(assembly, "x", beside)
    with pytest.raises(Unsayable, match="rows of protein A that are paired by keys"):
        alphafold3.write(assembly, "x", beside)

"""What other programs take, file by file: what is read of it, or what exactly is said."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from foreign_files import ATP, BOLTZ, HIGH, LIGAND, af3, chain, protein, server, yaml_of
from sequence_files import CRN, UBQ, read, write

from snakefold.config import load_config
from snakefold.kernel.errors import Refusal
from snakefold.molecules import records
from snakefold.molecules.readers import document
from snakefold.molecules.targets import Target
from snakefold.plan.records import read_input

SEEDS = "modelSeeds: the settings say it, not the file"


@dataclass
class Taken:
    """A file of proteins alone: the ids and chains that come of it, and notes."""

    content: str | bytes
    name: str
    expected: dict[str, str]
    note: str = ""


TAKEN = {
    "AF3": Taken(af3(protein()), "a.json", {"job_1": UBQ}),
    "AF3, copies and chains in order": Taken(
        af3(protein(["B", "A"]), protein("C", CRN)), "a.json", {"job_1": f"{UBQ}:{UBQ}:{CRN}"}
    ),
    "AF3, seeds": Taken(af3(protein(), modelSeeds=[1, 2]), "a.json", {"job_1": UBQ}, SEEDS),
    "AF3, nulls and no templates": Taken(
        af3(
            protein(unpairedMsa=None, pairedMsa=None, templates=[], modifications=[], description="x"),
            version=4,
        ),
        "a.json",
        {"job_1": UBQ},
        "templates: the settings say it, not the file",
    ),
    "AF3, letters replaced": Taken(
        af3(protein(sequence=UBQ[:20] + "U")), "a.json", {"job_1": UBQ[:20] + "C"}, "U→C at 1 place"
    ),
    "AF3, on one line of two megabytes": Taken(
        json.dumps(json.loads(af3(protein(description="x" * (2 << 20))))), "a.json", {"job_1": UBQ}
    ),
    "AF3, packed": Taken(gzip.compress(af3(protein()).encode()), "a.json.gz", {"job_1": UBQ}),
    "AF3, with a mark": Taken("\ufeff" + af3(protein()), "a.json", {"job_1": UBQ}),
    "AF3 under another name": Taken(af3(protein()), "a.txt", {"job_1": UBQ}),
    "AF3 without a name": Taken(af3(protein(), name=""), "x y.json", {"x_y": UBQ}),
    "server, two jobs": Taken(
        server({"name": "a", "sequences": [chain(count=2)]}, {"name": "a", "sequences": [chain(CRN)]}),
        "s.json",
        {"a": f"{UBQ}:{UBQ}", "a-2": CRN},
    ),
    "server, templates": Taken(
        server({"name": "a", "sequences": [chain(useStructureTemplate=False, maxTemplateDate="2018-01-20")]}),
        "s.json",
        {"a": UBQ},
        "useStructureTemplate, maxTemplateDate: the settings say it, not the file",
    ),
    "server, a job that is no list": Taken(
        json.dumps({"name": "a", "dialect": "alphafoldserver", "sequences": [chain()]}), "s.json", {"a": UBQ}
    ),
    "Boltz": Taken(BOLTZ, "b.yaml", {"b": UBQ}),
    "Boltz, .yml": Taken(BOLTZ, "b.yml", {"b": UBQ}),
    "Boltz, packed": Taken(gzip.compress(BOLTZ.encode()), "b.yaml.gz", {"b": UBQ}),
    "Boltz under another name": Taken(BOLTZ, "b.boltz", {"b": UBQ}),
    "Boltz, copies": Taken(BOLTZ.replace("id: A", "id: [A, B]"), "b.yaml", {"b": f"{UBQ}:{UBQ}"}),
    "Boltz, sequence over lines": Taken(
        BOLTZ.replace(UBQ, f">-\n        {UBQ[:30]}\n        {UBQ[30:]}"), "b.yaml", {"b": UBQ}
    ),
    "Boltz, nothing special": Taken(
        BOLTZ + "      cyclic: false\n      modifications: []\nconstraints: []\nproperties:\n",
        "b.yaml",
        {"b": UBQ},
    ),
    "Boltz's FASTA": Taken(
        f">A|protein|\n{UBQ}\n>B|PROTEIN\n{CRN[:9]}\n{CRN[9:]}\n", "c.fasta", {"c": f"{UBQ}:{CRN}"}
    ),
    "Chai's FASTA": Taken(f">protein|name=long\n{UBQ}\n>protein|x\n{UBQ}\n", "c.fa", {"c": f"{UBQ}:{UBQ}"}),
    "UniProt's FASTA": Taken(
        f">sp|P0CG47|UBB_HUMAN\n{UBQ}\n>x|y|z\n{CRN}\n", "c.fa", {"sp_P0CG47_UBB_HUMAN": UBQ, "x_y_z": CRN}
    ),
    "poly-GA": Taken(f">a\n{'GA' * 10}\n", "c.fa", {"a": "GA" * 10}, "has only letters that DNA has, too"),
    "letters of DNA in a short peptide": Taken(">a\nACGTACGTACGT\n", "c.fa", {"a": "ACGTACGTACGT"}),
}


@pytest.mark.parametrize("case", TAKEN.values(), ids=TAKEN.keys())
def test_proteins_alone_are_read(case: Taken, tmp_path: Path) -> None:
    targets, refusals = read(write(tmp_path, case.name, case.content), high=HIGH)
    assert refusals == []
    assert {target.id: ":".join(target.chains) for target in targets} == case.expected
    assert targets[0].note == case.note
    assert targets[0].msa is None


def test_they_are_the_target_that_fasta_gives(tmp_path: Path) -> None:
    paths = [
        write(tmp_path, "a.json", af3(protein(["A", "B"]), protein("C", CRN))),
        write(
            tmp_path,
            "b.yaml",
            BOLTZ.replace("id: A", "id: [X, Y]") + f"  - protein: {{id: Z, sequence: {CRN}}}\n",
        ),
        write(tmp_path, "c.fasta", f">c\n{UBQ}:{UBQ}:{CRN}\n"),
    ]
    targets, _ = read(paths, high=HIGH)
    assert len({target.key for target in targets}) == 1
    assert len({target.chains for target in targets}) == 1


def test_jobs_have_their_lines(tmp_path: Path) -> None:
    text = server(*({"name": name, "sequences": [chain()]} for name in "ab"))
    targets, _ = read(write(tmp_path, "s.json", text), high=HIGH)
    lines = text.splitlines()
    assert [(target.record, lines[target.line - 1].strip()) for target in targets] == [(1, "{"), (2, "{")]
    assert [lines[target.line].count("modelSeeds") for target in targets] == [1, 1]


@dataclass
class Refused:
    """A file of which one record is refused: where, and what is said."""

    content: str | bytes
    name: str
    code: str
    says: str
    line: int
    record: int = 1
    taken: int = 0


REFUSED = {
    # What an engine might take.
    "AF3 with a ligand": Refused(
        af3(protein(), ATP), "a.json", "molecules", "ligand ATP: proteins only are taken here", 1
    ),
    "AF3 with DNA": Refused(
        af3(protein(), {"dna": {"id": "D", "sequence": "ACGT"}}),
        "a.json",
        "molecules",
        "DNA of 4 nucleotides",
        1,
    ),
    "AF3 with a modification": Refused(
        af3(protein(modifications=[{"ptmType": "HY3", "ptmPosition": 1}])),
        "a.json",
        "molecules",
        "modification HY3 at residue 1 of protein A",
        1,
    ),
    "AF3 with an alignment": Refused(
        af3(protein(unpairedMsa=f">q\n{UBQ}\n", pairedMsa="")), "a.json", "molecules", "its own alignment", 1
    ),
    "AF3 with an alignment in a file": Refused(
        af3(protein(unpairedMsaPath="a.a3m", pairedMsa=""), version=2), "a.json", "molecules", "its own", 1
    ),
    "AF3 without an alignment": Refused(
        af3(protein(unpairedMsa="", pairedMsa="")), "a.json", "molecules", "protein A without an alignment", 1
    ),
    "AF3 with a bond": Refused(
        af3(protein(), ATP, bondedAtomPairs=[[["A", 1, "N"], ["L", 1, "PA"]]]),
        "a.json",
        "molecules",
        "bond A:1:N to L:1:PA",
        1,
    ),
    "AF3 of a ligand alone": Refused(af3(ATP), "a.json", "molecules", "Leave the record out", 1),
    "server with an ion": Refused(
        server(
            {"name": "a", "sequences": [chain()]},
            {"name": "b", "sequences": [chain(), {"ion": {"ion": "MG"}}]},
        ),
        "s.json",
        "molecules",
        "ligand MG: proteins only",
        16,
        2,
        taken=1,
    ),
    "Boltz with a ligand": Refused(
        yaml_of(LIGAND), "b.yaml", "molecules", "ligand CC(=O)O: proteins only", 1
    ),
    "Boltz with affinity": Refused(
        yaml_of(LIGAND, more="properties: [{affinity: {binder: L}}]\n"),
        "b.yaml",
        "molecules",
        "ligand CC(=O)O, affinity of ligand L: proteins only",
        1,
    ),
    "Boltz with a pocket": Refused(
        yaml_of(more="constraints: [{contact: {token1: [A, 1], token2: [A, 9], max_distance: 5}}]\n"),
        "b.yaml",
        "molecules",
        "contact: proteins only are taken here",
        1,
    ),
    "Boltz, cyclic": Refused(BOLTZ + "      cyclic: true\n", "b.yaml", "molecules", "A, which is cyclic", 1),
    "Boltz, msa: empty": Refused(
        BOLTZ + "      msa: empty\n", "b.yaml", "molecules", "none with msa.tool: single_sequence", 1
    ),
    "Boltz's FASTA with a ligand": Refused(
        f">A|protein\n{UBQ}\n>B|ccd\nATP\n", "b.fasta", "molecules", "ligand ATP: proteins only", 1
    ),
    "Chai's FASTA with a ligand": Refused(
        f">protein|name=a\n{UBQ}\n>ligand|name=b\nCCO\n", "b.fasta", "molecules", "ligand CCO: proteins", 1
    ),
    "Chai's FASTA with RNA": Refused(
        f">protein|name=a\n{UBQ}\n>rna|name=b\nACGU\n", "b.fasta", "molecules", "RNA of 4 nucleotides", 1
    ),
    # What is wrong, or not read.
    "AF3, too short": Refused(af3(protein(sequence="MQIF")), "a.json", "too_short", "4 residues", 1),
    "AF3, letter": Refused(af3(protein(sequence="MQ1F")), "a.json", "digit", "protein A: The digit '1'", 8),
    "AF3, two chains in one": Refused(
        af3(protein(sequence=f"{CRN}:{CRN}")), "a.json", "letter", "Give each chain an entry", 8
    ),
    "AF3, mistyped": Refused(
        af3({"protein": {"id": "A", "sequenec": UBQ}}),
        "a.json",
        "missing_key",
        "protein A: sequence is missing",
        8,
    ),
    "AF3, unknown key": Refused(
        af3(protein(modification=[])), "a.json", "unknown_key", "Is 'modifications' meant?", 8
    ),
    "AF3, unknown entity": Refused(
        af3({"peptide": {}}), "a.json", "unknown_key", "'peptide' is no entity. Known are protein, dna", 7
    ),
    "AF3, template": Refused(af3(protein(templates=[{}])), "a.json", "templates", "not read yet", 8),
    "AF3, own components": Refused(
        af3(protein(), userCCD="data_X"), "a.json", "own_components", "(userCCD) are not read yet", 1
    ),
    "AF3, alignment twice": Refused(
        af3(protein(unpairedMsa="", unpairedMsaPath="x")), "a.json", "msa", "are both there", 8
    ),
    "AF3, version": Refused(af3(protein(), version=9), "a.json", "version", "version 9 of alphafold3", 1),
    "AF3, dialect": Refused(
        af3(protein(), dialect="x"), "a.json", "dialect", "Known are alphafold3, alpha", 1
    ),
    "AF3, id twice": Refused(af3(protein(), protein()), "a.json", "molecules", "id A is given twice", 13),
    "AF3, id a number": Refused(af3(protein(ids=1)), "a.json", "type", "id is read as the number 1", 8),
    "AF3, bond": Refused(af3(protein(), bondedAtomPairs=[["A", 1]]), "a.json", "bond", "a bond is not [[", 1),
    "AF3, nothing": Refused(af3(), "a.json", "molecules", "entities: ", 1),
    "AF3, key twice": Refused(
        '{"sequences": [],\n "sequences": []}', "a.json", "double_key", "there twice", 1, 0
    ),
    "JSON, comma": Refused('{\n "sequences": [],\n}', "a.json", "json", "commas after the last item", 3, 0),
    "JSON, cut short": Refused('{"sequences": [', "a.json", "json", "This is no JSON", 1, 0),
    "JSON, NaN": Refused('{"sequences": NaN}', "a.json", "json", "NaN is no number", 0, 0),
    "JSON, endless number": Refused(f'{{"sequences": {"9" * 9999}}}', "a.json", "json", "no JSON", 0, 0),
    "JSON, deep": Refused("[" * 100_000, "a.json", "nested", "nested too deeply", 0, 0),
    "JSON of something else": Refused('{"a": 1}', "a.json", "unknown_kind", "it has no 'sequences'", 0, 0),
    "JSON of OpenFold 3": Refused('{"queries": {}}', "a.json", "unknown_kind", "as OpenFold 3's has", 1, 0),
    "JSON, empty list": Refused("[]", "a.json", "no_records", "is an empty list", 0, 0),
    "JSON, empty file": Refused("", "a.json", "json", "This is no JSON", 1, 0),
    "JSON, a list of texts": Refused('["a", "b"]', "a.json", "unknown_kind", "no 'sequences'", 0, 0),
    "JSON, Latin-1": Refused(b'{"a":\n"\xe9"}', "a.json", "encoding", "Byte 8 of the text", 2, 0),
    "JSON, UTF-16": Refused("{}".encode("utf-16"), "a.json", "encoding", "UTF-16", 1, 0),
    "JSON, NUL": Refused(b'{\n"a\0"}', "a.json", "binary", "NUL bytes", 2, 0),
    "JSON, packed and damaged": Refused(
        gzip.compress(b"{}")[:-9], "a.json.gz", "damaged_gzip", "damaged or cut short", 0, 0
    ),
    "server, glycans": Refused(
        server({"name": "a", "sequences": [chain(glycans=[{"residues": "BMA", "position": 1}])]}),
        "a.json",
        "glycans",
        "entry 1 (proteinChain): glycans are not read yet",
        9,
    ),
    "server, no table": Refused(
        json.dumps([{"name": "a", "sequences": [chain()]}, 3]),
        "a.json",
        "type",
        "job 2 is the number 3",
        0,
        2,
        1,
    ),
    "Boltz, unknown key": Refused(
        BOLTZ + "propertys: []\n",
        "b.yaml",
        "unknown_key",
        "'propertys' is not known. Is 'properties' meant?",
        1,
    ),
    "Boltz, id read as a truth value": Refused(
        BOLTZ.replace("id: A", "id: no"), "b.yaml", "type", "id is read as false, not as a text. Put it in", 4
    ),
    "Boltz, id read as a number": Refused(
        BOLTZ.replace("id: A", "id: 1"), "b.yaml", "type", "id is read as the number 1", 4
    ),
    "Boltz, id too long": Refused(
        BOLTZ.replace("id: A", "id: chainA"), "b.yaml", "molecules", "no chain id", 4
    ),
    "Boltz, id of escape codes": Refused(
        BOLTZ.replace("id: A", 'id: "\\e[2J"'), "b.yaml", "molecules", "is no chain id", 4
    ),
    "AF3, id of escape codes": Refused(
        af3(protein(ids="\x1b[2J")), "a.json", "molecules", "is no chain id", 8
    ),
    "Boltz, id twice": Refused(
        yaml_of("ligand: {id: A, ccd: ATP}"), "b.yaml", "molecules", "The chain id A is given twice", 6
    ),
    "Boltz, version": Refused(
        BOLTZ.replace("version: 1", "version: 2"), "b.yaml", "version", "Known is 1", 1
    ),
    "Boltz, no sequences": Refused("version: 1\n", "b.yaml", "unknown_kind", "no input of Boltz", 0, 0),
    "Boltz, text": Refused("hello\n", "b.yaml", "unknown_kind", "no input of Boltz", 0, 0),
    "Boltz, empty": Refused("", "b.yaml", "unknown_kind", "no input of Boltz", 0, 0),
    "Boltz, ligand of both": Refused(
        yaml_of("ligand: {id: L, ccd: ATP, smiles: CC}"), "b.yaml", "molecules", "one of the two", 6
    ),
    "Boltz, SMILES cut by a comment": Refused(
        yaml_of("ligand:\n      id: L\n      smiles: CC( #C"), "b.yaml", "molecules", "a '(' is not closed", 7
    ),
    "Boltz, T in RNA": Refused(
        yaml_of("rna: {id: R, sequence: ACT}"), "b.yaml", "molecules", "rna R: 'T' at position 3", 6
    ),
    "Boltz, modification at 0": Refused(
        BOLTZ + "      modifications: [{position: 0, ccd: SEP}]\n",
        "b.yaml",
        "molecules",
        "expected at least 1",
        6,
    ),
    "Boltz, distance": Refused(
        yaml_of(more="constraints:\n  - contact: {token1: [A, 1], token2: [A, 2], max_distance: 100}\n"),
        "b.yaml",
        "molecules",
        "between 4 and 20 Å",
        7,
    ),
    "Boltz, contact out of range": Refused(
        yaml_of(more="constraints:\n  - contact: {token1: [A, 1], token2: [A, 77]}\n"),
        "b.yaml",
        "molecules",
        "residue 77 of chain A, which has 76",
        7,
    ),
    "Boltz, pocket of nobody": Refused(
        yaml_of(more="constraints:\n  - pocket: {binder: Q, contacts: [[A, 1]]}\n"),
        "b.yaml",
        "molecules",
        "pocket: there is no chain Q",
        7,
    ),
    "Boltz with a template": Refused(
        BOLTZ + "templates: [{cif: x.cif}]\n", "b.yaml", "molecules", "template x.cif: proteins only", 6
    ),
    "Boltz, template of two files": Refused(
        BOLTZ + "templates: [{cif: x.cif, pdb: x.pdb}]\n", "b.yaml", "templates", "one of the two", 6
    ),
    "Boltz, template of a ligand": Refused(
        yaml_of(LIGAND, more="templates:\n  - {cif: x.cif, chain_id: L}\n"),
        "b.yaml",
        "molecules",
        "template: chain L is no protein",
        8,
    ),
    "Boltz, template of nobody": Refused(
        yaml_of(more="templates:\n  - cif: x.cif\n    chain_id: [Q]\n"),
        "b.yaml",
        "molecules",
        "template: there is no chain Q",
        7,
    ),
    "Boltz, template forced without an end": Refused(
        yaml_of(more="templates:\n  - cif: x.cif\n    force: true\n"),
        "b.yaml",
        "molecules",
        "needs a threshold",
        7,
    ),
    "Boltz, SMILES cut at a triple bond": Refused(
        yaml_of("ligand:\n      id: L\n      smiles: C #N"), "b.yaml", "ligand", "cut at a '#'", 8
    ),
    "Boltz, affinity twice": Refused(
        yaml_of(LIGAND, more="properties: [{affinity: {binder: L}}, {affinity: {binder: L}}]\n"),
        "b.yaml",
        "affinity",
        "more than once",
        7,
    ),
    "YAML, key twice": Refused(BOLTZ + "version: 1\n", "b.yaml", "double_key", "'version' is there twice", 6),
    "YAML, alias": Refused("a: &x [1]\nsequences: *x\n", "b.yaml", "yaml", "Aliases", 1, 0),
    "YAML, laughter": Refused(
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nsequences: *c\n", "b.yaml", "yaml", "Aliases", 1, 0
    ),
    "YAML, object": Refused(
        "sequences: !!python/object/apply:os.system ['true']\n", "b.yaml", "yaml", "is not read", 1, 0
    ),
    "YAML, tab": Refused("version: 1\nsequences:\n\t- protein:\n", "b.yaml", "yaml", "This is no YAML", 3, 0),
    "YAML, deep": Refused("sequences: " + "[" * 5000, "b.yaml", "nested", "nested too deeply", 1),
    "YAML, two documents": Refused(BOLTZ + "---\n" + BOLTZ, "b.yaml", "yaml", "This is no YAML", 6, 0),
    "YAML, large": Refused(BOLTZ + "#" * (1 << 20), "b.yaml", "too_large", "more than 1 MB", 0, 0),
    "FASTA, a label among others": Refused(
        f">a\n{UBQ}\n>B|ccd|\nATP\n", "b.fasta", "label", "'ccd' in the manner of Boltz", 3, 2, 1
    ),
    "FASTA, a header without a label": Refused(
        f">A|protein\n{UBQ}\n>b\n{UBQ}\n", "b.fasta", "label", "The header 'b' does not say", 3
    ),
    "FASTA, labels of two programs": Refused(
        f">A|protein\n{UBQ}\n>ligand|name=x\nCCO\n",
        "b.fasta",
        "label",
        "the first is in the manner of Boltz",
        3,
    ),
    "FASTA, many proteins with labels": Refused(
        "".join(f">p{number}|protein\nMQIF\n" for number in range(600)),
        "b.fasta",
        "too_many_chains",
        "take '|' and what it marks out of the headers",
        1025,
    ),
    "FASTA, a name like a label": Refused(
        f">DNA|binding protein\n{UBQ}\n", "b.fasta", "molecules", "take '|' and what it marks out", 1
    ),
    "FASTA, chain twice": Refused(
        f">A|protein\n{UBQ}\n>A|protein\n{UBQ}\n", "b.fasta", "molecules", "id A is given twice", 3
    ),
    "FASTA, glycan": Refused(">glycan|name=x\nNAG\n", "b.fasta", "glycans", "glycans are not read yet", 1),
    "FASTA, Chai's modification": Refused(
        ">protein|name=x\nMQIF(SEP)KTL\n",
        "b.fasta",
        "molecules",
        "modification SEP at residue 5 of protein A",
        1,
    ),
    "FASTA, Chai's modification of nothing": Refused(
        ">protein|name=x\nMQIF(ATP)KTL\n",
        "b.fasta",
        "modification",
        "(ATP) at residue 5 has no standard residue",
        1,
    ),
    "FASTA, Chai's modification left open": Refused(
        ">protein|name=x\nMQIF(SEPKTL\n", "b.fasta", "modification", "'(' and ')' do not match", 1
    ),
    "ColabFold's ligand": Refused(
        f">a\n{UBQ}\n>x y\n{UBQ}:ccd|ATP|2\n", "b.fasta", "molecules", "ligand ATP: proteins", 3, 2, 1
    ),
    "ColabFold's ligand, mistyped": Refused(
        f">x\n{UBQ}:cdd|ATP\n", "b.fasta", "label", "types are dna, rna, ccd, smiles", 1
    ),
    "ColabFold's ligand, copies": Refused(
        f">x\n{UBQ}:ccd|ATP|two\n", "b.fasta", "type", "'two' is no number of copies", 1
    ),
    "FASTA, accession": Refused(
        f">a\nP12345\n>b\n{UBQ}\n", "b.fasta", "accession", "'P12345' is a UniProt accession", 2, 1, 1
    ),
    "FASTA, SMILES": Refused(
        ">a\nCC(=O)Oc1ccccc1C(=O)O\n", "b.fasta", "smiles", "a ligand, not a protein", 2
    ),
    "FASTA, SMILES of letters": Refused(">a\nCCOCCOCCOCCO\n", "b.fasta", "smiles", "is a SMILES", 2),
    "FASTA, modified residue": Refused(">a\nMQIF(SEP)KTL\n", "b.fasta", "modification", "'(SEP)' in the", 2),
    "FASTA, address": Refused(">a\nhttps://example.org/a.fa\n", "b.fasta", "address", "is an address", 2),
    "FASTA, DNA with ambiguous letters": Refused(
        ">a\nATGCATTTTAAACGCTACGNRATGCATTTTA\n", "b.fasta", "nucleotides", "Translate it", 1
    ),
    "FASTA, RNA of two letters": Refused(">a\nAUAUAUAUAUAUAUAU\n", "b.fasta", "nucleotides", "DNA or RNA", 1),
    "sheet, accession": Refused(
        f"id,sequence\na,A0A023GPI8\nb,{UBQ}\n", "s.csv", "accession", "'A0A023GPI8' is a UniProt", 2, 1, 1
    ),
    "sheet, several accessions": Refused(
        "id,sequence\na,P12345:Q8WXF1-2\n", "s.csv", "accession", "'P12345' (and 1 more) is a UniProt", 2
    ),
    "sheet, entry name": Refused(
        "id,sequence\na,UBB_HUMAN\n", "s.csv", "accession", "a UniProt entry name", 2
    ),
    "sheet, PDB code": Refused("id,sequence\na,1UBQ\n", "s.csv", "accession", "a PDB code", 2),
    "sheet, AlphaFold database": Refused(
        "id,sequence\na,AF-P12345-F1\n", "s.csv", "accession", "AlphaFold", 2
    ),
    "sheet, RefSeq": Refused("id,sequence\na,NP_001243.1\n", "s.csv", "accession", "a RefSeq accession", 2),
    "sheet, SMILES": Refused("id,sequence\na,C[C@@H](N)C(=O)O\n", "s.csv", "smiles", "is a SMILES", 2),
    "sheet of SMILES": Refused("id,smiles\na,CCO\n", "s.csv", "no_columns", "'smiles' holds ligands", 1, 0),
    "sheet of proteins and ligands": Refused(
        f"id,sequence,SMILES\na,{UBQ},CCO\n", "s.csv", "no_columns", "to fold the proteins alone", 1, 0
    ),
    "sheet of accessions": Refused(
        "Entry,Organism\nP12345,x\n", "s.csv", "no_columns", "'entry' holds UniProt accessions", 1, 0
    ),
    "sheet of accessions, no header": Refused(
        "P12345\nQ8WXF1\n", "s.csv", "accession", "No line names the columns", 1, 0
    ),
    "list of accessions": Refused(
        "P12345\n", "l.txt", "accession", "rest.uniprot.org/uniprotkb/P12345.fasta", 1
    ),
    "list of SMILES": Refused("c1ccccc1 benzene\n", "l.smi", "smiles", "'c1ccccc1' is a SMILES", 1),
    "PDB": Refused("HEADER    X\n", "x.pdb", "unknown_kind", "a structure in PDB format", 0, 0),
    "mmCIF": Refused("data_1UBQ\n", "x.cif", "unknown_kind", "a structure in mmCIF format", 0, 0),
    "Stockholm": Refused("# STOCKHOLM 1.0\n", "x.sto", "unknown_kind", "Stockholm", 0, 0),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED.keys())
def test_all_else_is_refused_by_name(case: Refused, tmp_path: Path) -> None:
    path = write(tmp_path, case.name, case.content)
    targets, refusals = read(path, high=HIGH)
    (refusal,) = refusals
    assert case.says in f"{refusal.message} {refusal.advice}"
    assert (refusal.code, refusal.line, refusal.record) == (case.code, case.line, case.record)
    assert refusal.file == str(path)
    assert refusal.advice
    assert str(refusal).isprintable()
    assert len(targets) == case.taken


def test_every_line_of_a_list_is_a_record(tmp_path: Path) -> None:
    _, refusals = read(write(tmp_path, "l.txt", b"P12345\n# mine\n\n1ubq\t x\nhello\n\xe9\n"))
    assert [(each.record, each.line, each.code) for each in refusals] == [
        (1, 1, "accession"),
        (2, 4, "accession"),
        (3, 5, "no_sequence"),
        (4, 6, "encoding"),
    ]


def test_what_is_read_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_NAMES", 2)
    monkeypatch.setattr(document, "MAX_OBJECTS", 2)
    names = write(tmp_path, "l.txt", "P12345\n" * 3)
    objects = write(tmp_path, "a.json", '[{},\n{},\n{"sequences": []}]')
    packed = write(tmp_path, "b.json.gz", gzip.compress(b" " * (65 << 20)))
    _, refusals = read([names, objects, packed])
    assert [(each.code, each.line) for each in refusals] == [
        ("too_many_records", 3),
        ("too_many_records", 3),
        ("too_large", 0),
    ]


def test_a_sheet_names_files_of_proteins(tmp_path: Path) -> None:
    write(tmp_path, "a.fasta", f">A|protein\n{UBQ}\n>B|protein\n{UBQ}\n")
    write(tmp_path, "b.fasta", f">A|protein\n{UBQ}\n>B|ccd\nATP\n")
    targets, (refusal,) = read(write(tmp_path, "s.csv", "id,fasta\na,a.fasta\nb,b.fasta\n"), high=HIGH)
    assert [target.chains for target in targets] == [(UBQ, UBQ)]
    assert (refusal.code, refusal.line) == ("label", 3)
    assert "'b.fasta': The header 'B|ccd' says 'ccd' in the manner of Boltz" in refusal.message


def test_a_plan_names_its_engine(tmp_path: Path) -> None:
    path = write(tmp_path, "a.json", server(*({"name": n, "sequences": [chain()]} for n in "ab")))
    other = write(tmp_path, "b.yaml", yaml_of("ligand: {id: L, ccd: ATP}"))
    planned = read_input(load_config({"input": [str(path), str(other)]}), None)
    assert [type(row) for row in planned.rows] == [Target, Target, Refusal]
    assert len(planned.targets) == 1
    assert list(planned.ids()) == ["a", "b", "b-2"]
    assert str(planned.refusals[0]) == (
        f"{other}:1 (record 1: 'b'): ligand ATP: engine alphafold2 folds proteins only; "
        "engines that take it: af3, boltz2. Set engine: af3."
    )

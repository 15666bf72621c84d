"""Templates and coordinates that a target brings, as AlphaFold's features: against ColabFold's own code."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from snakefold.engines import template_table
from snakefold.engines.alphafold2 import ENGINE, brought, features, guess
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset
from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.errors import TargetError
from snakefold.molecules.entities import Assembly
from snakefold.msa import own_templates, templates
from snakefold.structures.mmcif import RELEASED
from tests.engine.toys import make_target, with_structures
from tests.known import toy_pdb

FIRST, SECOND = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", "GSHMFVKDPRSFVKLTNAKWEH"
#: hhsearch aligns short pieces of any two proteins, and finds none of this one in the first.
OTHER = "GPGPPGPGGPPGPGPPGPGP"


def found(sequence: str, *texts: str, form: str = "pdb", chains: frozenset[str] | None = None) -> Any:
    structures = [
        own_templates.Structure(text.encode(), form, hashlib.sha256(text.encode()).hexdigest(), chains)
        for text in texts
    ]
    result = own_templates.find(sequence, f">query\n{sequence}\n", structures, lambda _: None)
    return result, None if result.npz is None else templates.load(result.npz)


def as_cif(text: str) -> str:
    """With what ColabFold asks of an mmCIF file."""
    structure = gemmi.read_pdb_string(text)
    structure.name = "1ABC"
    structure.info["_entry.id"] = "1ABC"
    structure.setup_entities()
    for chain in structure[0]:
        entity = structure.get_entity_of(chain.get_polymer())
        entity.full_sequence = [residue.name for residue in chain]
    structure.assign_label_seq_id()
    document = structure.make_mmcif_document()
    block = document.sole_block()
    for row in block.find("_chem_comp.", ["type"]):
        row[0] = "'L-peptide linking'"
    loop = block.init_loop("_pdbx_audit_revision_history.", ["revision_date"])
    loop.add_row([RELEASED.isoformat()])
    return document.as_string()


@pytest.mark.parametrize("form", ["pdb", "cif"])
def test_features_are_those_of_colabfold(form: str, tmp_path: Path) -> None:
    from colabfold.batch import mk_hhsearch_db, mk_template

    text = toy_pdb(SECOND, FIRST, first=7)
    text = as_cif(text) if form == "cif" else text
    (tmp_path / f"1abc.{form}").write_text(text)
    mk_hhsearch_db(str(tmp_path))
    theirs = mk_template(f">query\n{FIRST}\n", str(tmp_path), FIRST)
    result, ours = found(FIRST, text, form=form)
    assert len(theirs["template_domain_names"]) == 1
    assert list(result.names) == [("1ABC" if form == "cif" else own_name(text)) + "_B"]
    assert ours["template_sequence"].tolist() == theirs["template_sequence"].tolist() == [FIRST.encode()]
    for name in ("aatype", "all_atom_masks", "all_atom_positions", "sum_probs"):
        assert np.array_equal(ours[f"template_{name}"], theirs[f"template_{name}"].astype(np.float32)), name
    assert ours["template_all_atom_masks"].sum() > 4 * len(FIRST)


def own_name(text: str) -> str:
    """A file that does not say what it is called is called by its content."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def test_residues_keep_their_places_where_some_are_not_modelled() -> None:
    missing = [8, 9, 10, 20]
    names = gemmi.expand_one_letter_sequence(FIRST, gemmi.ResidueKind.AA)
    rows = [names[start : start + 13] for start in range(0, len(names), 13)]
    seqres = "".join(
        f"SEQRES {number:3d} A {len(names):4d}  {' '.join(row)}\n" for number, row in enumerate(rows, 1)
    )
    whole, gaps = toy_pdb(FIRST), seqres + toy_pdb(FIRST, left_out=missing)
    _, complete = found(FIRST, whole)
    _, ours = found(FIRST, gaps)
    assert ours["template_sequence"].tolist() == [FIRST.encode()]
    modelled = ours["template_all_atom_masks"][0].any(axis=-1)
    assert np.flatnonzero(~modelled).tolist() == missing
    for name in ("template_all_atom_masks", "template_all_atom_positions"):
        assert np.array_equal(ours[name][0][modelled], complete[name][0][modelled])


def test_insertion_codes_ligands_and_modified_residues_do_no_harm() -> None:
    lines = toy_pdb(FIRST).splitlines()
    # The fifth residue is 4A, and no number follows it.
    lines = [line[:22] + "   4A" + line[27:] if line[22:27] == "   5 " else line for line in lines]
    lines = [line.replace("MET", "MSE").replace("ATOM  ", "HETATM") for line in lines]
    water = "HETATM  900  O   HOH A 201      10.000  10.000  10.000  1.00  0.00           O"
    _, plain = found(FIRST, toy_pdb(FIRST))
    _, ours = found(FIRST, "\n".join([*lines[:-1], water, "END"]))
    for name in ("aatype", "all_atom_masks", "all_atom_positions"):
        assert np.array_equal(ours[f"template_{name}"], plain[f"template_{name}"]), name


def test_only_chains_that_are_named_are_searched() -> None:
    text = toy_pdb(FIRST, FIRST, OTHER)
    assert [name[-2:] for name in found(FIRST, text)[0].names] == ["_A", "_B"]
    assert [name[-2:] for name in found(FIRST, text, chains=frozenset("B"))[0].names] == ["_B"]
    assert found(FIRST, text, chains=frozenset("C"))[0].npz is None, "another protein is no template"


def test_the_order_of_files_has_no_meaning() -> None:
    one, two = toy_pdb(FIRST), toy_pdb(FIRST, first=2)
    assert found(FIRST, one, two)[0].npz == found(FIRST, two, one)[0].npz


def test_each_chain_of_a_complex_gets_what_it_was_given() -> None:
    text = toy_pdb(FIRST, OTHER)
    chains = (OTHER, FIRST, OTHER)
    target, files = with_structures(chains, templates=[text])
    msas = TargetMsas(chains=[ChainMsa(f">q\n{chain}\n") for chain in chains], files=files)
    whole, notes = brought.with_templates(target, msas)
    assert not notes
    assert [chain.templates is not None for chain in whole.given] == [True] * 3
    table = template_table.files(whole, used=True)["templates.tsv"].decode().splitlines()
    assert [line.split("\t")[:4] for line in table[1:]] == [
        ["1", f"{own_name(text)}_B", "1.000", "1.000"],
        ["2", f"{own_name(text)}_A", "1.000", "1.000"],
    ]
    # Of a template that a YAML gives to one chain, the others get none.
    values = dict(target.assembly or {})
    values["templates"] = [{**values["templates"][0], "chains": ["B"], "template_chains": ["A"]}]
    narrow = target.model_copy(update={"assembly": values})
    given = brought.with_templates(narrow, msas)[0].given
    assert [chain.templates is not None for chain in given] == [False, True, False]


def test_an_assembly_is_its_chains() -> None:
    assembly = Assembly.model_validate(
        {
            "entities": [
                {"kind": "protein", "sequence": FIRST, "copies": 2},
                {"kind": "protein", "sequence": SECOND},
            ]
        }
    )
    values = assembly.model_dump(mode="json", exclude_defaults=True)
    target = make_target("x", FIRST).model_copy(update={"chains": [], "assembly": values})
    assert brought.plain(target).chains == [FIRST, FIRST, SECOND]
    assert brought.chain_count(target) == 3
    msas = TargetMsas(chains=[ChainMsa("first"), ChainMsa("second")])
    assert [chain.a3m for chain in brought.plain_msas(target, msas).given] == ["first", "first", "second"]
    assert ENGINE.group(target, AlphaFold2Settings()) == "complex"
    given, _ = with_structures((FIRST,), templates=[toy_pdb(FIRST)])
    assert ENGINE.group(given, AlphaFold2Settings()) == "monomer_templates"
    given, _ = with_structures((FIRST,), guess=toy_pdb(FIRST))
    assert ENGINE.group(given, AlphaFold2Settings()) == "monomer"


def test_the_recipe_names_what_reads_own_templates(weights_folder: Path) -> None:
    settings = AlphaFold2Settings.model_validate({"use_templates": True, "models": [1]})
    plain, own = (ENGINE.recipe(name, settings, weights_folder) for name in ("monomer", "monomer_templates"))
    assert own == {**plain, "own_templates": own_templates.versions()}
    assert set(own["own_templates"]) == {"hhsearch", "kalign"}
    assert not ENGINE.needs("complex_templates", settings).templates
    assert ENGINE.needs("complex_templates", settings).pairing


def test_a_guess_is_in_the_order_of_the_network() -> None:
    from alphafold.common import protein

    # Chains in the file as it likes; the network computes equal ones side by side.
    target, files = with_structures((FIRST, SECOND, FIRST), guess=toy_pdb(SECOND, FIRST, FIRST))
    ours = guess.positions_of(target, files)
    order = toy_pdb(SECOND, FIRST, FIRST)
    theirs = protein.from_pdb_string(order).atom_positions
    first, second = len(FIRST), len(SECOND)
    expected = np.concatenate([theirs[second:], theirs[:second]])
    assert ours is not None and ours.shape == (2 * first + second, 37, 3)
    assert np.array_equal(ours, expected.astype(np.float32))
    assert np.array_equal(features.residue_order([FIRST, SECOND, FIRST])[:first], np.arange(first)), (
        "equal chains first"
    )


@pytest.mark.parametrize("preset", [ModelPreset.MONOMER_PTM, ModelPreset.MULTIMER])
def test_a_guess_is_padded_as_the_features_are(preset: ModelPreset) -> None:
    target, files = with_structures((FIRST,), guess=toy_pdb(FIRST))
    positions = guess.positions_of(target, files)
    shape = (64,) if preset is ModelPreset.MULTIMER else (4, 64)
    inputs = {"aatype": np.zeros(shape)}
    given = guess.begun(inputs, positions, preset)["all_atom_positions"]
    assert given.shape == (64, 37, 3)
    assert np.array_equal(given[: len(FIRST)], positions) and not given[len(FIRST) :].any()
    assert guess.begun(inputs, None, preset) is inputs


def test_what_a_request_of_another_program_lacks_is_said() -> None:
    target, files = with_structures((FIRST,), templates=[toy_pdb(OTHER)], guess=toy_pdb(FIRST))
    with pytest.raises(TargetError, match="The request lacks initial_guess/"):
        guess.positions_of(target, {})
    with pytest.raises(TargetError, match="The request lacks templates/"):
        brought.with_templates(target, TargetMsas(chains=[ChainMsa(f">q\n{FIRST}\n")]))
    broken = dict.fromkeys(files, b"REMARK\n")
    with pytest.raises(TargetError, match="The initial guess: It is no pdb file"):
        guess.positions_of(target, broken)
    with pytest.raises(TargetError, match="A template: It is no pdb file"):
        brought.with_templates(target, TargetMsas(chains=[ChainMsa(f">q\n{FIRST}\n")], files=broken))
    # A template of another protein leaves the target without one, which a note says.
    whole, _ = brought.with_templates(target, TargetMsas(chains=[ChainMsa(f">q\n{FIRST}\n")], files=files))
    assert [chain.templates for chain in whole.given] == [None]


def test_a_template_that_is_forced_is_refused() -> None:
    target, _ = with_structures((FIRST,), templates=[toy_pdb(FIRST)])
    values = dict(target.assembly or {})
    values["templates"] = [{**values["templates"][0], "force": True, "threshold": 2.0}]
    settings = AlphaFold2Settings.model_validate({"use_templates": True})
    ENGINE.check(target, settings)
    with pytest.raises(TargetError, match="force: true"):
        ENGINE.check(target.model_copy(update={"assembly": values}), settings)

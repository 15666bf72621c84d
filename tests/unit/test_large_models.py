"""A target that the PDB format cannot hold goes the whole way as mmCIF: engine, scores, reference, report."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import pytest
from alphafold.common import protein

from snakefold.engines.alphafold2 import features, runner, shapes
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset
from snakefold.engines.spec import ChainMsa, Result, TargetMsas
from snakefold.kernel.contracts import (
    FoldRequest,
    FoldResponse,
    RelaxChoice,
    TargetInput,
    TargetOutcome,
)
from snakefold.kernel.errors import TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.report.target import target_scripts
from snakefold.run import collect
from snakefold.run.outputs import relax_ranked, target_files
from snakefold.structures import confidence, superposition
from snakefold.structures import files as structures
from snakefold.structures.chains import chain_names
from snakefold.structures.prediction import Prediction

CHAINS = ["MKTAYIAK"] * 40 + ["GSHMWW"] * 30


def predicted(chains: list[str]) -> tuple[dict[str, object], dict[str, object]]:
    """Features and result of a network, as a multimer has them, with equal chains side by side."""
    from alphafold.common import residue_constants

    order = features.chain_order(chains)
    sequence = "".join(chains[index] for index in order)
    random = np.random.default_rng(5)
    types = np.array([residue_constants.restype_order[letter] for letter in sequence])
    raw = {
        "aatype": types,
        "residue_index": np.concatenate([np.arange(len(chains[index])) for index in order]),
    }
    result = {
        "structure_module": {
            "final_atom_positions": random.normal(size=(len(sequence), 37, 3), scale=50),
            "final_atom_mask": residue_constants.STANDARD_ATOM_MASK[types],
        },
        "plddt": random.uniform(20, 90, len(sequence)),
    }
    return raw, result


def target_of(chains: list[str]) -> TargetInput:
    return TargetInput(id="large", key=sequence_key(chains), chains=chains)


def test_the_structure_of_a_result_is_that_of_its_pdb_text() -> None:
    chains = ["MKTAY", "GW", "MKTAY"]
    model = (*predicted(chains), ModelPreset.MULTIMER, chains)
    text = protein.to_pdb(runner.to_protein(*model))
    theirs, ours = structures.read(text), runner.to_structure(*model)
    assert runner.fits_pdb(model[1], chains) and structures.fits_pdb(ours)
    for one, other in zip(ours[0], theirs[0], strict=True):
        assert one.name == other.name
        for residue, known in zip(one, other, strict=True):
            assert (residue.name, residue.seqid.num) == (known.name, known.seqid.num)
            assert [atom.name for atom in residue] == [atom.name for atom in known]
            for atom, same in zip(residue, known, strict=True):
                assert atom.pos.tolist() == pytest.approx(same.pos.tolist(), abs=6e-4)
                assert atom.b_iso == pytest.approx(same.b_iso, abs=6e-3) and atom.element == same.element


def test_70_chains_become_features() -> None:
    target = target_of(CHAINS)
    msas = TargetMsas(chains=[ChainMsa(f">q\n{chain}\n") for chain in CHAINS])
    settings = AlphaFold2Settings()
    shape = shapes.choose(settings, ModelPreset.MULTIMER, [2])
    raw = features.raw_features(target, msas, ModelPreset.MULTIMER, settings, shape)
    assert len(raw["aatype"]) == target.length and len(np.unique(raw["asym_id"])) == len(CHAINS)
    own = TargetMsas(own_a3m=f"#8,6\t40,30\n>101\t102\n{CHAINS[0]}{CHAINS[-1]}\n")
    with pytest.raises(TargetError, match="70 chains in an A3M: ColabFold's code, which reads it, takes 62"):
        features.raw_features(target, own, ModelPreset.MULTIMER, settings, shape)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target's folder, as it is collected with a reference that is the model itself."""
    target = target_of(CHAINS)
    raw, result = predicted(CHAINS)
    structure = runner.to_structure(raw, result, ModelPreset.MULTIMER, CHAINS)
    order = features.residue_order(CHAINS)
    predictions = [
        Prediction(
            name="model_1_multimer_v3_pred_0",
            pdb="",
            structure=structure,
            plddt=result["plddt"][order],  # type: ignore[index]
            ranking_confidence=0.5,
            pae=np.full((target.length, target.length), 5.0),
            ptm=0.5,
            iptm=0.5,
        )
    ] * 2
    request = FoldRequest(batch="c1", engine="alphafold2", recipe="0" * 16, targets=[target])
    relaxation = relax_ranked(predictions, RelaxChoice.BEST, lambda pdb: pytest.fail("there is no PDB text"))
    assert relaxation.pdbs == {} and "cannot hold the model" in relaxation.warnings[0]
    files = target_files(
        request,
        target,
        TargetMsas(chains=[ChainMsa(f">q\n{chain}\n") for chain in CHAINS]),
        result=Result(predictions=predictions),
        relaxation=relaxation,
        seconds={},
        software="alphafold2 2.3.20",
    )
    assert not [name for name in files if name.endswith(".pdb")]
    place = tmp_path_factory.mktemp("large")
    some = structure.clone()
    del some[0][3:]
    some.remove_empty_chains()
    reference = place / "reference.cif"
    reference.write_text(some.make_mmcif_document().as_string())
    outcome = TargetOutcome(id="large", key=target.key, result_key=target.result_key, state="done")
    response = FoldResponse(
        batch="c1",
        engine="alphafold2",
        engine_version="1",
        recipe="0" * 16,
        rehearsal=False,
        outcomes=[outcome],
    )
    row = collect._collect_target(place / "large", outcome, files, response, reference)
    assert row["chains"] == 70 and row["model_tm"] == pytest.approx(1, abs=1e-3)
    return place / "large"


def test_scores_are_those_of_the_mmcif(folder: Path) -> None:
    known = collect._scores_of(folder)
    assert known is not None and len(known.interfaces) == 2 * 70 * 69 // 2
    assert {item.chain_b for item in known.interfaces} >= {"9", "AA", "AH"}


def test_the_report_shows_it(folder: Path) -> None:
    script = target_scripts("large", folder, "../structures/large")["large.js"].decode()
    assert '"AH"' in script and "ranked_0.cif" in script and "ranked_0.pdb" not in script


def test_it_is_laid_over_a_reference_as_mmcif(folder: Path) -> None:
    structure = structures.read((folder / "ranked_0.cif").read_text())
    structure[0].remove_chain("A")
    found = superposition.superpose(
        (folder / "ranked_0.cif").read_text(),
        structure.make_mmcif_document().as_string(),
        [("B", "B"), ("AH", "AH")],
    )
    assert found.tm_score == pytest.approx(1, abs=1e-3)
    both = structures.read(found.text)
    assert found.text.startswith("data_") and [len(model) for model in both] == [70, 2]
    assert confidence.read_pae((folder / "pae.npz").read_bytes())[0].shape == (500, 500)
    assert isinstance(both, gemmi.Structure) and chain_names(70)[-1] == both[0][-1].name

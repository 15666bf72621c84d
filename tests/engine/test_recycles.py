"""Every recycle of a model as a structure with its scores, and what is written of them where PDB ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest

from snakefold.engines.alphafold2 import ENGINE
from snakefold.engines.alphafold2.recycles import Recycles
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset, effective, told
from snakefold.kernel.contracts import RelaxSettings
from snakefold.run.products import is_ours
from snakefold.structures.files import REHEARSAL_NOTE
from tests.engine.toys import chain_msas, make_request, make_target


@pytest.mark.slow
def test_the_last_recycle_is_the_model(weights_folder: Path, compile_cache: Path) -> None:
    target = make_target("x", "MKTAYIAKQRQISFVKSHF")
    msas = chain_msas(target, 12)
    request = make_request([target], bucket_edges=[24], num_recycle=2, save_recycles=True)
    session = ENGINE.start(request, {target.result_key: msas}, weights_folder, compile_cache)
    result = session.predict(target, msas)
    (prediction,) = result.predictions
    scores = json.loads(result.files["recycles.json"])
    passes = scores.pop(prediction.name)
    assert not scores
    assert [each["recycle"] for each in passes] == [0, 1, 2]
    assert [set(each) - {"recycle", "file", "plddt", "ptm"} for each in passes] == [
        set(),
        {"tolerance"},
        {"tolerance"},
    ]
    texts = [result.files[each["file"]].decode() for each in passes]
    assert len(set(texts)) == 3
    last = [line for line in texts[-1].splitlines() if not line.startswith("REMARK")]
    assert last == prediction.pdb.splitlines()
    assert passes[-1]["ptm"] == prediction.ptm
    assert passes[-1]["plddt"] == pytest.approx(prediction.plddt.mean(), abs=0.05)
    assert all(map(is_ours, result.files))


def result_of(length: int, far: float = 0.0) -> tuple[dict[str, Any], dict[str, Any]]:
    positions = np.random.default_rng(1).normal(size=(length, 37, 3)) + far
    inputs = {"aatype": np.zeros((1, length), int), "residue_index": np.arange(length)[None]}
    atoms = {"final_atom_mask": np.ones((length, 37)), "final_atom_positions": positions}
    scores = {"mean_plddt": 50.0, "iptm": 0.5, "tol": 3.0}
    return inputs, {"structure_module": atoms, "plddt": np.full(length, 50.0), **scores}


def test_what_pdb_cannot_hold_is_mmcif_and_rehearsals_say_so() -> None:
    target = make_target("x", "MKTAY")
    recycles = Recycles(target, "alphafold2", rehearsal=True)
    for name, far in (("near", 0.0), ("far", 1e5)):
        inputs, result = result_of(5, far)
        recycles.watch(name, ModelPreset.MONOMER, inputs)(result, 1)
    files = recycles.files
    assert list(files) == ["recycle_near_r1.pdb", "recycle_far_r1.cif", "recycles.json"]
    scores = json.loads(files["recycles.json"])
    # One chain has no interface, and this network no pTM.
    assert scores["near"] == [{"recycle": 1, "plddt": 50.0, "tolerance": 3.0, "file": "recycle_near_r1.pdb"}]
    assert scores["REHEARSAL"] is True
    assert all(REHEARSAL_NOTE[:30] in files[name].decode() for name in list(files)[:2])
    read = gemmi.make_structure_from_block(
        gemmi.cif.read_string(files["recycle_far_r1.cif"].decode()).sole_block()
    )
    assert len(read[0]["A"]) == 5
    assert read[0]["A"][0][0].pos.x > 9e4
    assert not Recycles(target, "alphafold2", rehearsal=True).files


def test_recipes_and_sizes_count_them_only_where_they_are_wanted() -> None:
    plain, kept = AlphaFold2Settings(), AlphaFold2Settings(save_recycles=True)
    assert "save_recycles" not in told(effective(plain))
    assert told(effective(kept))["save_recycles"] is True
    sizes = [ENGINE.work("monomer", each, RelaxSettings()).result_bytes(100) for each in (plain, kept)]
    # Five models, four passes each, 650 bytes a residue.
    assert float(sizes[1][0] - sizes[0][0]) == 5 * 4 * 650 * 100

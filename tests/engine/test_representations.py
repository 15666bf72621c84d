"""Representations that a run keeps: cut to the target, in its order, and counted before they are made."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snakefold.engines.alphafold2 import ENGINE, representations
from snakefold.engines.alphafold2.representations import Representations
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, effective, told
from snakefold.kernel.contracts import RelaxSettings
from snakefold.run.products import is_ours
from tests.engine.toys import chain_msas, make_request, make_target

#: AlphaFold-Multimer computes A:B:A as A:A:B.
CHAINS = ("MKTAYIAK", "GSHMFVKSHFSR", "MKTAYIAK")
BOTH = {"save_single_representations": True, "save_pair_representations": True}


def arrays(files: dict[str, bytes]) -> dict[str, Any]:
    return {name: np.load(io.BytesIO(data)) for name, data in files.items() if name.endswith(".npy")}


def test_padding_and_the_order_of_the_network_do_not_show() -> None:
    length, padded = sum(map(len, CHAINS)), 32
    # Each residue's number in the target, where the network has it; of padding, none.
    network = [*range(8), *range(20, 28), *range(8, 20), *[99] * 4]
    number = np.array(network, np.float16)
    single = np.repeat(number[:, None], 256, axis=1)
    pair = np.repeat((number[:, None] * 28 + number)[:, :, None], 128, axis=2)
    result = {"representations": {"single": single, "pair": pair}, "plddt": np.zeros(padded)}
    saved = Representations(AlphaFold2Settings.model_validate(BOTH), rehearsal=True)
    saved.add("m", result, CHAINS)
    assert list(result) == ["plddt"]
    found = arrays(saved.files)
    assert found["single_repr_m.npy"][:, 0].tolist() == list(range(length))
    assert found["pair_repr_m.npy"].shape == (length, length, 128)
    assert np.array_equal(found["pair_repr_m.npy"][3, :, 5], (3 * 28 + np.arange(length)).astype(np.float16))
    index = json.loads(saved.files["representations.json"])
    assert index.pop("REHEARSAL") is True
    assert index["m"]["pair"] == {"file": "pair_repr_m.npy", "shape": [28, 28, 128], "dtype": "float16"}
    assert all(map(is_ours, saved.files))


@pytest.mark.slow
def test_they_come_with_each_model_and_change_nothing_else(weights_folder: Path, compile_cache: Path) -> None:
    target = make_target("x", "MKTAYIAKQRQISFVKSHF")
    msas = chain_msas(target, 12)
    results = []
    for settings in ({}, {"save_single_representations": True}, BOTH):
        request = make_request([target], bucket_edges=[24], models=[1, 2], **settings)
        session = ENGINE.start(request, {target.result_key: msas}, weights_folder, compile_cache)
        results.append(session.predict(target, msas))
    plain, single, both = results
    assert not plain.files
    shapes = {name: (array.shape, array.dtype) for name, array in arrays(dict(both.files)).items()}
    assert shapes == {
        f"{kind}_repr_model_{model}_ptm_pred_0.npy": (shape, np.float16)
        for model in (1, 2)
        for kind, shape in (("single", (19, 256)), ("pair", (19, 19, 128)))
    }
    assert sorted(arrays(dict(single.files))) == [name for name in sorted(shapes) if "single" in name]
    texts = {tuple(item.pdb for item in result.predictions) for result in results}
    assert len(texts) == 1
    # What is estimated is what is written, but for headers.
    work = ENGINE.work("monomer", AlphaFold2Settings(models=[1, 2], **BOTH), RelaxSettings())
    without = ENGINE.work("monomer", AlphaFold2Settings(models=[1, 2]), RelaxSettings())
    more = work.result_bytes(19)[1] - without.result_bytes(19)[1]
    written = sum(len(data) for name, data in both.files.items() if name.endswith(".npy"))
    assert 0 <= written - float(more) <= 4 * 200


def test_recipes_name_them_only_where_they_are_wanted() -> None:
    for name in BOTH:
        assert name not in told(effective(AlphaFold2Settings()))
        assert told(effective(AlphaFold2Settings.model_validate({name: True})))[name] is True
    assert representations.bytes_of(AlphaFold2Settings()) == (0, 0)

"""Parameter files: `params_<model>.npz` in AlphaFold's layout (`scope//name` → float32 array).

Parameters drawn at random carry the mark REHEARSAL in the npz's own zip comment. It stays with the file when
the file is copied or renamed, and readers of npz do not see it.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from snakefold.engines.alphafold2.models import configuration, parse_name
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset
from snakefold.engines.alphafold2.shapes import MsaShape
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.names import shown

#: Evoformer blocks of the official parameters.
OFFICIAL_BLOCKS = 48
_MARK = "REHEARSAL "
_COUNTED = "alphafold/alphafold_iteration/evoformer/evoformer_iteration/outer_product_mean//output_b"
_TEMPLATE_SCOPE = "alphafold/alphafold_iteration/evoformer/template"

Shapes = dict[str, tuple[int, ...]]


def parameters_folder(weights: Path) -> Path:
    """Where the npz files are: `<weights>/params`, or the folder itself if it holds them."""
    inner = weights / "params"
    return weights if not inner.is_dir() and any(weights.glob("params_*.npz")) else inner


def parameters_file(weights: Path, name: str) -> Path:
    """The file of a model, named as AlphaFold does."""
    return parameters_folder(weights) / f"params_{name}.npz"


def rehearsal_mark(recipe: dict[str, Any]) -> bytes:
    """Zip comment of random parameters: `recipe` is what they were drawn from."""
    return (_MARK + json.dumps(recipe)).encode()


def read_rehearsal_mark(path: Path) -> dict[str, Any] | None:
    """The recipe that `rehearsal_mark` wrote, or None for a file without it.

    Raises:
        WeightsMissingError: the file is no npz.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            comment = archive.comment.decode("utf-8", "replace")
    except (zipfile.BadZipFile, OSError) as error:
        raise WeightsMissingError(
            f"{path}: expected AlphaFold2 parameters (npz), found a damaged file ({error}). "
            "Fetch them again: snakefold weights fetch."
        ) from error
    return json.loads(comment.removeprefix(_MARK)) if comment.startswith(_MARK) else None


def evoformer_blocks(shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    """Evoformer blocks by the shapes of a file's arrays; None if they are not AlphaFold's."""
    shape = shapes.get(_COUNTED)
    return shape[0] if shape else None


def count_blocks(path: Path) -> int:
    """Evoformer blocks of a parameter file, read from the shape of one array."""
    with np.load(path, allow_pickle=False) as arrays:
        return int(arrays[_COUNTED].shape[0])


def load(weights: Path, name: str, *, templates: bool) -> Any:
    """Parameters of a model, as Haiku takes them, on the device.

    Monomer models 1 and 2 without templates drop what reads templates: then all five models have the same
    structure and one compiled program.
    """
    path = parameters_file(weights, name)
    if not path.is_file():
        raise WeightsMissingError(
            f"{path}: missing. Fetch official parameters with: snakefold weights fetch."
        )
    drop = not templates and parse_name(name)[0] is not ModelPreset.MULTIMER
    status = path.stat()
    return _loaded(path.resolve(), (status.st_size, status.st_mtime_ns, status.st_ctime_ns), drop)


@lru_cache(maxsize=5)
def _loaded(path: Path, _version: tuple[int, int, int], drop: bool) -> Any:
    """The five models of a preset stay on the device from request to request; 370 MB each."""
    import jax
    from alphafold.model import utils

    try:
        with np.load(path, allow_pickle=False) as arrays:
            flat = {
                key: arrays[key] for key in arrays.files if not (drop and key.startswith(_TEMPLATE_SCOPE))
            }
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError) as error:
        raise WeightsMissingError(
            f"{path}: the file is damaged ({shown(str(error))}). Replace it with: snakefold weights fetch."
        ) from error
    return jax.device_put(utils.flat_params_to_haiku(flat, fuse=True, to_jnp=False))


@cache
def expected_shapes(name: str, blocks: int = OFFICIAL_BLOCKS) -> Shapes:
    """Shapes of a model's parameters, from the network's own code: `scope//name` → shape.

    Traces the initialisation without computing it (jax.eval_shape): a few CPU-seconds. Triangle
    multiplications are given as in the official files: separate left and right projections (monomer) or
    fused ones (multimer v3).
    """
    import haiku as hk
    import jax
    from alphafold.model import config as alphafold_config
    from alphafold.model import model, modules, modules_multimer

    preset, number = parse_name(name)
    multimer = preset is ModelPreset.MULTIMER
    settings = AlphaFold2Settings.model_validate({"num_recycle": 0, "precision": "float32"})
    shape = MsaShape(8, 8, 16)
    config = alphafold_config.model_config(name)
    small = configuration(preset, templates=number <= 2, settings=settings, shape=shape, blocks=blocks)
    small.model.heads = config.model.heads
    small.model.global_config.zero_init = False
    if not multimer:
        for stack in _triangle_stacks(small.model.embeddings_and_evoformer):
            stack.fuse_projection_weights = False
    network = modules_multimer.AlphaFold if multimer else modules.AlphaFold_noE

    def forward(batch: Any) -> Any:
        return network(small.model)(batch, is_training=False)

    features = _toy_features(model.RunModel(small), preset, settings, shape)
    traced = jax.eval_shape(hk.transform(forward).init, jax.random.PRNGKey(0), features)
    return {f"{scope}//{key}": leaf.shape for scope, leaves in traced.items() for key, leaf in leaves.items()}


def _triangle_stacks(network: Any) -> list[Any]:
    sides = ("triangle_multiplication_incoming", "triangle_multiplication_outgoing")
    return [
        stack[side] for stack in (network.evoformer, network.template.template_pair_stack) for side in sides
    ]


def _toy_features(
    runner: Any, preset: ModelPreset, settings: AlphaFold2Settings, shape: MsaShape
) -> dict[str, Any]:
    from snakefold.engines.alphafold2.features import raw_features
    from snakefold.engines.alphafold2.runner import network_inputs
    from snakefold.engines.spec import ChainMsa, TargetMsas
    from snakefold.kernel.contracts import TargetInput
    from snakefold.kernel.recipes import sequence_key

    chains = ["ACDEFGHIKLMN"]
    target = TargetInput(id="toy", key=sequence_key(chains), chains=chains)
    msas = TargetMsas(chains=[ChainMsa(f">q\n{chains[0]}\n")])
    features = network_inputs(runner, raw_features(target, msas, preset, settings, shape), preset, seed=0)
    length = target.length
    previous = {
        "prev_msa_first_row": np.zeros((length, 256), np.float16),
        "prev_pair": np.zeros((length, length, 128), np.float16),
        "prev_pos": np.zeros((length, 37, 3), np.float16),
    }
    return {**features, "prev": previous}

"""The network of flash-abb 0.0.5 in JAX: an antibody's variable domains in, atoms and confidence out.

It is AlphaFold2's structure module (Jumper 2021, Suppl. Alg. 20 to 24) of eight blocks without pair features.
Instead, queries and keys of its invariant point attention are turned by their place in the sequence (rotary
positions), and each head tells how its attention is spread over distances in the sequence, modulo 128. Layer
norms behind a dropout are corrected for the dropout of training (arXiv 2609.32062). The reference is
flash-abb's own model; benchmarks/flashabb_parity.py compares both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from alphafold.common import residue_constants
from numpy.typing import NDArray

from snakefold.kernel.errors import WeightsMissingError

Array = jax.Array
Layers = Mapping[str, Any]

#: Lengths that are compiled: a variable domain, an Fv; what is longer is padded to a multiple of `_STEP`.
LENGTHS, _STEP = (144, 256), 128
_BLOCKS, _HEADS, _CHANNELS = 8, 12, 16
_QUERY_POINTS, _VALUE_POINTS = 4, 8
#: Distances in the sequence are told apart modulo this number.
_DISTANCES = 128
#: Number of the light chain's first residue; the heavy chain begins at 0.
_LIGHT = 500
#: Share of the activations that training's dropout kept.
_KEPT = 0.9
_NORM_EPSILON, _EPSILON, _MASKED = 1e-5, 1e-7, -1e7
#: Numbers of alphafold.common: unknown residues are drawn as glycine.
_UNKNOWN, _GLYCINE = residue_constants.restype_order_with_x["X"], residue_constants.restype_order["G"]


#: Programs of this process by length, for every session: parameters always have the same shapes.
_PROGRAMS: dict[int, Any] = {}


class Frames(NamedTuple):
    """Backbone frames of L residues: unit quaternions [L, 4] and origins [L, 3] in Å."""

    quaternion: Array
    origin: Array


class Inputs(NamedTuple):
    """An antibody, padded at its end to length L.

    Attributes:
        residue: types by `residue_constants.restype_order_with_x`, int [L].
        heavy: 1 in the heavy chain, else 0, int [L].
        number: residue numbers, in the light chain from 500, int [L].
        mask: False in the padding, bool [L].
    """

    residue: NDArray[np.int32]
    heavy: NDArray[np.int32]
    number: NDArray[np.int32]
    mask: NDArray[np.bool_]


# ---- input and output ------------------------------------------------------------------------------------
def padded_length(length: int) -> int:
    """The compiled length for so many residues."""
    return next((each for each in LENGTHS if each >= length), -(-length // _STEP) * _STEP)


def inputs(heavy: str, light: str) -> Inputs:
    """The input for one antibody; either chain may be empty."""
    letters = residue_constants.restype_order_with_x
    numbers = [*range(len(heavy)), *range(_LIGHT, _LIGHT + len(light))]
    padding = (0, padded_length(len(numbers)) - len(numbers))

    def padded(values: list[int]) -> NDArray[np.int32]:
        return np.pad(np.array(values, np.int32), padding)

    return Inputs(
        residue=padded([letters[letter] for letter in heavy + light]),
        heavy=padded([1] * len(heavy) + [0] * len(light)),
        number=padded(numbers),
        mask=np.arange(len(numbers) + padding[1]) < len(numbers),
    )


class Network:
    """Parameters on the device, and one compiled program per length."""

    def __init__(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        """Tensors by their names in flash-abb.

        Raises:
            WeightsMissingError: they are those of another network.
        """
        self._parameters = jax.device_put(arranged(tensors))

    def compile(self, length: int) -> Any:
        """The program for a padded length, compiled at the first call."""
        if length not in _PROGRAMS:
            integers = jax.ShapeDtypeStruct((length,), np.int32)
            given = Inputs(integers, integers, integers, jax.ShapeDtypeStruct((length,), np.bool_))  # type: ignore[arg-type]
            # A GPU would multiply with ten bits, and move flexible side chains by half an Å.
            with jax.default_matmul_precision("highest"):
                _PROGRAMS[length] = jax.jit(flashabb_network).lower(self._parameters, given).compile()
        return _PROGRAMS[length]

    def __call__(self, heavy: str, light: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Positions of atoms [L, 14, 3] in Å, and logits of lDDT-CA [L, 50], without padding."""
        given = inputs(heavy, light)
        atoms, logits = self.compile(len(given.mask))(self._parameters, given)
        length = len(heavy + light)
        return np.asarray(atoms)[:length], np.asarray(logits)[:length]


def arranged(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Parameters as nested dictionaries of layers; those of the blocks are stacked, with the block first.

    Only the last block's torsion angles are used, as atoms are placed once.

    Raises:
        WeightsMissingError: a layer is missing.
    """
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *path, leaf = name.removeprefix("model.").split(".")
        layer = tree
        for part in path:
            layer = layer.setdefault(part, {})
        layer[leaf] = tensor
    kinds = ("ipa_layers", "layer_norm_ipa_layers", "transition_layers", "bb_update_layers")
    try:
        blocks = [{kind: tree[kind][str(block)] for kind in kinds} for block in range(_BLOCKS)]
        return {
            "embedding": tree["linear_in_node"],
            "blocks": jax.tree_util.tree_map(lambda *each: np.stack(each), *blocks),
            "angles": tree["angle_resnet_layers"][str(_BLOCKS - 1)],
            "confidence": tree["plddt"],
        }
    except (KeyError, ValueError) as error:
        raise WeightsMissingError(
            f"The parameters are not those of flash-abb's network ({error})."
        ) from error


# ---- layers ----------------------------------------------------------------------------------------------
def _linear(layer: Layers, x: Array) -> Array:
    return x @ layer["weight"].T + layer["bias"]


def _layer_norm(layer: Layers, x: Array, *, kept: float = 1.0) -> Array:
    """`kept`: share of the activations that a dropout right before this layer kept in training.

    Dropout raised the variance that training normalised with; a prediction is scaled down likewise.
    """
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    normalised = (x - mean) * jax.lax.rsqrt(variance + _NORM_EPSILON) * layer["weight"]
    correction = jnp.sqrt(kept / (1 + (1 - kept) * mean**2 / variance))
    return (normalised * correction if kept < 1 else normalised) + layer["bias"]


def _rotation(frames: Frames) -> Array:
    """Rotation matrices [L, 3, 3] of unit quaternions."""
    w, x, y, z = jnp.moveaxis(frames.quaternion, -1, 0)
    rows = [
        [w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def _moved(frames: Frames, update: Array) -> Frames:
    """Frames after a small rotation (1, b, c, d) and a shift, both in the frame itself: Alg. 23."""
    w, x, y, z = jnp.moveaxis(frames.quaternion, -1, 0)
    b, c, d = jnp.moveaxis(update[:, :3], -1, 0)
    product = [-x * b - y * c - z * d, w * b + y * d - z * c, w * c - x * d + z * b, w * d + x * c - y * b]
    quaternion = frames.quaternion + jnp.stack(product, -1)
    shift = jnp.einsum("lij,lj->li", _rotation(frames), update[:, 3:])
    unit = quaternion / jnp.linalg.norm(quaternion, axis=-1, keepdims=True)
    return Frames(unit, frames.origin + shift)


def _by_place(x: Array, frequencies: Array) -> Array:
    """Rotary positions of [L, heads, channels]: each pair of channels is turned by place times frequency.

    Places count both chains as one.
    """
    angle = (jnp.arange(x.shape[0])[:, None] * frequencies)[:, None]
    first, second = x[..., ::2], x[..., 1::2]
    turned = [
        first * jnp.cos(angle) - second * jnp.sin(angle),
        second * jnp.cos(angle) + first * jnp.sin(angle),
    ]
    return jnp.stack(turned, -1).reshape(x.shape)


def _attention(layer: Layers, s: Array, frames: Frames, number: Array, mask: Array) -> Array:
    """Invariant point attention (Alg. 22) without pairs: the update of the activations [L, 128]."""
    length = len(s)
    frequencies = layer["rotary_emb"]["freqs"]
    query = _by_place(_linear(layer["linear_q"], s).reshape(length, _HEADS, _CHANNELS), frequencies)
    key, value = jnp.split(_linear(layer["linear_kv"], s).reshape(length, _HEADS, 2 * _CHANNELS), 2, -1)
    key = _by_place(key, frequencies)

    # The layer gives all x, then all y, then all z.
    rotation = _rotation(frames)
    local = jnp.moveaxis(_linear(layer["linear_points"], s).reshape(length, 3, _HEADS, -1), 1, -1)
    points = jnp.einsum("lij,lhpj->lhpi", rotation, local) + frames.origin[:, None, None]
    query_points, key_points, value_points = (
        each.reshape(length, _HEADS, -1)
        for each in jnp.split(points, (_QUERY_POINTS, 2 * _QUERY_POINTS), axis=2)
    )
    squares = (query_points**2).sum(-1).T[:, :, None] + (key_points**2).sum(-1).T[:, None]
    distances = squares - 2 * jnp.einsum("qhc,khc->hqk", query_points, key_points)
    nearness = jax.nn.softplus(layer["head_weights"]) * (3 * _QUERY_POINTS * 9 / 2) ** -0.5
    logits = jnp.einsum("qhc,khc->hqk", query, key) * (3 * _CHANNELS) ** -0.5
    logits = logits - nearness[:, None, None] / 2 * distances
    attention = jax.nn.softmax(logits + jnp.where(mask, 0, _MASKED), axis=-1)

    places = jnp.broadcast_to(
        jax.nn.one_hot(number % _DISTANCES, _DISTANCES)[:, None], (length, _HEADS, _DISTANCES)
    )
    attended = jnp.einsum("hqk,khc->qhc", attention, jnp.concatenate([value, value_points, places], -1))
    values, in_space, spread = jnp.split(attended, (_CHANNELS, _CHANNELS + 3 * _VALUE_POINTS), axis=-1)
    from_origin = in_space.reshape(length, _HEADS, _VALUE_POINTS, 3) - frames.origin[:, None, None]
    seen = jnp.einsum("lij,lhpi->jlhp", rotation, from_origin)
    norms = jnp.sqrt((seen**2).sum(0) + _EPSILON)
    # From residue numbers to distances from this residue: the first of the 128 is the residue itself.
    order = (number[:, None] + jnp.arange(_DISTANCES)) % _DISTANCES
    spread = jnp.take_along_axis(spread, order[:, None], axis=-1)
    parts = [each.reshape(length, -1) for each in (values, *seen, norms, spread)]
    return _linear(layer["linear_out"], jnp.concatenate(parts, -1))


def _block(
    state: tuple[Array, Frames], layers: Layers, *, number: Array, mask: Array
) -> tuple[tuple[Array, Frames], None]:
    """One block: activations [L, 128] and frames (Alg. 20)."""
    s, frames = state
    s = s + _attention(layers["ipa_layers"], s, frames, number, mask)
    s = _layer_norm(layers["layer_norm_ipa_layers"], s, kept=_KEPT)
    transition = layers["transition_layers"]
    dense = transition["layers"]["0"]
    hidden = jax.nn.relu(_linear(dense["linear_1"], s))
    hidden = jax.nn.relu(_linear(dense["linear_2"], hidden))
    s = s + _linear(dense["linear_3"], hidden)
    s = _layer_norm(transition["layer_norm"], s, kept=_KEPT)
    return (s, _moved(frames, _linear(layers["bb_update_layers"]["linear"], s))), None


def _torsions(layer: Layers, s: Array, initial: Array) -> Array:
    """Sine and cosine of omega, phi, psi and chi1 to chi4: [L, 7, 2]."""
    x = _linear(layer["linear_in"], jax.nn.relu(s))
    x = x + _linear(layer["linear_initial"], jax.nn.relu(initial))
    for number in ("0", "1"):
        dense = layer["layers"][number]
        x = x + _linear(dense["linear_3"], jax.nn.relu(_linear(dense["linear_2"], jax.nn.relu(x))))
    x = _linear(layer["linear_out"], jax.nn.relu(x)).reshape(-1, 7, 2)
    return x / jnp.sqrt(jnp.maximum((x**2).sum(-1, keepdims=True), _EPSILON))


def _atoms(residue: Array, frames: Frames, torsions: Array) -> Array:
    """Positions [L, 14, 3] in Å of atoms, by frames and torsions (Alg. 24); 0 where a residue has none."""
    default, group, position, exists = (
        jnp.asarray(getattr(residue_constants, f"restype_{name}"))[residue]
        for name in (
            "rigid_group_default_frame",
            "atom14_to_rigid_group",
            "atom14_rigid_group_positions",
            "atom14_mask",
        )
    )
    # Eight groups of atoms: the backbone, which no torsion turns, and one for each torsion.
    still = jnp.tile(jnp.array([0.0, 1.0]), (len(residue), 1, 1))
    sine, cosine = jnp.moveaxis(jnp.concatenate([still, torsions], 1), -1, 0)
    one, zero = jnp.ones_like(sine), jnp.zeros_like(sine)
    rows = [[one, zero, zero], [zero, cosine, -sine], [zero, sine, cosine]]
    turn = jnp.stack([jnp.stack(row, -1) for row in rows], -2)
    rotation, origin = default[..., :3, :3] @ turn, default[..., :3, 3]
    rotations, origins = [rotation[:, each] for each in range(5)], [origin[:, each] for each in range(5)]
    for each in range(5, 8):  # chi2 to chi4 turn what the torsion before has turned
        origins.append(jnp.einsum("lij,lj->li", rotations[-1], origin[:, each]) + origins[-1])
        rotations.append(rotations[-1] @ rotation[:, each])
    own_rotation = jnp.take_along_axis(jnp.stack(rotations, 1), group[..., None, None], axis=1)
    own_origin = jnp.take_along_axis(jnp.stack(origins, 1), group[..., None], axis=1)
    local = jnp.einsum("laij,laj->lai", own_rotation, position) + own_origin
    world = jnp.einsum("lij,laj->lai", _rotation(frames), local) + frames.origin[:, None]
    return world * exists[..., None]


def flashabb_network(parameters: Layers, given: Inputs) -> tuple[Array, Array]:
    """Positions of atoms [L, 14, 3] in Å, and logits of lDDT-CA in 50 bins [L, 50].

    The name of this function is that of its program in the compilation cache.
    """
    residue, heavy, number, mask = (jnp.asarray(each) for each in given)
    letters = len(residue_constants.restypes_with_x)
    features = jnp.concatenate([jax.nn.one_hot(residue, letters), jax.nn.one_hot(heavy, 2)], -1)
    initial = _linear(parameters["embedding"], features)
    length = len(residue)
    unmoved = Frames(jnp.tile(jnp.array([1.0, 0.0, 0.0, 0.0]), (length, 1)), jnp.zeros((length, 3)))
    block = partial(_block, number=number, mask=mask)
    (s, frames), _ = jax.lax.scan(block, (initial, unmoved), parameters["blocks"])
    drawn = jnp.where(residue == _UNKNOWN, _GLYCINE, residue)
    atoms = _atoms(drawn, frames, _torsions(parameters["angles"], s, initial))
    confidence = parameters["confidence"]
    x = _layer_norm(confidence["layer_norm"], s)
    for name in ("linear_1", "linear_2"):
        x = jax.nn.relu(_linear(confidence[name], x))
    return atoms, _linear(confidence["linear_3"], x)

"""The network of ProteinMPNN in JAX: a backbone in, log-probabilities and samples of amino acids out.

Dauparas 2022 (doi:10.1126/science.add2187): a graph of each residue's 48 nearest, three encoder layers over
distances between backbone atoms, three decoder layers that see the residues that are decided already. The
reference is the authors' own code in PyTorch; benchmarks/design.py compares both.

The sums are arranged anew, which changes their last digits only. A layer's first matrix is cut into parts for
the residue, the edge and the neighbour: the neighbour's part is computed once for a residue, not for each of
its edges. Its last matrix is applied after the sum over neighbours, not before. Distances are computed
for neighbours alone. While residues are decided one by one, each layer keeps a table of what neighbours
contribute: from the encoder until a residue is decided, and from its decision on with its amino acid.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import WeightsMissingError

Array = jax.Array
Layers = Mapping[str, Any]

#: Letters of the network's output, in order.
LETTERS = "ACDEFGHIKLMNPQRSTVWYX"
_NEIGHBOURS, _CHANNELS, _LAYERS = 48, 128, 3
#: Sums over neighbours are divided by this number.
_SCALE = 30.0
_NORM_EPSILON, _DISTANCE_EPSILON = 1e-5, 1e-6
#: Gaussians of distances: centres and width in Å.
_CENTRES, _WIDTH = np.linspace(2.0, 22.0, 16, dtype=np.float32), 1.25
#: Distances in the sequence are told apart up to this number; another chain is a class of its own.
_FURTHEST = 32
#: Pairs of atoms whose distances are features; B: the place of CB, built from N, CA and C.
_PAIRS = (
    *("AA", "NN", "CC", "OO", "BB", "AN", "AC", "AO", "AB", "NC", "NO", "NB", "BC"),
    *("BO", "OC", "NA", "CA", "OA", "BA", "CN", "ON", "BN", "CB", "OB", "CO"),
)


class Backbone(NamedTuple):
    """A backbone, padded at its end to length L.

    Attributes:
        atoms: N, CA, C, O, float32 [L, 4, 3] in Å; zeros for atoms that are missing.
        complete: residues with all four atoms, bool [L].
        real: False in the padding, bool [L].
        index: place in the sequence, with a jump of 100 before each chain but the first, int32 [L].
        chain: number of the chain, int32 [L].
    """

    atoms: Any
    complete: Any
    real: Any
    index: Any
    chain: Any


class Graph(NamedTuple):
    """What the encoder makes of a backbone; K neighbours, C channels.

    Attributes:
        nodes: float32 [L, C].
        edges: float32 [L, K, C].
        neighbours: int32 [L, K].
        seen: 1 for neighbours with a backbone, float32 [L, K]. ProteinMPNN's decoder sees gaps, too, as if
            they lay at the origin of the file's coordinates, where fewer than K residues have a backbone; it
            then gives sequences of one letter.
        complete: as `Backbone.complete`, float32 [L].
    """

    nodes: Array
    edges: Array
    neighbours: Array
    seen: Array
    complete: Array


class Draw(NamedTuple):
    """What one sample is drawn with; G groups of up to M positions, which get the same residue.

    Attributes:
        groups: positions in the order in which they are decided, int32 [G, M]; L: none.
        rank: place of every position in the order of all, int32 [L]: the groups come last.
        noise: added to the scaled logits, float32 [L, 21]: that of the group's first position counts.
    """

    groups: Any
    rank: Any
    noise: Any


class Asked(NamedTuple):
    """What all samples have in common.

    Attributes:
        residues: of the native sequence, int32 [L]; they stay where nothing is drawn.
        bias: added to the logits, float32 [L, 21].
        temperature: by which both are divided, float32.
    """

    residues: Any
    bias: Any
    temperature: Any


# ---- input -----------------------------------------------------------------------------------------------
def arranged(tensors: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Parameters as nested dictionaries of layers, by their names in ProteinMPNN.

    Raises:
        WeightsMissingError: they are those of another network.
    """
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *path, leaf = name.split(".")
        layer = tree
        for part in path:
            layer = layer.setdefault(part, {})
        layer[leaf] = tensor
    try:
        wide = tree["features"]["edge_embedding"]["weight"].shape
        decoder = [tree["decoder_layers"][str(number)]["W1"]["weight"].shape for number in range(_LAYERS)]
        encoder = [tree["encoder_layers"][str(number)]["W1"]["weight"].shape for number in range(_LAYERS)]
    except (KeyError, AttributeError) as error:
        raise WeightsMissingError(f"The parameters are not those of ProteinMPNN ({error}).") from error
    expected = (_CHANNELS, 16 + 16 * len(_PAIRS)), [(_CHANNELS, 4 * _CHANNELS)], [(_CHANNELS, 3 * _CHANNELS)]
    if (wide, decoder, encoder) != (expected[0], expected[1] * _LAYERS, expected[2] * _LAYERS):
        raise WeightsMissingError("The parameters are not those of ProteinMPNN: layers have other sizes.")
    return tree


# ---- parts -----------------------------------------------------------------------------------------------
def _linear(layer: Layers, values: Array) -> Array:
    result = values @ layer["weight"].T
    return result + layer["bias"] if "bias" in layer else result


def _part(layer: Layers, place: int, values: Array) -> Array:
    """What the `place`-th 128 inputs of a layer contribute, without its bias."""
    return values @ layer["weight"][:, place * _CHANNELS : (place + 1) * _CHANNELS].T


def _norm(layer: Layers, values: Array) -> Array:
    centred = values - values.mean(-1, keepdims=True)
    variance = (centred**2).mean(-1, keepdims=True)
    return centred / jnp.sqrt(variance + _NORM_EPSILON) * layer["weight"] + layer["bias"]


_gelu = partial(jax.nn.gelu, approximate=False)


def _updated(layer: Layers, nodes: Array, message: Array) -> Array:
    """Nodes after a message, and after the layer's dense part."""
    nodes = _norm(layer["norm1"], nodes + message / _SCALE)
    dense = _linear(layer["dense"]["W_out"], _gelu(_linear(layer["dense"]["W_in"], nodes)))
    return _norm(layer["norm2"], nodes + dense)


def _summed(layer: Layers, first: Array, weight: Array) -> Array:
    """The message [..., C] of neighbours with a layer's first sums [..., K, C], of weight [..., K]."""
    inner = _gelu(_linear(layer["W2"], _gelu(first)))
    total = (inner * weight[..., None]).sum(-2)
    return total @ layer["W3"]["weight"].T + weight.sum(-1)[..., None] * layer["W3"]["bias"]


# ---- encoder ---------------------------------------------------------------------------------------------
def encode(layers: Layers, backbone: Backbone) -> Graph:
    """The graph of a backbone."""
    edges, neighbours = _edges(layers["features"], backbone)
    edges = _linear(layers["W_e"], edges)
    complete = backbone.complete.astype(jnp.float32)
    weight = complete[:, None] * complete[neighbours]
    nodes = jnp.zeros((edges.shape[0], _CHANNELS))
    for number in range(_LAYERS):
        layer = layers["encoder_layers"][str(number)]
        nodes = _updated(layer, nodes, _summed(layer, _first(layer["W1"], nodes, edges, neighbours), weight))
        nodes = complete[:, None] * nodes
        inner = _gelu(_linear(layer["W12"], _gelu(_first(layer["W11"], nodes, edges, neighbours))))
        edges = _norm(layer["norm3"], edges + _linear(layer["W13"], inner))
    return Graph(nodes, edges, neighbours, complete[neighbours], complete)


def _first(layer: Layers, nodes: Array, edges: Array, neighbours: Array) -> Array:
    own, edge, other = _part(layer, 0, nodes), _part(layer, 1, edges), _part(layer, 2, nodes)
    return own[:, None] + edge + other[neighbours] + layer["bias"]


def _edges(layers: Layers, backbone: Backbone) -> tuple[Array, Array]:
    """Features of the edges [L, K, C], and the neighbours [L, K]."""
    n, ca, c, o = (backbone.atoms[:, place] for place in range(4))
    first, second = ca - n, c - ca
    cb = -0.58273431 * jnp.cross(first, second) + 0.56802827 * first - 0.54067466 * second + ca
    places = {"N": n, "A": ca, "C": c, "O": o, "B": cb}
    both = backbone.complete[:, None] & backbone.complete[None]
    squares = ((ca[:, None] - ca[None]) ** 2).sum(-1)
    distances = jnp.where(both, jnp.sqrt(squares + _DISTANCE_EPSILON), 0.0)
    # What is not complete is as far as the furthest residue, and the padding beyond.
    furthest = distances.max(-1, keepdims=True)
    distances = jnp.where(both, distances, furthest)
    beyond = jnp.where(backbone.real[None], distances, furthest + 1e4)
    neighbours = jax.lax.top_k(-beyond, min(_NEIGHBOURS, beyond.shape[0]))[1]

    def gaussians(pair: str) -> Array:
        if pair == "AA":
            near = jnp.take_along_axis(distances, neighbours, 1)
        else:
            apart = places[pair[0]][:, None] - places[pair[1]][neighbours]
            near = jnp.sqrt((apart**2).sum(-1) + _DISTANCE_EPSILON)
        return jnp.exp(-(((near[..., None] - _CENTRES) / _WIDTH) ** 2))

    away = jnp.clip(backbone.index[:, None] - backbone.index[neighbours], -_FURTHEST, _FURTHEST) + _FURTHEST
    same = backbone.chain[:, None] == backbone.chain[neighbours]
    embedding = layers["embeddings"]["linear"]
    sequence = embedding["weight"].T[jnp.where(same, away, 2 * _FURTHEST + 1)] + embedding["bias"]
    features = jnp.concatenate([sequence, *(gaussians(pair) for pair in _PAIRS)], -1)
    return _norm(layers["norm_edges"], _linear(layers["edge_embedding"], features)), neighbours


# ---- decoder ---------------------------------------------------------------------------------------------
def _undecided(layers: Layers, graph: Graph) -> list[Array]:
    """What a residue that is not decided contributes to its neighbours, by layer [L, C]."""
    return [_part(layers["decoder_layers"][str(number)]["W1"], 3, graph.nodes) for number in range(_LAYERS)]


def _edge_parts(layers: Layers, graph: Graph) -> list[Array]:
    """What the edges contribute, with the bias, by layer [L, K, C]."""
    parts = []
    for number in range(_LAYERS):
        first = layers["decoder_layers"][str(number)]["W1"]
        parts.append(_part(first, 1, graph.edges) + first["bias"])
    return parts


def decode(layers: Layers, graph: Graph, residues: Array, rank: Array) -> tuple[Array, list[Array]]:
    """Log-probabilities [L, 21] of residues [L] that are decided in the order of `rank`.

    Returns:
        The log-probabilities, and what each residue contributes to those decided later, by layer [L, C].
    """
    before = (rank[graph.neighbours] < rank[:, None])[..., None]
    amino = layers["W_s"]["weight"][residues]
    undecided, edges = _undecided(layers, graph), _edge_parts(layers, graph)
    nodes, decided = graph.nodes, []
    for number in range(_LAYERS):
        layer = layers["decoder_layers"][str(number)]
        table = _part(layer["W1"], 2, amino) + _part(layer["W1"], 3, nodes)
        other = jnp.where(before, table[graph.neighbours], undecided[number][graph.neighbours])
        first = _part(layer["W1"], 0, nodes)[:, None] + edges[number] + other
        nodes = graph.complete[:, None] * _updated(layer, nodes, _summed(layer, first, graph.seen))
        decided.append(table)
    return jax.nn.log_softmax(_linear(layers["W_out"], nodes)), decided


def draw_one(layers: Layers, asked: Asked, graph: Graph, draw: Draw, *, known: bool) -> Array:
    """One sample, int32 [L]: the native residues where nothing is drawn.

    The logits of a group's members are averaged. As in ProteinMPNN, a member sees those before it in the
    group as decided, but without an amino acid, and those after it as undecided.

    Args:
        known: some complete residues are not drawn; they are decided before all others.
    """
    residues = asked.residues
    length = residues.shape[0]
    tables = jnp.stack(_undecided(layers, graph))
    if known:
        drawn = jnp.zeros(length + 1, bool).at[draw.groups.reshape(-1)].set(True)[:length]
        decided = jnp.stack(decode(layers, graph, residues, draw.rank)[1])
        tables = jnp.where(drawn[None, :, None], tables, decided)
    else:  # what is not complete has no residue, and no node
        gaps = [
            _part(layers["decoder_layers"][str(number)]["W1"], 2, layers["W_s"]["weight"][residues])
            for number in range(_LAYERS)
        ]
        tables = jnp.where((graph.complete == 0)[None, :, None], jnp.stack(gaps), tables)
    edges = jnp.stack(_edge_parts(layers, graph))

    def decide(state: tuple[Array, Array], group: Array) -> tuple[tuple[Array, Array], None]:
        tables, residues = state
        there = (group < length).astype(jnp.float32)
        at = jnp.minimum(group, length - 1)
        neighbours, seen = graph.neighbours[at], graph.seen[at]
        nodes, inputs = graph.nodes[at], []
        before = jnp.tril(jnp.ones((len(at), len(at)), bool), -1)
        earlier = before[:, None] & (neighbours[..., None] == group)
        for number in range(_LAYERS):
            layer = layers["decoder_layers"][str(number)]
            inputs.append(nodes)
            other = tables[number, neighbours]
            if len(at) > 1:
                alone = _part(layer["W1"], 3, nodes)
                other = jnp.where(earlier.any(-1, keepdims=True), earlier.astype(alone.dtype) @ alone, other)
            first = _part(layer["W1"], 0, nodes)[:, None] + edges[number, at] + other
            nodes = _updated(layer, nodes, _summed(layer, first, seen))
        logits = (_linear(layers["W_out"], nodes) * there[:, None]).sum(0) / jnp.maximum(there.sum(), 1)
        residue = jnp.argmax((logits + asked.bias[at[0]]) / asked.temperature + draw.noise[at[0]])
        amino = layers["W_s"]["weight"][residue]
        for number in range(_LAYERS):
            first_layer = layers["decoder_layers"][str(number)]["W1"]
            new = _part(first_layer, 2, amino)[None] + _part(first_layer, 3, inputs[number])
            tables = tables.at[number, group].set(new, mode="drop")
        return (tables, residues.at[group].set(residue.astype(residues.dtype), mode="drop")), None

    return jax.lax.scan(decide, (tables, residues), draw.groups)[0][1]


# ---- programs --------------------------------------------------------------------------------------------
def proteinmpnn_sample(
    layers: Layers,
    backbone: Backbone,
    asked: Asked,
    draws: Draw,
    shifts: Array | None = None,
    *,
    known: bool = False,
) -> tuple[Array, Array]:
    """Samples [N, L] and the log-probabilities [N, L, 21] with which each was decided, in its own order.

    Args:
        draws: with a first axis of N samples.
        shifts: Å that atoms are moved by, float32 [N, L, 4, 3]: backbone noise; None: none.
    """
    one = partial(draw_one, layers, asked, known=known)
    if shifts is None:
        graph = encode(layers, backbone)
        samples = jax.vmap(partial(one, graph))(draws)
        return samples, jax.lax.map(lambda each: decode(layers, graph, *each)[0], (samples, draws.rank))
    graphs = jax.lax.map(
        lambda shift: encode(layers, backbone._replace(atoms=backbone.atoms + shift)), shifts
    )
    samples = jax.vmap(one)(graphs, draws)
    return samples, jax.lax.map(lambda each: decode(layers, *each)[0], (graphs, samples, draws.rank))


def proteinmpnn_score(layers: Layers, backbone: Backbone, residues: Array, rank: Array) -> Array:
    """Log-probabilities [L, 21] of residues [L] that are decided in the order of `rank`."""
    return decode(layers, encode(layers, backbone), residues, rank)[0]

"""Best ungapped segment of a profile in each of many sequences, in machine code for the processor at hand.

HMMER spends three quarters of a search of sequences on this (SSV, its first filter), 16 cells at an
instruction. The same integers come out here: along each diagonal of the matrix of sequence and profile,
score ← max(−128, score − cost).

The profile's positions are striped over vectors as HMMER does it (Farrar, Bioinformatics 23:156, 2007), but
vectors are as wide as the processor's, and the code is made for the number of them: all scores of a row stay
in registers. A profile that has more positions than registers hold is cut into parts of equal width.

Most sequences are far from the score that matters. At first the maximum is taken over every other row: the
rows between can be better by one residue at the most. Only where that would matter it is taken over all.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Digital residues of Easel's alphabet of amino acids are below; the number itself stands between sequences.
CODES = 29
_SEPARATOR = CODES
#: No score of a residue makes up for it: a segment ends here.
_FORBIDDEN = 127
_LOWEST = -128

#: Rows of a turn of the inner loop: between sequences there are as many separators, which it may read.
_ROWS = 2
#: Bytes to which vectors are aligned in memory: an unaligned one costs a second read where it ends.
_ALIGNED = 64

_compiling = threading.Lock()


@dataclass(frozen=True)
class Residues:
    """Sequences as the machine code reads them.

    Attributes:
        codes: digital residues of all sequences, separated.
        starts: place of each sequence's first residue in `codes`, int64.
        lengths: residues of each sequence, int64.
    """

    codes: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


@dataclass(frozen=True)
class Costs:
    """Costs of a profile, as the machine code reads them; made by `striped`.

    Attributes:
        table: (parts, CODES + 1, stripes, lanes), int8, aligned: of a part, lane z of vector q has position
            z * stripes + q.
        gain: the most that a residue adds to a score.
    """

    table: NDArray[np.int8]
    gain: int


def joined(sequences: Sequence[Any]) -> Residues:
    """Residues of digital sequences, each given as a buffer of bytes.

    Raises:
        ValueError: a byte is no code of an amino acid.
    """
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    between = bytes([_SEPARATOR]) * _ROWS
    text = between.join([*sequences, b""])
    starts = np.cumsum(lengths + _ROWS) - lengths - _ROWS
    codes = np.frombuffer(text, np.uint8)
    # Codes are places in a table: machine code would read beyond its end.
    if codes.max(initial=0) > _SEPARATOR or (codes == _SEPARATOR).sum() != _ROWS * len(sequences):
        raise ValueError(f"a digital sequence has a residue of no code below {CODES}")
    return Residues(codes, starts, lengths)


def striped(costs: NDArray[np.int8]) -> Costs:
    """Costs of each residue at each position of a profile, (CODES, positions), for `best_segments`."""
    if costs.shape[0] != CODES or not costs.shape[1]:
        raise ValueError(f"expected costs of {CODES} residues at one position or more, not {costs.shape}")
    positions = costs.shape[1]
    lanes, most = _vectors()
    parts = -(-positions // (lanes * most))
    stripes = -(-positions // (lanes * parts))
    linear = np.full((CODES + 1, parts * stripes * lanes), _FORBIDDEN, np.int8)
    linear[:CODES, :positions] = costs
    table = _aligned((parts, CODES + 1, stripes, lanes))
    table[:] = linear.reshape(CODES + 1, parts, lanes, stripes).transpose(1, 0, 3, 2)
    return Costs(table, gain=max(0, -int(costs.min())))


def best_segments(
    costs: Costs, residues: Residues, least: NDArray[np.int16] | None = None
) -> NDArray[np.int8]:
    """Score of the best ungapped segment of each sequence: −128 for none, −127 for one unit, up to 127.

    The interpreter's lock is not held meanwhile.

    Args:
        least: of each sequence. Of one whose score is lower, any lower score may be given.
    """
    if least is None:
        least = np.full(len(residues.lengths), _LOWEST, np.int16)
    # From here on the coarse score says nothing.
    enough = least.astype(np.int16) - costs.gain
    best = np.full(len(residues.lengths), _LOWEST, np.int8)
    parts, _, stripes, lanes = costs.table.shape
    # What leaves one part of the profile enters the next, a row later.
    leaving = np.empty(int(residues.lengths.max(initial=0)) + _ROWS if parts > 1 else 0, np.int8)
    with _compiling:
        function = _compiled(stripes, lanes, linked=parts > 1)
    arrays = (costs.table, residues.codes, residues.starts, residues.lengths, best, leaving, enough)
    function(*(array.ctypes.data for array in arrays), parts, len(best))
    return best


def _aligned(shape: tuple[int, ...]) -> NDArray[np.int8]:
    size = int(np.prod(shape))
    memory = np.empty(size + _ALIGNED, np.int8)
    first = -memory.ctypes.data % _ALIGNED
    return memory[first : first + size].reshape(shape)


@cache
def _vectors() -> tuple[int, int]:
    """Bytes of the processor's vectors, and how many of them stay in registers beside what else is there."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if features.get("avx512bw") and features.get("avx512vl"):
        # Not the widest: these do as much in a cycle, and fewer of their lanes have no position.
        return 32, 24
    return (32 if features.get("avx2") else 16), 10


@cache
def _compiled(stripes: int, lanes: int, *, linked: bool) -> Callable[..., None]:
    """The function of `_module`, as machine code for this processor."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    module = binding.parse_assembly(str(_module(stripes, lanes, linked=linked)))
    module.verify()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3
    )
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(module, passes)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    address = engine.get_function_address("best_segments")
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 7, *[ctypes.c_int64] * 2)(address)
    # The engine owns the memory that the code is in.
    function.engine = engine  # type: ignore[attr-defined]
    return function


def _module(stripes: int, lanes: int, *, linked: bool) -> Any:
    """LLVM's module of one function, `best_segments`; its arguments are those that the wrapper passes.

    In Python, with vectors of `lanes` scores, and `shifted` that moves each score to the next lane::

        for sequence, length, enough in zip(sequences, lengths, enough):
            for every in 2, 1:
                best = [-128] * lanes
                leaving = [-128] * length
                for costs in parts:
                    scores = [[-128] * lanes] * stripes
                    entering = -128
                    for row in range(length):
                        before = [shifted(scores[-1], entering), *scores[:-1]]
                        scores = [maximum(-128, b - c) for b, c in zip(before, costs[sequence[row]])]
                        if (row + 1) % every == 0:
                            best = maximum(best, *scores)
                        entering, leaving[row] = leaving[row], scores[-1][-1]
                if max(best) < enough:
                    break

    `linked` is false where there is one part: then nothing enters and nothing leaves.
    """
    from llvmlite import ir

    byte, short, number = ir.IntType(8), ir.IntType(16), ir.IntType(64)
    vector = ir.VectorType(byte, lanes)
    bytes_, numbers, module = byte.as_pointer(), number.as_pointer(), ir.Module()
    arguments = [bytes_, bytes_, numbers, numbers, bytes_, bytes_, short.as_pointer(), number, number]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "best_segments")
    table, codes, starts, lengths, best, leaving, enough, parts, sequences = function.args
    minus, larger = (
        ir.Function(module, ir.FunctionType(vector, [vector, vector]), f"llvm.{name}.v{lanes}i8")
        for name in ("ssub.sat", "smax")
    )
    largest = ir.Function(module, ir.FunctionType(byte, [vector]), f"llvm.vector.reduce.smax.v{lanes}i8")
    lowest = ir.Constant(vector, [_LOWEST] * lanes)
    of_residue = stripes * lanes
    next_lane = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [lanes, *range(lanes - 1)])
    build = ir.IRBuilder(function.append_basic_block("entry"))

    def best_of(residues: Any, length: Any, every: int) -> Any:
        """The best score of a sequence, of which the maximum is taken over every other row, or over all."""
        if linked:

            def forget(row: Any, _: list[Any]) -> list[Any]:
                build.store(byte(_LOWEST), build.gep(leaving, [row]))
                return []

            _loop(build, (number(0), length, 1), [], forget)

        def of_each_part(part: Any, best_so_far: list[Any]) -> list[Any]:
            costs = build.gep(table, [build.mul(part, number((CODES + 1) * of_residue))])

            def of_rows(first: Any, values: list[Any]) -> list[Any]:
                one, other, entering, *scores = values
                for step in range(_ROWS):
                    row = build.add(first, number(step))
                    residue = build.zext(build.load(build.gep(residues, [row])), number)
                    there = build.gep(costs, [build.mul(residue, number(of_residue))])
                    moved = build.shuffle_vector(scores[-1], lowest, next_lane)
                    if linked:
                        moved = build.insert_element(moved, entering, ir.IntType(32)(0))
                    scores = _without_costs(build, [moved, *scores[:-1]], there, minus)
                    for score in scores if (step + 1) % every == 0 else []:
                        one, other = other, build.call(larger, [one, score])
                    if linked:
                        left = build.gep(leaving, [row])
                        entering = build.load(left)
                        build.store(build.extract_element(scores[-1], ir.IntType(32)(lanes - 1)), left)
                return [one, other, entering, *scores]

            values = [*best_so_far, byte(_LOWEST), *[lowest] * stripes]
            return _loop(build, (number(0), length, _ROWS), values, of_rows)[:2]

        # Two maxima, which do not wait for each other.
        found = _loop(build, (number(0), parts, 1), [lowest, lowest], of_each_part)
        return build.call(largest, [build.call(larger, found)])

    def of_sequence(place: Any, _: list[Any]) -> list[Any]:
        length = build.load(build.gep(lengths, [place]))
        residues = build.gep(codes, [build.load(build.gep(starts, [place]))])
        coarse, there = best_of(residues, length, _ROWS), build.gep(best, [place])
        build.store(coarse, there)
        near = build.icmp_signed(">=", build.sext(coarse, short), build.load(build.gep(enough, [place])))
        with build.if_then(near):
            build.store(best_of(residues, length, 1), there)
        return []

    with build.if_then(build.icmp_signed(">", sequences, number(0))):
        _loop(build, (number(0), sequences, 1), [], of_sequence)
    build.ret_void()
    return module


def _without_costs(build: Any, scores: list[Any], costs: Any, minus: Any) -> list[Any]:
    """Vectors of scores less those of costs, which follow each other in memory."""
    from llvmlite import ir

    vector = scores[0].type
    lanes, found = vector.count, list(scores)
    # From the last to the first: a score takes the register of the one that it replaces.
    for each in reversed(range(len(scores))):
        place = build.gep(costs, [ir.IntType(64)(each * lanes)])
        cost = build.load(build.bitcast(place, vector.as_pointer()), align=lanes)
        found[each] = build.call(minus, [scores[each], cost])
    return found


def _loop(
    build: Any,
    bounds: tuple[Any, Any, int],
    values: list[Any],
    body: Callable[[Any, list[Any]], list[Any]],
) -> list[Any]:
    """Write `for number in range(*bounds): values = body(number, values)`, run once at the least."""
    start, stop, step = bounds
    before = build.block
    head = build.append_basic_block("loop")
    build.branch(head)
    build.position_at_end(head)
    numbered = build.phi(start.type)
    numbered.add_incoming(start, before)
    carried = [build.phi(value.type) for value in values]
    for phi, value in zip(carried, values, strict=True):
        phi.add_incoming(value, before)
    results = body(numbered, list(carried))
    following = build.add(numbered, start.type(step))
    numbered.add_incoming(following, build.block)
    for phi, value in zip(carried, results, strict=True):
        phi.add_incoming(value, build.block)
    behind = build.append_basic_block("behind")
    build.cbranch(build.icmp_signed("<", following, stop), head, behind)
    build.position_at_end(behind)
    return results

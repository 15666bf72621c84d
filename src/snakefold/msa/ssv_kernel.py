"""Best ungapped segment of a profile in each of many sequences, in machine code for the processor at hand.

HMMER spends three quarters of a search of sequences on this (SSV, its first filter), 16 cells at an
instruction. The same integers come out here: along each diagonal of the matrix of sequence and profile,
score ← max(−128, score − cost). Neighbouring diagonals know nothing of each other, so that each is a lane of
a vector, and vectors are as wide as LLVM finds the processor's to be.
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

#: Of one vector: 64 neighbouring diagonals, an AVX-512 register, or two, or four of narrower ones.
_LANES = 64
#: Vectors and rows of a turn of the inner loop; the fastest of 1 to 4 and 1 to 8 with AVX2 and AVX-512.
_VECTORS = 2
_ROWS = 4

_BAND = _LANES * _VECTORS
#: The first and the last rows of a band read costs of positions before and behind the profile.
_MARGIN = _BAND + _ROWS

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
    """Costs of a profile, (CODES + 1, margin + positions + margin), int8; made by `padded`."""

    table: NDArray[np.int8]
    positions: int


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


def padded(costs: NDArray[np.int8]) -> Costs:
    """Costs of each residue at each position of a profile, (CODES, positions), for `best_segments`."""
    if costs.shape[0] != CODES or not costs.shape[1]:
        raise ValueError(f"expected costs of {CODES} residues at one position or more, not {costs.shape}")
    table = np.full((CODES + 1, costs.shape[1] + 2 * _MARGIN), _FORBIDDEN, np.int8)
    table[:CODES, _MARGIN:-_MARGIN] = costs
    return Costs(table, costs.shape[1])


def best_segments(costs: Costs, residues: Residues) -> NDArray[np.int8]:
    """Score of the best ungapped segment of each sequence: −128 for none, −127 for one unit, up to 127.

    The interpreter's lock is not held meanwhile.
    """
    best = np.full(len(residues.lengths), _LOWEST, np.int8)
    arrays = (costs.table[:, _MARGIN:], residues.codes, residues.starts, residues.lengths, best)
    sizes = (costs.table.shape[1], costs.positions, len(best))
    with _compiling:
        function = _compiled()
    function(*(array.ctypes.data for array in arrays), *sizes)
    return best


@cache
def _compiled() -> Callable[..., None]:
    """The function of `_module`, as machine code for this processor."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    module = binding.parse_assembly(str(_module()))
    module.verify()
    machine = binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=binding.get_host_cpu_features().flatten(), opt=3
    )
    passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=2))
    passes.getModulePassManager().run(module, passes)
    engine = binding.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    address = engine.get_function_address("best_segments")
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, *[ctypes.c_int64] * 3)(address)
    # The engine owns the memory that the code is in.
    function.engine = engine  # type: ignore[attr-defined]
    return function


def _module() -> Any:
    """LLVM's module of one function, `best_segments`; its arguments are those that the wrapper passes.

    In Python, with a diagonal named by the position in the profile that the first residue meets::

        for sequence, length in zip(sequences, lengths):
            best = -128
            for diagonal in range(1 - length, positions, BAND):
                scores = [-128] * BAND
                for row in range(max(0, 1 - BAND - diagonal), min(length, positions - diagonal)):
                    start = diagonal + row
                    scores = maximum(-128, scores - costs[sequence[row], start : start + BAND])
                    best = max(best, *scores)
    """
    from llvmlite import ir

    byte, number = ir.IntType(8), ir.IntType(64)
    vector = ir.VectorType(byte, _LANES)
    bytes_, numbers = byte.as_pointer(), number.as_pointer()
    module = ir.Module()
    arguments = [bytes_, bytes_, numbers, numbers, bytes_, number, number, number]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), "best_segments")
    costs, codes, starts, lengths, best, stride, positions, sequences = function.args
    of_two, of_one = ir.FunctionType(vector, [vector, vector]), ir.FunctionType(byte, [vector])
    minus = ir.Function(module, of_two, f"llvm.ssub.sat.v{_LANES}i8")
    larger = ir.Function(module, of_two, f"llvm.smax.v{_LANES}i8")
    largest = ir.Function(module, of_one, f"llvm.vector.reduce.smax.v{_LANES}i8")
    lowest = ir.Constant(vector, [_LOWEST] * _LANES)
    build = ir.IRBuilder(function.append_basic_block("entry"))

    def of_sequence(place: Any, _: list[Any]) -> list[Any]:
        length = build.load(build.gep(lengths, [place]))
        residues = build.gep(codes, [build.load(build.gep(starts, [place]))])

        def of_band(diagonal: Any, best_so_far: list[Any]) -> list[Any]:
            there = build.gep(costs, [diagonal])

            def of_rows(first: Any, values: list[Any]) -> list[Any]:
                best_here, *scores = values
                for step in range(_ROWS):
                    row = build.add(first, number(step))
                    residue = build.zext(build.load(build.gep(residues, [row])), number)
                    cost = build.gep(there, [build.add(build.mul(residue, stride), row)])
                    for each in range(_VECTORS):
                        lanes = build.bitcast(build.gep(cost, [number(each * _LANES)]), vector.as_pointer())
                        scores[each] = build.call(minus, [scores[each], build.load(lanes, align=1)])
                        best_here = build.call(larger, [best_here, scores[each]])
                return [best_here, *scores]

            start = _choose(build, ">", build.sub(number(1 - _BAND), diagonal), number(0))
            stop = _choose(build, "<", build.sub(positions, diagonal), length)
            values = [*best_so_far, *[lowest] * _VECTORS]
            return _loop(build, (start, stop, _ROWS), values, of_rows)[:1]

        bounds = (build.sub(number(1), length), positions, _BAND)
        (found,) = _loop(build, bounds, [lowest], of_band)
        build.store(build.call(largest, [found]), build.gep(best, [place]))
        return []

    with build.if_then(build.icmp_signed(">", sequences, number(0))):
        _loop(build, (number(0), sequences, 1), [], of_sequence)
    build.ret_void()
    return module


def _choose(build: Any, comparison: str, one: Any, other: Any) -> Any:
    """The larger (`>`) or the smaller (`<`) of two numbers."""
    return build.select(build.icmp_signed(comparison, one, other), one, other)


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

"""What of a backbone is designed, as it is asked for and as a request says it.

Positions are counted from 1 along a chain of the backbone (`molecules.backbones`), gaps included:
ProteinMPNN's own way. A position may also be given as text: the author's residue number with its insertion
code, as "52A".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationError

from snakefold.kernel.contracts import Key, Model, TargetInput
from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.names import shown

if TYPE_CHECKING:  # targets are read everywhere, and few of them have coordinates
    from snakefold.molecules.backbones import BackboneChain

#: The twenty amino acids, by letter.
AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
Position = int | str
#: What may be added to a logit, either way: beyond it numbers of the network lose their digits.
MOST_BIAS = 1000


@dataclass(frozen=True)
class Wanted:
    """What a user asks for; positions as numbers, or as author's numbers in text.

    Attributes:
        chains: to design; None: all. A text has their names, separated by blanks or commas.
        fixed: positions that keep their residue, by chain.
        tied: groups of positions that get the same residue: by chain, one or several each.
        homooligomer: the n-th positions of all designed chains are such a group.
        bias: chain, position, and what is added to the logits of amino acids there, by letter.
        conserved: share of the designed positions that keep their residue, the most conserved ones.
    """

    chains: Sequence[str] | str | None = None
    fixed: Mapping[str, Sequence[Position]] = field(default_factory=dict)
    tied: Sequence[Mapping[str, Sequence[Position]]] = ()
    homooligomer: bool = False
    bias: Sequence[tuple[str, Position, Mapping[str, float]]] = ()
    conserved: float = 0.0


class Design(Model):
    """A backbone, and what of it is designed; positions from 1, gaps included."""

    structure: Key = Field(description="sha256 of the file of the backbone, which travels with the request.")
    form: Literal["pdb", "cif"] = Field(description="Its format.")
    designed: tuple[str, ...] = Field(min_length=1, description="Chains that get new residues, sorted.")
    fixed: dict[str, tuple[int, ...]] = Field({}, description="Positions that keep theirs, by chain.")
    tied: tuple[tuple[tuple[str, int], ...], ...] = Field(
        (), description="Groups of positions that get the same residue."
    )
    bias: dict[str, dict[int, dict[str, float]]] = Field(
        {}, description="Added to the logits of amino acids: chain, position, letter."
    )

    conserved: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the designed positions that keep their residue as well: the most conserved "
        "ones of the alignments.",
    )

    @property
    def key(self) -> str:
        """sha256 of all of it: what results are kept by."""
        text = json.dumps(
            self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":")
        )
        return hashlib.sha256(f"design:{text}".encode()).hexdigest()


def make_design(chains: Sequence[BackboneChain], data: bytes, form: str, wanted: Wanted) -> Design:
    """What is asked for, checked against the backbone.

    Args:
        chains: of the backbone.
        data: the file that they are from.
        form: pdb or cif.

    Raises:
        TargetError: a chain or a position is not there, or cannot be designed as asked.
    """
    by_name = {chain.name: chain for chain in chains}
    designed = sorted(set(_names(wanted.chains, by_name)))
    fixed = {}
    for name, asked in sorted(wanted.fixed.items()):
        chain = _chain(by_name, name, "fixed_positions")
        if found := sorted({_position(chain, each, "fixed_positions") for each in asked}):
            fixed[name] = tuple(found)
    if wanted.homooligomer:
        fixed = _with_incomplete([by_name[name] for name in designed], fixed)
    frozen = {(name, each) for name, positions in fixed.items() for each in positions}
    tied = _tied(by_name, designed, frozen, wanted)
    bias = _bias(by_name, wanted.bias)
    design = Design(
        structure=hashlib.sha256(data).hexdigest(),
        form=form,
        designed=tuple(designed),
        fixed=fixed,
        tied=tied,
        bias=bias,
        conserved=wanted.conserved,
    )
    if not any(
        chain.complete[place] and (name, place + 1) not in frozen
        for name, chain in ((name, by_name[name]) for name in designed)
        for place in range(len(chain))
    ):
        raise _refused("No position is left to design: all are fixed, or lack atoms of the backbone.", _FREE)
    return design


def read_design(target: TargetInput, files: Mapping[str, bytes]) -> tuple[Design, list[BackboneChain]]:
    """What a request says of a target, and the backbone that came with it.

    Args:
        files: that travel with the target, by name.

    Raises:
        TargetError: the backbone is missing, or is not the one that the request names.
    """
    from snakefold.molecules.backbones import BadBackboneError, read_backbone

    try:
        design = Design.model_validate(target.backbone)
    except ValidationError as error:
        raise _refused(
            f"The request's backbone is none: {error.errors()[0]['msg']}.", "Plan again."
        ) from error
    data = files.get(file_name(design.form))
    if data is None or hashlib.sha256(data).hexdigest() != design.structure:
        told = "lacks the file of its backbone" if data is None else "has another backbone than it names"
        raise _refused(f"The request {told}.", "Plan again.")
    try:
        chains = read_backbone(data)
    except BadBackboneError as error:
        raise _refused(f"The backbone cannot be used: {error}.", "Give another file.") from error
    if [chain.sequence for chain in chains] != target.chains or target.key != design.key:
        raise _refused("The request's chains are not those of its backbone.", "Plan again.")
    return design, chains


def file_name(form: str) -> str:
    """What the file of a backbone is called beside its target."""
    return f"backbone.{form}"


def design_target(name: str, design: Design, chains: Sequence[BackboneChain]) -> TargetInput:
    """A design in the form of the contracts."""
    return TargetInput(
        id=name,
        key=design.key,
        chains=[chain.sequence for chain in chains],
        backbone=design.model_dump(mode="json", exclude_defaults=True),
    )


_FREE = "Leave positions out of fixed_positions, or design other chains."


def _refused(message: str, advice: str) -> TargetError:
    return TargetError(Reason.INVALID_INPUT, message, advice)


def _names(asked: Sequence[str] | str | None, by_name: Mapping[str, BackboneChain]) -> Iterable[str]:
    if asked is None:
        return list(by_name)
    names = asked.replace(",", " ").split() if isinstance(asked, str) else list(asked)
    if not names:
        return list(by_name)
    return [_chain(by_name, name, "chains").name for name in names]


def _chain(by_name: Mapping[str, BackboneChain], name: str, where: str) -> BackboneChain:
    if name in by_name:
        return by_name[name]
    raise _refused(
        f"{where}: the backbone has no protein chain {shown(name, 20)!r}.",
        f"It has {', '.join(shown(each, 20) for each in by_name)}.",
    )


def _position(chain: BackboneChain, asked: Position, where: str) -> int:
    """The position, from 1, which has a residue."""
    what = f"{where}: chain {shown(chain.name, 20)}"
    if isinstance(asked, str):
        if asked in chain.numbers and asked:
            return chain.numbers.index(asked) + 1
        there = [each for each in chain.numbers if each]
        raise _refused(
            f"{what} has no residue numbered {shown(asked, 20)!r}.",
            f"Its residues are numbered {there[0]} to {there[-1]}. A position that is counted from 1 is a "
            "number, not a text.",
        )
    if not 1 <= asked <= len(chain):
        raise _refused(
            f"{what} has no position {asked}.",
            f"It has positions 1 to {len(chain)}, gaps included. A residue number of the file is given as a "
            'text, for example "52A".',
        )
    if not chain.numbers[asked - 1]:
        raise _refused(
            f"{what}: position {asked} is a gap: the file has no residue there.",
            "Positions are counted with gaps: count again, or give residue numbers of the file as text.",
        )
    return asked


def _tied(
    by_name: Mapping[str, BackboneChain],
    designed: Sequence[str],
    frozen: set[tuple[str, int]],
    wanted: Wanted,
) -> tuple[tuple[tuple[str, int], ...], ...]:
    groups: list[tuple[tuple[str, int], ...]] = []
    for asked in wanted.tied:
        members: set[tuple[str, int]] = set()
        for name, positions in asked.items():
            chain = _chain(by_name, name, "tied_positions")
            members |= {(name, _position(chain, each, "tied_positions")) for each in positions}
        groups.append(tuple(sorted(members)))
    if wanted.homooligomer:
        if wanted.tied:
            raise _refused("homooligomer and tied_positions are both given.", "Give one of them.")
        groups = _copies([by_name[name] for name in designed], frozen)
    seen: set[tuple[str, int]] = set()
    for group in groups:
        for name, position in group:
            at = f"position {position} of chain {shown(name, 20)}"
            if name not in designed:
                raise _refused(f"tied_positions: {at} is not designed.", "Design its chain, or leave it out.")
            if (name, position) in frozen:
                raise _refused(
                    f"tied_positions: {at} is fixed.", "Fix all positions of the group and do not tie them."
                )
            if not by_name[name].complete[position - 1]:
                raise _refused(f"tied_positions: {at} lacks atoms of the backbone.", "Leave it out.")
            if (name, position) in seen:
                raise _refused(f"tied_positions: {at} is in two groups.", "Make them one group.")
            seen.add((name, position))
    return tuple(group for group in groups if len(group) > 1)


def _copies(
    chains: Sequence[BackboneChain], frozen: set[tuple[str, int]]
) -> list[tuple[tuple[str, int], ...]]:
    """Groups of the n-th positions; a copy that lacks atoms there stays out of its group."""
    groups = []
    for place in range(len(chains[0])):
        members = [(chain.name, place + 1) for chain in chains if chain.complete[place]]
        fixed = [each for each in members if each in frozen]
        if fixed and len(fixed) < len(members):
            raise _refused(
                f"homooligomer: position {place + 1} is fixed in chain {shown(fixed[0][0], 20)} only.",
                "Fix it in all copies, or in none.",
            )
        if not fixed and len(members) > 1:
            groups.append(tuple(members))
    return groups


def _with_incomplete(
    chains: Sequence[BackboneChain], fixed: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Fixed positions, and those at which some copy has a residue that lacks atoms.

    It keeps its residue, and the others theirs, which is the same.
    """
    _check_copies(chains)
    kept = {
        place + 1
        for chain in chains
        for place, number in enumerate(chain.numbers)
        if number and not chain.complete[place]
    }
    found = dict(fixed)
    for chain in chains if kept else ():
        here = {position for position in kept if position <= len(chain) and chain.complete[position - 1]}
        if positions := {*fixed.get(chain.name, ()), *here}:
            found[chain.name] = tuple(sorted(positions))
    return found


def _check_copies(chains: Sequence[BackboneChain]) -> None:
    """Refuse chains whose residues at one position differ: they are no copies, or out of step."""
    lengths = {len(chain) for chain in chains}
    if len(chains) < 2 or len(lengths) > 1:
        told = ", ".join(f"{shown(chain.name, 20)} has {len(chain)}" for chain in chains)
        raise _refused(
            f"homooligomer: expected two or more designed chains with equally many positions; {told}.",
            "Give the groups as tied_positions.",
        )
    for place in range(len(chains[0])):
        known = {chain.sequence[place]: chain for chain in chains if chain.sequence[place] != "X"}
        if len(known) > 1:
            (one, first), (other, second) = list(known.items())[:2]
            raise _refused(
                f"homooligomer: at position {place + 1} chain {shown(first.name, 20)} has {one}, and chain "
                f"{shown(second.name, 20)} has {other}: the chains are no copies, or are out of step.",
                "Cut them to the same residues, or give the groups as tied_positions.",
            )


def _bias(
    by_name: Mapping[str, BackboneChain], asked: Sequence[tuple[str, Position, Mapping[str, float]]]
) -> dict[str, dict[int, dict[str, float]]]:
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name, position, letters in asked:
        at = _position(_chain(by_name, name, "bias_by_res"), position, "bias_by_res")
        for letter, value in letters.items():
            if letter not in AMINO_ACIDS or len(letter) != 1:
                raise _refused(
                    f"bias_by_res: {shown(letter, 20)!r} is no amino acid.", f"Letters are {AMINO_ACIDS}."
                )
            if not abs(value) <= MOST_BIAS:
                raise _refused(
                    f"bias_by_res: the bias of {letter} is not between -{MOST_BIAS} and {MOST_BIAS}.",
                    "A bias of 10 already decides at most temperatures.",
                )
        if at in found.setdefault(name, {}):
            raise _refused(
                f"bias_by_res: position {at} of chain {shown(name, 20)} is there twice.", "Give it once."
            )
        found[name][at] = dict(sorted(letters.items()))
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}

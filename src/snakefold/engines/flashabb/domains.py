"""Is it an antibody variable domain, and which one: what ANARCI's germline profiles say about a sequence.

The profiles (Dunbar & Deane 2016, doi:10.1093/bioinformatics/btv552; BSD-3, in the wheel `anarci`) cover the
heavy and light chains of mammals and the four T-cell receptor chains of man and mouse, on IMGT's 128
positions. They are searched with pyhmmer, and ANARCI's own threshold decides: 80 bits. Antibody domains,
nanobodies included, score well above 100; other immunoglobulin-like V domains (CD8, PD-1) stay below 50. Not
covered, and refused: shark VNAR and whatever else no mammalian profile resembles.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from snakefold.kernel.errors import MissingProgramError, Reason, TargetError
from snakefold.kernel.wording import count

#: Bits that ANARCI asks of a domain.
MIN_BITS = 80.0
#: IMGT positions that a whole domain must reach: into framework 1 and into framework 4.
FIRST_POSITION, LAST_POSITION, POSITIONS = 20, 118, 128
#: Residues before and after the domain that are put up with; constant domains, linkers and tags are longer.
MAX_OVERHANG = 5

Role = Literal["heavy", "light"]
_ROLES: dict[str, Role] = {"H": "heavy", "K": "light", "L": "light"}


@dataclass(frozen=True)
class Domain:
    """A match of a germline profile.

    `profile` is ANARCI's name (`human_H`); `start` and `end` are 0-based, half-open, and extended to the ends
    of the domain where the match stops short of them; `first` and `last` are the IMGT positions matched.
    """

    profile: str
    bits: float
    start: int
    end: int
    first: int
    last: int

    @property
    def role(self) -> Role | None:
        """heavy, light, or None for a T-cell receptor."""
        return _ROLES.get(self.profile.rpartition("_")[2])


def roles(chains: Sequence[str]) -> list[Role]:
    """Heavy or light, chain by chain, of an Fv (either order) or of one variable domain.

    Raises:
        TargetError: it is something else; the text says what was found and what to give instead.
        MissingProgramError: the package anarci is missing.
    """
    if len(chains) > 2:
        raise _refusal(f"{len(chains)} chains.", "Give an Fv as VH:VL, or one variable domain.")
    found = [_domain(sequence, number).role for number, sequence in enumerate(chains, 1)]
    known = [role for role in found if role is not None]
    if len(known) == 2 and known[0] == known[1]:
        raise _refusal(f"Both chains are {known[0]} chains.", "Give one heavy and one light chain as VH:VL.")
    return known


def matches(sequence: str) -> list[Domain]:
    """Every match of a germline profile, best first; most of them overlap."""
    from pyhmmer.easel import TextSequence
    from pyhmmer.plan7 import Background, Pipeline

    alphabet, profiles = _profiles()
    query = TextSequence(name=b"chain", sequence=sequence).digitize(alphabet)
    hits = Pipeline(alphabet, Background(alphabet)).scan_seq(query, profiles)
    found = []
    for hit in hits:
        for domain in hit.domains:
            match = domain.alignment
            start = max(0, match.target_from - match.hmm_from)
            end = min(len(sequence), match.target_to + POSITIONS - match.hmm_to)
            name = hit.name.decode() if isinstance(hit.name, bytes) else hit.name
            found.append(Domain(name, float(domain.score), start, end, match.hmm_from, match.hmm_to))
    return sorted(found, key=lambda item: item.bits, reverse=True)


def _domain(sequence: str, number: int) -> Domain:
    found = matches(sequence)
    chosen: list[Domain] = []
    for item in found:
        if item.bits >= MIN_BITS and all(item.start >= one.end or item.end <= one.start for one in chosen):
            chosen.append(item)
    if not chosen:
        found_bits = f"its best match has {found[0].bits:.0f} bits" if found else "no profile matches"
        raise _refusal(
            f"Chain {number} is no antibody variable domain: {found_bits}, {MIN_BITS:.0f} bits are needed.",
            "Fold other proteins with engine: alphafold2.",
        )
    best = chosen[0]
    if best.role is None:
        raise _refusal(
            f"Chain {number} is a T-cell receptor domain ({best.profile}, {best.bits:.0f} bits).",
            "flash-abb knows antibodies only. Fold it with engine: alphafold2.",
        )
    if len(chosen) > 1:
        places = " and ".join(
            f"{item.start + 1}-{item.end}" for item in sorted(chosen, key=lambda one: one.start)
        )
        raise _refusal(
            f"Chain {number} holds {len(chosen)} variable domains (residues {places}).",
            "Write a single-chain Fv as VH:VL, without the linker.",
        )
    if best.first > FIRST_POSITION or best.last < LAST_POSITION:
        raise _refusal(
            f"Chain {number} is a part of a variable domain: IMGT positions {best.first} to "
            f"{best.last} of {POSITIONS}.",
            "Give the domain whole, from framework 1 to framework 4.",
        )
    before, after = best.start, len(sequence) - best.end
    if max(before, after) > MAX_OVERHANG:
        raise _refusal(
            f"Chain {number} has {count(before, 'residue')} before and {after} after its variable domain; "
            f"at most {MAX_OVERHANG} are folded with it.",
            f"Give residues {best.start + 1} to {best.end}: no signal peptide, constant domain or tag.",
        )
    return best


def _refusal(message: str, advice: str) -> TargetError:
    return TargetError(Reason.INVALID_INPUT, message, advice)


@functools.cache
def _profiles() -> tuple[Any, Any]:
    from pyhmmer.easel import Alphabet
    from pyhmmer.plan7 import Background, HMMFile, OptimizedProfileBlock, Profile

    alphabet = Alphabet.amino()
    background = Background(alphabet)
    block = OptimizedProfileBlock(alphabet)
    with HMMFile(_profile_file()) as file:
        for hmm in file:
            profile = Profile(hmm.M, alphabet)
            profile.configure(hmm, background)  # type: ignore[arg-type]
            block.append(profile.to_optimized())
    return alphabet, block


def _profile_file() -> Path:
    # The package is located, not imported: of it only the profiles are used.
    spec = importlib.util.find_spec("anarci")
    if spec is None or spec.origin is None:
        raise MissingProgramError(
            "Engine flashabb needs the package anarci, a dependency of snakefold. Install it with: "
            "pip install anarci"
        )
    return Path(spec.origin).parent / "dat" / "HMMs" / "ALL.hmm"

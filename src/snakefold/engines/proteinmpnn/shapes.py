"""Sizes that programs of ProteinMPNN's network are compiled for."""

from __future__ import annotations

#: Lengths that are compiled; what is longer is padded to a multiple of the last.
LENGTHS = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
#: Samples that are drawn at once. The number for a request depends on how many it wants and on nothing else.
CHUNKS = (1, 8, 32)


def padded_length(length: int) -> int:
    """The compiled length for so many positions."""
    return next((each for each in LENGTHS if each >= length), -(-length // LENGTHS[-1]) * LENGTHS[-1])


def chunk_for(samples: int) -> int:
    """Samples that are drawn at once for a request of so many."""
    return next((each for each in CHUNKS if each >= min(samples, CHUNKS[-1])), CHUNKS[-1])

"""What each step of an MMseqs2 search passed on, read from the results in the search's scratch folder.

A search with n iterations leaves the candidates of its prefilters: `pref_0`, and `pref_1` … without the hits
of the steps before. The final hits are those of all steps. What a step has aligned and is among the hits, and
was not aligned again later, is a hit of that step (blastpgp.sh and blastp.sh of MMseqs2 18).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snakefold.kernel.contracts import SearchStep
from snakefold.kernel.notes import Code, note

#: The weakest candidates, and the share of hits among them above which more homologs are to be expected
#: beyond the limit. An ungapped prefilter of a large database always reaches it, with chance matches in the
#: end.
_LAST, _SHARE = 0.1, 0.05


def steps_of(folder: Path, hits: Path, limit: int, queries: int) -> list[list[SearchStep]]:
    """The steps of a search, by number of the query.

    Args:
        folder: the search's `tmp/latest`.
        hits: its result.
        limit: its `--max-seqs`.
    """
    prefilters: list[_Results] = []
    while (prefix := folder / f"pref_{len(prefilters)}").with_name(f"{prefix.name}.index").is_file():
        prefilters.append(_Results.opened(prefix))
    found = _Results.opened(hits)
    return [
        _steps([each.targets(key) for each in prefilters], found.targets(key), limit)
        for key in range(queries)
    ]


def warnings(database: str, steps: Sequence[SearchStep]) -> list[str]:
    """A note on the step that lost most, if one was limited with homologs to be expected beyond its limit."""
    cut = [(step.last_hits, number, step) for number, step in enumerate(steps, 1) if _lost(step)]
    if not cut:
        return []
    last_hits, number, step = max(cut, key=lambda each: each[0])
    return [
        note(
            Code.LIMITED_SEARCH,
            f"{database}: step {number} of {len(steps)} reached its limit of {step.limit:,} candidates; of "
            f"the {_last(step.candidates):,} weakest, {last_hits:,} are hits",
        )
    ]


def _lost(step: SearchStep) -> bool:
    return step.limited and step.last_hits >= max(1, _SHARE * _last(step.candidates))


def _last(candidates: int) -> int:
    return max(1, int(_LAST * candidates)) if candidates else 0


def _steps(prefilters: Sequence[Sequence[bytes]], hits: Sequence[bytes], limit: int) -> list[SearchStep]:
    left = set(hits)
    steps = []
    for candidates in reversed(prefilters):
        accepted = [target in left for target in candidates]
        left -= set(candidates)
        weakest = accepted[len(accepted) - _last(len(accepted)) :]
        steps.append(
            SearchStep(
                candidates=len(candidates),
                hits=sum(accepted),
                last_hits=sum(weakest),
                limit=limit,
                limited=len(candidates) + len(left) >= limit,
            )
        )
    return steps[::-1]


@dataclass(frozen=True)
class _Results:
    """A database of results: one file, or one a thread, and the place of every query's record."""

    parts: Sequence[tuple[int, Path]]
    places: dict[int, tuple[int, int]]

    @classmethod
    def opened(cls, prefix: Path) -> _Results:
        files = [prefix] if prefix.is_file() else []
        while (part := prefix.with_name(f"{prefix.name}.{len(files)}")).is_file():
            files.append(part)
        parts, end = [], 0
        for file in files:
            parts.append((end, file))
            end += file.stat().st_size
        index = prefix.with_name(f"{prefix.name}.index").read_text().splitlines()
        rows = (map(int, line.split("\t")) for line in index)
        return cls(parts, {key: (offset, length) for key, offset, length in rows})

    def targets(self, query: int) -> list[bytes]:
        """Keys of the query's targets, in order; none if it has no record."""
        if query not in self.places:
            return []
        offset, length = self.places[query]
        start, file = next(part for part in reversed(self.parts) if part[0] <= offset)
        with file.open("rb") as stream:
            stream.seek(offset - start)
            record = stream.read(length)
        return [line.partition(b"\t")[0] for line in record.rstrip(b"\0").splitlines()]

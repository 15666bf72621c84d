"""What of a run is in the user's own collections already."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from snakefold.engines.reuse.found import Found
from snakefold.engines.reuse.index import open_index
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.wording import count


def lookup(
    collections: Sequence[str],
    wanted: Mapping[str, Sequence[str]],
    *,
    rehearsal: bool = False,
    log: Callable[[str], None] = print,
    cache: Path | None = None,
) -> dict[str, Found]:
    """Structures of exactly these chains, in their order; the first collection that has one gives it.

    Args:
        collections: folders and .tar archives.
        wanted: result key → chains.
        rehearsal: take structures that say REHEARSAL as well; the results made of them say so, too.
        cache: folder of the indices; the user's cache folder if not given.

    Returns:
        What was found, by result key, in the order of `wanted`.

    Raises:
        SnakefoldError: a collection is missing or no collection. A broken file in one is passed over.
    """
    keys = {result_key: sequence_key(chains) for result_key, chains in wanted.items()}
    found: dict[str, Found] = {}
    for collection in collections:
        with open_index(collection, log, cache) as index:
            taken = 0
            for result_key, key in keys.items():
                if result_key in found:
                    continue
                one = index.find(key, rehearsal=rehearsal)
                if one is not None:
                    found[result_key] = one
                    taken += 1
            contents = index.contents()
        line = (
            f"reuse: {collection}: {count(contents.structures, 'structure')}; "
            f"{taken:,} of {count(len(wanted), 'target')} found"
        )
        if contents.unusable:
            line += f"; {contents.unusable} cannot be taken (`snakefold reuse {collection} --list` says why)"
        log(line)
    return {result_key: found[result_key] for result_key in wanted if result_key in found}

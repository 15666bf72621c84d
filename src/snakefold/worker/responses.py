"""Finished responses, kept in the store under the kind `response`: the same request is answered, not redone.

What is kept is what cannot be found elsewhere: of a fold its FoldResponse (the structures are in the store
target by target), of a search its files. A response with a failed target is not kept, so that a retry tries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from snakefold import __version__
from snakefold.kernel import archive, recipes
from snakefold.kernel.errors import StoreError
from snakefold.kernel.store import Entry, Store

_LAYOUT = 1


def entry_for(contract: str, digest: str, depends_on: Mapping[str, Any] | None = None) -> Entry:
    """Where the response to a request is kept.

    Args:
        digest: of the request and its files.
        depends_on: what the response depends on besides: databases, parameters.
    """
    recipe = {
        "contract": contract,
        "layout": _LAYOUT,
        "snakefold": __version__,
        "depends_on": dict(depends_on or {}),
    }
    return Entry("response", recipes.digest(recipe), digest)


def remembered(
    store: Store,
    entry: Entry,
    compute: Callable[[], tuple[dict[str, bytes], bool]],
    log: Callable[[str], None],
) -> tuple[dict[str, bytes], bool]:
    """Files of the response, and whether they were there already.

    `compute` gives the files, and whether they are to be kept. Two workers may compute at once: both write
    the same. A store that takes nothing is told of: what was computed, and paid, is answered all the same.
    """
    found = store.get(entry)
    if found is not None:
        return archive.unpack(found), True
    files, complete = compute()
    if complete:
        try:
            store.put(entry, archive.pack(files))
        except StoreError as error:
            log(f"The response is not in the store: {error}")
    return files, False

"""Responses that are kept: once for equal requests, and never at the price of what was computed."""

from __future__ import annotations

from pathlib import Path

from snakefold.kernel.errors import StoreError
from snakefold.kernel.store import Entry
from snakefold.kernel.store.folder import FolderStore
from snakefold.worker.responses import entry_for, remembered


class Away(FolderStore):
    """A store that takes nothing."""

    def put(self, entry: Entry, data: bytes) -> None:
        raise StoreError("The server cannot be reached.")


def test_an_equal_request_is_answered_once_and_a_failed_one_again(tmp_path: Path) -> None:
    store, entry, asked = FolderStore(tmp_path), entry_for("fold", "0" * 64), []

    def compute(complete: bool) -> tuple[dict[str, bytes], bool]:
        asked.append(complete)
        return {"response.json": b"{}"}, complete

    for complete, found in ((False, False), (True, False), (True, True)):
        files, there = remembered(store, entry, lambda: compute(complete), print)  # noqa: B023
        assert (files, there) == ({"response.json": b"{}"}, found)
    assert asked == [False, True]


def test_what_was_computed_is_answered_although_the_store_takes_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    answer = remembered(
        Away(tmp_path), entry_for("fold", "0" * 64), lambda: ({"response.json": b"{}"}, True), said.append
    )
    assert answer == ({"response.json": b"{}"}, False)
    assert said == ["The response is not in the store: The server cannot be reached."]

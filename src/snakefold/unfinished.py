"""Batches whose jobs failed for good: why, as far as their logs say."""

from __future__ import annotations

from pathlib import Path

_STEPS = ("request", "predict", "collect", "restore", "reuse")
_TAIL = 4096


def why_unfinished(results: Path, batch: str) -> str:
    """The step that a batch got to and the last line of its log; empty where there is no log."""
    logs = [path for step in _STEPS if (path := results / "logs" / step / f"{batch}.log").is_file()]
    if not logs:
        return ""
    last = max(logs, key=lambda path: path.stat().st_mtime)
    with last.open("rb") as stream:
        stream.seek(max(0, last.stat().st_size - _TAIL))
        lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines()]
    return f"{last.parent.name}: {next(filter(None, reversed(lines)), 'its log is empty')}"

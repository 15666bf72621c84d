"""A database as a preset describes it, for tests that make their own."""

from __future__ import annotations

from pathlib import Path

from snakefold.msa.databases.presets import Database, Format, Tool


def one_database(path: Path, name: str, form: Format, *tools: Tool, pairing: bool = False) -> Database:
    """A database that is one file, of which every row is kept."""
    return Database(
        name=name,
        tools=frozenset(tools),
        format=form,
        path=path,
        files=(path,),
        limit=None,
        pairing=pairing,
        optional=False,
        gigabytes=0.0,
        get="Make it.",
    )

"""Which searches answer a ticket: those of the workflow's msa step, stored where it stores them.

A chain of a complex is stored with its rows for pairing, under a recipe of its own. Its own rows are the
same, so that either entry answers for a chain alone, and an entry without such rows only needs these.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from snakefold.kernel import archive, recipes
from snakefold.kernel.contracts import MsaMeta
from snakefold.kernel.errors import LostError, SnakefoldError, TargetError
from snakefold.kernel.store import Entry, Store
from snakefold.kernel.unchanged import Watch, changed
from snakefold.msa import search, template_files, templates
from snakefold.msa.bundle import Log
from snakefold.msa.chunk import search_to_store
from snakefold.msa.databases import presets as databases
from snakefold.msa.databases.presets import Preset
from snakefold.msa.planned import PlannedChain, PlannedChunk
from snakefold.msa.settings import MsaSettings
from snakefold.msa.template_files import Templates

#: An entry that another process removes between the search and the reading is searched again, this often.
_ATTEMPTS = 2


class SearchFailedError(SnakefoldError):
    """A search program failed for a chain."""


@dataclass(frozen=True)
class Searches:
    """What the server's alignments depend on: recipes as the plan makes them, and their digests.

    Attributes:
        pairing: the recipe with rows for pairing; None if there is no database for them.
        templates: None if templates are not searched.
    """

    preset: Preset
    msa: Mapping[str, Any]
    pairing: Mapping[str, Any] | None
    templates: Mapping[str, Any] | None

    @property
    def digest(self) -> str:
        """Of everything that an answer depends on besides its ticket."""
        return recipes.digest({"msa": self.msa, "pairing": self.pairing, "templates": self.templates})


@dataclass(frozen=True)
class Found:
    """What is known of one chain: the files of its entry in the store, and its templates if asked for."""

    files: Mapping[str, bytes]
    templates: Templates | None = None


def searches(settings: MsaSettings) -> Searches:
    """What these settings search. Reads both ends of every file of the databases.

    Raises:
        ConfigError, DatabaseMissingError, MissingProgramError: nothing can be searched.
    """
    preset = databases.load_preset(settings.db_preset, settings.db_root)
    databases.check(preset, settings, pairing=False)
    msa = search.recipe(settings, preset, multimer=False)
    rows = _for_pairing(preset, settings)
    return Searches(
        preset=preset,
        msa=msa,
        pairing=search.recipe(settings, preset, multimer=True) if rows else None,
        templates=None if settings.templates == "none" else templates.recipe(settings, preset, msa),
    )


def files_read(settings: MsaSettings) -> list[Path]:
    """The files and folders that answers are made from."""
    preset = databases.load_preset(settings.db_preset, settings.db_root)
    pairing = bool(_for_pairing(preset, settings))
    return list(databases.files_read(preset, settings, pairing=pairing).values())


def aligned(
    chains: Sequence[PlannedChain],
    settings: MsaSettings,
    store: Store,
    *,
    pairing: bool = False,
    work: Path,
    log: Log,
) -> tuple[Searches, dict[str, Found]]:
    """What was searched, and alignments of the chains by key: from the store, or searched and stored.

    Processes on this machine that want the same chain wait for the one that searches it.

    Args:
        pairing: rows for pairing are wanted (`pairing.a3m`), and no templates. Without a database for
            pairing there are none.
        work: folder for scratch files and locks.

    Raises:
        SearchFailedError: a program failed for a chain. SnakefoldError: nothing can be searched.
    """
    work.mkdir(parents=True, exist_ok=True)
    unique = list({chain.key: chain for chain in chains}.values())
    with _locked(work / "locks", [chain.key for chain in unique]):
        for _ in range(_ATTEMPTS):
            found = searches(settings)
            if pairing:
                _add_rows_for_pairing(unique, settings, found, store, work=work, log=log)
            places = _places(unique, found, store, pairing=pairing)
            for recipe in dict.fromkeys(places.values()):
                members = [chain for chain in unique if places[chain.key] == recipe]
                _search(members, recipe, settings, found, store, pairing=pairing, work=work, log=log)
            result = {key: _read(key, recipe, found, store, pairing) for key, recipe in places.items()}
            if None not in result.values():
                return found, {key: each for key, each in result.items() if each is not None}
    raise LostError("The store lost alignments while they were made. Is something else removing its entries?")


def _places(
    chains: Sequence[PlannedChain], found: Searches, store: Store, *, pairing: bool
) -> dict[str, str]:
    """The recipe under which each chain is stored, or will be."""
    alone = recipes.digest(found.msa)
    if found.pairing is None:
        return {chain.key: alone for chain in chains}
    paired = recipes.digest(found.pairing)
    if pairing:
        return {chain.key: paired for chain in chains}
    return {
        chain.key: paired
        if not store.has(Entry("msa", alone, chain.key)) and store.has(Entry("msa", paired, chain.key))
        else alone
        for chain in chains
    }


def _search(
    chains: Sequence[PlannedChain],
    recipe: str,
    settings: MsaSettings,
    found: Searches,
    store: Store,
    *,
    pairing: bool,
    work: Path,
    log: Log,
) -> None:
    """What the workflow's msa step does with a chunk of these chains."""
    with_rows = found.pairing is not None and recipe == recipes.digest(found.pairing)
    depends_on = {"msa": dict(found.pairing if with_rows and found.pairing else found.msa)}
    wanted = None if pairing else found.templates
    if wanted is not None:
        depends_on["templates"] = dict(wanted)
    chunk = PlannedChunk(
        chunk="ticket",
        recipe=recipe,
        templates=None if wanted is None else recipes.digest(wanted),
        pairing=with_rows,
        depends_on=depends_on,
        chains=list(chains),
    )
    searched = settings if wanted is not None else databases.only(settings, "msa")
    summary = search_to_store(chunk, searched, store, work, log)
    for key, message in summary["failed"].items():
        raise SearchFailedError(f"{key[:12]}: {message}")


def _read(key: str, recipe: str, found: Searches, store: Store, pairing: bool) -> Found | None:
    """None if the store has lost an entry."""
    packed = store.get(Entry("msa", recipe, key))
    if packed is None:
        return None
    files = archive.unpack(packed)
    if pairing or found.templates is None:
        return Found(files)
    entry = store.get(Entry("templates", recipes.digest(found.templates), key))
    return None if entry is None else Found(files, template_files.unpack(entry))


def _for_pairing(preset: Preset, settings: MsaSettings) -> list[databases.Database]:
    """Databases for pairing that the search reads, if all of them are there."""
    read = databases.used(preset, databases.only(settings, "msa"), pairing=True)
    found = [database for database in read if database.pairing]
    return [] if any(database.missing for database in found) else found


def _add_rows_for_pairing(
    chains: Sequence[PlannedChain],
    settings: MsaSettings,
    found: Searches,
    store: Store,
    *,
    work: Path,
    log: Log,
) -> None:
    """Search the databases for pairing alone for chains that have all other rows in the store."""
    if found.pairing is None:
        return
    alone, paired = recipes.digest(found.msa), recipes.digest(found.pairing)
    waiting = {
        chain.key: chain
        for chain in chains
        if not store.has(Entry("msa", paired, chain.key)) and store.check(Entry("msa", alone, chain.key))
    }
    if not waiting:
        return
    rows = _for_pairing(found.preset, settings)
    preset = replace(found.preset, databases=tuple(rows))
    tool = next(tool for tool in databases.TOOLS[settings.tool] if any(tool in each.tools for each in rows))
    only = databases.only(settings, "msa").model_copy(update={"tool": tool})
    watch = Watch(databases.files_read(preset, only, pairing=True).values())
    if searches(settings).pairing != found.pairing:
        raise changed(["a database for pairing"], since="since the ticket was looked at", advice="Ask again.")
    log(f"ticket: rows for pairing of {len(waiting)} chains whose other rows are in the store")
    for key, files in search.search_chunk(list(waiting.values()), only, preset, work=work, log=log):
        if isinstance(files, TargetError):
            raise SearchFailedError(f"{key[:12]}: {files.message} {files.advice}".strip())
        watch.check()
        packed = store.get(Entry("msa", alone, key))
        if packed is not None:
            store.put(Entry("msa", paired, key), archive.pack(_joined(archive.unpack(packed), files)))


def _joined(own: Mapping[str, bytes], rows: Mapping[str, bytes]) -> dict[str, bytes]:
    """A chain's entry with rows for pairing, from its entry without them and a search of these alone."""
    first, second = (MsaMeta.model_validate_json(files["meta.json"]) for files in (own, rows))
    seconds = {
        name: round(first.seconds.get(name, 0.0) + second.seconds.get(name, 0.0), 3)
        for name in [*first.seconds, *second.seconds]
    }
    meta = first.model_copy(
        update={
            "databases": [*first.databases, *second.databases],
            "commands": [*first.commands, *second.commands],
            "seconds": seconds,
            "warnings": [*first.warnings, *second.warnings],
        }
    )
    more = {name: data for name, data in rows.items() if name == "pairing.a3m" or name.startswith("raw/")}
    _, _, hits = rows["hits.tsv"].partition(b"\n")
    return {
        **own,
        **more,
        "hits.tsv": own["hits.tsv"] + hits,
        "meta.json": meta.model_dump_json(indent=1).encode() + b"\n",
    }


@contextmanager
def _locked(folder: Path, keys: Sequence[str]) -> Iterator[None]:
    """Kernel locks on the chains, which end with the process. All take them in one order."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        for name in sorted({key[:3] for key in keys}):
            handle = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield

"""Whether a search reads what the plan assumed: what it finds is stored under the plan's recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from snakefold.kernel import recipes
from snakefold.kernel.unchanged import ChangedError, Watch, changed, differences
from snakefold.msa import search
from snakefold.msa import templates as template_search
from snakefold.msa.databases import presets as databases
from snakefold.msa.databases.presets import Preset
from snakefold.msa.planned import PlannedChunk
from snakefold.msa.server import facts as server
from snakefold.msa.settings import MsaSettings

_SAME_PROGRAMS = "Plan and search with the same release of snakefold and the same programs, and run again."

_Recipes = dict[databases.Part, dict[str, Any]]


def watched(
    chunk: PlannedChunk,
    settings: MsaSettings,
    preset: Preset,
    *,
    msa: bool,
    templates: bool,
    pairs: bool = False,
) -> Watch:
    """Compare what a search would read with what the chunk's recipes were made of, and watch the files.

    Args:
        msa, templates, pairs: what is searched.

    Returns:
        What tells, after the search, whether a file changed meanwhile.

    Raises:
        ChangedError: the search would store under a name that says something else.
        ConfigError, DatabaseMissingError, MissingProgramError: the search cannot be done.
    """
    searched: dict[databases.Part, bool] = {"msa": msa, "templates": templates, "pairs": pairs}
    parts = [part for part in searched if searched[part]]
    asked = databases.only(settings, *parts)
    # The recipe of templates names the databases of alignments too.
    databases.check(preset, settings if templates else asked, pairing=chunk.pairing)
    paths = databases.files_read(preset, asked, pairing=chunk.pairing)
    # First the times, then the content: what is replaced in between shows in the times.
    watch = Watch(paths.values())
    own = _recipes(chunk, settings, preset)
    for part in parts:
        name = {"msa": chunk.recipe, "templates": chunk.templates, "pairs": chunk.pairs}[part]
        if recipes.digest(own[part]) != name:
            raise _changed(part, chunk.depends_on.get(part), own[part], paths)
    return watch


def _recipes(chunk: PlannedChunk, settings: MsaSettings, preset: Preset) -> _Recipes:
    found: _Recipes = {"msa": search.recipe(settings, preset, multimer=chunk.pairing)}
    if chunk.templates is not None:
        alone = search.recipe(settings, preset, multimer=False)
        found["templates"] = template_search.recipe(settings, preset, alone)
    if chunk.pairs is not None:
        found["pairs"] = server.pairs_recipe(settings.server)
    return found


def _changed(
    part: databases.Part, planned: Mapping[str, Any] | None, own: Mapping[str, Any], paths: Mapping[str, Path]
) -> ChangedError:
    if planned:
        normal = json.loads(json.dumps(own))
        texts = differences(planned, normal, paths)
        if planned.get("databases") == normal.get("databases"):
            return changed(texts, advice=_SAME_PROGRAMS)
        return changed(texts)
    what = "templates" if part == "templates" else "alignments"
    newest = max(paths.values(), key=lambda path: path.stat().st_ctime, default=None)
    if newest is None:
        return changed([f"a program or a setting that {what} depend on"])
    when = datetime.fromtimestamp(newest.stat().st_ctime).astimezone().isoformat(" ", "minutes")
    return changed(
        [f"a database, a program or a setting that {what} depend on (the newest file is {newest}, of {when})"]
    )

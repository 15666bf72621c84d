"""What the engines of a run must have where it is planned: their environments, packages and parameters.

An engine of the configuration that lacks its packages ends the plan. One that only records name does not:
these records are refused.
"""

from __future__ import annotations

from pathlib import Path

from snakefold import engines
from snakefold.config import Config
from snakefold.engines import environments
from snakefold.engines.spec import Parameters
from snakefold.kernel.errors import MissingProgramError, SnakefoldError, WeightsMissingError
from snakefold.plan.files import read_parameters
from snakefold.plan.groups import Group, work_of
from snakefold.plan.records import Records


def present(records: Records) -> set[int]:
    """Groups that have a target."""
    return set(records.groups.tolist())


def find_environments(config: Config, records: Records) -> dict[int, str]:
    """See that the environment of each engine that has targets is installed, and has what the run needs.

    Returns:
        what is wrong and what to do, by group, of engines that only records name.

    Raises:
        SnakefoldError: one of the configuration's is missing, or relaxes no models, which the engine says it
            would; what to do.
    """
    absent = {}
    for group in sorted(present(records)):
        kind = records.kinds[group]
        try:
            _check_environment(config, kind)
        except SnakefoldError as error:
            if kind.engine.name in config.wanted_engines:
                raise
            absent[group] = str(error)
    return absent


def _check_environment(config: Config, kind: Group) -> None:
    environments.require(kind.engine)
    if not work_of(config, kind.engine, kind.name, rehearsal=False).relaxed:
        return
    if absent := environments.absent(kind.engine, environments.RELAXATION):
        raise SnakefoldError(
            f"relax.models_to_relax: {config.relax.models_to_relax}: the environment of the engine "
            f"{kind.engine.name} lacks {', '.join(absent)}. Set relax.models_to_relax: none, or install "
            "a release of the engine whose lock has them."
        )


def find_parameters(
    config: Config, records: Records, *, draw: bool, absent: dict[int, str] | None = None
) -> dict[str, Parameters]:
    """The parameters that the targets of each engine need, by its name.

    Args:
        draw: draw random ones where the setting allows it; without, an engine whose parameters are not here
            is left out.
        absent: filled with what is wrong, by group, of an engine that only records name and whose packages
            are not installed. It is left out.

    Raises:
        WeightsMissingError: as `Engine.parameters`.
    """
    found = {}
    for engine in records.kinds.engines:
        groups = {
            group: records.kinds[group].name
            for group in present(records)
            if records.kinds[group].engine is engine
        }
        if not groups:
            continue
        settings = config.settings_of(engine.name)
        random = engine.rehearsed(settings, config.rehearsal) if draw else None
        blocks = config.rehearsal.blocks
        try:
            one = engine.parameters(
                config.weights, settings, set(groups.values()), draw=random, blocks=blocks
            )
        except (MissingProgramError, WeightsMissingError) as error:
            if absent is None or engine.name in config.wanted_engines:
                raise
            if not environments.place_of(engine).missing:
                raise
            absent.update(dict.fromkeys(groups, str(error)))
            continue
        if one is not None:
            found[engine.name] = one
    return found


def installed_since(plan: Path) -> list[str]:
    """Engines that a plan refused records for and whose packages are here now; none of a damaged plan."""
    try:
        return [
            engine.name
            for name in read_parameters(plan).absent
            if (engine := engines.find(name)) is not None and not environments.place_of(engine).missing
        ]
    except SnakefoldError:
        return []

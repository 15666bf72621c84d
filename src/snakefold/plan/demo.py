"""The demo database is there to try things out: proteins of one's own find next to nothing in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold.config import Config
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.paths import house, resource
from snakefold.plan.executors import Executor
from snakefold.plan.groups import Groups

#: What a run says that folds a real input with it.
NOTE = (
    "msa.db_preset is demo: a few thousand sequences that come with snakefold. Searches find almost no "
    "homologs, and structures are much worse than AlphaFold's"
)
_PRESET = "demo"
_NO_SEARCH = ("server", "precomputed", "single_sequence")


def hold_to_purpose(config: Config, executor: Executor) -> list[str]:
    """Warnings of a run that searches a real input in the demo database.

    Args:
        executor: what jobs go to.

    Raises:
        ConfigError: jobs leave this machine, and nobody asked for this database.
    """
    if not any(kind.needs.alignment for kind in Groups(config)):
        return []
    if not searches_demo(config.msa.model_dump(), config.inputs):
        return []
    if executor.elsewhere and not config.msa.allow_demo_database:
        raise ConfigError(
            f"{NOTE}. With executor {executor.name} nothing is started. Set msa.db_preset (reduced_dbs, "
            "full_dbs, colabfold; `snakefold db list`) and msa.db_root, or msa.tool: server, single_sequence "
            "or precomputed. For a test, set msa.allow_demo_database: true."
        )
    return [f"{NOTE}. Set msa.db_preset and msa.db_root (docs/databases.md)."]


def searches_demo(msa: Mapping[str, Any], inputs: Sequence[Path]) -> bool:
    """Whether settings of this kind (`msa`) search anything but the demo set in the demo database."""
    if msa.get("db_preset") != _PRESET or msa.get("tool") in _NO_SEARCH:
        return False
    own = (house() / "resources" / "demo").resolve()
    return not all(resource(path).resolve().is_relative_to(own) for path in inputs)

"""Engine `reuse`: takes structures that the user has already, and computes nothing.

A collection is a folder or a tar of PDB and mmCIF files, an AlphaFold DB download for example. `lookup` finds
the predicted structures whose chains are exactly a target's. One model a target, with the pLDDT that its file
states and the PAE that lies beside it. Every result says which file it was taken from. A structure that says
REHEARSAL is taken only by a request that says so too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.spec import Defaults, TargetMsas, Told, Work
from snakefold.kernel.contracts import FoldRequest, RelaxSettings

if TYPE_CHECKING:
    from snakefold.engines.reuse.session import ReuseSession

__all__ = ["ENGINE", "Reuse"]


class Reuse(Defaults):
    """See `snakefold.engines.spec.Engine`. No configuration names it: the setting `reuse` brings it in."""

    name = "reuse"
    title = "a collection of structures"
    selectable = False
    #: Raised when the same file gives other results.
    version = "1"

    def work(
        self, group: str, settings: Any, relax: RelaxSettings, *, blocks: int | None = None, rows: Any = None
    ) -> Work:
        """Nothing is computed, and nothing priced."""
        raise NotImplementedError

    def recipe(self, group: str, settings: Any, weights: Path | None) -> dict[str, Any]:
        """This module's version; `reuse.inputs.batch_recipe` adds the files taken."""
        del group, settings, weights
        return {"engine": self.name, "version": self.version}

    def describe(self, told: Told) -> Sequence[str]:
        """Whose structures they are."""
        return [
            "Targets whose exact sequence was in a collection of structures were not predicted: those "
            f"structures were taken; where they are AlphaFold DB's, cite it{told.cite(self.name)}."
        ]

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> ReuseSession:
        """Nothing is loaded; the structures come with `msas`."""
        del msas, weights, cache
        from snakefold.engines.reuse.session import ReuseSession

        return ReuseSession(rehearsal=request.rehearsal)


ENGINE = Reuse()

"""Engine `reuse`: takes structures that the user has already, and computes nothing.

One model a target, with the pLDDT that its file states and the PAE that lies beside it. Every result says
which file it was taken from. A structure that says REHEARSAL is taken only by a request that says so too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.engines.spec import TargetMsas
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.structures.files import check_pdb_limits

if TYPE_CHECKING:
    from snakefold.engines.reuse.session import ReuseSession

__all__ = ["NAME", "VERSION", "check", "recipe", "start"]

NAME = "reuse"
#: Raised when the same file gives other results.
VERSION = "1"


def recipe(request_settings: Mapping[str, Any], weights: Path | None) -> dict[str, Any]:
    """What results depend on besides the files taken (`reuse.inputs.batch_recipe`): this module's version."""
    del request_settings, weights
    return {"engine": NAME, "version": VERSION}


def check(target: TargetInput) -> None:
    """Refuse what the PDB format cannot hold. Raises TargetError(invalid_input)."""
    check_pdb_limits(target.chains)


def start(
    request: FoldRequest, msas: Mapping[str, TargetMsas], weights: Path | None, cache: Path | None
) -> ReuseSession:
    """Nothing is loaded; the structures come with `msas`."""
    del msas, weights, cache
    from snakefold.engines.reuse.session import ReuseSession

    return ReuseSession(rehearsal=request.rehearsal)

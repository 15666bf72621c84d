"""Results in Python: `run = snakefold.load("results")`, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.kernel.errors import SnakefoldError
from snakefold.loading import own
from snakefold.loading.target import Target

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Run", "Target", "load"]


class Run(Mapping[str, Target]):
    """Targets with a structure by id, and tables of all."""

    def __init__(self, folder: Path, read: Callable[[str], Target]) -> None:
        self.folder = folder
        self._read = read

    @cached_property
    def _tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        return own.read_tables(self.folder)

    @property
    def metrics(self) -> pd.DataFrame:
        """A row for every target with a structure, by id: metrics.parquet (docs/results.md)."""
        return self._tables[0]

    @property
    def failures(self) -> pd.DataFrame:
        """What has no structure, by id, with reason and advice: failures.tsv."""
        return self._tables[1]

    @property
    def rehearsal(self) -> bool:
        """Some parameters were random."""
        return bool(self.metrics["rehearsal"].any())

    def __getitem__(self, name: str) -> Target:
        if name in self.metrics.index:
            return self._read(name)
        if name in self.failures.index:
            row = self.failures.loc[name]
            raise KeyError(f"{name}: has no structure ({row['reason']}: {row['message']})")
        raise KeyError(f"{name}: no target is called so")

    def __iter__(self) -> Iterator[str]:
        return iter(self.metrics.index)

    def __len__(self) -> int:
        return len(self.metrics)

    def __repr__(self) -> str:
        mark = "REHEARSAL: " if len(self) and self.rehearsal else ""
        without = f", {len(self.failures)} without" if len(self.failures) else ""
        return f"<{mark}run {str(self.folder)!r}: {len(self)} structures{without}>"


class ForeignRun(Run):
    """Targets that other programs predicted. They tell of no failures."""

    def __init__(self, folder: Path, targets: Mapping[str, Target]) -> None:
        super().__init__(folder, targets.__getitem__)
        self.targets = targets

    @cached_property
    def _tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        import pandas as pd

        rows = [_row(target) for target in self.targets.values()]
        return pd.DataFrame(rows).set_index("id"), pd.DataFrame({"reason": [], "message": []})


def _row(target: Target) -> dict[str, Any]:
    """What metrics say of a target's best model, under the names of metrics.tsv."""
    model = target.gemmi()[0]
    return {
        "id": target.id,
        "engine": target.engine,
        "rehearsal": False,
        "length": sum(len(chain) for chain in model),
        "chains": len(model),
        "mean_plddt": float(target.plddt().mean()),
        **target.scores(),
    }


def load(folder: str | Path) -> Run:
    """The results of a run, or of another program: ColabFold, AlphaFold 2 and 3, its server, Boltz, Chai-1,
    downloads of AlphaFold DB.

    Raises:
        SnakefoldError: the folder has neither.
    """
    place = Path(folder)
    if (place / "metrics.parquet").is_file():
        return Run(place, lambda name: own.read_target(place / "structures" / name))
    from snakefold.loading.foreign import read_targets

    targets = read_targets(place) if place.is_dir() else {}
    if not targets:
        raise SnakefoldError(
            f"{folder}: has neither metrics.parquet, as the results of a run that has ended (while one goes "
            "on, `snakefold report` makes it), nor models as ColabFold, AlphaFold, Boltz or Chai name them."
        )
    return ForeignRun(place, targets)

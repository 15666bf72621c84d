"""Money: what may be spent, what is, and what was left out for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .errors import JobError
from .settings import Limit


class Budget:
    """Admits jobs while spent and in flight stay within the limit.

    A job in flight counts with what was put by for it (`Task.reserved`); when it ends for less, those who
    wait are looked at again.

    Args:
        dollars: spent and in flight, asked of the ledger.
        billed: whether jobs are RunPod's, where none is free; a service of one's own may be.
    """

    def __init__(self, limit: Limit, dollars: Callable[[], float], *, billed: bool = True) -> None:
        self.limit = limit
        self._billed = billed
        self._dollars = dollars
        self._changed = asyncio.Condition()
        self.in_flight = 0
        #: Names, each once and in their order; a job that is tried again may fit after all.
        self.left_out: dict[str, None] = {}

    async def admit(self, name: str, dollars: float | None, note: Callable[[], None]) -> None:
        """Wait until `dollars` more fit, then `note` them in the ledger.

        Raises:
            JobError: they do not fit, and nothing is in flight whose end could change that.
        """
        async with self._changed:
            limit = self.limit.dollars
            if limit and (dollars is None or (self._billed and not dollars)):
                raise JobError(
                    f"{name}: there is a budget of {self.limit}, but not what the rule costs. Give it the "
                    'resource dollars_per_second, as text (dollars_per_second="0.00031"): Snakemake rounds '
                    "numbers to whole ones. --runpod-budget 0 does without a limit",
                    "budget",
                )
            while limit and self._dollars() + (dollars or 0.0) > limit:
                if not self.in_flight:
                    self.left_out[name] = None
                    raise JobError(
                        f"{name}: not submitted: the budget of {self.limit} would be passed "
                        f"(${self._dollars():.4f} spent, ${dollars or 0.0:.4f} put by for this job). "
                        "Raise it to go on.",
                        "budget",
                    )
                await self._changed.wait()
            self.left_out.pop(name, None)
            self.in_flight += 1
            note()

    async def settle(self) -> None:
        """A job is no longer in flight; the ledger has its bill."""
        async with self._changed:
            self.in_flight -= 1
            self._changed.notify_all()

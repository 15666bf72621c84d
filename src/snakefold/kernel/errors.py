"""Errors that tell a person what to do, and the reasons a target can fail for.

Every error a user can cause derives from `SnakefoldError`; the command line prints its text without
a traceback and leaves with `exit_code`. Anything else is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import errno
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from snakefold.kernel.wording import count


class Reason(StrEnum):
    """Why a target has no structure: the `reason` column of failures.tsv, the same on every engine."""

    INVALID_INPUT = "invalid_input"
    OUT_OF_MEMORY = "out_of_memory"
    RELAX_FAILED = "relax_failed"
    TIMEOUT = "timeout"
    LOST = "lost"
    SUBMISSION_REFUSED = "submission_refused"
    DATABASE_MISSING = "database_missing"
    WEIGHTS_MISSING = "weights_missing"
    MSA_FAILED = "msa_failed"
    BUDGET = "budget"
    NO_SPACE = "no_space"
    NOT_WRITABLE = "not_writable"
    INTERNAL = "internal"


MEANING: dict[Reason, str] = {
    Reason.INVALID_INPUT: "No engine of the run can predict the target as it is.",
    Reason.OUT_OF_MEMORY: "The target needs more GPU memory, or more main memory, than the job had.",
    Reason.RELAX_FAILED: "The model could not be relaxed; the unrelaxed model is kept.",
    Reason.TIMEOUT: "The job ran longer than it was allowed to.",
    Reason.LOST: "The job, its process or a file that it needed disappeared.",
    Reason.SUBMISSION_REFUSED: "The scheduler or service did not accept the job.",
    Reason.DATABASE_MISSING: "A database of the search is missing or damaged where the job ran.",
    Reason.WEIGHTS_MISSING: "Model parameters are missing or damaged where the job ran.",
    Reason.MSA_FAILED: "A search program failed, so that the target has no alignment.",
    Reason.BUDGET: "The budget was used up before the job was sent.",
    Reason.NO_SPACE: "A disk was full, or a quota used up.",
    Reason.NOT_WRITABLE: "A folder could not be written.",
    Reason.INTERNAL: "Something that is not foreseen: a defect of snakefold or of the engine.",
}

#: What to do where a failure itself does not say.
ADVICE: dict[Reason, str] = {
    Reason.INVALID_INPUT: "Correct the record.",
    Reason.OUT_OF_MEMORY: "Use a larger GPU class (gpu.classes), or more main memory (predict.mem_mb).",
    Reason.TIMEOUT: "Check whether the worker hangs, or set batch.max_targets for smaller batches.",
    Reason.LOST: "Run again: lost targets are computed again.",
    Reason.SUBMISSION_REFUSED: "Correct in site.yaml what the scheduler names, and run again.",
    Reason.DATABASE_MISSING: "Fetch the databases: snakefold db fetch.",
    Reason.WEIGHTS_MISSING: "Fetch the parameters: snakefold weights fetch.",
    Reason.MSA_FAILED: "Correct what the logs in results/logs/msa name, and run again.",
    Reason.BUDGET: "Raise the budget, or fold fewer targets.",
    Reason.NO_SPACE: "Free disk space, or write the results elsewhere, and run again.",
    Reason.NOT_WRITABLE: "Correct the permissions, or write the results elsewhere, and run again.",
    Reason.INTERNAL: "Report it with its log in results/logs/predict. Later runs do not retry it.",
}

#: Failures whose cause may be gone with the next run, which plans, prices and computes them again; and why.
#: The others would fail again: `invalid_input` until the record is another one, and thus another target;
#: `relax_failed` costs no structure; `internal` is a defect.
RETRIED: dict[Reason, str] = {
    Reason.OUT_OF_MEMORY: "the job may be given more memory, or a larger GPU",
    Reason.TIMEOUT: "the machine may be faster, or less busy",
    Reason.LOST: "the target did nothing wrong: its entry of the store, its process or its job was lost",
    Reason.SUBMISSION_REFUSED: "the settings, or the scheduler's, may be put right",
    Reason.DATABASE_MISSING: "the databases may be there",
    Reason.WEIGHTS_MISSING: "the parameters may be there",
    Reason.MSA_FAILED: "the databases or programs may be put right",
    Reason.BUDGET: "the budget may be raised",
    Reason.NO_SPACE: "there may be room",
    Reason.NOT_WRITABLE: "the permissions may be put right",
}


class SnakefoldError(Exception):
    """Something the user can put right. The text says what was expected and what to do."""

    exit_code = 2


class ConfigError(SnakefoldError):
    """A setting is wrong, or contradicts another."""


class MissingProgramError(SnakefoldError):
    """A program that pip cannot install is not on PATH; the text names the command that installs it."""


class DatabaseMissingError(SnakefoldError):
    """Files of a database preset are missing; the text lists all of them, before any search starts."""


class WeightsMissingError(SnakefoldError):
    """Model parameters are missing or damaged; the text names the file and how to get it."""


class StoreError(SnakefoldError):
    """The store cannot be read or written."""


class LostError(SnakefoldError):
    """What a job needs was in the store when the run was planned, and is there no more."""


class DiskError(SnakefoldError):
    """Nothing can be written: the disk is full, a quota is used up, or the folder may only be read."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True)
class Refusal:
    """One record that cannot become a target.

    `line` is 1-based and points at the header (or at the offending sequence line); `record` is the
    1-based number of the record in its file. Both are 0 when the whole file is meant. `header` is the
    text as found, shortened to 200 characters, control characters replaced.
    """

    file: str
    record: int
    line: int
    header: str
    code: str
    message: str
    advice: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        record = f" (record {self.record}: {self.header!r})" if self.record else ""
        return f"{where}{record}: {self.message} {self.advice}".strip()


class InputError(SnakefoldError):
    """Input was refused as a whole: nothing starts. Carries every refusal found, not the first."""

    def __init__(self, refusals: list[Refusal]) -> None:
        self.refusals = refusals
        shown = "\n".join(f"  {refusal}" for refusal in refusals[:20])
        more = f"\n  … and {len(refusals) - 20} more" if len(refusals) > 20 else ""
        super().__init__(f"{count(len(refusals), 'input record')} refused:\n{shown}{more}")


class TargetError(Exception):
    """One target failed. The batch goes on; the target becomes a row of failures.tsv."""

    def __init__(self, reason: Reason, message: str, advice: str = "") -> None:
        self.reason = reason
        self.message = message
        self.advice = advice
        super().__init__(f"{reason}: {message} {advice}".strip())


_FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "your quota is used up"}
_CLOSED = {
    errno.EROFS: "the file system may only be read",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
}


def disk_error(error: OSError, place: Path | None = None) -> DiskError | None:
    """What to tell of a disk that takes no more, or of a folder that may only be read; None of anything else.

    Args:
        place: what was written, where the error itself does not say.
    """
    number = error.errno or 0
    path = place or Path(error.filename or ".")
    if number in _FULL:
        return no_space(path, why=_FULL[number])
    if number in _CLOSED:
        return DiskError(Reason.NOT_WRITABLE, f"{path}: {_CLOSED[number]}. {ADVICE[Reason.NOT_WRITABLE]}")
    return None


def no_space(place: Path, needed: float = 0, why: str = "the disk is full") -> DiskError:
    """There is no room at `place`, for `needed` bytes if that is known."""
    free = _free(place)
    known = [f"{_shown(needed)} are needed"] if needed else []
    known += [] if free is None else [f"{_shown(free)} are free"]
    room = f" ({', '.join(known)})" if known else ""
    return DiskError(
        Reason.NO_SPACE, f"{place}: {why}{room}. {ADVICE[Reason.NO_SPACE]} What is done is kept."
    )


def _shown(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:,.1f} GB"


def _free(path: Path) -> int | None:
    """Bytes that are free where `path` is, or would be."""
    folder = path.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def input_file_missing(path: Path) -> SnakefoldError:
    """The one wording for a path the user gave that is not there."""
    return SnakefoldError(f"{path}: no such file or folder. Check the path given as `input`.")

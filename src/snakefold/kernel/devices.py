"""GPUs of this machine, and which of them a process has to itself.

JAX and PyTorch take the first GPU that they see. On a machine with several, each process of ours holds one: a
lock that ends with the process. A process that somebody gave a single GPU (SLURM, Kubernetes,
CUDA_VISIBLE_DEVICES) holds nothing, for it sees no other.
"""

from __future__ import annotations

import csv
import fcntl
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_QUERY = ("--query-gpu=index,uuid,name,memory.total,compute_cap", "--format=csv,noheader,nounits")
#: The same place for all processes of a machine, whatever TMPDIR says.
_LOCKS = Path("/dev/shm")  # noqa: S108 (see `_folder`)
_POLL = 1.0
#: A card with less than this share of the largest one's memory drives a screen.
_SMALL = 0.25


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        index: its number for nvidia-smi.
        uuid: its name for CUDA.
        name: its model.
        memory_mb: all its memory, MiB; 0 where it shares the machine's.
        capability: compute capability as a whole number (80 is sm_80); None: not said.
    """

    index: int
    uuid: str
    name: str
    memory_mb: int = 0
    capability: int | None = None


def visible() -> tuple[Device, ...]:
    """GPUs that this process sees, the largest first; none where nvidia-smi is missing or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    return tuple(sorted(_named(_asked(program)), key=lambda device: (-device.memory_mb, device.index)))


def devices() -> tuple[Device, ...]:
    """Those of `visible` that predict: cards that are small beside the largest are left out."""
    found = visible()
    return tuple(device for device in found if device.memory_mb >= _SMALL * found[0].memory_mb)


@lru_cache(maxsize=8)
def _asked(program: str) -> tuple[Device, ...]:
    """All GPUs, as nvidia-smi tells them. They do not change while a process runs."""
    try:
        said = subprocess.run(
            [program, *_QUERY], capture_output=True, text=True, check=True, timeout=60
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(device for row in csv.reader(said.splitlines()) if (device := _read(row)) is not None)


def _read(row: Sequence[str]) -> Device | None:
    """A line of the table; None, if it is none. What nvidia-smi does not know is `[N/A]`."""
    words = [word.strip() for word in row]
    if len(words) != 5 or not words[0].isdecimal():
        return None
    index, uuid, name, memory, capability = words
    try:
        version = round(float(capability) * 10)
    except ValueError:
        return Device(int(index), uuid, name, int(memory) if memory.isdecimal() else 0)
    return Device(int(index), uuid, name, int(memory) if memory.isdecimal() else 0, version)


def _named(found: Sequence[Device]) -> list[Device]:
    """Those that CUDA_VISIBLE_DEVICES names by number or by (the beginning of) a name; all without it."""
    given = os.environ.get(_VISIBLE)
    if given is None:
        return list(found)
    named: list[Device] = []
    for word in map(str.strip, given.split(",")):
        match = [
            device
            for device in found
            if (device.index == int(word) if word.isdecimal() else word and device.uuid.startswith(word))
        ]
        if len(match) != 1:
            break  # CUDA sees nothing from the first name on that it does not know
        named += [device for device in match if device not in named]
    return named


#: Descriptor of the lock that this process holds.
_held: list[int] = []


def take_device(say: Callable[[str], None], *, shared: bool = False) -> Device | None:
    """Make one GPU the only one that this process sees, until it ends. Call it before CUDA is loaded.

    The largest that is free is taken; if all are held, it is waited for. None, and nothing changes, where
    there are fewer than two, where this process has one already, or where locks cannot be had.

    Args:
        say: told which one was taken, once that all are held, and why there are no locks.
        shared: of a process that stays, and is idle most of the time: it keeps to one GPU beside those that
            hold it, and does not wait.
    """
    found = devices()
    if _held or len(found) < 2:
        return None
    folder = _folder()
    if folder is None:
        say(f"{_LOCKS}: no folder for locks of GPUs could be made there; processes share the first GPU")
        return None
    waits = False
    while True:
        for device in found:
            handle = _locked(folder / (f"{device.uuid}.shared" if shared else device.uuid))
            if handle is not None:
                _held.append(handle)
                os.environ[_VISIBLE] = device.uuid
                say(f"GPU {device.index} ({device.name})")
                return device
        if shared:
            return None
        if not waits:
            say(f"other processes hold all {len(found)} GPUs; waiting for one")
            waits = True
        time.sleep(_POLL)


def _folder() -> Path | None:
    """A folder that is this user's alone; None, if something else is in its place."""
    folder = _LOCKS / f"snakefold-gpus-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    return folder if own else None


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock of a file; None, if another process does."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle

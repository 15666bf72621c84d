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
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_ASKED = ("nvidia-smi", "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits")
_POLL = 1.0


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        index: its number for nvidia-smi.
        uuid: its name for CUDA.
        name: its model.
        memory_mb: all its memory, MiB.
    """

    index: int
    uuid: str
    name: str
    memory_mb: int


def devices() -> tuple[Device, ...]:
    """GPUs that this process may use, the largest first; none where nvidia-smi is missing or fails."""
    if shutil.which(_ASKED[0]) is None:
        return ()
    try:
        said = subprocess.run(_ASKED, capture_output=True, text=True, check=True, timeout=60).stdout
        rows = [[word.strip() for word in row] for row in csv.reader(said.splitlines()) if row]
        found = [Device(int(index), uuid, name, int(memory)) for index, uuid, name, memory in rows]
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()
    return tuple(sorted(_visible(found), key=lambda device: (-device.memory_mb, device.index)))


def _visible(found: Sequence[Device]) -> list[Device]:
    """Those that CUDA_VISIBLE_DEVICES names by number or by (the beginning of) a name; all without it."""
    given = os.environ.get(_VISIBLE)
    if given is None:
        return list(found)
    named = []
    for word in map(str.strip, given.split(",")):
        match = [
            device
            for device in found
            if (device.index == int(word) if word.isdigit() else word and device.uuid.startswith(word))
        ]
        if len(match) != 1:
            break  # CUDA sees nothing from the first name on that it does not know
        named += match
    return named


#: Descriptor of the lock that this process holds.
_held: list[int] = []


def take_device(say: Callable[[str], None], *, wait: bool = True) -> Device | None:
    """Make one GPU the only one that this process sees, until it ends. Call it before CUDA is loaded.

    The largest that is free is taken. None, and nothing changes, where there are fewer than two, where this
    process has one already, or where all are held and `wait` is false.

    Args:
        say: told once that all are held, and which one was taken.
    """
    found = devices()
    if _held or len(found) < 2:
        return None
    folder = Path(tempfile.gettempdir()) / f"snakefold-gpus-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    waits = False
    while True:
        for device in found:
            handle = os.open(folder / device.uuid, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                continue
            _held.append(handle)
            os.environ[_VISIBLE] = device.uuid
            say(f"GPU {device.index} ({device.name})")
            return device
        if not wait:
            return None
        if not waits:
            say(f"other processes hold all {len(found)} GPUs; waiting for one")
            waits = True
        time.sleep(_POLL)

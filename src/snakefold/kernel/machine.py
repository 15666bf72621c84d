"""What this machine has, found out without a heavy import."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

#: A file of these is there where NVIDIA's driver is (the last: in WSL).
_DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")


def has_gpu() -> bool:
    """Whether this machine has NVIDIA's driver."""
    return any(Path(each).exists() for each in _DRIVER)


@cache
def compute_capabilities() -> tuple[int, ...]:
    """Compute capabilities of this machine's GPUs as whole numbers (80 is sm_80), ascending, each once.

    Empty where NVIDIA's driver is not, or does not say.
    """
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
        return tuple(sorted({as_capability(float(line)) for line in said.split()}))
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()


def as_capability(version: float) -> int:
    """8.6, as NVIDIA calls it, as the whole number that compilers use: 86."""
    return round(version * 10)

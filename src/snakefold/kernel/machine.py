"""What this machine has, found out without a heavy import."""

from __future__ import annotations

from pathlib import Path

#: A file of these is there where NVIDIA's driver is (the last: in WSL).
_DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")


def has_gpu() -> bool:
    """Whether this machine has NVIDIA's driver."""
    return any(Path(each).exists() for each in _DRIVER)

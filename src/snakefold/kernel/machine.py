"""What this machine has, found out without a heavy import."""

from __future__ import annotations

import os
from pathlib import Path

#: A file of these is there where NVIDIA's driver is (the last: in WSL).
_DRIVER = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")


def has_gpu() -> bool:
    """Whether this machine has NVIDIA's driver, and CUDA_VISIBLE_DEVICES does not hide all its GPUs."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    return any(Path(each).exists() for each in _DRIVER)

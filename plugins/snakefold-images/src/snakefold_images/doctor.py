"""What a machine needs for this task, and what of it is missing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from snakefold_images import choices, weights
from snakefold_images.errors import ImagesError

_PACKAGES = ("torch", "transformers", "opencv-python-headless", "pillow", "numpy")


def doctor(say: Callable[[str], None] = print) -> int:
    """Say what is there; returns the number of things that are wrong."""
    wrong = 0

    def bad(text: str) -> None:
        nonlocal wrong
        wrong += 1
        say(f"wrong  {text}")

    for package in _PACKAGES:
        try:
            say(f"ok     {package} {version(package)}")
        except PackageNotFoundError:
            bad(f"{package}: not installed. Install the packages of requirements.lock.")
    try:
        names = ", ".join(sorted(choices.presets()))
        say(f"ok     presets {names}; {len(choices.palette().materials)} materials")
    except ImagesError as error:
        bad(str(error))
    token = "set" if os.environ.get(weights.TOKEN) else "not set: only `weights fetch` needs it"
    say(f"ok     ${weights.TOKEN} is {token}")
    try:
        found = weights.find(weights.weights_folder())
    except ImagesError as error:
        bad(str(error))
        return wrong
    say(f"ok     {found.version} in {found.folder}")
    try:
        say(f"ok     {_tried(found)}")
    except ImagesError as error:
        bad(str(error))
    if found.rehearsal:
        say(f"note   {weights.REHEARSAL}")
    free = _free(found.folder)
    say(f"ok     {free:.1f} GB are free there")
    return wrong


def _tried(found: weights.Weights) -> str:
    """Load the network, and let it look at a grey image."""
    import numpy as np

    from snakefold_images.segment import Network

    start = time.perf_counter()
    network = Network(found)
    loaded = time.perf_counter()
    network.find(np.full((64, 64, 3), 128, np.uint8), ["wall"], 0.5, 0.5)
    end = time.perf_counter()
    return f"network on {network.device}: loaded in {loaded - start:.1f} s, an image in {end - loaded:.2f} s"


def _free(folder: Path) -> float:
    usage = os.statvfs(folder)
    return usage.f_bavail * usage.f_frsize / 1e9

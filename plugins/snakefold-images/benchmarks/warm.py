"""CPU seconds of 20 images in one warm process, against a process each: python benchmarks/warm.py

Both do the same work: the command `snakefold-images run` with random parameters, which are drawn before. The
network is a thousandth of SAM 3: with the official parameters a process of its own would load 3.4 GB besides.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from snakefold_images.rehearsal import draw

COUNT, WIDTH, HEIGHT = 20, 1280, 960
RESULT = Path(__file__).with_suffix(".json")


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw(folder / "weights")
        items = [image(folder, number) for number in range(COUNT)]
        together = seconds([message(folder, "all", items)])
        alone = seconds([message(folder, f"one{item['idx']}", [item]) for item in items])
    result = {
        "command": "python benchmarks/warm.py",
        "images": COUNT,
        "size": [WIDTH, HEIGHT],
        "parameters": "random, a network of a thousandth of SAM 3's size",
        "cpu_seconds": {"one process": round(together, 1), "a process each": round(alone, 1)},
        "ratio": round(alone / together, 2),
        "torch": version("torch"),
        "transformers": version("transformers"),
        "python": platform.python_version(),
        "threads": 1,
    }
    temporary_file = RESULT.with_suffix(".part")
    temporary_file.write_text(json.dumps(result, indent=2) + "\n")
    temporary_file.replace(RESULT)
    print(json.dumps(result, indent=2))


def image(folder: Path, number: int) -> dict[str, Any]:
    """An item, and its file: light and noise."""
    numbers = np.random.default_rng(number)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [np.sin(rows / 90 + a) + np.cos(columns / 130 + b) for a, b in numbers.uniform(0, 6, (3, 2))]
    pixels = 128 + 45 * np.stack(waves, axis=-1) + numbers.normal(0, 6, (HEIGHT, WIDTH, 3))
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number}.jpg", quality=90)
    keys = {"output_key": f"{number}.png", "preview_key": f"{number}_thumb.jpg"}
    return {"idx": number, "input_key": f"{number}.jpg", **keys}


def message(folder: Path, name: str, items: list[dict[str, Any]]) -> list[str]:
    """The command that does a message of these items."""
    concepts = {
        "Floor": {"action": "recolor", "value": "oak_a"},
        "Wall": {"action": "recolor", "value": "offwhite_b"},
    }
    about = {"job_id": name, "user_id": "u", "preset": "interior", "concepts": concepts, "items": items}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(about))
    return ["run", str(path), "--out", str(folder / "out" / name), "--weights", str(folder / "weights")]


def seconds(commands: list[list[str]]) -> float:
    """CPU seconds of processes, one after the other."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for command in commands:
        program = [sys.executable, "-m", "snakefold_images.cli", *command]
        subprocess.run(program, check=True, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()

"""One tiny network for all tests, and masks from a list where a test is about edits."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from snakefold_images.colour import Bytes
from snakefold_images.edit import Mask
from snakefold_images.message import Message, read_message
from snakefold_images.segment import Found, Instance, Network
from snakefold_images.weights import Weights


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    from snakefold_images.rehearsal import draw

    return draw(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def network(drawn: Weights) -> Network:
    import torch

    # Threads that wait for one another cost more than so small a network.
    torch.set_num_threads(1)
    return Network(drawn, "cpu")


class Listed:
    """Finds the masks that a test lists by prompt, and nothing of other prompts."""

    def __init__(self, masks: Mapping[str, Mask]) -> None:
        self.masks = masks
        self.weights = Weights(Path(), False, "masks of a test")

    def find(
        self, image: Bytes, prompts: Sequence[str], _threshold: float, _mask_threshold: float
    ) -> list[Found]:
        height, width = image.shape[:2]
        nothing = Found(np.zeros((height, width), np.bool_), 0.1, ())
        found = []
        for prompt in prompts:
            mask = self.masks.get(prompt)
            some = nothing if mask is None else Found(mask, 0.9, (Instance(0.9, (0, 0, width, height)),))
            found.append(some)
        return found


def message(**changes: Any) -> Message:
    """A message with one image and an oak floor, and `changes`."""
    given: dict[str, Any] = {
        "job_id": "job_123",
        "user_id": "u_abc",
        "preset": "interior",
        "concepts": {"Floor": {"action": "recolor", "value": "oak_a"}},
        "items": [{"idx": 0, "input_key": "in/0.jpg", "output_key": "out/0.png", "preview_key": "out/0.jpg"}],
    }
    return read_message({**given, **changes})


def file_of(image: Image.Image | Bytes, kind: str = "PNG", **more: Any) -> bytes:
    """An image file."""
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **more)
    return stream.getvalue()


def opened(data: bytes) -> Image.Image:
    """A decoded image."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def photograph(height: int = 96, width: int = 128, seed: int = 0) -> Bytes:
    """Something with light, colour and noise, and no two images alike."""
    numbers = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    phase = numbers.uniform(0, 6, (3, 2))
    waves = [np.sin(rows / 17 + down) + np.cos(columns / 23 + across) for down, across in phase]
    image = 128 + 45 * np.stack(waves, axis=-1) + numbers.normal(0, 6, (height, width, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def square(height: int = 96, width: int = 128, margin: int = 20) -> Mask:
    """A mask with a margin."""
    mask = np.zeros((height, width), np.bool_)
    mask[margin:-margin, margin:-margin] = True
    return mask

"""The real network with random parameters: through all of it, and against transformers' own steps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import file_of, message, opened, photograph
from snakefold_images import rehearsal
from snakefold_images.choices import presets
from snakefold_images.errors import WeightsError
from snakefold_images.item import Tiles, edit_image
from snakefold_images.segment import Found, Network
from snakefold_images.weights import MARK, REHEARSAL, Weights, find

PROMPTS = [concept.prompt for concept in presets()["interior"].concepts.values()]


def no_file(key: str) -> bytes:
    raise AssertionError(key)


#: Some of the concepts are above it, and some below.
THRESHOLD = 0.65


def found(network: Network, seed: int, prompts: list[str] = PROMPTS) -> list[Found]:
    return network.find(photograph(seed=seed), prompts, THRESHOLD, 0.5)


def test_two_images_of_a_message_are_segmented_each_for_itself(network: Network) -> None:
    told = message(concepts={name: {"action": "recolor", "value": "red"} for name in ("Floor", "Wall")})
    changed = []
    for seed in (1, 2):
        image = photograph(seed=seed)
        png, preview, report = edit_image(file_of(image), told, network, Tiles(no_file), f"{seed}.png")
        done = opened(png)
        assert done.size == (128, 96)
        changed.append((np.asarray(done) != image).any(axis=-1))
        assert REHEARSAL in done.info["Comment"]
        shown = opened(preview)
        assert shown.info["comment"].decode() == REHEARSAL
        assert shown.getexif()[0x010E] == REHEARSAL
        assert report["notes"] == [REHEARSAL]
        assert report["weights"] == "random parameters"
        assert {each["status"] for each in report["concepts"].values()} <= {"edited", "covered", "not_found"}
        assert changed[-1].any() and not changed[-1].all()
    assert (changed[0] != changed[1]).mean() > 0.02


def test_masks_are_of_the_image_and_not_of_the_one_before(network: Network) -> None:
    first, second, again = found(network, 1), found(network, 2), found(network, 1)
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(first, again, strict=True))
    assert np.mean([(a.mask != b.mask).mean() for a, b in zip(first, second, strict=True)]) > 0.02
    some = [each for each in first if each.instances]
    assert 0 < len(some) < len(first)
    assert all(each.mask.any() == bool(each.instances) for each in first)


def test_concepts_at_once_are_what_they_are_alone(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    model = network._model
    encode = model.vision_encoder.forward
    monkeypatch.setattr(
        model.vision_encoder, "forward", lambda *a, **k: (passes.append(1), encode(*a, **k))[1]
    )
    together = found(network, 3)
    assert len(passes) == 1
    for prompt, one in zip(PROMPTS, together, strict=True):
        (alone,) = found(network, 3, [prompt])
        assert alone.score == pytest.approx(one.score, abs=2e-4)
        assert (alone.mask != one.mask).mean() < 1e-3


def test_masks_are_those_of_transformers_steps(network: Network) -> None:
    """One concept: pixels and text into the model, its scores read as its processor reads them."""
    import torch

    image, prompt = photograph(seed=4), "wall surface"
    tokens = network._tokenizer([prompt], return_tensors="pt", padding="max_length", max_length=32)
    with torch.inference_mode():
        output = network._model(
            pixel_values=network._tensor(image),
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
        )
    scores = output.pred_logits.sigmoid() * output.presence_logits.sigmoid()
    kept = scores[0] > 0.5
    masks = torch.nn.functional.interpolate(
        output.pred_masks.sigmoid()[:, kept], image.shape[:2], mode="bilinear", align_corners=False
    )
    (ours,) = network.find(image, [prompt], 0.5, 0.5)
    assert kept.any()
    assert ours.score == pytest.approx(float(scores.max()), abs=1e-4)
    assert ours.instances[0].score == ours.score and len(ours.instances) == int(kept.sum())
    # The union is taken before masks are enlarged, not after: edges where two instances meet differ.
    assert ((masks[0] > 0.5).any(dim=0).numpy() != ours.mask).mean() < 0.01


def test_a_device_without_memory_left_is_told_by_its_name(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(network, "_decoded", full)
    with pytest.raises(MemoryError, match="CUDA out of memory"):
        found(network, 1)


def test_pixels_become_the_networks_input(network: Network) -> None:
    grey = np.full((50, 80, 3), (0, 255, 51), np.uint8)
    tensor = network._tensor(grey)
    assert tensor.shape == (1, 3, 112, 112)
    np.testing.assert_allclose(tensor[0, :, 5, 5].numpy(), [-1, 1, -0.6], atol=1e-6)


def test_boxes_are_in_pixels_of_the_image(network: Network) -> None:
    for each in network.find(photograph(60, 90, 5), PROMPTS, 0.3, 0.5):
        for instance in each.instances:
            left, top, right, bottom = instance.box
            assert 0 <= left <= right <= 90 and 0 <= top <= bottom <= 60
        assert list(each.instances) == sorted(each.instances, key=lambda one: -one.score)


def test_random_parameters_are_the_same_bytes_everywhere(drawn: Weights, tmp_path: Path) -> None:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        rehearsal.draw(tmp_path)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / name).read_bytes() == (drawn.folder / name).read_bytes()


def test_the_mark_of_random_parameters_is_in_their_file(drawn: Weights, tmp_path: Path) -> None:
    copied = tmp_path / "elsewhere"
    shutil.copytree(drawn.folder, copied)
    assert find(copied).rehearsal
    data = (copied / "model.safetensors").read_bytes()
    (copied / "model.safetensors").write_bytes(data.replace(MARK.encode(), b"x" * len(MARK), 1))
    assert not find(copied).rehearsal
    with pytest.raises(WeightsError, match="has parameters"):
        rehearsal.draw(copied)


def damaged(drawn: Weights, folder: Path, name: str, change: Any) -> Path:
    shutil.copytree(drawn.folder, folder)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(change(data))
    return folder


def without_a_tensor(data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    name = next(name for name in header if name.endswith("text_projection.weight"))
    header["detector_model.somebody_elses.weight"] = header.pop(name)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("model.safetensors", lambda data: data[:-100], "damaged"),
        ("model.safetensors", lambda data: b"<html>" + data[6:], "damaged"),
        ("model.safetensors", without_a_tensor, "tensors are missing"),
        ("processor_config.json", lambda _: b"{", "processor_config.json"),
        ("processor_config.json", lambda data: data.replace(b'"resample": 2', b'"resample": 3'), "bilinear"),
        ("config.json", lambda _: b"{", "cannot be loaded"),
    ],
)
def test_damaged_parameters_are_refused(
    drawn: Weights, tmp_path: Path, name: str, change: Any, told: str
) -> None:
    folder = damaged(drawn, tmp_path / "w", name, change)
    with pytest.raises(WeightsError, match=told):
        Network(find(folder), "cpu")

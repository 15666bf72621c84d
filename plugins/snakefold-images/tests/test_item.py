"""One image of a message, with masks that the test lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import Listed, file_of, message, opened, photograph, square
from snakefold_images.choices import palette
from snakefold_images.colour import Bytes, delta_e, to_lab
from snakefold_images.edit import Mask
from snakefold_images.errors import ImageError, ImagesError
from snakefold_images.item import Tiles, edit_image
from snakefold_images.message import Message
from snakefold_images.task import perform_all

FLOOR, GROUT, WALL = "floor surface", "grout lines between tiles", "wall surface"


def edited(image: bytes, masks: dict[str, Mask], **changes: Any) -> tuple[Bytes, dict[str, Any]]:
    """Pixels and report of an image that a message with `changes` is done to."""

    def read(key: str) -> bytes:
        raise AssertionError(key)

    png, _, report = edit_image(image, message(**changes), Listed(masks), Tiles(read), "0.jpg")
    return np.asarray(opened(png)), report


def grout() -> Mask:
    lines = np.zeros((96, 128), np.bool_)
    lines[::16] = True
    return lines


def test_protected_pixels_and_those_outside_are_the_bytes_that_were_there() -> None:
    image = photograph()
    done, report = edited(file_of(image), {FLOOR: square(), GROUT: grout()})
    inside = square() & ~grout()
    assert np.array_equal(done[~inside], image[~inside])
    assert (done[inside] != image[inside]).any(axis=-1).mean() > 0.95
    oak = to_lab(np.array(palette().colour("oak_a"), np.uint8))
    assert delta_e(to_lab(done[inside]).mean(axis=0), oak) <= 2
    assert report["concepts"]["Floor"] == {
        "action": "recolor",
        "status": "edited",
        "value": "oak_a",
        "colour": "#b5895a",
        "score": 0.9,
        "instances": 1,
        "pixels": int(inside.sum()),
        "delta_e": pytest.approx(0, abs=2),
    }
    assert report["protected"]["Grout"] == {
        "status": "found",
        "score": 0.9,
        "instances": 1,
        "pixels": int(grout().sum()),
    }
    assert report["protected"]["Frame_Molding"]["status"] == "not_found"
    assert (report["width"], report["height"]) == (128, 96)


def test_protect_wins_over_an_edit_of_the_same_concept() -> None:
    image = photograph()
    change = {"action": "recolor", "value": "black"}
    done, report = edited(file_of(image), {GROUT: grout()}, concepts={"Grout": change}, protect=["Grout"])
    assert np.array_equal(done, image)
    assert report["concepts"]["Grout"]["status"] == "protected"


def test_a_concept_that_is_not_found_is_no_failure() -> None:
    image = photograph()
    done, report = edited(file_of(image), {})
    assert np.array_equal(done, image)
    assert report["concepts"]["Floor"]["status"] == "not_found"
    assert report["concepts"]["Floor"]["score"] == 0.1
    assert "delta_e" not in report["concepts"]["Floor"]


def test_a_concept_under_another_is_covered() -> None:
    changes = {name: {"action": "recolor", "value": "red"} for name in ("Wall", "Floor")}
    _, report = edited(file_of(photograph()), {WALL: square(), FLOOR: square()}, concepts=changes)
    assert report["concepts"]["Wall"]["status"] == "covered"
    assert report["concepts"]["Floor"]["status"] == "edited"


def test_what_cannot_be_seen_is_not_edited() -> None:
    alpha = np.full((96, 128), 255, np.uint8)
    alpha[:, :64] = 0
    rgba = np.dstack([photograph(), alpha])
    done, _ = edited(file_of(Image.fromarray(rgba)), {FLOOR: square()})
    assert np.array_equal(done[:, :64], rgba[:, :64])
    assert np.array_equal(done[..., 3], alpha)
    assert not np.array_equal(done[:, 64:, :3], rgba[:, 64:, :3])


def test_instances_are_listed_where_a_concept_has_several() -> None:
    change = {"action": "recolor", "value": "red"}
    _, report = edited(file_of(photograph()), {"door": square()}, concepts={"Door": change})
    assert report["concepts"]["Door"]["found"] == [{"score": 0.9, "box": [0, 0, 128, 96]}]


class Kept:
    """Files in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.read_keys: list[str] = []

    def read(self, key: str) -> bytes:
        self.read_keys.append(key)
        if key not in self.files:
            raise ImageError(f"{key}: no such object")
        return self.files[key]

    def write(self, key: str, data: bytes, content_type: str) -> None:
        if key.startswith("full/"):
            raise ImagesError(f"{key}: cannot be written")
        assert content_type == {"png": "image/png", "jpg": "image/jpeg"}[key[-3:]]
        self.files[key] = data


def job(count: int, **changes: Any) -> Message:
    items = [
        {"idx": n, "input_key": f"in/{n}.png", "output_key": f"out/{n}.png", "preview_key": f"out/{n}.jpg"}
        for n in range(count)
    ]
    return message(items=items, **changes)


def test_one_items_failure_is_not_the_others() -> None:
    files = Kept({f"in/{n}.png": file_of(photograph(seed=n)) for n in range(3)})
    files.files["in/1.png"] = files.files["in/1.png"][:200]
    told: list[Any] = []
    result = perform_all(job(4), files, Listed({FLOOR: square()}), told.append)
    assert (result["total_items"], result["successful_items"], result["failed_items"]) == (4, 2, 2)
    assert [each["idx"] for each in result["errors"]] == [1, 3]
    assert "in/1.png: damaged" in result["errors"][0]["error"]
    assert {"out/0.png", "out/0.jpg", "out/2.png", "out/2.jpg"} <= set(files.files)
    assert [each["status"] for each in told] == ["done", "failed", "done", "failed"]
    assert told[0] == {
        "idx": 0,
        "idempotency_key": "job_123:0",
        "status": "done",
        "output_key": "out/0.png",
        "preview_key": "out/0.jpg",
    }


def test_a_tile_is_read_once_and_scaled() -> None:
    files = Kept({f"in/{n}.png": file_of(photograph(seed=n)) for n in range(2)})
    tile = np.full((10, 20, 3), (10, 200, 30), np.uint8)
    files.files["tile.png"] = file_of(tile)
    change = {"action": "texture", "value": {"image": "tile.png", "width": 40}}
    result = perform_all(job(2, concepts={"Floor": change}), files, Listed({FLOOR: square()}))
    assert result["failed_items"] == 0
    assert files.read_keys.count("tile.png") == 1
    report = result["items"][0]["report"]["concepts"]["Floor"]
    assert report["value"] == "tile.png" and report["delta_e"] <= 2
    done = np.asarray(opened(files.files["out/0.png"]))
    inner = done[30:-30, 30:-30].astype(int)
    assert inner[..., 1].mean() > inner[..., 0].mean() + 100


def test_a_tile_that_is_missing_or_damaged_fails_the_item_by_its_name() -> None:
    files = Kept({"in/0.png": file_of(photograph()), "bad.png": b"no image"})
    files.files["tall.png"] = file_of(np.zeros((5000, 1, 3), np.uint8))
    for key, told in (
        ("none.png", "none.png: no such object"),
        ("bad.png", "texture bad.png: no JPEG"),
        ({"image": "tall.png", "width": 9000}, "texture tall.png: 9000 x 45000000 pixels"),
    ):
        change = {"action": "texture", "value": key}
        result = perform_all(job(1, concepts={"Floor": change}), files, Listed({FLOOR: square()}))
        assert told in result["errors"][0]["error"]

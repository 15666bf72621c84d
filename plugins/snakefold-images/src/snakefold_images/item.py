"""One image of a message: bytes in, PNG, JPEG and a report out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from snakefold_images import edit, images
from snakefold_images.choices import palette
from snakefold_images.colour import Bytes
from snakefold_images.errors import ImageError
from snakefold_images.message import Change, Message, Recolor, Texture, Tone
from snakefold_images.segment import Finder, Found
from snakefold_images.weights import REHEARSAL

_MOST_INSTANCES = 100

Read = Callable[[str], bytes]


@dataclass(frozen=True)
class Edited:
    """An image that is done, and not encoded: a worker does that while the next image is computed.

    Attributes:
        report: JSON-able: what was found and done, by concept.
    """

    picture: images.Picture
    rgb: Bytes
    report: dict[str, Any]
    remarks: tuple[str, ...]

    def png(self) -> bytes:
        """At the size of the input."""
        return images.png(self.picture, self.rgb, self.remarks)

    def preview(self) -> bytes:
        """JPEG of at most 512 pixels a side."""
        return images.preview(self.picture, self.rgb, self.remarks)


class Tiles:
    """Tiles of a message's textures: read once, whatever the number of images."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[tuple[str, int | None], Bytes] = {}

    def get(self, change: Texture) -> Bytes:
        """A tile in sRGB, at the width that is asked for.

        Raises:
            ImageError: it cannot be read.
        """
        wanted = change.value.image, change.value.width
        if wanted not in self._known:
            tile = images.decode(self._read(wanted[0]), f"texture {wanted[0]}").srgb()
            if wanted[1] is not None:
                height = max(1, round(tile.shape[0] * wanted[1] / tile.shape[1]))
                if height * wanted[1] > images.MOST_PIXELS:
                    raise ImageError(f"texture {wanted[0]}: {wanted[1]} x {height} pixels are too many.")
                tile = np.asarray(Image.fromarray(tile).resize((wanted[1], height), Image.Resampling.LANCZOS))
            self._known[wanted] = tile
        return self._known[wanted]


def edit_image(
    data: bytes, message: Message, finder: Finder, tiles: Tiles, name: str
) -> tuple[bytes, bytes, dict[str, Any]]:
    """PNG, JPEG preview and report of one image.

    Args:
        data: a JPEG, PNG or WebP file.
        name: for messages.

    Raises:
        ImageError: the image, or a tile, is damaged or too large.
    """
    done = edit_picture(images.decode(data, name), message, finder, tiles)
    return done.png(), done.preview(), done.report


def edit_picture(picture: images.Picture, message: Message, finder: Finder, tiles: Tiles) -> Edited:
    """Do to one image what a message says. Its regions are found in this image, never in another.

    Raises:
        ImageError: a tile is damaged or too large.
    """
    before = picture.srgb()
    changes = {concept: _change(change, tiles) for concept, change in message.concepts.items()}
    preset, protected = message.chosen_preset(), message.protected()
    wanted = list(dict.fromkeys([*changes, *protected]))
    prompts = [preset.concepts[concept].prompt for concept in wanted]
    regions = finder.find(
        images.seen(before, picture.alpha), prompts, preset.threshold, preset.mask_threshold
    )
    found = dict(zip(wanted, regions, strict=True))

    visible = picture.visible
    kept = np.zeros(picture.size, np.bool_)
    for concept in protected:
        kept |= found[concept].mask
    layers = [
        edit.Layer(concept, found[concept].mask & visible, change) for concept, change in changes.items()
    ]
    after, outcomes = edit.apply(before, layers, kept)
    rgb = picture.with_edits(before, after)

    remarks = (REHEARSAL,) if finder.weights.rehearsal else ()
    report = {
        "width": picture.size[1],
        "height": picture.size[0],
        "weights": finder.weights.version,
        "concepts": {
            concept: {
                "action": change.action,
                "status": _status(found[concept], found[concept].mask & visible & ~kept, outcomes[concept]),
                **_asked(change),
                **_told(found[concept], several=preset.concepts[concept].several),
                "pixels": outcomes[concept].pixels,
                **({} if outcomes[concept].delta_e is None else {"delta_e": outcomes[concept].delta_e}),
                **({"notes": outcomes[concept].notes} if outcomes[concept].notes else {}),
            }
            for concept, change in message.concepts.items()
        },
        "protected": {
            concept: {
                "status": "found" if found[concept].mask.any() else "not_found",
                **_told(found[concept], several=preset.concepts[concept].several),
                "pixels": int(found[concept].mask.sum()),
            }
            for concept in protected
        },
        "notes": [*remarks, *picture.notes],
    }
    return Edited(picture, rgb, report, remarks)


def _change(change: Change, tiles: Tiles) -> edit.Change:
    if isinstance(change, Recolor):
        return edit.Recolor(palette().colour(change.value))
    if isinstance(change, Tone):
        return edit.Tone(**change.value.model_dump())
    if isinstance(change, Texture):
        return edit.Texture(tiles.get(change))
    return edit.Remove()


def _status(found: Found, left: edit.Mask, outcome: edit.Outcome) -> str:
    if not found.mask.any():
        return "not_found"
    if outcome.pixels:
        return "edited"
    return "covered" if left.any() else "protected"


def _asked(change: Change) -> dict[str, Any]:
    if isinstance(change, Recolor):
        return {
            "value": change.value,
            "colour": "#{:02x}{:02x}{:02x}".format(*palette().colour(change.value)),
        }
    if isinstance(change, Tone):
        return {"value": change.value.model_dump()}
    return {"value": change.value.image} if isinstance(change, Texture) else {}


def _told(found: Found, *, several: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"score": found.score, "instances": len(found.instances)}
    if several:
        shown = found.instances[:_MOST_INSTANCES]
        told["found"] = [{"score": each.score, "box": list(each.box)} for each in shown]
    return told

"""Edits of image regions, as functions on arrays. Images are sRGB bytes (H, W, 3), masks are booleans (H, W).

Every function returns a new image in which pixels outside of the mask are the same bytes as before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from snakefold_images.colour import Bytes, Floats, delta_e, lightness, to_lab, to_rgb

Mask = NDArray[np.bool_]
_Number = TypeVar("_Number", bound=np.generic)

#: Largest CIEDE2000 between the mean colour of an edited region and what was asked for; the soft edge may
#: cost as much again. Together they stay below 2.
TOLERANCE = 0.9
#: Pixels over which an edit fades in, inside of the mask.
SOFT_EDGE = 2
#: Shares of a surface's variation of lightness that are tried, until its mean colour is what was asked for:
#: white paint cannot have the lights of the old wall.
_VARIATION = (1.0, 0.75, 0.5, 0.25, 0.0)
#: Steps of lightness of the table that a recolouring is looked up in: a tenth of what a byte can show.
_STEPS = 4001
_CHUNK = 1 << 20
#: Neighbourhood of inpainting, in pixels.
_REACH = 3
#: Inpainting takes seconds a megapixel, and a large hole has no detail: it is filled at this size at most.
_MOST_INPAINTED = 1_000_000
#: Lightness that is no texture but light: blurred at a picture this wide.
_LIGHT_SIDE = 256


@dataclass(frozen=True)
class Recolor:
    """Another colour, with the texture and shadows that are there.

    Attributes:
        colour: sRGB bytes.
    """

    colour: tuple[int, int, int]


@dataclass(frozen=True)
class Tone:
    """The same colour, lighter, with more contrast, warmer.

    Attributes:
        lightness: added to L, -100 to 100.
        contrast: factor of L around the region's mean.
        temperature: added to b, and a third of it to a, -100 (blue) to 100 (amber).
    """

    lightness: float = 0.0
    contrast: float = 1.0
    temperature: float = 0.0


@dataclass(frozen=True)
class Texture:
    """A tile, repeated from the image's top left corner, in the light that is there. No perspective.

    Attributes:
        tile: sRGB bytes (h, w, 3).
    """

    tile: Bytes


@dataclass(frozen=True)
class Remove:
    """Filled from its surroundings."""


Change = Recolor | Tone | Texture | Remove


@dataclass(frozen=True)
class Layer:
    """A region, and what is done to it."""

    name: str
    mask: Mask
    change: Change


@dataclass
class Outcome:
    """What became of a layer.

    Attributes:
        pixels: that were edited.
        delta_e: CIEDE2000 of the region's mean colour and what was asked for; None of `Remove`.
        notes: what could not be done in full.
    """

    pixels: int
    delta_e: float | None = None
    notes: list[str] = field(default_factory=list)


def apply(
    image: Bytes, layers: Sequence[Layer], protected: Mask, soft_edge: int = SOFT_EDGE
) -> tuple[Bytes, dict[str, Outcome]]:
    """The image with all layers applied, and what became of each by name.

    A protected pixel is never edited. Where layers overlap, the later one has the pixel. What is removed is
    filled from surroundings that are edited already. Edits fade in where they border on what stays as it is.
    """
    free = ~protected
    own: dict[str, Mask] = {}
    for layer in reversed(layers):
        own[layer.name] = layer.mask & free
        free &= ~own[layer.name]
    edited, wanted = image, {}
    # `sorted` is stable: removals come last.
    for layer in sorted(layers, key=lambda each: isinstance(each.change, Remove)):
        if own[layer.name].any():
            edited, wanted[layer.name] = _one(edited, own[layer.name], layer.change)
    # 1 at the outermost edited pixels; the image's border is no edge.
    touched = ~(free | protected)
    depth = cv2.distanceTransform(touched.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outcomes = {}
    for layer in layers:
        mask = own[layer.name]
        outcome = outcomes[layer.name] = Outcome(int(mask.sum()))
        target = wanted.get(layer.name)
        if target is None:
            continue
        edited = softened(image, edited, mask, depth, soft_edge)
        outcome.delta_e = round(float(delta_e(mean_lab(edited[mask]), target)), 2)
        if isinstance(layer.change, Tone) and outcome.delta_e > 2 * TOLERANCE:
            outcome.notes.append(
                "tone: lightness ends at black and white, and colours where sRGB ends: the region is not as "
                "far from what it was as asked for"
            )
    return edited, outcomes


def _one(image: Bytes, mask: Mask, change: Change) -> tuple[Bytes, NDArray[np.float64] | None]:
    """The image with one change, and the mean colour that it should have (CIELAB); None: whatever it has."""
    if isinstance(change, Remove):
        return remove(image, mask), None
    if isinstance(change, Recolor):
        return recolor(image, mask, change.colour), to_lab(np.array(change.colour, np.uint8)).astype(
            np.float64
        )
    if isinstance(change, Tone):
        return tone(image, mask, change), mean_lab(image[mask]) + _shift(change)
    return texture(image, mask, change.tile), mean_lab(_tiled(change.tile, mask.shape)[mask])


def recolor(image: Bytes, mask: Mask, colour: Sequence[int]) -> Bytes:
    """The region in another colour. Its variation of lightness stays, as far as the mean allows."""
    pixels = image[mask]
    wanted = to_lab(np.array(colour, np.uint8)).astype(np.float64)
    # All pixels of one lightness get the same colour: a table of colours, and a count of its entries.
    index = np.concatenate([_steps(lightness(chunk)) for chunk in _chunks(pixels)])
    counts = np.bincount(index, minlength=_STEPS)
    steps = np.linspace(0, 100, _STEPS)
    mean = float(steps @ counts / len(index))
    for share in _VARIATION:
        lab = np.broadcast_to(wanted, (_STEPS, 3)).copy()
        lab[:, 0] += share * (steps - mean)
        table = to_rgb(lab)
        if delta_e(counts @ to_lab(table).astype(np.float64) / len(index), wanted) <= TOLERANCE:
            break
    return _with(image, mask, table[index])


def tone(image: Bytes, mask: Mask, change: Tone) -> Bytes:
    """The region with another lightness, contrast and temperature."""
    pixels = image[mask]
    mean, shift = mean_lab(pixels), _shift(change)
    done = []
    for chunk in _chunks(pixels):
        lab = to_lab(chunk)
        lab[:, 0] = mean[0] + change.contrast * (lab[:, 0] - mean[0])
        done.append(to_rgb(lab + shift.astype(np.float32)))
    return _with(image, mask, np.concatenate(done))


def texture(image: Bytes, mask: Mask, tile: Bytes) -> Bytes:
    """The region covered with a tile. The light on it stays: lightness without its fine texture."""
    light = _light(image, mask)[mask]
    light -= light.mean()
    tiles = _tiled(tile, mask.shape)[mask]
    wanted = mean_lab(tiles)
    for share in _VARIATION:
        done = []
        for chunk, here in zip(_chunks(tiles), _chunks(light), strict=True):
            lab = to_lab(chunk)
            lab[:, 0] += share * here
            done.append(to_rgb(lab))
        covered = np.concatenate(done)
        if delta_e(mean_lab(covered), wanted) <= TOLERANCE:
            break
    return _with(image, mask, covered)


def remove(image: Bytes, mask: Mask) -> Bytes:
    """The region filled from its surroundings, whose lines run on into it.

    M. Bertalmio, A. Bertozzi, G. Sapiro: Navier-Stokes, fluid dynamics, and image inpainting (2001).

    A mask of the whole image leaves nothing to fill from; the image is returned as it is.
    """
    if mask.all() or not mask.any():
        return image.copy()
    window = _window(mask, margin=4 * _REACH)
    part, hole = np.ascontiguousarray(image[window]), mask[window]
    height, width = hole.shape
    scale = min(1.0, (_MOST_INPAINTED / (height * width)) ** 0.5)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = part if scale == 1 else cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    # Any share of the hole in a reduced pixel makes it part of the hole: nothing of the object bleeds out.
    holes = cv2.resize(hole.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
    if holes.all():
        return image.copy()
    filled = cv2.inpaint(np.ascontiguousarray(small), holes.astype(np.uint8), _REACH, cv2.INPAINT_NS)
    if scale != 1:
        filled = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)
    done = image.copy()
    done[window][hole] = filled[hole]
    return done


def softened(image: Bytes, edited: Bytes, mask: Mask, depth: NDArray[np.float32], width: int) -> Bytes:
    """`edited`, faded into `image` over the outer `width` pixels of what is edited.

    The edge is narrower where a wide one would spoil a thin region's colour (joints between tiles).

    Args:
        depth: distance to the next pixel that is not edited, (H, W).
    """
    before, after, inside = image[mask], edited[mask], depth[mask]
    for rings in range(width, 0, -1):
        edge = inside <= rings
        share = (inside[edge] / (rings + 1))[:, None]
        mixed = np.rint(before[edge] + (after[edge].astype(np.float32) - before[edge]) * share)
        faded = mixed.astype(np.uint8)
        if _total_difference(faded, after[edge]) <= TOLERANCE * len(after):
            after[edge] = faded
            return _with(image=edited, mask=mask, pixels=after)
    return edited


def mean_lab(pixels: Bytes) -> NDArray[np.float64]:
    """Mean CIELAB colour of pixels (N, 3)."""
    total = sum(to_lab(chunk).sum(axis=0, dtype=np.float64) for chunk in _chunks(pixels))
    return np.asarray(total / len(pixels))


def _total_difference(one: Bytes, other: Bytes) -> float:
    pairs = zip(_chunks(one), _chunks(other), strict=True)
    return sum(float(delta_e(to_lab(a), to_lab(b)).sum()) for a, b in pairs)


def _steps(values: Floats) -> NDArray[np.int64]:
    return np.rint(np.clip(values, 0, 100) * ((_STEPS - 1) / 100)).astype(np.int64)


def _shift(change: Tone) -> NDArray[np.float64]:
    return np.array([change.lightness, change.temperature / 3, change.temperature])


def _chunks(values: NDArray[_Number]) -> Iterator[NDArray[_Number]]:
    """Parts of an array: a float for every channel of 40 megapixels would be a gigabyte."""
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _with(image: Bytes, mask: Mask, pixels: Bytes) -> Bytes:
    done = image.copy()
    done[mask] = pixels
    return done


def _window(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The mask's bounding box with a margin, inside of the image."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + 1 + margin),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + 1 + margin),
    )


def _tiled(tile: Bytes, shape: tuple[int, ...]) -> Bytes:
    height, width = shape[:2]
    down, across = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    return np.tile(tile, (down, across, 1))[:height, :width]


def _light(image: Bytes, mask: Mask) -> NDArray[np.float32]:
    """Lightness of the region without texture: blurred inside of the mask, so that nothing leaks in."""
    height, width = mask.shape
    factor = min(1.0, _LIGHT_SIDE / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    values = np.zeros(mask.shape, np.float32)
    for rows in range(0, height, 256):  # in bands, for the same reason as chunks
        band = slice(rows, rows + 256)
        values[band] = lightness(image[band]) * mask[band]
    values = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
    weight = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    sigma = max(1.0, max(size) / 32)
    blurred = cv2.GaussianBlur(values, (0, 0), sigma)
    blurred /= np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-6)
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)

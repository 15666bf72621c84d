"""CIELAB: pixels there and back, and the difference of two colours as eyes see it.

sRGB is IEC 61966-2-1 with white D65, CIELAB is CIE 15. L runs from 0 to 100. Arrays end in three channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]

#: Linear sRGB to XYZ. Rows are divided by white, so that greys have a = b = 0 exactly.
_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_TO_XYZ = _XYZ / _XYZ.sum(axis=1, keepdims=True)
_FROM_XYZ = np.linalg.inv(_TO_XYZ)
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27
#: A colour this far outside of sRGB is rounded into it; one farther out loses chroma until it fits.
_OUTSIDE = 0.5 / 255
_HALVINGS = 10


def _linear(value: Floats) -> Floats:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


_LINEAR: NDArray[np.float32] = _linear(np.arange(256) / 255).astype(np.float32)


def _f(value: Floats) -> Floats:
    return np.where(value > _EPSILON, np.cbrt(value), (_KAPPA * value + 16) / 116)


def to_lab(rgb: Bytes) -> NDArray[np.float32]:
    """CIELAB of sRGB bytes, shape (…, 3)."""
    f = _f(_LINEAR[rgb] @ _TO_XYZ.T.astype(np.float32))
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)


def lightness(rgb: Bytes) -> NDArray[np.float32]:
    """L of sRGB bytes, shape (…): a third of the work of `to_lab`."""
    y = _LINEAR[rgb] @ _TO_XYZ[1].astype(np.float32)
    return (116 * _f(y) - 16).astype(np.float32)


def _to_srgb(lab: Floats) -> Floats:
    """sRGB from 0 to 1, and beyond where the colour is outside of it."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    cube = f * f * f
    xyz = np.where(cube > _EPSILON, cube, (116 * f - 16) / _KAPPA)
    linear = xyz @ _FROM_XYZ.T.astype(lab.dtype)
    bright = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, bright)


def to_rgb(lab: Floats) -> Bytes:
    """sRGB bytes of CIELAB, shape (…, 3).

    A colour outside of sRGB keeps lightness and hue, and loses as much chroma as it must.
    """
    lab = np.asarray(lab)
    wanted = np.concatenate([np.clip(lab[..., :1], 0, 100), lab[..., 1:]], axis=-1)
    srgb = _to_srgb(wanted)
    outside = _is_outside(srgb)
    if outside.any():
        srgb[outside] = _to_srgb(_less_chroma(wanted[outside]))
    return np.rint(np.clip(srgb, 0, 1) * 255).astype(np.uint8)


def _is_outside(srgb: Floats) -> NDArray[np.bool_]:
    return np.asarray(((srgb < -_OUTSIDE) | (srgb > 1 + _OUTSIDE)).any(axis=-1))


def _less_chroma(lab: Floats) -> Floats:
    low, high = np.zeros(len(lab), lab.dtype), np.ones(len(lab), lab.dtype)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        outside = _is_outside(_to_srgb(_scaled(lab, middle)))
        low, high = np.where(outside, low, middle), np.where(outside, middle, high)
    return _scaled(lab, low)


def _scaled(lab: Floats, chroma: Floats) -> Floats:
    return np.concatenate([lab[..., :1], lab[..., 1:] * chroma[..., None]], axis=-1)


def delta_e(one: Floats, other: Floats) -> Floats:
    """CIEDE2000 of CIELAB colours, shape (…, 3) to (…). About 1 is just visible.

    Sharma, Wu, Dalal: The CIEDE2000 color-difference formula, Color Res. Appl. 30, 21 (2005).
    """
    one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
    (l1, a1, b1), (l2, a2, b2) = np.moveaxis(one, -1, 0), np.moveaxis(other, -1, 0)
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + 25.0**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0
    turn = (h2 - h1 + 180) % 360 - 180
    # Opposite hues: the formula has +180 where h2 - h1 is 180, and -180 where it is -180.
    turn = np.where(grey, 0, np.where(np.abs(h2 - h1) == 180, h2 - h1, turn))
    dl, dc, dh = l2 - l1, c2 - c1, 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    total = h1 + h2
    far = np.abs(h1 - h2) > 180
    hue = np.where(grey, total, np.where(far, np.where(total < 360, total + 360, total - 360), total) / 2)
    t = (
        1
        - 0.17 * np.cos(np.radians(hue - 30))
        + 0.24 * np.cos(np.radians(2 * hue))
        + 0.32 * np.cos(np.radians(3 * hue + 6))
        - 0.20 * np.cos(np.radians(4 * hue - 63))
    )
    middle, chroma = (l1 + l2) / 2 - 50, (c1 + c2) / 2
    sl = 1 + 0.015 * middle**2 / np.sqrt(20 + middle**2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    rc = 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    rt = -np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))) * rc
    dl, dc, dh = dl / sl, dc / sc, dh / sh
    return np.sqrt(dl**2 + dc**2 + dh**2 + rt * dc * dh)

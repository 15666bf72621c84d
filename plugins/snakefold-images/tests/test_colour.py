"""Colours against published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold_images.colour import delta_e, lightness, to_lab, to_rgb

#: Sharma, Wu, Dalal 2005, table 1: the pairs whose hue or chroma is at a corner of the formula, and others.
PAIRS = [
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, -1, 2), (50, 0, 0), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((35.0831, -44.1164, 3.7933), (35.0232, -40.0716, 1.5901), 1.8645),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.9257, -0.5406, -0.9208), (88.6381, -0.8985, -0.7239), 1.5381),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("one", "other", "expected"), PAIRS)
def test_ciede2000_of_published_pairs(
    one: tuple[float, ...], other: tuple[float, ...], expected: float
) -> None:
    assert delta_e(np.array(one), np.array(other)) == pytest.approx(expected, abs=5e-5)


def test_lab_of_published_colours() -> None:
    # Red of sRGB, white and mid grey (D65), to the digits that are printed everywhere.
    lab = to_lab(np.array([[255, 0, 0], [255, 255, 255], [119, 119, 119], [0, 0, 0]], np.uint8))
    expected = [[53.24, 80.09, 67.20], [100, 0, 0], [50.03, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(lab, expected, atol=0.03)


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=50))
def test_bytes_come_back(colours: list[tuple[int, ...]]) -> None:
    rgb = np.array(colours, np.uint8)
    assert np.array_equal(to_rgb(to_lab(rgb).astype(np.float64)), rgb)
    np.testing.assert_allclose(lightness(rgb), to_lab(rgb)[:, 0], atol=1e-3)


def test_a_colour_outside_of_srgb_keeps_lightness_and_hue() -> None:
    wanted = np.array([[50.0, 120.0, 60.0], [80.0, -100.0, 90.0], [20.0, 40.0, -110.0]])
    got = to_lab(to_rgb(wanted)).astype(np.float64)
    np.testing.assert_allclose(got[:, 0], wanted[:, 0], atol=1.0)
    turned = np.degrees(np.arctan2(got[:, 2], got[:, 1]) - np.arctan2(wanted[:, 2], wanted[:, 1]))
    np.testing.assert_allclose(turned, 0, atol=2.0)
    assert (np.hypot(got[:, 1], got[:, 2]) < np.hypot(wanted[:, 1], wanted[:, 2])).all()

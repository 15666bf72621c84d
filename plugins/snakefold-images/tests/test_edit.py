"""Edits: what they do inside of a mask, and that they do nothing outside of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from conftest import photograph, square
from snakefold_images import edit
from snakefold_images.choices import palette
from snakefold_images.colour import Bytes, delta_e, to_lab
from snakefold_images.edit import Change, Layer, Mask, Recolor, Remove, Texture, Tone, apply

OAK = palette().colour("oak_a")
TILE = photograph(16, 24, seed=9)
CHANGES: list[Change] = [Recolor(OAK), Tone(12, 1.3, 20), Texture(TILE), Remove()]


def nothing(image: Bytes) -> Mask:
    return np.zeros(image.shape[:2], np.bool_)


def lab_of(colour: tuple[int, int, int]) -> np.ndarray:
    return to_lab(np.array(colour, np.uint8)).astype(np.float64)


def test_a_red_square_becomes_oak() -> None:
    image = photograph()
    mask = square()
    image[mask] = (255, 0, 0)
    protected = nothing(image)
    protected[40:50, 10:60] = True
    done, outcomes = apply(image, [Layer("Floor", mask, Recolor(OAK))], protected)
    inside = mask & ~protected
    assert delta_e(to_lab(done[inside]), lab_of(OAK)).mean() <= 2
    assert outcomes["Floor"].pixels == inside.sum()
    assert outcomes["Floor"].delta_e is not None and outcomes["Floor"].delta_e <= 2
    assert np.array_equal(done[~mask], image[~mask])
    assert np.array_equal(done[protected], image[protected])


@pytest.mark.parametrize("colour", ["oak_a", "white", "black", "#ff0000", "#0000ff", "yellow", "offwhite_b"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_mean_of_a_photograph_becomes_the_colour(colour: str, seed: int) -> None:
    image = photograph(seed=seed)
    wanted = palette().colour(colour)
    done, outcomes = apply(image, [Layer("Wall", square(), Recolor(wanted))], nothing(image))
    mean = to_lab(done[square()]).astype(np.float64).mean(axis=0)
    difference = float(delta_e(mean, lab_of(wanted)))
    assert difference <= 2
    assert outcomes["Wall"].delta_e == pytest.approx(difference, abs=0.01)


def test_recolouring_keeps_the_texture() -> None:
    image = photograph()
    mask = square()
    done, _ = apply(image, [Layer("Floor", mask, Recolor(OAK))], nothing(image), soft_edge=0)
    before, after = to_lab(image[mask])[:, 0], to_lab(done[mask])[:, 0]
    assert np.corrcoef(before, after)[0, 1] > 0.99


def test_tone_moves_the_mean_and_keeps_the_texture() -> None:
    image, mask = photograph(), square()
    done, outcomes = apply(image, [Layer("Wall", mask, Tone(6, 1.0, 9))], nothing(image), soft_edge=0)
    before, after = (to_lab(each[mask]).astype(np.float64) for each in (image, done))
    np.testing.assert_allclose(after.mean(axis=0) - before.mean(axis=0), [6, 3, 9], atol=1.0)
    assert np.corrcoef(before[:, 0], after[:, 0])[0, 1] > 0.99
    assert outcomes["Wall"].notes == []


def test_contrast_is_a_factor_around_the_mean() -> None:
    image, mask = photograph(), square()
    done, _ = apply(image, [Layer("Wall", mask, Tone(0, 0.5, 0))], nothing(image), soft_edge=0)
    before, after = (to_lab(each[mask])[:, 0] for each in (image, done))
    assert after.std() == pytest.approx(before.std() / 2, rel=0.05)
    assert after.mean() == pytest.approx(before.mean(), abs=0.5)


def test_a_tone_that_ends_at_white_says_so() -> None:
    image = np.full((40, 40, 3), 250, np.uint8)
    mask = square(40, 40, 5)
    done, outcomes = apply(image, [Layer("Wall", mask, Tone(60, 1, 0))], nothing(image), soft_edge=0)
    assert (done[mask] == 255).all()
    assert "tone" in outcomes["Wall"].notes[0]


def test_a_tile_is_laid_in_the_light_that_is_there() -> None:
    height, width = 96, 128
    ramp = np.linspace(90, 160, width).astype(np.uint8)
    image = np.repeat(np.tile(ramp, (height, 1))[..., None], 3, axis=-1)
    mask = square()
    done, outcomes = apply(image, [Layer("Floor", mask, Texture(TILE))], nothing(image), soft_edge=0)
    lab = to_lab(done).astype(np.float64)
    # A whole tile at the dark end and one at the light end differ in lightness alone.
    dark, light = lab[32:64, 24:48], lab[32:64, 72:96]
    assert light[..., 0].mean() - dark[..., 0].mean() > 5
    assert np.corrcoef(dark[..., 0].ravel(), light[..., 0].ravel())[0, 1] > 0.9
    assert outcomes["Floor"].delta_e is not None and outcomes["Floor"].delta_e <= 2


def test_what_is_removed_is_filled_from_what_is_around_it() -> None:
    image = np.full((90, 90, 3), (70, 120, 180), np.uint8)
    mask = square(90, 90, 30)
    image[mask] = (255, 0, 0)
    done, outcomes = apply(image, [Layer("Light", mask, Remove())], nothing(image))
    assert np.abs(done.astype(int) - (70, 120, 180)).max() <= 2
    assert outcomes["Light"].delta_e is None


def test_a_hole_is_filled_from_surroundings_that_are_edited_already() -> None:
    image = np.full((90, 90, 3), 200, np.uint8)
    lamp = square(90, 90, 35)
    image[lamp] = (0, 0, 0)
    # The message names the lamp first; its hole is filled last.
    layers = [Layer("Light", lamp, Remove()), Layer("Wall", ~lamp, Recolor(OAK))]
    done, _ = apply(image, layers, nothing(image))
    assert delta_e(to_lab(done[lamp]), lab_of(OAK)).max() <= 2


def test_a_large_hole_is_filled_at_a_reduced_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit, "_MOST_INPAINTED", 2000)
    image = np.full((200, 200, 3), (70, 120, 180), np.uint8)
    mask = square(200, 200, 40)
    image[mask] = (255, 0, 0)
    done = edit.remove(image, mask)
    assert np.array_equal(done[~mask], image[~mask])
    assert np.abs(done.astype(int) - (70, 120, 180)).max() <= 3


def test_nothing_can_be_removed_that_is_the_whole_image() -> None:
    image = photograph()
    assert np.array_equal(edit.remove(image, ~nothing(image)), image)


def test_where_layers_overlap_the_later_has_the_pixel() -> None:
    image = photograph()
    left, right = nothing(image), nothing(image)
    left[:, :80], right[:, 48:] = True, True
    layers = [Layer("Wall", left, Recolor((255, 0, 0))), Layer("Door", right, Recolor((0, 0, 255)))]
    done, outcomes = apply(image, layers, nothing(image), soft_edge=0)
    a = to_lab(done)[..., 1]
    assert (a[:, :48] > 20).all()
    assert outcomes["Wall"].pixels == left.sum() - (left & right).sum()
    assert np.array_equal(done[:, 48:], apply(image, layers[1:], nothing(image), soft_edge=0)[0][:, 48:])


def test_edges_fade_in_inside_of_the_mask() -> None:
    image = np.full((200, 200, 3), 255, np.uint8)
    mask = square(200, 200, 50)
    done, _ = apply(image, [Layer("Wall", mask, Recolor((200, 200, 200)))], nothing(image), soft_edge=2)
    row = done[100, 48:54, 0].astype(int)
    assert row[0] == row[1] == 255
    assert 255 > row[2] > row[3] > row[4] == row[5]


def test_edges_between_two_edits_show_nothing_of_the_old_colour() -> None:
    image = np.full((200, 200, 3), 255, np.uint8)
    left, right = nothing(image), nothing(image)
    left[50:150, 50:100], right[50:150, 100:150] = True, True
    layers = [Layer("Wall", left, Recolor((200, 200, 200))), Layer("Door", right, Recolor((190, 190, 190)))]
    done, _ = apply(image, layers, nothing(image), soft_edge=2)
    assert (done[60:140, 60:100] == 200).all()
    assert (done[60:140, 100:140] == 190).all()


def test_joints_of_one_pixel_get_their_colour_in_full() -> None:
    image = np.full((60, 60, 3), 230, np.uint8)
    joints = nothing(image)
    joints[::10] = True
    done, _ = apply(image, [Layer("Grout", joints, Recolor((40, 40, 40)))], nothing(image))
    assert np.abs(done[joints].astype(int) - 40).max() <= 1


images = arrays.arrays(
    np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=24).map(lambda s: (*s, 3))
)


@settings(max_examples=150, deadline=None)
@given(st.data(), images, st.sampled_from(CHANGES), st.sampled_from(CHANGES), st.integers(0, 3))
def test_pixels_outside_of_the_masks_never_change(
    data: st.DataObject, image: Bytes, first: Change, second: Change, soft_edge: int
) -> None:
    masks = arrays.arrays(np.bool_, image.shape[:2])
    one, other, protected = data.draw(masks), data.draw(masks), data.draw(masks)
    given = image.copy()
    layers = [Layer("one", one, first), Layer("other", other, second)]
    done, outcomes = apply(image, layers, protected, soft_edge)
    untouched = ~(one | other) | protected
    assert np.array_equal(done[untouched], given[untouched])
    assert np.array_equal(image, given)
    assert done.shape == image.shape and done.dtype == np.uint8
    assert sum(each.pixels for each in outcomes.values()) == (~untouched).sum()


@settings(max_examples=60, deadline=None)
@given(images, st.tuples(*[st.integers(0, 255)] * 3))
def test_any_region_gets_any_colour_within_two(image: Bytes, colour: tuple[int, int, int]) -> None:
    everything = ~nothing(image)
    _, outcomes = apply(image, [Layer("Wall", everything, Recolor(colour))], nothing(image))
    assert outcomes["Wall"].delta_e is not None and outcomes["Wall"].delta_e <= 2

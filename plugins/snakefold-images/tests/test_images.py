"""Files: the right way up, in their colour space, with their alpha; and what is refused."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from conftest import file_of, opened, photograph
from snakefold_images import images
from snakefold_images.colour import Bytes
from snakefold_images.errors import ImageError


def wide_profile() -> bytes:
    """A profile with more saturated reds than sRGB has: red's primary moved out, and blue's by as much."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack(">I", data[128:132])
    for number in range(count):
        at = 132 + 12 * number
        name, offset, _ = data[at : at + 4], *struct.unpack(">II", data[at + 4 : at + 12])
        if name in (b"rXYZ", b"bXYZ"):  # s15Fixed16 numbers; their sum over all primaries is the white
            shift = 0.06 if name == b"rXYZ" else -0.06
            x, y, z = struct.unpack(">3i", data[offset + 8 : offset + 20])
            moved = (x + int(shift * 65536), y + int(shift * 0.5 * 65536), z)
            data[offset + 8 : offset + 20] = struct.pack(">3i", *moved)
    return bytes(data)


def upright(image: Bytes, orientation: int) -> bytes:
    """A JPEG file that a viewer turns by its EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return file_of(image, "JPEG", quality=95, exif=exif)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_orientation_is_applied(orientation: int, turns: int) -> None:
    image = np.zeros((40, 64, 3), np.uint8)
    image[:20, :32] = (250, 10, 10)
    picture = images.decode(upright(image, orientation), "a.jpg")
    expected = np.rot90(image, turns)
    assert picture.rgb.shape == expected.shape
    assert np.abs(picture.rgb.astype(int) - expected).mean() < 6
    done = opened(images.png(picture, picture.rgb))
    assert done.size == expected.shape[1::-1]
    assert done.getexif().get(0x0112, 1) == 1
    assert opened(images.preview(picture, picture.rgb)).getexif().get(0x0112, 1) == 1


def test_alpha_is_kept_and_the_preview_is_over_white() -> None:
    alpha = np.zeros((50, 60), np.uint8)
    alpha[10:40, 10:50], alpha[20:30] = 255, 128
    rgba = np.dstack([photograph(50, 60), alpha])
    picture = images.decode(file_of(Image.fromarray(rgba)), "a.png")
    assert np.array_equal(picture.visible, alpha > 0)
    done = opened(images.png(picture, picture.rgb))
    assert done.mode == "RGBA"
    assert np.array_equal(np.asarray(done), rgba)
    shown = np.asarray(opened(images.preview(picture, picture.rgb)))
    assert shown.shape == (50, 60, 3)
    assert shown[2, 2].min() > 250


@pytest.mark.parametrize("mode", ["P", "LA", "L", "1"])
def test_other_modes_become_rgb(mode: str) -> None:
    grey = photograph(30, 40)[..., 0]
    image = Image.fromarray(grey).convert(mode)
    more = {"transparency": 3} if mode == "P" else {}
    picture = images.decode(file_of(image, **more), "a.png")
    assert picture.rgb.shape == (30, 40, 3)
    assert (picture.alpha is not None) == (mode in ("P", "LA"))
    if mode == "L":
        assert np.array_equal(picture.rgb[..., 0], grey)


def test_sixteen_bits_become_eight_and_that_is_said() -> None:
    grey = np.linspace(0, 65535, 32 * 32).reshape(32, 32).astype(np.uint16)
    picture = images.decode(file_of(Image.fromarray(grey)), "a.png")
    assert np.abs(picture.rgb[..., 0].astype(float) - grey / 257).max() <= 0.51
    assert "16 bits" in picture.notes[0]


def test_the_profile_is_kept_and_edits_are_converted_into_it() -> None:
    profile = wide_profile()
    image = photograph()
    picture = images.decode(file_of(image, icc_profile=profile), "a.png")
    assert np.array_equal(picture.rgb, image)
    before = picture.srgb()
    assert not np.array_equal(before, image)
    after = before.copy()
    after[30:50, 30:50] = (181, 137, 90)
    rgb = picture.with_edits(before, after)
    changed = (before != after).any(axis=-1)
    assert np.array_equal(rgb[~changed], image[~changed])
    done = opened(images.png(picture, rgb))
    assert done.info["icc_profile"] == profile
    # Whoever reads the file with its profile sees what was asked for.
    seen = images.decode(images.png(picture, rgb), "b.png").srgb()
    assert np.abs(seen[30:50, 30:50].astype(int) - (181, 137, 90)).max() <= 2
    assert opened(images.preview(picture, rgb)).info["icc_profile"] == profile


def test_an_srgb_profile_costs_no_conversion() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = photograph()
    picture = images.decode(file_of(image, icc_profile=profile), "a.png")
    assert picture.srgb() is picture.rgb
    assert opened(images.png(picture, picture.rgb)).info["icc_profile"] == profile


def test_a_profile_that_is_none_is_left_out_and_that_is_said() -> None:
    picture = images.decode(file_of(photograph(), icc_profile=b"no profile" * 20), "a.png")
    assert picture.profile is None
    assert "profile" in picture.notes[0]


def test_cmyk_is_converted() -> None:
    image = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    picture = images.decode(file_of(image, "JPEG"), "a.jpg")
    red, green, blue = picture.rgb[16, 16]
    assert red > 150 and green < 80 and blue < 80


def test_the_preview_is_small_and_keeps_its_shape() -> None:
    picture = images.decode(file_of(photograph(300, 1200)), "a.png")
    assert opened(images.preview(picture, picture.rgb)).size == (512, 128)
    small = images.decode(file_of(photograph(30, 40)), "a.png")
    assert opened(images.preview(small, small.rgb)).size == (40, 30)


def test_remarks_are_in_both_files() -> None:
    picture = images.decode(file_of(photograph()), "a.png")
    assert opened(images.png(picture, picture.rgb, ["REHEARSAL: x"])).info["Comment"] == "REHEARSAL: x"
    shown = opened(images.preview(picture, picture.rgb, ["REHEARSAL: x"]))
    assert shown.info["comment"] == b"REHEARSAL: x"
    assert shown.getexif()[0x010E] == "REHEARSAL: x"
    assert "Comment" not in opened(images.png(picture, picture.rgb)).info


def png_of(width: int, height: int, data: bytes) -> bytes:
    """A PNG file with a header of any size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(8000, 5001), (20_000, 20_000), (60_000, 60_000)])
def test_more_than_forty_megapixels_are_refused_by_the_header(width: int, height: int) -> None:
    # There are no pixels behind the header: whoever decodes first sees a damaged file.
    with pytest.raises(ImageError, match=r"large\.png: .*at most 40") as caught:
        images.decode(png_of(width, height, b""), "large.png")
    assert "damaged" not in str(caught.value)


def test_forty_megapixels_are_not_too_many() -> None:
    with pytest.raises(ImageError, match="damaged"):
        images.decode(png_of(8000, 5000, b""), "large.png")


def whole(kind: str) -> bytes:
    return file_of(photograph(200, 200), kind)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    data = whole(kind)
    with pytest.raises(ImageError, match=r"x\.img: (damaged|no JPEG)"):
        images.decode(data[: len(data) // 2], "x.img")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(50), bytes(5000)])
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"x\.img: "):
        images.decode(data, "x.img")


def test_flipped_bytes_are_decoded_or_refused_and_nothing_else() -> None:
    numbers = np.random.default_rng(5)
    for kind in ("JPEG", "PNG", "WEBP"):
        data = file_of(photograph(40, 40), kind)
        for _ in range(60):
            broken = bytearray(data)
            for at in numbers.integers(0, len(data), 5):
                broken[at] = numbers.integers(0, 256)
            try:
                picture = images.decode(bytes(broken), "x")
            except ImageError:
                continue
            images.png(picture, picture.rgb)


def test_an_animation_is_refused() -> None:
    frames = [Image.fromarray(photograph(20, 20, seed)) for seed in range(3)]
    stream = io.BytesIO()
    frames[0].save(stream, "WEBP", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animation"):
        images.decode(stream.getvalue(), "x.webp")


def test_of_a_telephones_file_with_several_pictures_the_first_is_taken() -> None:
    first, second = (Image.fromarray(photograph(30, 40, seed)) for seed in (1, 2))
    stream = io.BytesIO()
    first.save(stream, "MPO", save_all=True, append_images=[second], quality=95)
    picture = images.decode(stream.getvalue(), "x.jpg")
    assert np.abs(picture.rgb.astype(int) - np.asarray(first)).mean() < 6

"""Image files: bytes to pixels and back, with orientation, colour profile and alpha.

Pixels stay in the file's own colour space. Edits happen in sRGB, and only edited pixels are converted back:
all others are the bytes that were there.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from snakefold_images import __version__
from snakefold_images.colour import Bytes
from snakefold_images.edit import Mask
from snakefold_images.errors import ImageError

#: Larger images are refused by their header, before they are decoded.
MOST_PIXELS = 40_000_000
PREVIEW_SIDE = 512
_PREVIEW_QUALITY = 85
_FORMATS = ("JPEG", "PNG", "WEBP")
_IMAGE_DESCRIPTION, _SOFTWARE = 0x010E, 0x0131
#: Where a PNG file says how many bits a channel has. Pillow reads 8 of them, without a word.
_PNG_DEPTH = 24
#: A profile that moves no colour of a grid by more is sRGB.
_SAME = 2


@dataclass(frozen=True)
class Picture:
    """A decoded image, the right way up.

    Attributes:
        rgb: bytes (H, W, 3) in the space of `profile`.
        alpha: bytes (H, W), if the file has it.
        profile: the ICC profile, if the file has one.
        notes: what could not be kept.
    """

    rgb: Bytes
    alpha: NDArray[np.uint8] | None = None
    profile: bytes | None = None
    notes: tuple[str, ...] = ()
    _other_space: bool = field(default=False, repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rgb.shape[0], self.rgb.shape[1]

    @property
    def visible(self) -> Mask:
        """Pixels that are not fully transparent."""
        return np.ones(self.size, np.bool_) if self.alpha is None else self.alpha > 0

    def srgb(self) -> Bytes:
        """The pixels in sRGB."""
        if not self._other_space or self.profile is None:
            return self.rgb
        return _converted(self.rgb, _opened(self.profile), _srgb())

    def with_edits(self, before: Bytes, after: Bytes) -> Bytes:
        """The pixels in the file's space, unchanged where `before` and `after` (sRGB) are equal."""
        changed = (before != after).any(axis=-1)
        if self._other_space and self.profile is not None:
            after = _converted(after, _srgb(), _opened(self.profile))
        done = self.rgb.copy()
        done[changed] = after[changed]
        return done


def decode(data: bytes, name: str) -> Picture:
    """An image of a JPEG, PNG or WebP file.

    Args:
        name: for messages.

    Raises:
        ImageError: it is damaged, too large, animated, or none.
    """
    if not data:
        raise ImageError(f"{name}: the file is empty.")
    try:
        opened = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: no JPEG, PNG or WebP image, or its beginning is damaged.") from None
    except Exception as error:
        raise _damaged(name, error) from error
    with opened as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise _too_large(name, width, height)
        # MPO is a JPEG file with further pictures, as some telephones write it; the first is what is seen.
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            raise ImageError(f"{name}: an animation. Send one of its pictures.")
        profile = image.info.get("icc_profile") or None
        deep = image.format == "PNG" and data[_PNG_DEPTH] == 16
        notes = ["16 bits a channel became 8"] if deep else []
        try:
            image.load()
        except Exception as error:
            raise _damaged(name, error) from error
        upright = _upright(image, notes)
        return _picture(upright, profile, notes)


def png(picture: Picture, rgb: Bytes, remarks: Sequence[str] = ()) -> bytes:
    """A PNG file with the picture's alpha and profile; `remarks` become its text `Comment`."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Software", f"snakefold-images {__version__}")
    if remarks:
        texts.add_text("Comment", "\n".join(remarks))
    image = Image.fromarray(rgb)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    return _saved(image, "PNG", picture.profile, pnginfo=texts)


def preview(picture: Picture, rgb: Bytes, remarks: Sequence[str] = ()) -> bytes:
    """A JPEG file of at most 512 pixels a side, over white where the picture is transparent.

    `remarks` become its comment and EXIF's ImageDescription.
    """
    image = _over_white(rgb, picture.alpha)
    image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    exif = Image.Exif()
    exif[_SOFTWARE] = f"snakefold-images {__version__}"
    more = {}
    if remarks:
        exif[_IMAGE_DESCRIPTION] = "\n".join(remarks)
        more["comment"] = "\n".join(remarks).encode()
    return _saved(image, "JPEG", picture.profile, quality=_PREVIEW_QUALITY, exif=exif, **more)


def seen(srgb: Bytes, alpha: NDArray[np.uint8] | None) -> Bytes:
    """What the network is shown: what is transparent is white."""
    return srgb if alpha is None else np.asarray(_over_white(srgb, alpha))


def _picture(image: Image.Image, profile: bytes | None, notes: list[str]) -> Picture:
    if image.mode.startswith("I"):  # grey of 16 bits
        grey = np.asarray(image).astype(np.float32) / 257
        image = Image.fromarray(np.rint(np.clip(grey, 0, 255)).astype(np.uint8))
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "LA", "1") else "RGBA")
        alpha = np.asarray(image.getchannel("A"))
    if image.mode == "CMYK" or (profile and image.mode in ("1", "L", "LA")):
        image, profile = _into_srgb(image, profile, notes)
    rgb = np.asarray(image.convert("RGB"))
    other, profile = _is_other_space(profile, notes)
    return Picture(rgb, alpha, profile, tuple(notes), other)


def _into_srgb(
    image: Image.Image, profile: bytes | None, notes: list[str]
) -> tuple[Image.Image, bytes | None]:
    """A CMYK or grey image in sRGB: its profile cannot be that of an RGB file."""
    if image.mode == "LA":
        image = image.convert("L")
    if profile is not None:
        try:
            converted = ImageCms.profileToProfile(image, _opened(profile), _srgb(), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            notes.append("its colour profile cannot be used, and was left out")
        else:
            notes.append(f"{image.mode} became sRGB")
            assert converted is not None  # noqa: S101 - only `inPlace` returns None
            return converted, None
    return image, None


def _is_other_space(profile: bytes | None, notes: list[str]) -> tuple[bool, bytes | None]:
    """Whether a profile is of another space than sRGB; and the profile, or None if it is of no use."""
    if profile is None:
        return False, None
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    try:
        moved = _converted(grid, _opened(profile), _srgb())
        _converted(grid, _srgb(), _opened(profile))
    except (ImageCms.PyCMSError, OSError):
        notes.append("its colour profile cannot be used, and was left out")
        return False, None
    return bool(np.abs(moved.astype(int) - grid).max() > _SAME), profile


def _opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _converted(rgb: Bytes, source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile) -> Bytes:
    transform = ImageCms.buildTransform(
        source, target, "RGB", "RGB", renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    converted = ImageCms.applyTransform(Image.fromarray(rgb), transform)
    return np.asarray(converted)


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        notes.append("its EXIF data are damaged: the orientation is not known")
        return image


def _over_white(rgb: Bytes, alpha: NDArray[np.uint8] | None) -> Image.Image:
    image = Image.fromarray(rgb)
    if alpha is None:
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=Image.fromarray(alpha))
    return white


def _saved(image: Image.Image, kind: str, profile: bytes | None, **more: object) -> bytes:
    stream = io.BytesIO()
    if profile is not None:
        more["icc_profile"] = profile
    image.save(stream, kind, **more)
    return stream.getvalue()


def _too_large(name: str, width: int = 0, height: int = 0) -> ImageError:
    found = f"{width} x {height} pixels are {width * height / 1e6:.1f} megapixels" if width else "too large"
    return ImageError(f"{name}: {found}; at most {MOST_PIXELS // 10**6} are taken. Send it smaller.")


def _damaged(name: str, error: Exception) -> ImageError:
    return ImageError(f"{name}: damaged: {str(error)[:200]}. Send the file again.")

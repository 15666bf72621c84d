"""Names that messages use: materials and tones of the palette, concepts of the presets. All of it is YAML."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from PIL import ImageColor
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from snakefold_images.errors import ChoicesError

#: A folder whose palette.yaml and presets/*.yaml add to those of the package; on equal names it wins.
FOLDER = "SNAKEFOLD_IMAGES_CHOICES"
Colour = tuple[int, int, int]
_HEX = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_Share = Annotated[float, Field(ge=0, le=1)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ToneValue(_Model):
    """A tone; what its numbers do: `edit.Tone`."""

    lightness: float = Field(0.0, ge=-100, le=100, description="Added to L of CIELAB.")
    contrast: float = Field(1.0, ge=0, le=4, description="Factor of L around the region's mean.")
    temperature: float = Field(0.0, ge=-100, le=100, description="Blue (-100) to amber (100).")


class Concept(_Model):
    """What the network is asked for, and whether its instances are listed."""

    prompt: str = Field(min_length=1, max_length=200)
    several: bool = False


class Preset(_Model):
    """Concepts of a kind of photographs."""

    threshold: _Share
    mask_threshold: _Share
    concepts: dict[str, Concept] = Field(min_length=1)
    protect: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _known(self) -> Preset:
        for name in self.protect:
            if name not in self.concepts:
                raise ValueError(f"protect: {unknown('concept', name, self.concepts)}")
        return self


class Palette(_Model):
    """Materials and tones by name."""

    materials: dict[str, str] = {}
    tones: dict[str, ToneValue] = {}

    @field_validator("materials")
    @classmethod
    def _colours(cls, materials: dict[str, str]) -> dict[str, str]:
        for name, value in materials.items():
            if _css(value) is None:
                raise ValueError(f"{name}: expected a hex colour or a CSS name, not {value!r}")
        return materials

    def colour(self, value: str) -> Colour:
        """sRGB bytes of a material, a hex colour (#b5895a, #fff) or a CSS name, in this order.

        Raises:
            ValueError: it is none of them; the text names the materials.
        """
        found = _css(self.materials.get(value, value))
        if found is None:
            raise ValueError(
                f"{unknown('colour', value, self.materials)}; hex (#b5895a) and CSS names are taken too"
            )
        return found

    def tone(self, value: str) -> ToneValue:
        """A tone by name.

        Raises:
            ValueError: there is none; the text names those that are.
        """
        if value not in self.tones:
            raise ValueError(
                f"{unknown('tone', value, self.tones)}; or give lightness, contrast, temperature"
            )
        return self.tones[value]


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """What is said of a name that is not known."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown {kind} {name[:60]!r}{hint}; known are {', '.join(known)}"


def palette() -> Palette:
    """The package's palette with the names of the user's folder."""
    return _palette(_own_folder())


def presets() -> Mapping[str, Preset]:
    """Presets of the package and of the user's folder, by name."""
    return _presets(_own_folder())


def _own_folder() -> str:
    return os.environ.get(FOLDER, "")


@cache
def _palette(folder: str) -> Palette:
    found = _read(Palette, _packaged("palette.yaml"), "palette.yaml of snakefold-images")
    own = Path(folder) / "palette.yaml"
    if folder and own.is_file():
        more = _read(Palette, _text(own), str(own))
        found = Palette(materials=found.materials | more.materials, tones=found.tones | more.tones)
    return found


@cache
def _presets(folder: str) -> Mapping[str, Preset]:
    found = {}
    for name in ("interior", "seller"):
        text = _packaged(f"presets/{name}.yaml")
        found[name] = _read(Preset, text, f"preset {name} of snakefold-images")
    if folder:
        if not Path(folder).is_dir():
            raise ChoicesError(f"{folder}: no such folder. Check ${FOLDER}.")
        for path in sorted((Path(folder) / "presets").glob("*.yaml")):
            found[path.stem] = _read(Preset, _text(path), str(path))
    return found


def _packaged(name: str) -> str:
    return files("snakefold_images").joinpath("data", *name.split("/")).read_text(encoding="utf-8")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ChoicesError(f"{path}: cannot be read: {error}") from error


_Read = TypeVar("_Read", bound=BaseModel)


def _read(model: type[_Read], text: str, name: str) -> _Read:
    try:
        given: Any = yaml.safe_load(text)
        return model.model_validate(given)
    except yaml.YAMLError as error:
        raise ChoicesError(f"{name}: not YAML: {error}") from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise ChoicesError(f"{name}: {'; '.join(problems)}") from error


def _css(value: str) -> Colour | None:
    text = value.strip().lower()
    if not _HEX.fullmatch(text) and text not in ImageColor.colormap:
        return None
    red, green, blue = ImageColor.getrgb(text)[:3]
    return red, green, blue

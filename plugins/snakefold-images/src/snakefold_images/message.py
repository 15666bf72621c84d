"""The message: which concepts of which images change, and how. Checks name the field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from snakefold_images.choices import Preset, ToneValue, palette, presets, unknown
from snakefold_images.errors import MessageError

_MOST_ITEMS = 10_000
_SHOWN = 10
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _key(value: str) -> str:
    # Locally a key is a path below a folder, and everywhere it is written to logs.
    parts = PurePosixPath(value).parts
    if not value or len(value.encode()) > 1024 or _CONTROL.search(value):
        raise ValueError("expected a key of 1 to 1024 bytes without control characters")
    if value.startswith("/") or value.endswith("/") or "\\" in value or ".." in parts or not parts:
        raise ValueError("expected a key such as inputs/user/job/0.jpg, without '..', not absolute")
    return value


Key = Annotated[str, AfterValidator(_key)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextureValue(_Model):
    """A tile, and how wide it is repeated."""

    image: Key = Field(description="Key of an image, read like the items' inputs.")
    width: int | None = Field(None, ge=2, le=10_000, description="Pixels; if not given, its own width.")


def _colour(value: str) -> str:
    palette().colour(value)
    return value


def _tone(value: Any) -> Any:
    return palette().tone(value) if isinstance(value, str) else value


def _tile(value: Any) -> Any:
    return {"image": value} if isinstance(value, str) else value


class Recolor(_Model):
    """Another colour."""

    action: Literal["recolor"]
    value: Annotated[str, AfterValidator(_colour)] = Field(description="Material, hex colour or CSS name.")


class Tone(_Model):
    """Lighter, more contrast, warmer."""

    action: Literal["tone"]
    value: Annotated[ToneValue, BeforeValidator(_tone)] = Field(
        description="Name of a tone, or lightness, contrast, temperature."
    )


class Texture(_Model):
    """Covered with a tile."""

    action: Literal["texture"]
    value: Annotated[TextureValue, BeforeValidator(_tile)] = Field(
        description="Key of a tile, or image and width."
    )


class Remove(_Model):
    """Filled from its surroundings."""

    action: Literal["remove"]
    value: Literal[""] | None = Field(None, description="None.")


Change = Annotated[Recolor | Tone | Texture | Remove, Field(discriminator="action")]


class Item(_Model):
    """One image."""

    idx: int = Field(ge=0, description="Number of the image in its job.")
    input_key: Key = Field(description="JPEG, PNG or WebP.")
    output_key: Key = Field(description="Gets the PNG, at the input's size.")
    preview_key: Key = Field(description="Gets a JPEG of at most 512 pixels.")


class Message(_Model):
    """A job: images, and what changes in all of them."""

    task: Literal["images"] | None = Field(None, description="For workers that have several tasks.")
    job_id: Text
    user_id: Text
    preset: str
    concepts: dict[str, Change] = Field(
        min_length=1, description="By concept of the preset. Where two overlap, the later one has the pixel."
    )
    protect: tuple[str, ...] | None = Field(
        None,
        description="Concepts that never change, whatever `concepts` says. If not given, those of the preset "
        "that `concepts` does not name.",
    )
    items: tuple[Item, ...] = Field(min_length=1, max_length=_MOST_ITEMS)
    callback_url: str | None = Field(
        None, max_length=2000, description="Told of every item; not used locally."
    )
    job_callback_url: str | None = Field(
        None, max_length=2000, description="Told of the end of the job; not used locally."
    )
    idempotency_prefix: Text | None = Field(None, description="If not given, job_id.")
    batch_concurrency: int | None = Field(
        None, ge=1, le=64, description="Items that a worker reads and writes at a time; not used locally."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Message:
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems[:_SHOWN]))
        return self

    def _problems(self) -> Iterator[str]:
        known = presets()
        if self.preset not in known:
            yield f"preset: {unknown('preset', self.preset, known)}"
            return
        concepts = known[self.preset].concepts
        for name in self.concepts:
            if name not in concepts:
                yield f"concepts: {unknown('concept', name, concepts)}"
        for name in self.protect or ():
            if name not in concepts:
                yield f"protect: {unknown('concept', name, concepts)}"
        seen: dict[object, str] = {}
        for number, item in enumerate(self.items):
            for field, value in (
                ("idx", item.idx),
                ("output_key", item.output_key),
                ("preview_key", item.preview_key),
            ):
                here = f"items.{number}.{field}"
                if value in seen:
                    yield f"{here}: {value!r} is that of {seen[value]}"
                seen.setdefault(value, here)
        inputs: dict[object, int] = {item.input_key: number for number, item in enumerate(self.items)}
        for taken, here in seen.items():
            if taken in inputs:
                yield f"{here}: {taken!r} is an input of items.{inputs[taken]}"

    def chosen_preset(self) -> Preset:
        """The preset that it names."""
        return presets()[self.preset]

    def protected(self) -> tuple[str, ...]:
        """Concepts that never change."""
        if self.protect is not None:
            return self.protect
        return tuple(name for name in self.chosen_preset().protect if name not in self.concepts)

    def idempotency_key(self, item: Item) -> str:
        """Of an item: the same at every try."""
        return f"{self.idempotency_prefix or self.job_id}:{item.idx}"


def read_message(given: object) -> Message:
    """A message from JSON, as text, bytes or an object.

    Raises:
        MessageError: it is none; the text names every wrong field.
    """
    if isinstance(given, str | bytes):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise MessageError(f"The message is not JSON: {error}") from error
    if not isinstance(given, Mapping):
        raise MessageError(f"Expected an object with the keys {', '.join(Message.model_fields)}.")
    try:
        return Message.model_validate(dict(given))
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        lines = [_line(each["loc"], each["type"], each["msg"]) for each in errors[:_SHOWN]]
        more = [f"… and {len(errors) - _SHOWN} more"] if len(errors) > _SHOWN else []
        raise MessageError("; ".join([*lines, *more])) from error


def _line(place: tuple[int | str, ...], kind: str, text: str) -> str:
    # Pydantic puts the action, which it chose the model by, between concept and field.
    steps = place[:2] + place[3:] if place[:1] == ("concepts",) else place
    where = ".".join(str(step)[:60] for step in steps)
    if kind == "missing":
        text = "this field is required"
    elif kind == "extra_forbidden":
        text = "unknown field"
    text = text.removeprefix("Value error, ")
    return f"{where}: {text}" if where else text

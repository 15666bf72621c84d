"""What goes wrong, by whose it is. Texts name the file or field, what was expected, and what to do."""

from __future__ import annotations


class ImagesError(Exception):
    """Something that the sender, or the owner of the machine, can put right."""


class MessageError(ImagesError):
    """A message that cannot be done as it is; the text names every wrong field."""


class ImageError(ImagesError):
    """One image cannot be read, or is too large. The others of its message are done."""


class ChoicesError(ImagesError):
    """A palette or preset file is not as expected."""


class WeightsError(ImagesError):
    """The network's parameters are missing or damaged, or may not be downloaded."""

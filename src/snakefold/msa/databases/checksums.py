"""MD5s that publishers keep beside or inside what they publish."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from snakefold.kernel.errors import SnakefoldError

_LINE = re.compile(r"([0-9a-fA-F]{32})\s+\*?(?:.*/)?([^/\s]+)\s*$")
_LARGEST = 16 << 20


class ChecksumError(SnakefoldError):
    """A publisher's list of checksums cannot be had, or lacks the file."""


@dataclass(frozen=True)
class Published:
    """What a publisher says of one file; None where nothing is said."""

    bytes: int | None = None
    md5: str | None = None


def parse_metalink(text: str) -> tuple[str | None, dict[str, Published]]:
    """Release and files of a Metalink 3.0 document, as UniProt publishes them (RELEASE.metalink).

    Raises:
        ValueError: not a metalink.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("a document with entities of its own is no metalink")
    try:
        root = ET.fromstring(text)  # noqa: S314 - entities were refused above
    except ET.ParseError as error:
        raise ValueError(str(error)) from error
    if root.tag.rpartition("}")[2] != "metalink":
        raise ValueError(f"expected <metalink>, found <{root.tag}>")
    files = {}
    for each in root.iterfind(".//{*}file"):
        size = (each.findtext("{*}size") or "").strip()
        sums = (hash_ for hash_ in each.iterfind(".//{*}hash") if hash_.get("type", "").lower() == "md5")
        md5 = next(((hash_.text or "").strip().lower() for hash_ in sums), "")
        known = re.fullmatch(r"[0-9a-f]{32}", md5)
        files[each.get("name", "")] = Published(
            int(size) if size.isdecimal() else None, md5 if known else None
        )
    return (root.findtext("{*}version") or "").strip() or None, files


def parse_md5sums(text: str) -> dict[str, str]:
    """MD5 by file name of `md5sum`'s output; other lines are passed over."""
    return {match[2]: match[1].lower() for line in text.splitlines() if (match := _LINE.match(line))}


def read_metalink(url: str, timeout: float = 60) -> tuple[str | None, dict[str, Published]]:
    """Fetch and parse a metalink.

    Raises:
        ChecksumError: it cannot be fetched, or is none.
    """
    advice = "Try again later, or leave checksums out with --no-checksums."
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:  # noqa: S310 - from downloads.yaml
            text = response.read(_LARGEST).decode("utf-8", errors="replace")
        return parse_metalink(text)
    except (OSError, ValueError) as error:
        raise ChecksumError(f"{url}: no list of checksums ({error}). {advice}") from error

"""Sources to cite: resources/citations.yaml as BibTeX, and as the table of docs/citations.md."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import yaml
from pydantic import Field

from snakefold.kernel.contracts import Model
from snakefold.kernel.paths import house

_SPECIAL = str.maketrans({"&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_"})


class Citation(Model):
    """A source: BibTeX's fields, what it is cited for, and when."""

    for_: str = Field(alias="for", description="What it is cited for.")
    when: list[str] = Field(description="Cited where one of these was used; empty: never by itself.")
    authors: str = Field(description="As BibTeX has them: `Family, Given and …`.")
    title: str
    journal: str
    year: int
    doi: str
    volume: int | None = None
    pages: str | int | None = None
    letter: str = Field("", description="Tells sources of the same authors and year apart.")

    @property
    def short(self) -> str:
        """`Jumper et al. 2021`, for a text."""
        names = [author.split(",")[0].strip("{} ") for author in self.authors.split(" and ")]
        listed = f"{names[0]} et al." if len(names) > 2 else " and ".join(names)
        return f"{listed} {self.year}{self.letter}"


@functools.cache
def load() -> Mapping[str, Citation]:
    """All sources, by BibTeX key, in the order in which they are listed."""
    text = (house() / "resources" / "citations.yaml").read_text(encoding="utf-8")
    return {key: Citation.model_validate(entry) for key, entry in yaml.safe_load(text).items()}


def cited(used: Collection[str]) -> dict[str, Citation]:
    """The sources of what was used."""
    return {key: entry for key, entry in load().items() if set(entry.when) & set(used)}


def bibtex(entries: Iterable[tuple[str, Citation]]) -> str:
    """Entries for BibTeX or BibLaTeX, in UTF-8."""
    return "\n".join(_entry(key, item) for key, item in entries)


def table() -> str:
    """docs/citations.md."""
    lines = [
        "# What to cite",
        "",
        "A run's report, results/methods.md and results/citations.bib name what it used. This list is made",
        "from resources/citations.yaml: `snakefold methods --all > docs/citations.md`.",
        "",
    ]
    for item in load().values():
        where = f"{item.journal}{f' {item.volume}' if item.volume else ''}"
        pages = f", {str(item.pages).replace('--', '–')}" if item.pages else ""
        lines.append(
            f"- {item.for_}: {item.short.rsplit(' ', 1)[0]}, {where}{pages} ({item.year}). doi:{item.doi}"
        )
    return "\n".join(lines) + "\n"


def _entry(key: str, item: Citation) -> str:
    fields: dict[str, Any] = {
        "author": item.authors,
        # Braces keep a title's capitals.
        "title": f"{{{item.title.translate(_SPECIAL)}}}",
        "journal": item.journal,
        "volume": item.volume,
        "pages": item.pages,
        "year": item.year,
        "doi": item.doi,
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value is not None]
    return "\n".join([f"@article{{{key},", *lines, "}", ""])

"""A site to fetch from, and presets of small databases."""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from snakefold.msa.databases import known
from snakefold.msa.databases.known import Entry
from tests.data.site import Site, serving

# The makers of small databases are shared with tests/msa, which is no package.
sys.path.append(str(Path(__file__).parents[1] / "msa"))

FASTA = b"".join(
    b">sp|P%05d|X%d_HUMAN a protein\n%s\n" % (number, number, b"ACDEFGHIKLMNPQRSTVWY" * 4)
    for number in range(500)
)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as running:
        yield running


def preset(folder: Path, *databases: dict[str, Any]) -> list[Entry]:
    """Entries of a preset with these databases, their files in `folder`/root.

    Keys of downloads.yaml (prepare, urls, …) and of databases.yaml may be mixed; there are defaults.
    """
    of_downloads = {"publisher", "licence", "release", "prepare", "download", "urls", "md5", "keep", "index"}
    listed, downloads = [], {}
    for each in databases:
        own = {key: value for key, value in each.items() if key not in of_downloads}
        listed.append(
            {"tools": ["jackhmmer"], "format": "fasta", "gigabytes": 0.0001, "name": "small", **own}
        )
        source = {key: value for key, value in each.items() if key in of_downloads}
        if source:
            default = {
                "publisher": "p",
                "licence": "CC0",
                "release": "1",
                "prepare": "join",
                "download": 0.0001,
            }
            downloads[each["path"]] = {**default, **source}
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"tiny": {"description": "small", "root": "databases", "get": "nowhere", "databases": listed}}
    (folder / "databases.yaml").write_text(yaml.safe_dump(wanted))
    (folder / "downloads.yaml").write_text(yaml.safe_dump(downloads))
    _, entries = known.entries(
        "tiny", folder / "root", listing=folder / "databases.yaml", downloads=folder / "downloads.yaml"
    )
    return entries


def tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    """An archive of files and of symbolic links (name: target)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return stream.getvalue()

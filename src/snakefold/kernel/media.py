"""Media types of files, by their names."""

from __future__ import annotations

from pathlib import PurePosixPath

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".tsv": "text/tab-separated-values; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".bib": "application/x-bibtex; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
    ".pdb": "chemical/x-pdb",
    ".cif": "chemical/x-cif",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gz": "application/gzip",
    ".zst": "application/zstd",
    **dict.fromkeys((".txt", ".a3m", ".fasta", ".smk", ""), "text/plain; charset=utf-8"),
}


def content_type(name: str) -> str:
    """Media type of a file, that a bucket tells whoever asks for it."""
    return _TYPES.get(PurePosixPath(name).suffix.lower(), "application/octet-stream")

"""A compressed database that was cut fails the search: its first half would give one that looks whole."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import families
import pytest
import zstandard

from snakefold.kernel import streams
from snakefold.kernel.errors import SnakefoldError
from snakefold.msa import jackhmmer, mmseqs
from snakefold.msa.databases.presets import Preset, load_preset
from snakefold.msa.settings import MsaSettings


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("tool", ["jackhmmer", "mmseqs"])
def test_a_cut_database_is_not_searched(tmp_path: Path, tool: str, suffix: str) -> None:
    make: Callable[[bytes], bytes] = gzip.compress if suffix == ".gz" else zstandard.ZstdCompressor().compress
    demo = load_preset("demo").databases[0]
    whole = make(demo.path.read_bytes())
    path = tmp_path / f"swissprot.fasta{suffix}"
    database = replace(demo, path=path, files=(path,))
    preset = Preset("cut", tmp_path, (database,))
    settings = MsaSettings.model_validate({"tool": tool, "mmseqs_recipe": "simple"})
    chain = families.chain(families.UBIQUITIN)
    search = {"jackhmmer": jackhmmer.search, "mmseqs": mmseqs.search}[tool]
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(SnakefoldError, match="swissprot"):
        search([chain], preset, settings, tmp_path / "work", lambda _: None)
    with pytest.raises(SnakefoldError, match=r"ends? |end-of-stream"):
        list(streams.blocks_of(path))
    path.write_bytes(whole)
    found = search([chain], preset, settings, tmp_path / "work", lambda _: None)[chain.key]
    assert len(found[0].hits) > 140  # type: ignore[index,union-attr]

"""Designs of the first stage as the input of the second: chains in the file's order, no gaps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from snakefold.engines.designing import Designs
from snakefold.kernel.errors import SnakefoldError
from snakefold.run import methods
from snakefold.run.designs.made import read_made, write_sequences
from snakefold.run.designs.places import STAGE


def designs(**changed: Any) -> dict[str, Any]:
    """L comes before H in the file, H is designed, and each has a gap at its second position."""
    sample = {
        "sample": 1,
        "header": "T=0.1, sample=1",
        "sequence": "WXY",
        "chains": {"H": "WXY"},
        "score": 0.9,
        "global_score": 1.1,
        "temperature": 0.1,
        "seed": 0,
        "recovery": 0.5,
    }
    native = {name: sample[name] for name in ("header", "score", "global_score")}
    return {
        "settings": {"model_name": "v_48_020"},
        "designed_chains": ["H"],
        "fixed_chains": ["L"],
        "fixed_positions": {},
        "sequences": {"L": "AXC", "H": "DXE"},
        "numbering": {"L": ["1", "", "3"], "H": ["7", "", "9"]},
        "native": {**native, "sequence": "DXE", "chains": {"H": "DXE"}},
        "samples": [sample, {**sample, "sample": 2, "chains": {"H": "FXG"}}],
        **changed,
    }


def written(results: Path, backbone: str, content: dict[str, Any]) -> None:
    folder = results / STAGE / "structures" / backbone
    folder.mkdir(parents=True)
    (folder / "designs.json").write_text(Designs.model_validate(content).model_dump_json())


def test_a_design_is_folded_with_all_chains_in_the_files_order_and_without_gaps(tmp_path: Path) -> None:
    written(tmp_path, "fv", designs())
    first, second = read_made(tmp_path)
    assert (first.design, first.chains, first.sequence) == ("fv_t0.1_1", "L:H", "AC:WY")
    assert second.sequence == "AC:FG"
    assert write_sequences(tmp_path) == 2
    sheet = tmp_path / "designs" / "sequences.csv"
    assert sheet.read_text() == "id,sequence\nfv_t0.1_1,AC:WY\nfv_t0.1_2,AC:FG\n"
    before = sheet.stat().st_mtime_ns
    assert write_sequences(tmp_path) == 2
    assert sheet.stat().st_mtime_ns == before


def test_an_unknown_residue_is_no_gap(tmp_path: Path) -> None:
    written(tmp_path, "fv", designs(numbering={"L": ["1", "2", "3"], "H": ["7", "", "9"]}))
    assert read_made(tmp_path)[0].sequence == "AXC:WY"


def test_backbones_with_long_names_keep_designs_apart(tmp_path: Path) -> None:
    for ending in "ab":
        written(tmp_path, "x" * 99 + ending, designs())
    found = [each.design for each in read_made(tmp_path)]
    assert len(set(found)) == len(found) == 4
    assert all(len(name) <= 100 for name in found)


def test_nothing_designed_and_a_damaged_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(SnakefoldError, match="no sequence was designed"):
        read_made(tmp_path)
    written(tmp_path, "fv", designs())
    path = tmp_path / STAGE / "structures" / "fv" / "designs.json"
    path.write_text(json.dumps({"version": 1}))
    with pytest.raises(SnakefoldError, match=r"designs\.json: cannot be read"):
        read_made(tmp_path)


def test_methods_and_sources_are_those_of_both_stages() -> None:
    def provenance(engine: str, group: str, settings: dict[str, Any]) -> dict[str, Any]:
        made = {"engine": {"settings": settings, "version": "1"}}
        return {
            "snakefold": "1.0",
            "recipe": {"predictions": [{"engine": engine, "group": group, "recipe": made}]},
        }

    first = provenance("proteinmpnn", "conserved", {"model_name": "v_48_020", "use_soluble_model": True})
    both = {**provenance("flashabb", "antibody", {}), "design": first}
    text, sources = methods.paragraph(both), methods.bibtex(both)
    assert text.index("ProteinMPNN (v_48_020, soluble)") < text.index("flash-abb")
    assert "Jensen-Shannon" in text
    assert all(name in sources for name in ("dauparas2022", "capra2007", "ellmen2026"))
    assert "dauparas2022" not in methods.bibtex(provenance("flashabb", "antibody", {}))

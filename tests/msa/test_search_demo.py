"""The demo set: what it promises, and what its micro database gives."""

from __future__ import annotations

import json
from pathlib import Path

from snakefold.config import Config
from snakefold.kernel.errors import TargetError
from snakefold.kernel.paths import resource
from snakefold.kernel.recipes import sequence_key
from snakefold.molecules.targets import read_targets
from snakefold.msa import search
from snakefold.msa.databases.presets import load_preset
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

DEMO = resource("resources/demo")


def test_demo_set_is_as_described() -> None:
    config = Config()
    targets, refusals = read_targets(
        config.inputs, min_length=config.min_length, max_length=config.max_length
    )
    single = {target.chains[0] for target in targets if len(target.chains) == 1}
    complexes = [target.chains for target in targets if len(target.chains) == 2]
    assert len(single) >= 10
    assert all(30 <= target.length <= 150 for target in targets)
    assert sorted(len(set(chains)) for chains in complexes) == [1, 2]
    assert len(targets) == len({target.chains for target in targets}) + 1
    assert len(refusals) == 1
    assert "melittin" in refusals[0].header


def test_database_is_small() -> None:
    assert sum(path.stat().st_size for path in (DEMO / "database").iterdir()) <= 2_000_000


def test_most_targets_have_a_deep_msa(tmp_path: Path) -> None:
    targets, _ = read_targets([DEMO / "proteins.fasta"], min_length=16, max_length=5000)
    chains = list(dict.fromkeys(chain for target in targets for chain in target.chains))
    planned = [PlannedChain(key=sequence_key([chain]), sequence=chain) for chain in chains]
    lines: list[str] = []
    depths = []
    for _, files in search.search_chunk(
        planned, MsaSettings(), load_preset("demo"), work=tmp_path, log=lines.append
    ):
        assert not isinstance(files, TargetError)
        depths.append(json.loads(files["meta.json"])["depth"])
    assert sum(depth > 30 for depth in depths) > len(depths) / 2
    assert any("one pass over" in line for line in lines)

"""Templates in the plan: what the store has of a chain and what it lacks, in which chunk, at what cost."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning import table
from sequence_files import CRN, UBQ, write

from snakefold.config import load_config
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, open_store
from snakefold.kernel.wording import count
from snakefold.msa.databases.presets import only
from snakefold.msa.planned import read_chunk
from snakefold.plan.cost.model import CostModel
from snakefold.plan.draft import Draft
from snakefold.plan.files import read_batch
from snakefold.plan.planner import make_plan
from snakefold.plan.present import Recipes
from snakefold.plan.preview import preview
from snakefold.plan.simulate.prices import prices_of
from snakefold.plan.simulate.source import from_plan

MSA, PAIRED, TEMPLATES = ("1" * 16, "2" * 16, "3" * 16)
RECIPES = Recipes([letter * 16 for letter in "abcd"], MSA, PAIRED, [True] * 4, templates=TEMPLATES)
ALONE = [UBQ, CRN, UBQ[:40]]
PAIR = [UBQ[10:60], CRN[:30]]
SET = "".join(f">t{i}\n{text}\n" for i, text in enumerate([*ALONE, ":".join(PAIR)]))
#: AlphaFold's databases, priced by their published sizes.
SETTINGS = {"db_preset": "reduced_dbs", "templates": "hmmsearch"}


def plan(folder: Path, store: Store | None, recipes: Recipes = RECIPES, **msa: Any) -> Draft:
    path = write(folder, "set.fasta", SET)
    config = load_config({"input": str(path), "msa": {**SETTINGS, **msa}})
    return make_plan(config, folder / "plan", name=lambda _: recipes, store=store)


def fill(store: Store, has: Mapping[str, set[str]]) -> None:
    for chain, parts in has.items():
        for part in parts:
            recipe = TEMPLATES if part == "templates" else PAIRED if chain in PAIR else MSA
            store.put(Entry(part, recipe, sequence_key([chain])), b"-")


@settings(max_examples=25, deadline=None)
@given(
    st.fixed_dictionaries(
        {chain: st.sets(st.sampled_from(["msa", "templates"])) for chain in (*ALONE, *PAIR)}
    )
)
def test_chunks_hold_exactly_what_the_store_lacks(has: dict[str, set[str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = open_store(folder / "store")
        fill(store, has)
        made = plan(folder, store)
        lacks = {chain: {"msa", "templates"} - parts for chain, parts in has.items() if len(parts) < 2}
        listed = {row["key"]: row for row in table(folder / "plan" / "chains.tsv")}
        assert {key: set(row["missing"].split(",")) for key, row in listed.items()} == {
            sequence_key([chain]): parts for chain, parts in lacks.items()
        }
        planned = [chain for chunk in made.chunks for chain in chunk.chains]
        assert sorted(planned) == sorted(lacks)
        for chunk in made.chunks:
            assert all(set(chunk.missing) == lacks[chain] for chain in chunk.chains)
            assert {chain in PAIR for chain in chunk.chains} == {chunk.pairing}
            written = read_chunk(folder / "plan", chunk.name)
            asked = TEMPLATES if "templates" in chunk.missing else None
            assert (written.templates, written.recipe) == (asked, PAIRED if chunk.pairing else MSA)
        for chunk in made.chunks:
            lengths = [len(chain) for chain in chunk.chains]
            searched = only(load_config({"msa": SETTINGS}).msa, *chunk.missing)
            expected = CostModel().msa_seconds(lengths, searched, pairing=chunk.pairing).sum()
            start = CostModel().msa_chunk_seconds(searched, pairing=chunk.pairing)
            assert chunk.cpu_seconds == pytest.approx(expected + start)
        text = str(made)
        assert f"; {count(sum('msa' in parts for parts in lacks.values()), 'chain')} to align" in text
        number = sum("templates" in parts for parts in lacks.values())
        assert (f"{number} to search templates for" in text) == (number > 0)


def test_templates_alone_are_cheap_and_said_to_be_missing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    whole = plan(tmp_path, store)
    fill(store, {chain: {"msa"} for chain in (*ALONE, *PAIR)})
    made = plan(tmp_path, store)
    cheap, dear = (sum(chunk.cpu_seconds for chunk in each.chunks) for each in (made, whole))
    assert 0 < cheap < dear / 100
    reasons = {row["id"]: row["reason"] for row in table(tmp_path / "plan" / "targets.tsv")}
    assert all(reason.endswith("its templates are to be searched") for reason in reasons.values())
    # Whoever predicts waits for the chunk that searches them.
    for path in (tmp_path / "plan" / "batches").iterdir():
        batch = read_batch(tmp_path / "plan", path.stem)
        assert batch.templates == TEMPLATES
        assert batch.chunks
    fill(store, {chain: {"templates"} for chain in (*ALONE, *PAIR)})
    assert not plan(tmp_path, store).chunks
    # Switched off, they are nobody's concern, stored or not.
    without = dataclasses.replace(RECIPES, templates=None)
    assert not plan(tmp_path, store, without, templates="none").chunks
    batch = read_batch(tmp_path / "plan", next((tmp_path / "plan" / "batches").iterdir()).stem)
    assert batch.templates is None


def test_a_simulated_plan_takes_what_the_plan_says(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    fill(store, {UBQ: {"msa"}, CRN: {"templates"}, PAIR[0]: {"msa"}})
    made = plan(tmp_path, store)
    config = load_config({"input": str(tmp_path / "set.fasta"), "msa": SETTINGS})
    prices = prices_of(config, CostModel(), {gpu.name: gpu for gpu in made.classes}, rehearsal=True)
    simulated = from_plan(tmp_path / "plan", prices)
    assert sorted(simulated.searches) == pytest.approx(sorted(chunk.cpu_seconds for chunk in made.chunks))


def test_a_price_without_databases_counts_templates(tmp_path: Path) -> None:
    write(tmp_path, "set.fasta", SET)
    hours = {}
    for tool in ("none", "hhsearch"):
        config = load_config(
            {
                "input": str(tmp_path / "set.fasta"),
                "msa": {**SETTINGS, "db_root": str(tmp_path / "empty"), "templates": tool},
                "store": str(tmp_path / "store"),
                "weights": "rehearsal",
            }
        )
        said: list[str] = []
        hours[tool] = preview(config, tmp_path / tool, said.append).msa_cpu_hours.expected
        assert any("to search templates for" in line for line in said) == (tool == "hhsearch")
    # 0.6 CPU seconds a residue of every chain (docs/costs.md).
    residues = sum(map(len, (*ALONE, *PAIR)))
    assert 3600 * (hours["hhsearch"] - hours["none"]) == pytest.approx(0.6 * residues, rel=0.01)


def test_an_engine_that_reads_no_templates_has_none_searched(tmp_path: Path) -> None:
    path = write(tmp_path, "set.yaml", f"version: 1\nsequences:\n- protein: {{id: A, sequence: {UBQ}}}\n")
    config = load_config({"input": str(path), "engine": "boltz2", "msa": SETTINGS})
    made = make_plan(config, tmp_path / "plan", name=lambda _: RECIPES)
    (file,) = (tmp_path / "plan" / "batches").iterdir()
    batch = read_batch(tmp_path / "plan", file.stem)
    # A request of it would wait for what nobody searches.
    assert batch.templates is None
    assert [read_chunk(tmp_path / "plan", chunk.name).templates for chunk in made.chunks] == [None]

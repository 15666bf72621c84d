"""Settings: every mistake is named by where it is, and nothing a file can hold gets past."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from snakefold import engines
from snakefold.config import Config, Settings, load_config, read_config
from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import ConfigError

ROOT = Path(__file__).parents[2]


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_projects_own_file_is_right() -> None:
    config = read_config(ROOT / "config" / "config.yaml")
    assert config.inputs
    assert all((ROOT / path).exists() for path in config.inputs)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, "# nothing\n")) == Config()


def test_settings_survive_being_written_and_read(tmp_path: Path) -> None:
    config = load_config({"msa": {"max_template_date": "2020-05-14"}, "references": {"a": "b.pdb"}})
    text = yaml.safe_dump(config.model_dump(mode="json"))
    assert read_config(write(tmp_path, text)) == config


def test_unquoted_dates_are_dates(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, "msa: {max_template_date: 2020-05-14}\n"))
    assert config.msa.max_template_date == "2020-05-14"


def test_no_engine_may_be_called_as_a_setting() -> None:
    """The floor of the engines cannot read them, so it has their names."""
    members = {*dir(Settings), *Settings.model_fields} - {*dir(Model)}
    assert {name for name in members if not name.startswith("_")} == engines.SETTINGS


def test_one_path_or_several() -> None:
    assert load_config({"input": "a"}).inputs == [Path("a")]
    assert load_config({"input": ["a", "b"]}).inputs == [Path("a"), Path("b")]


WRONG = {
    "unknown name": ("enginee: alphafold2", "enginee: no such setting. Did you mean engine"),
    "unknown name inside": ("msa: {tol: x}", "msa.tol: no such setting. Did you mean msa.tool?"),
    "unknown value": (
        "engine: rosetta",
        "engine: no such engine is installed; there are af3, alphafold2, boltz2, esmfold, flashabb",
    ),
    "number expected": ("min_length: long", "min_length: expected a whole number (found 'long')"),
    "fraction": ("batch: {max_targets: 1.5}", "batch.max_targets"),
    "too small": ("batch: {max_targets: 0}", "batch.max_targets: expected at least 1 (found 0)"),
    "no section": ("msa:", "msa: expected a section: `name: value` lines"),
    "no input": ("input: []", "input: at least one file"),
    "empty input": ("input: ''", "input: at least one file"),
    "empty input among others": ("input: [a, '']", "none may be empty"),
    "results in the root": ("results: /", "results: the name of a folder"),
    "results nowhere": ("results: ''", "results: a path is expected"),
    "null for the results": ("results: 'null'", "results: a path is expected"),
    "null for an input": ("input: [a, 'null']", "input: a path is expected"),
    "newline in a path": ('weights: "a\\nb"', "weights: the path has characters"),
    "wildcard in an input": ("input: [a, 'b{c}.fasta']", "rename 'b{c}.fasta'"),
    "wildcard in results": ("results: 'a{b}'", "without { and }"),
    "newline in the store": ('store: "a\\nb"', "store: the path has characters"),
    "limits swapped": ("{min_length: 5, max_length: 4}", "min_length 5 is above max_length 4"),
    "no such model": ("alphafold2: {models: [6]}", "alphafold2.models.0"),
    "model twice": ("alphafold2: {models: [1, 1]}", "a model is named twice"),
    "no model": ("rehearsal: {models: []}", "rehearsal.models: expected at least 1 in the list (found [])"),
    "no date": ("msa: {max_template_date: yesterday}", "msa.max_template_date: "),
    "no such day": ("msa: {max_template_date: '2020-13-45'}", "month must be in 1..12"),
    "no such day, unquoted": ("msa: {max_template_date: 2020-13-45}", "month must be in 1..12"),
    "a misspelt engine": ("engine: alphafold", "did you mean alphafold2?"),
    "several types": (
        "gpu: {workers: many}",
        "gpu.workers: expected a whole number or a section: `name: value` lines below it, or {}",
    ),
    "of several words": ("relax: {models_to_relax: bst}", "expected 'none', 'best' or 'all' (found 'bst')"),
    "bad edge": ("batch: {bucket_edges: [0]}", "batch.bucket_edges.0"),
    "a list": ("- a", "expected settings as `name: value` lines"),
    "a word": ("a", "expected settings as `name: value` lines"),
    "number as name": ("1: 2", "1: Keys should be strings"),
    "no YAML": ("a: [", "cannot be read as YAML"),
    "object": ("input: !!python/object:os.system x", "cannot be read as YAML"),
    "brackets without end": ("[" * 5000, "cannot be read as YAML"),
    "NUL": ("a: \0", "cannot be read as YAML"),
    "UTF-16": ("a: b".encode("utf-16"), "cannot be read as YAML"),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG.keys())
def test_mistakes_are_named(text: str | bytes, says: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        read_config(path)
    assert str(error.value).startswith(f"{path}: ")
    assert says in str(error.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        read_config(tmp_path / "nowhere.yaml")


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError, match=r"3 wrong settings") as error:
        load_config({"a": 1, "msa": {"b": 2}, "min_length": 0})
    assert all(name in str(error.value) for name in ("  a: ", "  msa.b: ", "  min_length: "))


settings = st.dictionaries(
    st.sampled_from([*Config.model_fields, "other"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
        max_leaves=4,
    ),
)


@given(settings)
def test_any_mapping_is_taken_or_refused(values: dict[str, object]) -> None:
    try:
        config = load_config(values)
    except ConfigError:
        return
    assert config.min_length <= config.max_length
    assert all(str(path) for path in config.inputs)


def test_home_is_meant_by_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    given = {
        "input": ["~/a.fasta", "~b.fasta", "x/~"],
        "results": "~/r",
        "store": "~/s",
        "weights": "~/w",
        "reuse": ["~/c"],
        "references": {"a": "~/a.pdb"},
        "calibration": "~/c.json",
        "msa": {"db_root": "~"},
        "gpu": {"table": "~/g.yaml"},
    }
    config = load_config(given)
    assert config.input == ["/home/me/a.fasta", "~b.fasta", "x/~"], "a name may begin with it"
    assert (config.results, config.store, config.weights) == ("/home/me/r", "/home/me/s", "/home/me/w")
    assert (config.reuse, config.references) == (["/home/me/c"], {"a": "/home/me/a.pdb"})
    assert (config.calibration, config.msa.db_root) == ("/home/me/c.json", "/home/me")
    assert config.gpu.table == "/home/me/g.yaml"


def test_null_means_that_nothing_is_given() -> None:
    words = {"store": "null", "budget": "null", "msa": {"db_root": "null"}, "gpu": {"table": ""}}
    assert load_config(words) == Config()


def test_no_path_is_taken_for_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_config({"results": "-out", "weights": "-w"})
    assert (config.results, config.store) == (f"{tmp_path}/-out", f"{tmp_path}/-out/store")
    assert config.weights == f"{tmp_path}/-w"


def test_the_store_is_in_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config({"results": "out"}).store == "out/store"
    assert load_config({"results": "out", "store": "shared"}).store == "shared"


def test_a_store_of_the_version_before_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default was results/store wherever the results were."""
    monkeypatch.chdir(tmp_path)
    entry = "fold/0123456789abcdef/01"
    (tmp_path / "results" / "store" / entry).mkdir(parents=True)
    assert load_config({"results": "out"}).store == "results/store"
    (tmp_path / "out" / "store" / entry).mkdir(parents=True)
    assert load_config({"results": "out"}).store == "out/store"


def test_what_is_written_beside_structures_plans_no_older_run_again() -> None:
    """Older results were made without the setting: its default is no part of what a run depends on."""
    assert "output" not in load_config({}).model_dump(mode="json")
    wanted = load_config({"output": {"pae_json": True}})
    assert wanted.model_dump(mode="json")["output"] == {"pae_json": True}
    assert load_config(wanted.model_dump(mode="json")) == wanted


def test_conserved_positions_need_alignments() -> None:
    design = {"engine": "proteinmpnn", "conserved": [0, 0.3]}
    with pytest.raises(ConfigError, match=r"design\.conserved: positions are conserved in an alignment"):
        load_config({"design": design, "msa": {"tool": "single_sequence"}})
    load_config({"design": design, "msa": {"tool": "jackhmmer"}})
    load_config({"design": {**design, "conserved": [0]}, "msa": {"tool": "single_sequence"}})

"""Settings, and what a run says at its start when they will not do."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import command, environment, prepare, run
from snakemake_interface_common.exceptions import WorkflowError

from snakefold.clusters.emulator import NO_ACCESS_KEY, EmulatorThread, StubWorkers
from snakemake_executor_plugin_runpod.settings import ExecutorSettings, configure, read_endpoints


def test_endpoints_from_pairs_and_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "endpoints.yaml"
    path.write_text("endpoints:\n  fold: abc\n  fold-h100: {id: def, workers: 3}\n")
    assert read_endpoints([str(path), "msa=ghi"]) == {"fold": "abc", "fold-h100": "def", "msa": "ghi"}
    settings = configure(ExecutorSettings(endpoints=[str(path)]), {"RUNPOD_API_KEY": "rpa_x"})
    assert settings.endpoint_of("fold", "h100") == "def"
    assert settings.endpoint_of("fold", "a40") == "abc"
    assert "rpa_x" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "environment", "says"),
    [
        ({}, {}, "RUNPOD_API_KEY"),
        ({}, {"RUNPOD_API_KEY": "a b"}, "RUNPOD_API_KEY"),
        ({"endpoints": []}, {}, "RUNPOD_API_KEY"),
        ({"endpoints": []}, {"RUNPOD_API_KEY": "k"}, "--runpod-endpoints"),
        ({"endpoints": ["fold=../../x"]}, {"RUNPOD_API_KEY": "k"}, "not an endpoint id"),
        ({"endpoints": ["nofile.yaml"]}, {"RUNPOD_API_KEY": "k"}, "nofile.yaml"),
        ({"base_url": "http://example.org"}, {"RUNPOD_API_KEY": "k"}, "https"),
        ({"base_url": "https://user:pw@example.org"}, {"RUNPOD_API_KEY": "k"}, "password"),
        ({"transfer": "s3"}, {"RUNPOD_API_KEY": "k"}, "--runpod-bucket"),
        ({"transfer": "volume"}, {"RUNPOD_API_KEY": "k"}, "--runpod-volume"),
        ({"volume": "v1"}, {"RUNPOD_API_KEY": "k"}, "--runpod-datacenter"),
        ({"volume": "v1", "datacenter": "EU-RO-1"}, {"RUNPOD_API_KEY": "k"}, "RUNPOD_S3_ACCESS_KEY_ID"),
        ({"poll_interval": 0.0}, {"RUNPOD_API_KEY": "k"}, "poll-interval"),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, object], environment: dict[str, str], says: str) -> None:
    with pytest.raises(WorkflowError, match=says):
        configure(ExecutorSettings(**{"endpoints": ["fold=abc"], **given}), environment)


def test_a_missing_file_of_endpoints_names_what_writes_it(tmp_path: Path) -> None:
    missing = str(tmp_path / "endpoints.lock.yaml")
    with pytest.raises(WorkflowError, match="snakefold deploy apply"):
        configure(ExecutorSettings(endpoints=[missing]), {"RUNPOD_API_KEY": "k"})


@pytest.mark.parametrize(
    ("key", "endpoint", "says"),
    [
        (None, "fold", "RUNPOD_API_KEY is not set"),
        (NO_ACCESS_KEY, "fold", "RUNPOD_API_KEY"),
        ("rpa_wrong", "fold", "401"),
        ("rpa_EMULATOR", "gone", "knows no endpoint"),
    ],
)
def test_a_run_that_cannot_work_ends_before_it_begins(
    tmp_path: Path, key: str | None, endpoint: str, says: str
) -> None:
    with EmulatorThread({"fold": StubWorkers()}) as service:
        prepare(tmp_path, 2)
        arguments = command(tmp_path, service.url, 2)
        arguments[arguments.index("fold=fold")] = f"fold={endpoint}"
        code, text = run(tmp_path, arguments, environment(tmp_path, key))
    assert code == 1 and says in text, text
    assert service.emulator.jobs == []

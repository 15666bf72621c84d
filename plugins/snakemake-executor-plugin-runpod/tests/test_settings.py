"""Settings, and what a run says at its start when they will not do."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import command, environment, prepare, result, run
from snakemake_interface_common.exceptions import WorkflowError
from tests.emulator import NO_ACCESS_KEY, EmulatorThread, Scaling, StubWorkers
from workers import SmallWorker

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


def test_a_service_that_is_down_and_a_fallback(tmp_path: Path) -> None:
    prepare(tmp_path, 2)
    snakefile = tmp_path / "Snakefile"
    snakefile.write_text(
        snakefile.read_text().replace("exit 1 # runs on RunPod", "cat {input.data} > {output}")
    )
    arguments = command(tmp_path, "http://127.0.0.1:9", 2, "--runpod-patience", "0.5")
    code, text = run(tmp_path, arguments, environment(tmp_path))
    assert code == 1 and "cannot be reached" in text, text
    code, text = run(tmp_path, [*arguments, "--runpod-fallback", "local"], environment(tmp_path))
    assert code == 0 and "run on this machine" in text, text
    assert (tmp_path / "out/1.bin").read_text() == "data of 1"


def test_a_budget_stops_submissions_and_lists_what_was_left_out(tmp_path: Path) -> None:
    worker = SmallWorker()
    endpoint = {
        "workers": StubWorkers(worker, worker.seconds),
        "scaling": Scaling(workers_min=1, workers_max=1),
    }
    with EmulatorThread({"fold": endpoint}) as service:
        # A job is put by for with 2 minutes at $0.001 a second: $0.12; one runs for about a second: $0.0015.
        prepare(tmp_path, 6, 1.0)
        arguments = command(tmp_path, service.url, 6, "--keep-going", "--runpod-budget", "0.123")
        code, text = run(tmp_path, arguments, environment(tmp_path))
        assert code == 1 and "left out for the budget" in text, text
        paid = sum(round(job.finished - job.started, 3) for job in service.jobs)
        made = len(list((tmp_path / "out").glob("*.bin")))
        assert 0 < made < 6 and len(service.jobs) == made
        # Seconds that the worker told as its start are in the bill as well: half a second each.
        assert (paid + 0.5 * made) * 0.001 <= 0.123
        # The next run goes on with the account that was not closed, and may spend more with a higher budget.
        code, text = run(
            tmp_path, command(tmp_path, service.url, 6, "--runpod-budget", "1"), environment(tmp_path)
        )
        assert code == 0, text
        assert len(service.jobs) == 6
    assert (tmp_path / "out/5.bin").read_bytes() == result(5, 1.0)


@pytest.mark.parametrize("given", ["0.001", "None"])
def test_a_budget_needs_prices_and_core_rounds_numbers_away(tmp_path: Path, given: str) -> None:
    worker = SmallWorker()
    with EmulatorThread({"fold": StubWorkers(worker, worker.seconds)}) as service:
        prepare(tmp_path, 1)
        snakefile = tmp_path / "Snakefile"
        snakefile.write_text(snakefile.read_text().replace('"0.001"', given))
        code, text = run(
            tmp_path, command(tmp_path, service.url, 1, "--runpod-budget", "1"), environment(tmp_path)
        )
    assert code == 1 and "dollars_per_second" in text, text

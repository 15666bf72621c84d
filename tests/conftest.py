"""Marks, and what a test needs: skipped with the command that installs it, or, in CI, a failure."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Nothing is held against the clock, for the machine may be busy; and what is drawn is the same in every run,
# so that only a change makes a test fail. `--hypothesis-profile exploring` draws anew.
_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("exploring", **_UNTIMED)
settings.register_profile("repeatable", **_UNTIMED, derandomize=True)
settings.load_profile("repeatable")

# A script's background ignores Ctrl-C, and children inherit that: here it is sent to many of them.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_INSTALL = {
    "hhblits": "apt-get install hhsuite",
    "chromium": "apt-get install chromium",
    "redis-server": "apt-get install redis-server",
    "systemd-analyze": "apt-get install systemd",
    "libcifpp-data": "apt-get install libcifpp-data",
    "root": "run the tests as root",
    **{name: f"snakefold engines install {name}" for name in ("af3", "boltz2", "esmfold")},
    **dict.fromkeys(("slurmctld", "slurmd", "munged"), "apt-get install slurm-wlm munge"),
    **dict.fromkeys(("slurmdbd", "mariadbd"), "apt-get install slurmdbd mariadb-server"),
    **dict.fromkeys(
        ("buildah", "podman", "runc", "mmdebstrap"), "apt-get install buildah podman runc mmdebstrap"
    ),
}

#: Whose files take minutes each, the longest first.
_LONG = ("slurm", "images", "s3", "e2e", "kubernetes")


@pytest.fixture(scope="session")
def flashabb_weights() -> Path:
    """The weights folder of `weights: auto`, with flash-abb's parameters: fetched as `make test` does."""
    from snakefold.cli import main
    from snakefold.engines.weights_folder import fetch_folder

    folder = fetch_folder()
    assert main(["weights", "fetch", "flashabb", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def proteinmpnn_weights() -> Path:
    """The weights folder of `weights: auto`, with ProteinMPNN's parameters: fetched as `make test` does."""
    from snakefold.cli import main
    from snakefold.engines.weights_folder import fetch_folder

    folder = fetch_folder()
    assert main(["weights", "fetch", "proteinmpnn", str(folder)]) == 0
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: begun last, one of them would be waited for when all others are done."""
    order = {folder: place for place, folder in enumerate(_LONG)}
    items.sort(key=lambda item: order.get(item.path.parent.name, len(order)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if _is_there(name):
                continue
            message = f"needs {name}: {_INSTALL.get(name, name)}"
            if os.environ.get("SNAKEFOLD_ALLOW_NO_SKIP"):
                pytest.fail(message, pytrace=False)
            pytest.skip(message)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests measured, beside whether they passed."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid}: {name}: {value}")


def _is_there(name: str) -> bool:
    if name == "root":
        return os.geteuid() == 0
    if name == "libcifpp-data":
        return Path("/usr/share/libcifpp/mmcif_ma.dic").is_file()
    if name in ("af3", "boltz2", "esmfold"):
        from snakefold import engines
        from snakefold.engines.environments import place_of

        return place_of(engines.get(name)).prefix is not None
    return bool(shutil.which(name) or importlib.util.find_spec(name.replace("-", "_")))

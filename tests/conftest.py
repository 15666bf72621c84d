"""Marks, and what a test needs: skipped with the command that installs it, or, in CI, a failure."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

# Nothing is held against the clock: the machine may be busy.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

_INSTALL = {
    "hhblits": "apt-get install hhsuite",
    "chromium": "apt-get install chromium",
    "flash_abb": "make antibody",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if shutil.which(name) or importlib.util.find_spec(name.replace("-", "_")):
                continue
            message = f"needs {name}: {_INSTALL.get(name, name)}"
            if os.environ.get("SNAKEFOLD_ALLOW_NO_SKIP"):
                pytest.fail(message, pytrace=False)
            pytest.skip(message)

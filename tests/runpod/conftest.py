"""Fixtures of these tests."""

from __future__ import annotations

import pytest

from .deploying import account


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    with account(tmp_path, monkeypatch, capsys) as made:
        yield made

"""Tokens: what is kept of them, and when they stop working."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from snakefold.cli import main
from snakefold.kernel.errors import ConfigError
from snakefold.service.settings import read_settings
from snakefold.service.users import LOCAL, Quota, User, Users, add_token, digest, remove_tokens

ADA = User(user="ada", priority=3, quota=Quota(residues_per_day=1000))


def today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def test_the_file_has_digests_only_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    token = add_token(path, ADA)
    assert token not in path.read_text()
    assert token.removeprefix("sf_") not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert Users(path).who(token) == ADA


def test_an_expired_token_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    last = add_token(path, ADA, today())
    past = add_token(path, ADA, today() - datetime.timedelta(days=1))
    users = Users(path)
    assert users.who(last) == ADA
    assert users.who(past) is None


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    first = add_token(path, ADA)
    users = Users(path)
    assert users.who(first) == ADA
    bob = add_token(path, User(user="bob"))
    second = add_token(path, ADA)
    assert [getattr(users.who(each), "user", None) for each in (first, bob, second)] == ["ada", "bob", "ada"]
    assert remove_tokens(path, "ada") == 2
    assert [getattr(users.who(each), "user", None) for each in (first, bob, second)] == [None, "bob", None]


def test_a_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    token = add_token(path, ADA)
    users = Users(path)
    assert users.who(token) == ADA
    path.write_text("tokens: [{user: ada")
    with pytest.raises(ConfigError):
        users.who(token)
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        users.who(token)


@given(st.text(max_size=60))
def test_whatever_is_given_is_no_token(tmp_path_factory: pytest.TempPathFactory, given: str) -> None:
    path = tmp_path_factory.getbasetemp() / "tokens.yaml"
    if not path.exists():
        add_token(path, ADA)
    known = yaml.safe_load(path.read_text())["tokens"][0]["sha256"]
    users = Users(path)
    for each in (given, known, "\ud800" + given, "", None):
        assert users.who(each) is None


def test_without_a_file_there_is_one_user(tmp_path: Path) -> None:
    assert Users(None).who(None) is LOCAL
    with pytest.raises(ConfigError, match="Make tokens first"):
        read_settings(None, {"host": "0.0.0.0"})  # noqa: S104
    read_settings(None, {"host": "0.0.0.0", "tokens": tmp_path / "tokens.yaml"})  # noqa: S104


@pytest.mark.parametrize("name", ["", "-ada", "a/b", "a b", "../ada", "ada\n", "x" * 65])
def test_what_is_no_name_is_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tokens.yaml"
    assert main(["tokens", "add", "--file", str(path), f"--user={name}"]) != 0
    assert not path.exists()


def test_the_command_adds_lists_and_removes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tokens.yaml"
    file = ["--file", str(path)]
    assert main(["tokens", "add", *file, "--user", "ada", "--dollars-per-day", "5", "--priority", "2"]) == 0
    token = capsys.readouterr().out.strip()
    user = Users(path).who(token)
    assert user is not None
    assert (user.user, user.priority, user.quota.dollars_per_day, user.admin) == ("ada", 2, 5, False)
    assert main(["tokens", "list", *file]) == 0
    assert capsys.readouterr().out == f"{digest(token)[:8]}  ada: priority 2, $5 a day\n"
    assert main(["tokens", "remove", *file, "--user", "ada"]) == 0
    assert Users(path).who(token) is None
    assert main(["tokens", "remove", *file, "--user", "ada"]) == 1


def test_what_a_user_may_is_the_users_not_a_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    quota = Quota(residues_per_day=300, dollars_per_day=5)
    first = add_token(path, User(user="ada", priority=3, quota=quota))
    second = add_token(path, User(user="ada"))
    for token in (first, second):
        assert Users(path).who(token) == User(user="ada", priority=3, quota=quota)
    third = add_token(path, User(user="ada", quota=Quota(dollars_per_day=9)))
    for token in (first, second, third):
        user = Users(path).who(token)
        assert user is not None
        assert (user.priority, user.quota) == (3, Quota(residues_per_day=300, dollars_per_day=9))


def test_one_token_is_removed_by_the_beginning_of_its_digest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tokens.yaml"
    file = ["--file", str(path)]
    first, second = add_token(path, ADA), add_token(path, ADA)
    assert main(["tokens", "remove", *file, "--user", "ada", "--token", digest(first)[:8]]) == 0
    assert Users(path).who(first) is None
    assert Users(path).who(second) == ADA
    assert main(["tokens", "remove", *file, "--user", "bob", "--token", digest(second)[:8]]) == 1
    assert Users(path).who(second) == ADA


def test_the_file_stays_whose_it_was(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    add_token(path, ADA)
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 0, 65534)
    before = path.stat()
    add_token(path, User(user="bob"))
    remove_tokens(path, "ada")
    now = path.stat()
    assert (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert [each.name for each in tmp_path.iterdir()] == ["tokens.yaml"]

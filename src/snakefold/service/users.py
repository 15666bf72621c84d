"""Who may call the service: tokens in a file, of which only digests are kept."""

from __future__ import annotations

import datetime
import hashlib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from snakefold.config import read_settings as read_yaml
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.store import write_atomically
from snakefold.service.settings import checked

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


class Quota(BaseModel):
    """What a user may spend a day (UTC); None: as much as there is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    residues_per_day: int | None = Field(None, ge=0, description="Residues of sets and jobs.")
    dollars_per_day: float | None = Field(None, ge=0, description="Dollars of sets, by their quotes.")


class User(BaseModel):
    """One user, and what the user may do.

    Attributes:
        priority: of two that wait, the one with the higher priority goes first.
        admin: may read /metrics and purge queues.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str = Field(pattern=rf"^{NAME.pattern}$")
    priority: int = Field(0, ge=-100, le=100)
    quota: Quota = Quota()
    admin: bool = False


class _Token(User):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    expires: datetime.date | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tokens: tuple[_Token, ...] = ()


#: Where there are no tokens: whoever can open a connection to loopback.
LOCAL = User(user="local", admin=True)


@dataclass
class Users:
    """Tokens of a file, which is read again when it changes; without a file, everybody is `LOCAL`."""

    path: Path | None
    _read: tuple[int, int] | None = None
    _known: dict[str, _Token] | None = None

    def who(self, token: str | None) -> User | None:
        """The user of a token; None if there is none.

        Raises:
            ConfigError: the file of tokens cannot be read.
        """
        if self.path is None:
            return LOCAL
        self._refresh(self.path)
        # What is compared is a digest: how long that takes tells nothing of a token.
        found = (self._known or {}).get(digest(token)) if token else None
        if found is None or (found.expires and found.expires < datetime.datetime.now(datetime.UTC).date()):
            return None
        return User.model_validate(found.model_dump(include=set(User.model_fields)))

    def _refresh(self, path: Path) -> None:
        try:
            stat = path.stat()
        except OSError as error:
            raise ConfigError(f"{path}: the tokens cannot be read ({error.strerror}).") from error
        now = (stat.st_mtime_ns, stat.st_ino)
        if now != self._read:
            self._known = {token.sha256: token for token in read_tokens(path)}
            self._read = now


def digest(token: str) -> str:
    """What is kept of a token. It is random and long: no salt and no slow hash could add to it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_tokens(path: Path) -> list[_Token]:
    """The tokens of a file.

    Raises:
        ConfigError: it is no such file.
    """
    return list(checked(_File, read_yaml(path), str(path)).tokens)


def add_token(path: Path, user: User, expires: datetime.date | None = None) -> str:
    """A new token of a user, which is in the file as a digest and is told this once.

    A user may have several: a new one is given out before the old one is removed.
    """
    token = f"sf_{secrets.token_urlsafe(32)}"
    known = read_tokens(path) if path.exists() else []
    entry = _Token(**user.model_dump(), sha256=digest(token), expires=expires)
    _write(path, [*known, entry])
    return token


def remove_tokens(path: Path, user: str) -> int:
    """Remove all tokens of a user; how many there were."""
    known = read_tokens(path)
    left = [token for token in known if token.user != user]
    _write(path, left)
    return len(known) - len(left)


def _write(path: Path, tokens: list[_Token]) -> None:
    content: dict[str, Any] = {
        "tokens": [token.model_dump(mode="json", exclude_defaults=True) for token in tokens]
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    write_atomically(path, text.encode())
    path.chmod(0o600)

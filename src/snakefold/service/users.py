"""Who may call the service: tokens in a file, of which only digests are kept."""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from snakefold.config import read_settings as read_yaml
from snakefold.kernel.errors import ConfigError
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
        admin: may read /metrics.
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

    Priority, quota and rights are a user's, whichever token is given. What is set in `user` holds for all
    tokens of that user from now on; what is not set stays as it was.

    Raises:
        ConfigError: the file is none of tokens.
    """
    token = f"sf_{secrets.token_urlsafe(32)}"
    known = read_tokens(path) if path.exists() else []
    before = next((each for each in known if each.user == user.user), None)
    now = user
    if before is not None:
        quota = before.quota.model_copy(update=user.quota.model_dump(exclude_unset=True))
        changes = {name: getattr(user, name) for name in user.model_fields_set - {"user", "quota"}}
        kept = {name: getattr(before, name) for name in User.model_fields}
        now = User(**{**kept, **changes, "quota": quota})
    shared = {name: getattr(now, name) for name in User.model_fields}
    others = [each.model_copy(update=shared) if each.user == user.user else each for each in known]
    _write(path, [*others, _Token(**shared, sha256=digest(token), expires=expires)])
    return token


def remove_tokens(path: Path, user: str, beginning: str = "") -> int:
    """Remove tokens of a user whose digests begin so, all of them if it is empty; how many there were."""
    known = read_tokens(path)
    left = [each for each in known if each.user != user or not each.sha256.startswith(beginning)]
    _write(path, left)
    return len(known) - len(left)


def _write(path: Path, tokens: list[_Token]) -> None:
    """Write the file whole. It stays whose it was: the service may run as another user than its keeper."""
    content: dict[str, Any] = {
        "tokens": [token.model_dump(mode="json", exclude_defaults=True) for token in tokens]
    }
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            with suppress(FileNotFoundError):
                before = path.stat()
                now = os.fstat(stream.fileno())
                if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
                    os.fchown(stream.fileno(), before.st_uid, before.st_gid)
                os.fchmod(stream.fileno(), stat.S_IMODE(before.st_mode))
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

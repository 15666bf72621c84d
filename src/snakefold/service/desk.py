"""What every route needs: who asks, what is accepted, and whose record it is."""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from starlette.requests import HTTPConnection

from snakefold.kernel.errors import ConfigError
from snakefold.kernel.store import write_atomically
from snakefold.service import records
from snakefold.service.kinds import KINDS, roots
from snakefold.service.ledger import SPENT, OverQuota, only_one, spend
from snakefold.service.logs import user_name
from snakefold.service.queue import Queues
from snakefold.service.records import Record
from snakefold.service.settings import ServiceSettings
from snakefold.service.streams import Streams
from snakefold.service.tally import Tally
from snakefold.service.users import User, Users

#: Cookie that a browser has in place of the header, so that it can open pages and pictures.
COOKIE = "snakefold_token"
_COUNT_SECONDS = 1.0


class Desk:
    """The service as its routes see it."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.users = Users(settings.tokens)
        self.queues = Queues(settings)
        self.streams = Streams(settings.limits.streams)
        self.tally = Tally(settings.folder / KINDS["job"].folder)
        self._owners: dict[tuple[Path, str], str] = {}
        self._counted = (float("-inf"), Counter[str]())

    def submit(
        self,
        kind: str,
        user: User,
        *,
        files: Mapping[str, bytes],
        facts: Mapping[str, Any] | None = None,
        name: str = "",
        root: Path | None = None,
        behind: int = 0,
        residues: int = 0,
    ) -> Record:
        """Accept work: from here on it is done, whatever dies.

        Args:
            files: by name, of the record's folder.
            root: folder of the record, if it is not that of its kind.
            behind: steps that its priority is below the user's.
            residues: what it spends of the user's quota.

        Raises:
            HTTPException: 429, the user has too much waiting, or the quota of today is spent.
        """
        if self.waiting(user) >= self.settings.limits.waiting:
            raise HTTPException(
                429,
                f"{self.settings.limits.waiting} of your jobs have not ended. Wait until some have.",
                headers={"Retry-After": "30"},
            )
        root = root or self.settings.folder / KINDS[kind].folder
        name = name or records.new_id()
        if residues:
            try:
                with only_one(self.settings, user.user) as accepted:
                    spend(accepted, name, user.quota, residues=residues, what=kind)
            except OverQuota as error:
                raise HTTPException(429, str(error), headers=SPENT) from error
        for file, content in files.items():
            path = root / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        record = records.create(
            root, kind, user.user, name=name, priority=user.priority - behind, facts=facts
        )
        self.queues.put(record)
        return record

    def find(self, kind: str, name: str, user: User) -> Record:
        """A user's record.

        Raises:
            HTTPException: 404, there is none, or it is another user's, which nobody is told.
        """
        record = records.find(self.settings.folder / KINDS[kind].folder, name)
        if record is None or record.kind != kind or record.user != user.user:
            raise HTTPException(404, f"There is no {kind} of this id.")
        return record

    def waiting(self, user: User) -> int:
        """How many of a user's records have not ended."""
        now = time.monotonic()
        if now - self._counted[0] > _COUNT_SECONDS:
            counts: Counter[str] = Counter()
            for root in roots(self.settings):
                counts.update(self._owners_in(root))
            self._counted = (now, counts)
        self._counted[1][user.user] += 1
        return self._counted[1][user.user] - 1

    def _owners_in(self, root: Path) -> list[str]:
        """Users of the records that are open, each read once."""
        try:
            names = {each.name for each in (root / ".open").iterdir()}
        except FileNotFoundError:
            return []
        for ended in [key for key in self._owners if key[0] == root and key[1] not in names]:
            del self._owners[ended]
        found = []
        for name in names:
            if (root, name) not in self._owners:
                try:
                    self._owners[root, name] = records.read(root / name).user
                except FileNotFoundError:
                    continue
            found.append(self._owners[root, name])
        return found


async def desk_of(request: Request) -> Desk:
    """The service of a request."""
    desk: Desk = request.app.state.desk
    return desk


def token_of(request: HTTPConnection) -> str | None:
    """The token that a request gives, in its headers or its cookie; None if there is none."""
    headers = request.headers
    given = _token(headers.get("authorization", "").strip()) or headers.get("x-api-key", "").strip()
    return given or request.cookies.get(COOKIE)


def _token(header: str) -> str | None:
    """The token of an Authorization header.

    As a password too, with any user name: programs that take an address only can have it there.
    """
    scheme, space, given = header.partition(" ")
    given = given.strip()
    if scheme.lower() == "bearer":
        return given
    if scheme.lower() != "basic":
        return None if space else header  # examples of RunPod's send the bare key
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except ValueError:
        return None


# Coroutines, though nothing in them waits: a thread's context is a copy, and the log would not know the user.
async def user_of(request: Request) -> User:
    """Who asks.

    Raises:
        HTTPException: 401, nobody that is known; 503, the tokens cannot be read.
    """
    desk: Desk = request.app.state.desk
    try:
        user = desk.users.who(token_of(request))
    except ConfigError as error:
        raise HTTPException(
            503, "The tokens of this service cannot be read. Tell whoever runs it."
        ) from error
    if user is None:
        raise HTTPException(
            401,
            "Give a token of this service: Authorization: Bearer TOKEN.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    user_name.set(user.user)
    return user


async def admin_of(user: Annotated[User, Depends(user_of)]) -> User:
    """Who asks, if it is somebody who runs the service.

    Raises:
        HTTPException: 403.
    """
    if not user.admin:
        raise HTTPException(403, "Only those who run this service may do that.")
    return user


TheDesk = Annotated[Desk, Depends(desk_of)]
TheUser = Annotated[User, Depends(user_of)]
TheAdmin = Annotated[User, Depends(admin_of)]

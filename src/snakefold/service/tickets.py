"""Tickets of the MSA server as records: who hands them on, which worker makes their answers.

A ticket is named by its content. Equal ones of two users are one record: who can name it knows its sequences.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError

from snakefold.config import Config, load_config
from snakefold.config import read_settings as read_yaml
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.paths import house
from snakefold.kernel.store import open_store
from snakefold.service import records
from snakefold.service.desk import Desk, TheUser
from snakefold.service.kinds import KINDS, Duty, Ending
from snakefold.service.msa import tickets
from snakefold.service.msa.answers import answer
from snakefold.service.msa.settings import ServedMsa
from snakefold.service.records import Record
from snakefold.service.records import State as RecordState
from snakefold.service.settings import ServiceSettings
from snakefold.service.users import User

log = logging.getLogger(__name__)
_STATES: dict[RecordState, tickets.State] = {
    RecordState.QUEUED: "PENDING",
    RecordState.RUNNING: "RUNNING",
    RecordState.DONE: "COMPLETE",
}
_PAYLOAD = "ticket.json"
#: The preset that a run has unless it is told another: alignments of it are almost empty.
DEMO = "demo"


def settings_of_runs(settings: ServiceSettings) -> tuple[Config, bool]:
    """Settings that runs have unless a user says otherwise, and whether databases are chosen there.

    Raises:
        SnakefoldError: they are wrong.
    """
    path = house() / "config" / "config.yaml"
    values, chosen = read_yaml(path), False
    if settings.configfile is not None:
        given = read_yaml(settings.configfile)
        chosen = "db_preset" in (given.get("msa") or {})
        _lay_over(values, given)
    return load_config(values, str(settings.configfile or path)), chosen


def served_by(settings: ServiceSettings) -> ServedMsa:
    """What is searched: the section `msa` of the settings of runs, within the limits of the service.

    Raises:
        SnakefoldError: the settings are wrong, of a tool that searches nothing here, or of the databases of
            the demo, which nobody has chosen.
    """
    config, chosen = settings_of_runs(settings)
    if config.msa.db_preset == DEMO and not chosen:
        raise SnakefoldError(
            "msa.db_preset is demo, a few thousand sequences. Set msa.db_preset and msa.db_root in "
            "`configfile`."
        )
    try:
        return ServedMsa(msa=config.msa, **settings.tickets.model_dump())
    except ValidationError as error:
        raise SnakefoldError("; ".join(each["msg"] for each in error.errors())) from error


def router(desk: Desk) -> APIRouter | None:
    """The routes; None, and a line in the log, if this service has nothing to search."""
    root = desk.settings.folder / KINDS["ticket"].folder

    def state(name: str) -> tickets.State:
        record = records.find(root, name)
        return "UNKNOWN" if record is None else _STATES.get(record.state, "ERROR")

    def submit(_: str, payload: dict[str, Any], digest: str, who: User) -> tickets.State:
        record = records.find(root, digest)
        if record is None:
            with suppress(FileExistsError):  # an equal ticket, at the same moment
                desk.submit("ticket", who, files={_PAYLOAD: json.dumps(payload).encode()}, name=digest)
        elif state(digest) == "ERROR":  # whoever asks again wants it tried again
            records.reopen(record.folder)
            desk.queues.put(record)
        return state(digest)

    try:
        return tickets.router(
            served_by(desk.settings),
            submit=submit,
            state=state,
            folder=lambda name: root / name,
            allowed=lambda who: desk.waiting(who) < desk.settings.limits.waiting,
            user=_who,
        )
    except SnakefoldError as error:
        log.warning("no MSA server: %s", error)
        return None


async def _who(user: TheUser) -> User:
    return user


def perform(record: Record, duty: Duty) -> Ending:
    """Make the answer to a ticket. What an earlier worker found is in the store: it is not searched again."""
    payload = json.loads((record.folder / _PAYLOAD).read_bytes())
    work = duty.settings.folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    store = open_store(duty.settings.shared_store)
    answer(payload, record.folder, served_by(duty.settings), store, work=work, log=log.info)
    return Ending(RecordState.DONE)


def _lay_over(values: dict[str, Any], others: dict[str, Any]) -> None:
    for name, value in others.items():
        if isinstance(value, dict) and isinstance(values.get(name), dict):
            _lay_over(values[name], value)
        else:
            values[name] = value

"""Faults by script or by seed: what goes wrong, with which call or job, and when.

A rule names its fault, and the calls or jobs it is for. `script` reads rules from a file.

>>> Fault("reset_after", call="run", nth=2)          # the second /run is accepted, and its answer lost
>>> Fault("failed", nth=(3, 5), error="CUDA error")  # the third and the fifth job fail
>>> Fault("no_capacity", at=60, seconds=300)       # a minute in, no GPU to be had for five minutes
"""

from __future__ import annotations

import base64
import copy
import dataclasses
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError


def wrong_sha256(value: Any) -> Any:
    """Every sha256 in it replaced."""
    if isinstance(value, dict):
        return {
            key: ("0" * 64 if "sha256" in str(key) and isinstance(inner, str) else wrong_sha256(inner))
            for key, inner in value.items()
        }
    return [wrong_sha256(inner) for inner in value] if isinstance(value, list) else value


def corrupted(output: Any) -> Any:
    """A byte of its longest string changed; of what the string encodes, where that is base64."""
    longest = max(_strings(output), key=len, default="")
    if not longest:
        return output
    try:
        data = bytearray(base64.b64decode(longest, validate=True))
        data[len(data) // 2] ^= 0xFF
        changed = base64.b64encode(data).decode()
    except (ValueError, IndexError):
        middle = len(longest) // 2
        changed = longest[:middle] + chr(ord(longest[middle]) ^ 1) + longest[middle + 1 :]
    return _replaced(output, longest, changed)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _strings(item)]


def _replaced(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {key: _replaced(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, old, new) for inner in value]
    return new if value == old else value


CALL_FAULTS = {
    "status": "answers `status` (502) with an HTML page; the call has no effect",
    "status_after": "answers `status` (502) with an HTML page after the call has taken effect",
    "timeout_before": "holds the call for `seconds` and closes the connection; the call has no effect",
    "timeout_after": "as above, after the call has taken effect: its answer is lost",
    "reset_before": "resets the connection; the call has no effect",
    "reset_after": "resets the connection after the call has taken effect: its answer is lost",
    "malformed": "takes effect and answers 200 with JSON that does not parse",
    "truncated": "takes effect and closes in the middle of the answer",
    "empty": "takes effect and answers 200 with no body",
    "slow": "takes effect and answers `seconds` later",
    "unknown_state": "takes effect; the status in the answer is `error` (PAUSED), a state nobody knows",
}
JOB_FAULTS = {
    "failed": "runs and ends FAILED with `error`",
    "timed_out": "ends TIMED_OUT `seconds` after a worker took it",
    "expired": "ends TIMED_OUT `seconds` after submission, and no worker ever took it",
    "endless": "never ends: its result is lost, and neither executionTimeout nor ttl ends it; /cancel does",
    "cancelled": "is cancelled by somebody else `seconds` after submission",
    "lost": "vanishes `seconds` after submission: /status is 404",
    "stuck": "stays IN_QUEUE",
    "no_output": "ends COMPLETED without output",
    "corrupt": "ends COMPLETED with a byte of its longest string or base64 changed, or `change`d",
    "wrong_sha256": "ends COMPLETED with every sha256 in its output changed",
    "twice": "is given to two workers; the first result counts",
    "worker_dies": "its worker dies `seconds` after taking it, once",
}
ENDPOINT_FAULTS = {
    "no_capacity": "from `at`, for `seconds`: new workers are THROTTLED",
    "crash_loop": "from `at`, for `seconds`: workers die while they start, and are UNHEALTHY",
    "scaled_to_zero": "at `at`: workersMax becomes 0, as after 7 days without a request",
    "clock_jump": "at `at`: the service's clock jumps by `seconds`",
}
KINDS = {**CALL_FAULTS, **JOB_FAULTS, **ENDPOINT_FAULTS}


@dataclasses.dataclass(frozen=True)
class Fault:
    """One rule.

    Args:
        what: a key of CALL_FAULTS, JOB_FAULTS or ENDPOINT_FAULTS.
        call: operation of the call (`run`, `status`, `job-done`, …); `*`: any operation of clients.
        endpoint: endpoint id; `*`: any.
        nth: which of the matching calls or jobs, from 1; None: all of them.
        times: how often the rule applies at most; None: without limit.
        job: for job faults, a test of the job's input.
        at: for endpoint faults, seconds after the start of the service.
        until: for `slow` and timeouts, what ends the wait before `seconds` are over.

    Raises:
        ValueError: a fault that does not exist.
    """

    what: str
    call: str = "*"
    endpoint: str = "*"
    nth: int | Sequence[int] | None = None
    times: int | None = None
    job: Callable[[Any], bool] | None = None
    status: int = 502
    seconds: float = 1.0
    error: str = ""
    change: Callable[[Any], Any] | None = None
    at: float = 0.0
    until: threading.Event | None = None

    def __post_init__(self) -> None:
        if self.what not in KINDS:
            raise ValueError(f"no fault named {self.what!r}; there are: {', '.join(KINDS)}")

    def is_nth(self, count: int) -> bool:
        if self.nth is None:
            return True
        return count == self.nth if isinstance(self.nth, int) else count in self.nth


class Faults:
    """Rules, and `rates`: shares of calls and jobs that suffer a fault by chance, as the seed has it."""

    def __init__(
        self, rules: Iterable[Fault] = (), *, rates: Mapping[str, float] | None = None, seed: int = 0
    ) -> None:
        self.rules = list(rules)
        self.rates = dict(rates or {})
        self.seed = seed
        for name in self.rates:
            if name not in CALL_FAULTS and name not in JOB_FAULTS:
                raise ValueError(f"no rate can be given for {name!r}; only for faults of calls and jobs")
        self._matched: dict[int, int] = {}
        self._applied: dict[int, int] = {}
        self._calls = 0
        self._of_job: dict[str, dict[str, Fault]] = {}

    def add(self, *rules: Fault) -> None:
        self.rules.extend(rules)

    def clear(self) -> None:
        self.rules.clear()
        self.rates.clear()

    @property
    def none_for_calls(self) -> bool:
        return not self.rules and not self.rates

    def for_call(self, endpoint: str, operation: str) -> Fault | None:
        """The fault of this call, if any; counts the call."""
        if self.none_for_calls:
            return None
        self._calls += 1
        found = None
        by_worker = operation.startswith("job-") or operation == "ping"
        for rule in self.rules:
            if rule.what not in CALL_FAULTS or rule.endpoint not in ("*", endpoint):
                continue
            if (rule.call == "*" and not by_worker) or rule.call == operation:
                found = self._hit(rule, found)
        if found is None and self.rates and not by_worker:
            found = self._by_chance(CALL_FAULTS, f"call {self._calls}")
        return found

    def for_job(self, endpoint: str, job_id: str, number: int, given: Any) -> Mapping[str, Fault]:
        """Faults of a job by name, chosen when it is submitted."""
        chosen: dict[str, Fault] = {}
        for rule in self.rules:
            if rule.what not in JOB_FAULTS or rule.endpoint not in ("*", endpoint):
                continue
            if (rule.job is None or rule.job(given)) and self._hit(rule, None) is not None:
                chosen[rule.what] = rule
        if not chosen and self.rates:
            by_chance = self._by_chance(JOB_FAULTS, f"job {endpoint} {number}")
            if by_chance is not None:
                chosen[by_chance.what] = by_chance
        if chosen:
            self._of_job[job_id] = chosen
        return chosen

    def of_job(self, job_id: str) -> Mapping[str, Fault]:
        return self._of_job.get(job_id, {})

    def for_endpoints(self) -> list[Fault]:
        return [rule for rule in self.rules if rule.what in ENDPOINT_FAULTS]

    def spoil(self, job_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """A worker's result as the faults of its job leave it."""
        faults = self.of_job(job_id)
        if not faults:
            return body
        if "failed" in faults:
            return {"error": faults["failed"].error or "the emulator made this job fail"}
        if "error" in body:
            return body
        if "no_output" in faults:
            return {key: value for key, value in body.items() if key != "output"}
        output = copy.deepcopy(body.get("output"))
        if "wrong_sha256" in faults:
            output = wrong_sha256(output)
        if "corrupt" in faults:
            output = (faults["corrupt"].change or corrupted)(output)
        return {**body, "output": output}

    def _hit(self, rule: Fault, found: Fault | None) -> Fault | None:
        key = id(rule)
        self._matched[key] = self._matched.get(key, 0) + 1
        if found is not None or not rule.is_nth(self._matched[key]):
            return found
        if rule.times is not None and self._applied.get(key, 0) >= rule.times:
            return found
        self._applied[key] = self._applied.get(key, 0) + 1
        return rule

    def _by_chance(self, kinds: Mapping[str, str], what: str) -> Fault | None:
        draw = random.Random(f"{self.seed} {what}").random()  # noqa: S311 (a fault is no secret)
        for name, rate in self.rates.items():
            if name not in kinds:
                continue
            if draw < rate:
                return Fault(name)
            draw -= rate
        return None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Rule(_Part):
    """What of a `Fault` can be written down."""

    what: str
    call: str = "*"
    endpoint: str = "*"
    nth: int | list[int] | None = None
    times: int | None = None
    status: int = 502
    seconds: float = 1.0
    error: str = ""
    at: float = 0.0


class _Script(_Part):
    rules: list[_Rule] = []
    rates: dict[str, float] = {}
    seed: int = 0


def read_faults(path: Path) -> Faults:
    """A script: `{seed: 1, rates: {failed: 0.01}, rules: [{what: reset_after, nth: 2}]}`, YAML or JSON.

    Raises:
        ValueError: the file is no such script; the text says where.
        OSError: it cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping with any of: {', '.join(_Script.model_fields)}")  # noqa: TRY004
    try:
        # A key without a value is as good as none.
        script = _Script.model_validate({key: value for key, value in content.items() if value is not None})
        rules = [Fault(**rule.model_dump(exclude_unset=True)) for rule in script.rules]
        return Faults(rules, rates=script.rates, seed=script.seed)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise ValueError(f"{path}: {'; '.join(wrong)}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

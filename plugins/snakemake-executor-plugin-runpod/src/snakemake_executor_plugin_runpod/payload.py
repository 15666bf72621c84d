"""What of a Snakemake job goes into a request: docs/envelope.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import JobError

VERSION = 1
TRANSFERS = ("auto", "inline", "s3", "volume", "json")


@dataclass(frozen=True)
class Part:
    """A file: its name in the envelope, where it lies here, its size in bytes and its sha256."""

    name: str
    path: Path
    size: int
    sha256: str


@dataclass(frozen=True)
class Task:
    """One job as the rest of the plugin sees it: plain data, nothing of Snakemake's.

    Attributes:
        inputs, outputs: name in the envelope → path.
        runtime: minutes the job may run; None: not given.
        expected_seconds: what the job is expected to take; None: not given.
    """

    rule: str
    jobid: int
    attempt: int
    endpoint: str
    inputs: Mapping[str, Path]
    outputs: Mapping[str, Path]
    transfer: str = ""
    runtime: float | None = None
    dollars_per_second: float | None = None
    expected_seconds: float | None = None
    gpu_class: str = ""
    logs: tuple[Path, ...] = ()
    benchmark: Path | None = None
    execution_record: Path | None = None

    def reserved(self, most_seconds: float) -> float | None:
        """Dollars to put by for the job while it is in flight; None without a price.

        What it is expected to cost, or, where that is not said, all that it may: `most_seconds`.
        """
        if self.dollars_per_second is None:
            return None
        return self.dollars_per_second * min(self.expected_seconds or most_seconds, most_seconds)


@dataclass(frozen=True)
class Work:
    """A task whose files have been read. Equal work has an equal digest."""

    task: Task
    request: Any
    parts: tuple[Part, ...]
    digest: str = field(default="")


def describe(job: Any) -> Task:
    """A Snakemake job as a task.

    Raises:
        JobError: the job is not one that can be sent; the text says what to change in its rule.
    """
    if job.is_group():
        raise JobError(
            f"group {job.groupid}: a job group cannot be sent to RunPod as one job. "
            "Remove `group` from rules with runpod_endpoint."
        )
    rule = job.rule.name
    resources = job.resources
    transfer = str(resources.get("runpod_transfer", "") or "")
    if transfer and transfer not in TRANSFERS:
        raise JobError(f"rule {rule}: runpod_transfer={transfer!r} is none of {', '.join(TRANSFERS)}.")
    for path in job.output:
        if getattr(path, "is_directory", False):
            raise JobError(
                f"rule {rule}: the output {path} is a directory; have the endpoint return an archive."
            )
    record = job.params.get("execution_record")
    return Task(
        rule=rule,
        jobid=job.jobid,
        attempt=job.attempt,
        endpoint=str(resources.get("runpod_endpoint", "") or ""),
        inputs=named(rule, "input", job.input),
        outputs=named(rule, "output", job.output),
        transfer=transfer,
        runtime=_number(rule, "runtime", resources.get("runtime")),
        dollars_per_second=_price(rule, resources.get("dollars_per_second")),
        expected_seconds=_number(rule, "expected_seconds", resources.get("expected_seconds")) or None,
        gpu_class=str(resources.get("gpu_class", "") or ""),
        logs=tuple(Path(path) for path in job.log),
        benchmark=Path(job.benchmark) if job.benchmark else None,
        execution_record=Path(str(record)) if record else None,
    )


def named(rule: str, kind: str, files: Any) -> dict[str, Path]:
    """Files of a job by their Snakemake name; by base name those without one or that share one."""
    single = {
        str(value): name for name, value in files.items() if name is not None and isinstance(value, str)
    }
    names: dict[str, Path] = {}
    for path in map(str, files):
        name = single.get(path, Path(path).name)
        if name in names:
            raise JobError(f"rule {rule}: two files of its {kind} are called {name}; name them in the rule.")
        names[name] = Path(path)
    return names


def _price(rule: str, value: Any) -> float | None:
    """Dollars a second. As a number, 0 is what Snakemake makes of a price: it rounds down to whole ones."""
    price = _number(rule, "dollars_per_second", value)
    return price if price or isinstance(value, str) else None


def _number(rule: str, name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise JobError(f"rule {rule}: the resource {name} must be a number, not {value!r}.") from None
    if not 0 <= number < float("inf"):
        raise JobError(f"rule {rule}: the resource {name} must not be {value!r}.")
    return number


def read(task: Task) -> Work:
    """Read the request and the sizes and sha256 of the other inputs.

    Raises:
        JobError: no request among the inputs, or a file that cannot be sent.
    """
    request_name = _request_name(task)
    path = task.inputs[request_name]
    try:
        request = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_json)
        parts = tuple(_part(name, file) for name, file in sorted(task.inputs.items()) if name != request_name)
    except (OSError, ValueError, RecursionError) as error:
        raise JobError(f"rule {task.rule}: {path}: {error}", "invalid_input") from error
    if task.transfer == "json":
        if parts or len(task.outputs) != 1:
            raise JobError(
                f'rule {task.rule}: runpod_transfer="json" takes one JSON input and one output file; '
                f"this job has {len(parts) + 1} and {len(task.outputs)}."
            )
        if request is None:
            raise JobError(
                f"rule {task.rule}: {path} holds null; RunPod takes no empty input.", "invalid_input"
            )
    return Work(task, request, parts, digest(request, parts))


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON; Python writes it for numbers that are none")


def _request_name(task: Task) -> str:
    if "request" in task.inputs:
        return "request"
    found = [name for name, path in task.inputs.items() if path.suffix == ".json"]
    if len(found) != 1:
        raise JobError(
            f"rule {task.rule}: which of its inputs is the request? Name it `request=`, or have one .json "
            "input "
            f"(there are {len(found)})."
        )
    return found[0]


def _part(name: str, path: Path) -> Part:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; only files are sent: make an archive of it")
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Part(name, path, path.stat().st_size, sha256)


def digest(request: Any, parts: Iterable[Part]) -> str:
    """sha256 of the request and of names and sha256 of the files, as canonical JSON."""
    content = {"request": request, "files": sorted((part.name, part.sha256) for part in parts)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def envelope(work: Work, files: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "digest": work.digest,
        "request": work.request,
        "files": dict(files),
        "results": dict(results),
    }


def body(given: Any, policy: Mapping[str, int]) -> bytes:
    """Body of POST /run."""
    return json.dumps({"input": given, "policy": policy}, separators=(",", ":")).encode()

#!/usr/bin/env python3
"""Send one job to a RunPod endpoint of this project, wait for it, and keep what it gives.

Python 3.11 and this checkout are all it needs: nothing has to be installed. The work is done by
snakefold.clusters.runpod (src/snakefold/clusters/runpod), which a program of yours can import in its place.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from snakefold.clusters.runpod import JobError, RunpodError, jobs, results
from snakefold.clusters.runpod.session import Session, open_session
from snakefold.kernel.errors import SnakefoldError

_ENDPOINT = "RUNPOD_ENDPOINT_ID"
_CONSOLE = "https://console.runpod.io/serverless/user/endpoint"
#: Signals that follow one another within so many seconds are one request.
_BURST = 2.0
_EXAMPLE = f"""
examples:
  export RUNPOD_API_KEY=…  {_ENDPOINT}=…
  submit_job.py fold proteins.fasta --out folded
  submit_job.py fold --sequence MKTAYIAKQRQISFVKSHFSRQ --db-preset reduced_dbs --flag=--models_to_relax=none
  submit_job.py search queries.fasta --target-db uniref30 --a3m --out hits
  submit_job.py json request.json --out answer        any endpoint: the file is the job's `input`
  submit_job.py fetch JOB --out folded                a job that was submitted before; also: status, cancel

exit codes: 0 the result is there; 1 the job failed, was damaged on the way or is not done; 2 something must
be put right first; 130 interrupted.
"""


class _Signals:
    """Signals that end this process, one exception for a burst of them.

    `timeout`, systemd and impatient people send two or three within a second. None is raised while a job is
    cancelled; while one is submitted, the first waits.
    """

    def __init__(self) -> None:
        self._last = float("-inf")
        self._waits = ""
        self._caught = 0
        self._ends = ""

    def install(self) -> None:
        """Take the signals over, but for those that a background job or nohup ignores on purpose."""
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number and (signal.getsignal(number) != signal.SIG_IGN or name == "SIGTERM"):
                signal.signal(number, self._receive)

    @contextlib.contextmanager
    def first_waits(self, said: str) -> Iterator[None]:
        """The first signal is raised at the end of the block, the second at once."""
        self._waits, self._caught = said, 0
        try:
            yield
        finally:
            self._waits = ""
        if self._caught:
            self._last = time.monotonic()
            _raise(self._caught)

    @contextlib.contextmanager
    def none_raised(self, said: str) -> Iterator[None]:
        """No signal ends the block: it has an end of its own."""
        self._ends = said
        try:
            yield
        finally:
            self._last, self._ends = time.monotonic(), ""

    def _receive(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < _BURST:
            return
        self._last = now
        if self._ends:
            _say(self._ends)
        elif self._waits and not self._caught:
            self._caught = number
            _say(self._waits)
        else:
            _raise(number)


_SIGNALS = _Signals()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; its exit code."""
    options = _parser().parse_args(arguments)
    _SIGNALS.install()
    try:
        return int(options.perform(_session(options), options))
    except SnakefoldError as error:
        _say(str(error))
        if log := getattr(error, "log", ""):
            print(log.rstrip(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _session(options: argparse.Namespace) -> Session:
    if not options.endpoint:
        raise SnakefoldError(f"No endpoint: give --endpoint ID, or export {_ENDPOINT}=…")
    return open_session(told=_say, patience=options.patience)


def _submit(session: Session, options: argparse.Namespace) -> int:
    given = options.request(options)
    job = ""
    try:
        with _SIGNALS.first_waits(
            "waiting for the answer to the submission, to cancel it; once more to leave at once"
        ):
            # Without the job's id nobody could cancel it.
            job = jobs.submit_job(
                session,
                options.endpoint,
                given,
                execution_timeout=options.execution_timeout,
                repeat_lost=not options.submit_once,
            )
            _say(f"job {job}")
        if options.no_wait:
            print(job)
            return 0
        return _collect(session, options, job)
    except (KeyboardInterrupt, SystemExit):
        if job:
            _interrupted(session, options, job)
        else:
            _say(
                "left before the submission was answered: a job may be at work, and cost money. Look for it "
                f"in RunPod's console: {_CONSOLE}/{options.endpoint}, Requests"
            )
        raise
    except RunpodError as error:
        if job and not isinstance(error, JobError):
            _say(f"to go on: submit_job.py fetch {job} --out {options.out}")
        raise


def _fetch(session: Session, options: argparse.Namespace) -> int:
    return _collect(session, options, options.job)


def _status(session: Session, options: argparse.Namespace) -> int:
    status = jobs.get_job_status(session, options.endpoint, options.job)
    print(status.state)
    return 1 if status.state in jobs.FAILED_STATES else 0


def _cancel(session: Session, options: argparse.Namespace) -> int:
    try:
        print(jobs.cancel_job(session, options.endpoint, options.job))
    except (KeyboardInterrupt, SystemExit):
        _may_go_on(options.endpoint, options.job, "interrupted before the service has answered")
        raise
    return 0


def _collect(session: Session, options: argparse.Namespace, job: str) -> int:
    status = jobs.wait_for_job_completion(
        session,
        options.endpoint,
        job,
        poll_interval=options.poll_interval,
        timeout=options.timeout,
        changed=lambda status: _say(status.state),
    )
    files = results.save_results(
        session,
        status.output,
        options.out,
        unpacked=not options.no_unpack,
        most_bytes=round(options.max_gb * 2**30),
    )
    for path in files:
        print(path)
    failed = status.output.get("failed") if isinstance(status.output, dict) else None
    for target in failed if isinstance(failed, list) else []:
        _say(f"failed: {json.dumps(target, ensure_ascii=False)}")
    return 1 if failed else 0


def _interrupted(session: Session, options: argparse.Namespace, job: str) -> None:
    """Nobody waits for the job any longer: stop paying for it, unless it is to be kept."""
    if options.keep:
        _say(f"job {job} goes on; get it with: submit_job.py fetch {job} --out {options.out}")
        return
    seconds = options.cancel_within
    with _SIGNALS.none_raised(f"still cancelling job {job}, for {seconds:g} s at the most"):
        state, why = _end(session, options.endpoint, job, seconds)
        if state:
            _say(f"job {job} {state}")
        else:
            _may_go_on(options.endpoint, job, why)


def _end(session: Session, endpoint: str, job: str, seconds: float) -> tuple[str, str]:
    """Cancel a job and see that it has ended: its last state; if that is not known in time, "" and why."""
    state, why = "", f"the service has not confirmed it within {seconds:g} s"

    def note(text: str) -> None:
        nonlocal why
        why = text

    def end() -> None:
        nonlocal state
        # A call that is not answered is made again: to cancel twice is to cancel once.
        hasty = replace(
            session, patience=seconds, timeout=min(session.timeout, max(1, seconds / 3)), told=note
        )
        try:
            found = jobs.cancel_job(hasty, endpoint, job)
            while found not in jobs.FAILED_STATES | {"COMPLETED"}:
                note(f"after the call it was {found or 'in no known state'}")
                hasty.sleep(1)
                found = jobs.get_job_status(hasty, endpoint, job).state
            state = found
        except SnakefoldError as error:
            note(str(error))

    # A name that is looked up, or an answer that drips, may take longer than any timeout of a socket.
    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    thread.join(seconds)
    return state, why


def _may_go_on(endpoint: str, job: str, why: str) -> None:
    _say(
        f"job {job} of endpoint {endpoint} could not be cancelled: it may go on, and cost money: {why}\n"
        f"To end it: submit_job.py cancel {job} --endpoint {endpoint}\n"
        f"or in RunPod's console: {_CONSOLE}/{endpoint}, Requests"
    )


def _fold_request(options: argparse.Namespace) -> dict[str, Any]:
    sources = {"sequence": options.sequence, "fasta_url": options.fasta_url}
    if options.fasta:
        sources["fasta"] = _read(options.fasta)
    request: dict[str, Any] = {name: value for name, value in sources.items() if value}
    if len(request) != 1:
        raise SnakefoldError("Give exactly one of: a FASTA file, --sequence, --fasta-url.")
    for name in ("model_preset", "db_preset", "max_template_date"):
        if value := getattr(options, name):
            request[name] = value
    if options.flag:
        request["alphafold_extra_flags"] = options.flag
    if options.rehearsal:
        request["rehearsal"] = True
    return request


def _search_request(options: argparse.Namespace) -> dict[str, Any]:
    request: dict[str, Any] = {
        "task": "search",
        "query_fasta": _read(options.fasta),
        "target_db": options.target_db,
        "use_gpu": options.gpu,
        "max_seqs": options.max_seqs,
        "return_a3m": options.a3m,
    }
    return request | ({"threads": options.threads} if options.threads else {})


def _json_request(options: argparse.Namespace) -> Any:
    try:
        return json.loads(_read(options.file))
    except (ValueError, RecursionError) as error:
        raise SnakefoldError(f"{options.file}: is no JSON: {error}") from error


def _read(path: str) -> str:
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SnakefoldError(f"{path}: cannot be read as text: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="submit_job.py",
        description=__doc__,
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    fold = _command(commands, "fold", _submit, "predict structures (the AlphaFold2 endpoint)", job=False)
    fold.add_argument("fasta", nargs="?", help="FASTA file, `-` for standard input")
    fold.add_argument("--sequence", help="one sequence; `:` separates chains")
    fold.add_argument("--fasta-url", help="https address of a FASTA file, fetched by the worker")
    fold.add_argument("--model-preset", help="auto, monomer, monomer_ptm or multimer")
    fold.add_argument("--db-preset", help="full_dbs, reduced_dbs, colabfold, demo or single_sequence")
    fold.add_argument("--max-template-date", metavar="YYYY-MM-DD")
    fold.add_argument("--flag", action="append", metavar="--NAME=VALUE", help="an alphafold_extra_flag")
    fold.add_argument(
        "--rehearsal", action="store_true", help="random parameters: the structures mean nothing"
    )
    fold.set_defaults(request=_fold_request)

    search = _command(commands, "search", _submit, "search a database (the MMseqs2 endpoint)", job=False)
    search.add_argument("fasta", help="FASTA file, `-` for standard input")
    search.add_argument("--target-db", required=True, help="name of a database that the endpoint has")
    search.add_argument("--gpu", action="store_true", help="search the padded database on the GPU")
    search.add_argument("--max-seqs", type=int, default=300, help="maximum hits per query (300)")
    search.add_argument("--a3m", action="store_true", help="also return each query's alignment")
    search.add_argument("--threads", type=int, help="CPU threads of the worker (all)")
    search.set_defaults(request=_search_request)

    plain = _command(commands, "json", _submit, "send a JSON file as it is (any endpoint)", job=False)
    plain.add_argument("file", help="JSON file, `-` for standard input")
    plain.set_defaults(request=_json_request)

    _command(commands, "fetch", _fetch, "wait for a job that was submitted before, and keep its result")
    _command(commands, "status", _status, "print the state of a job")
    _command(commands, "cancel", _cancel, "cancel a job")
    return parser


def _command(
    commands: Any, name: str, perform: Callable[..., int], summary: str, *, job: bool = True
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(perform=perform)
    parser.add_argument("--endpoint", default=os.environ.get(_ENDPOINT), help=f"endpoint id (${_ENDPOINT})")
    parser.add_argument(
        "--patience", type=float, default=300, metavar="S", help="retry failing calls for so long (300)"
    )
    if job:
        parser.add_argument("job", help="job id, printed at submission")
    if name in ("status", "cancel"):
        return parser
    parser.add_argument("--out", type=Path, default=Path("runpod-result"), help="folder (runpod-result)")
    parser.add_argument(
        "--timeout", type=float, default=jobs.TIMEOUT, metavar="S", help="maximum waiting time (1800)"
    )
    parser.add_argument(
        "--poll-interval",
        type=float,
        default=jobs.POLL_INTERVAL,
        metavar="S",
        help="time between status calls (5)",
    )
    parser.add_argument("--no-unpack", action="store_true", help="do not unpack archives")
    parser.add_argument("--max-gb", type=float, default=8, help="largest archive, unpacked (8)")
    if not job:
        parser.add_argument("--no-wait", action="store_true", help="print the job's id and exit")
        parser.add_argument("--keep", action="store_true", help="Ctrl-C leaves the job running")
        parser.add_argument(
            "--cancel-within",
            type=float,
            default=30,
            metavar="S",
            help="maximum time for cancelling after Ctrl-C (30)",
        )
        parser.add_argument(
            "--submit-once",
            action="store_true",
            help="if the answer to the submission is lost, stop: the job may have been accepted",
        )
        parser.add_argument(
            "--execution-timeout", type=float, metavar="S", help="maximum time of the job (the endpoint's)"
        )
    return parser


def _say(text: str) -> None:
    # A terminal that is closed, or a signal amid another line, is no reason to leave a job running.
    with contextlib.suppress(OSError, RuntimeError):
        print(f"submit_job: {text}", file=sys.stderr, flush=True)


def _raise(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())

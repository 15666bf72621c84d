"""How faults of jobs and of endpoints act on an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snakefold.clusters.emulator.faults import Fault
from snakefold.clusters.emulator.jobs import Job, State
from snakefold.clusters.emulator.worker import Worker

if TYPE_CHECKING:
    from snakefold.clusters.emulator.endpoint import Endpoint


def on_submit(endpoint: Endpoint, job: Job) -> None:
    faults = endpoint.faults.for_job(endpoint.id, job.id, job.number, job.input)
    later = endpoint.clock.call_later
    if "stuck" in faults:
        job.stuck = True
    if "expired" in faults:
        job.stuck = True
        later(faults["expired"].seconds, lambda: endpoint.jobs.end(job, State.TIMED_OUT, "job timed out"))
    if "endless" in faults:
        job.endless = True
    if "cancelled" in faults:
        later(faults["cancelled"].seconds, lambda: endpoint.jobs.end(job, State.CANCELLED))
    if "lost" in faults:
        later(faults["lost"].seconds, lambda: endpoint.jobs.delete(job, "lost"))


def on_take(endpoint: Endpoint, worker: Worker, job: Job) -> None:
    faults = endpoint.faults.of_job(job.id)
    later = endpoint.clock.call_later
    if "timed_out" in faults:
        later(faults["timed_out"].seconds, lambda: endpoint.jobs.end(job, State.TIMED_OUT, "job timed out"))
    if len(job.attempts) > 1:
        return
    if "worker_dies" in faults:
        later(faults["worker_dies"].seconds, lambda: endpoint.stop(worker, "killed by a fault", kill=True))
    if "twice" in faults:
        later(0.0, lambda: _run_again(endpoint, job))


def _run_again(endpoint: Endpoint, job: Job) -> None:
    """Hand a job that is being run to a second worker, started for it if none is free."""
    if job.state is not State.IN_PROGRESS or endpoint.closed:
        return
    if endpoint.asking():
        endpoint.hand(endpoint.asking()[-1], [job])
        return
    if not any(worker.starting for worker in endpoint.live_workers()):
        endpoint.add_worker()
    endpoint.clock.call_later(0.25, lambda: _run_again(endpoint, job))


def apply(endpoint: Endpoint, fault: Fault) -> None:
    """A fault of an endpoint, now; those that last end by themselves after its seconds."""
    if fault.what == "no_capacity":
        endpoint.capacity = 0
        endpoint.clock.call_later(fault.seconds, lambda: _recover(endpoint))
    elif fault.what == "crash_loop":
        endpoint.crash_loop = True
        endpoint.clock.call_later(fault.seconds, lambda: _recover(endpoint))
    elif fault.what == "scaled_to_zero":
        endpoint.scaling.workers_max = 0


def _recover(endpoint: Endpoint) -> None:
    endpoint.capacity, endpoint.crash_loop = None, False
    endpoint.scale()

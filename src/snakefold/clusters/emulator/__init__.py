"""A RunPod Serverless service on this machine, for tests and for trying things out: docs/emulator.md."""

from snakefold.clusters.emulator.account import API_KEY, NO_ACCESS_KEY, READ_ONLY_KEY, Scope
from snakefold.clusters.emulator.clock import Clock, ManualClock
from snakefold.clusters.emulator.endpoint import Endpoint
from snakefold.clusters.emulator.faults import KINDS, Fault, Faults, read_faults
from snakefold.clusters.emulator.jobs import Job, Policy, State
from snakefold.clusters.emulator.operations import Call
from snakefold.clusters.emulator.processes import ProcessWorkers
from snakefold.clusters.emulator.service import Emulator
from snakefold.clusters.emulator.stubs import StubWorkers
from snakefold.clusters.emulator.thread import EmulatorThread
from snakefold.clusters.emulator.worker import Scaling, Worker, WorkerState

__all__ = [
    "API_KEY",
    "KINDS",
    "NO_ACCESS_KEY",
    "READ_ONLY_KEY",
    "Call",
    "Clock",
    "Emulator",
    "EmulatorThread",
    "Endpoint",
    "Fault",
    "Faults",
    "Job",
    "ManualClock",
    "Policy",
    "ProcessWorkers",
    "Scaling",
    "Scope",
    "State",
    "StubWorkers",
    "Worker",
    "WorkerState",
    "read_faults",
]

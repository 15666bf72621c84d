"""A RunPod Serverless service on this machine, for tests and for trying things out: docs/emulator.md."""

from .auth import API_KEY, NO_ACCESS_KEY, READ_ONLY_KEY, Scope
from .clock import Clock, ManualClock
from .endpoint import Endpoint
from .faults import Fault, Faults
from .jobs import Job, Policy, State
from .processes import ProcessWorkers
from .scaling import Scaling, WorkerState
from .service import Call, Emulator, EmulatorThread
from .stubs import StubWorkers
from .worker import Worker

__all__ = [
    "API_KEY",
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
]

"""A machine with cores enough for several GPUs, whatever this one has: WAIT_CORES says how many."""

import os

if cores := os.environ.get("WAIT_CORES"):
    os.sched_getaffinity = lambda _: set(range(int(cores)))

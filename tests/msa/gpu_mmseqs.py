"""A stand-in for an MMseqs2 that was built with CUDA: it records command lines and searches on the CPU.

Only the flags that need a GPU are taken away before the real program runs, which then searches the same
padded database with the same kind of prefilter. Its gpuserver serves nothing: it has shared memory as the
real one, and runs until it is told to end, or as many seconds as the variable `SERVES` says.
"""

from __future__ import annotations

import sys
from pathlib import Path

from snakefold.msa import programs

_TEXT = """#!{python}
import json, mmap, os, pathlib, signal, subprocess, sys, time
arguments = sys.argv[1:]
with open({record!r}, "a") as stream:
    stream.write(json.dumps(arguments) + "\\n")
if arguments[:1] == ["gpuserver"]:
    shared = pathlib.Path(f"/dev/shm/{{os.getpid()}}")
    shared.write_bytes(bytes(4096))
    stop = lambda number, frame: sys.exit(0)
    signal.signal(signal.SIGTERM, stop)
    try:
        with shared.open("r+b") as stream, mmap.mmap(stream.fileno(), 0):
            time.sleep(float(os.environ.get("SERVES", "3600")))
        print("CUDA error: out of memory")
        sys.exit(1)
    finally:
        shared.unlink()
for flag in ("--gpu", "--gpu-server"):
    while flag in arguments:
        place = arguments.index(flag)
        del arguments[place : place + 2]
seconds = float(os.environ.get("SEARCHES", "0"))
if arguments[:1] == ["search"] and seconds:
    time.sleep(seconds)
os.execv({real!r}, [{real!r}, *arguments])
"""


def stand_in(folder: Path) -> Path:
    """A folder for PATH that has the stand-in, and its command lines in `calls` (JSON, one a line)."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "mmseqs"
    record, real = str(folder / "calls"), str(programs.find("mmseqs"))
    program.write_text(_TEXT.format(python=sys.executable, record=record, real=real))
    program.chmod(0o755)
    return folder

"""The data files of the targets, `report/data/`: made side by side, and only where something changed.

They are made when a batch is collected (`prepare`), while others are still predicted; the report then only
takes them. The first line of each says what it was made from, so that it is known whether it still holds.
"""

from __future__ import annotations

import base64
import hashlib
import json
import multiprocessing
import os
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snakefold.report.comparison import Others, compared
from snakefold.report.target import read_target, target_scripts

#: Points of a profile on the index: as many as a small picture can show.
MAX_POINTS = 48
#: Fewer new targets than this are made in this process: starting others takes longer.
_FEW = 24
#: Processes need some 120 MB each; a report is to be built in 1 GB.
_PROCESSES = 4
_PACKAGES = ("snakefold.report", "snakefold.structures", "snakefold.structures.scores")


@dataclass(frozen=True)
class Maker:
    """Makes the files of a target.

    Attributes:
        results: The run's folder; `structures/<id>` is read.
        data: Folder to write into; exists.
        others: Results to compare with.
    """

    results: Path
    data: Path
    others: Sequence[Others] = ()

    def write(self, name: str) -> str:
        """Write the files of one target and return its profile.

        Raises:
            SnakefoldError: a file of the target is missing or damaged; the text names it.
        """
        folder = self.results / "structures" / name
        stamp = self._stamp(name)
        target = read_target(folder)
        points = profile(target.confidence.models[0].plddt)
        scripts = target_scripts(
            name,
            folder,
            f"../structures/{name}",
            others=compared(target, name, self.others, self.results / "report"),
            target=target,
        )
        sizes = {script: len(content) for script, content in sorted(scripts.items())}
        head = f"/*{json.dumps([stamp, points, sizes])}*/\n".encode()
        for script, content in scripts.items():
            _replace(self.data / script, head + content if script == f"{name}.js" else content)
        return points

    def keep(self, name: str, before: Path) -> str | None:
        """Take the files out of `before` if they were made from the same; returns the profile."""
        try:
            with (before / f"{name}.js").open(encoding="ascii") as stream:
                line = stream.readline(2000)
            stamp, points, sizes = json.loads(line.strip().removeprefix("/*").removesuffix("*/"))
            sizes[f"{name}.js"] += len(line)
            if stamp != self._stamp(name):
                return None
            if any((before / script).stat().st_size != size for script, size in sizes.items()):
                return None
            for script in sizes if before != self.data else ():
                path = self.data / script
                path.parent.mkdir(exist_ok=True)
                os.link(before / script, path)
        # Not there, not ours, or a file system without links.
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            return None
        return str(points)

    def _stamp(self, name: str) -> str:
        """Fingerprint of a target's files, by name, size and time, and of all else that they show."""
        digest = hashlib.sha256(_program().encode())
        for other in self.others:
            table = (other.results / "metrics.tsv").stat()
            digest.update(f"{other.label}\0{other.results.resolve()}\0{table.st_mtime_ns}\0".encode())
        for entry in sorted(os.scandir(self.results / "structures" / name), key=lambda entry: entry.name):
            found = entry.stat()
            digest.update(f"{entry.name}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
        return digest.hexdigest()[:32]


def write_pages(maker: Maker, ids: Sequence[str], before: Path) -> dict[str, str]:
    """Write the files of every target of `ids`, and return their profiles.

    Args:
        maker: What makes them.
        ids: Targets that have a structure.
        before: The folder of an earlier report, or a path where nothing is.

    Raises:
        SnakefoldError: a file of a target is missing or damaged; the text names it.
    """
    kept = {name: maker.keep(name, before) for name in ids}
    new = [name for name, points in kept.items() if points is None]
    made = dict(_made(maker, new))
    return {name: made[name] if points is None else points for name, points in kept.items()}


def prepare(results: Path, ids: Sequence[str]) -> None:
    """Make the files of a batch's targets where the report will look for them. Safe to run twice.

    Raises:
        SnakefoldError: a file of a target is missing or damaged; the text names it.
    """
    data = results / "report" / "data"
    data.mkdir(parents=True, exist_ok=True)
    maker = Maker(results, data)
    for name in ids:
        if maker.keep(name, data) is None:
            maker.write(name)


def profile(plddt: Sequence[float] | NDArray[np.float64]) -> str:
    """pLDDT along a target in base64: a byte a point, in halves; at most MAX_POINTS means."""
    values = np.asarray(plddt, np.float64)
    edges = np.linspace(0, len(values), min(len(values), MAX_POINTS) + 1).astype(int)
    means = np.add.reduceat(values, edges[:-1]) / np.diff(edges)
    return base64.b64encode(np.rint(2 * np.clip(means, 0, 100)).astype(np.uint8).tobytes()).decode("ascii")


def _made(maker: Maker, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    processes = min(_PROCESSES, _cores(), len(ids) // _FEW)
    if processes < 2:
        for name in ids:
            yield name, maker.write(name)
        return
    # Spawned: a fork of a process with threads (a caller's, numpy's) may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(maker,)) as pool:
        yield from zip(ids, pool.map(_write, ids, chunksize=8), strict=True)


#: Of a process that makes files for another.
_makers: list[Maker] = []


def _start(maker: Maker) -> None:
    _makers.append(maker)


def _write(name: str) -> str:
    return _makers[-1].write(name)


def _replace(path: Path, content: bytes) -> None:
    """Never write into a file: an earlier report may have it under another name."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    part.write_bytes(content)
    part.replace(path)


@cache
def _program() -> str:
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted(files(package).iterdir(), key=lambda path: path.name):
            if path.name.endswith(".py"):
                digest.update(path.read_bytes())
    return digest.hexdigest()


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1

"""What a plan must know of the executor: where jobs run, what one may carry, what a scheduler holds it to."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from snakefold.config import Config, SlurmGpus, read_settings
from snakefold.kernel.devices import devices
from snakefold.kernel.envelope import INLINE_INPUTS, INLINE_RESULTS
from snakefold.kernel.errors import ConfigError
from snakefold.msa.planned import PlannedChunk, read_chunk
from snakefold.plan.cost.gpus import LOCAL, GpuClass
from snakefold.plan.cost.model import load_model

VARIABLE = "SNAKEFOLD_EXECUTOR"
#: Executors, and kinds of dry run, that leave everything on this machine.
_HERE = frozenset({"", "local", "dryrun", "touch"})
#: Executors whose jobs are processes with this machine's disks; the others start images.
_SHARING = _HERE | {"slurm", "cluster-generic", "cluster-sync", "lsf", "drmaa"}
_MORE = "runpod-bucket (S3), or runpod-volume and runpod-datacenter"


@dataclass(frozen=True, slots=True)
class Executor:
    """An executor as far as a plan depends on it.

    Attributes:
        name: Snakemake's; empty if nobody said.
        inputs, results: bytes that the files of one job may have on their way there and back; None: no limit.
        more: settings that take these limits away.
        endpoints: names of those that jobs can be sent to; None: nobody knows, or it does not matter.
    """

    name: str = ""
    inputs: int | None = None
    results: int | None = None
    more: str = ""
    endpoints: tuple[str, ...] | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether jobs run on other machines."""
        return self.name not in _HERE

    @property
    def aligns_here(self) -> bool:
        """Whether MSA jobs run on this machine: RunPod gets predictions alone."""
        return not self.elsewhere or self.name == "runpod"

    @property
    def shares_disks(self) -> bool:
        """Whether what is installed on this machine is there for a job."""
        return self.name in _SHARING


def describe(
    name: str, settings: Mapping[str, Any], folder: Path = Path(), *, overridden: bool = False
) -> Executor:
    """An executor by its settings, named as in its settings class (`endpoint_url`).

    Args:
        folder: where files that the settings name are looked for first.
        overridden: somebody says for all jobs which endpoint they go to, whatever the plan has.
    """
    if name != "runpod":
        return Executor(name)
    # With fallback: local, jobs without an endpoint run on this machine.
    unchecked = overridden or settings.get("fallback") == "local"
    endpoints = None if unchecked else _endpoint_names(settings.get("endpoints") or [], folder)
    transfer = settings.get("transfer") or "auto"
    stored = settings.get("bucket") or (settings.get("volume") and settings.get("datacenter"))
    if transfer in ("s3", "volume") or (transfer == "auto" and stored):
        return Executor(name, endpoints=endpoints)
    more = _MORE if transfer == "auto" else f"runpod-transfer: auto, and {_MORE}"
    return Executor(name, INLINE_INPUTS, INLINE_RESULTS, more, endpoints)


def _endpoint_names(given: str | Sequence[object], folder: Path) -> tuple[str, ...] | None:
    """Names in `NAME=ID …`, or in files of ids by name; None if a file is none, as the executor will say."""
    names: set[str] = set()
    for entry in [given] if isinstance(given, str) else map(str, given):
        name, equals, _ = entry.partition("=")
        if equals:
            names.add(name.strip())
            continue
        path = folder / entry if (folder / entry).exists() else Path(entry)
        if not path.exists():
            continue  # `snakefold deploy apply` has yet to write it
        try:
            content = read_settings(path)
        except ConfigError:
            return None
        found = content.get("endpoints", content)
        names |= set(map(str, found)) if isinstance(found, Mapping) else set()
    return tuple(sorted(names))


def of_profile(entries: Mapping[str, Any], folder: Path = Path()) -> Executor:
    """The executor that a profile names, by the options that stand in it, in `folder`."""
    name = str(entries.get("executor") or "")
    prefix = f"{name}-"
    options = {
        str(option).removeprefix(prefix).replace("-", "_"): value
        for option, value in entries.items()
        if str(option).startswith(prefix)
    }
    overridden = "runpod_endpoint" in str(entries.get("set-resources", ""))
    return describe(name, options, folder, overridden=overridden)


def announce(executor: Executor, environment: MutableMapping[str, str] = os.environ) -> None:
    """Tell the processes that this one starts."""
    environment[VARIABLE] = json.dumps(asdict(executor))


def announced(environment: Mapping[str, str] = os.environ) -> Executor:
    """What the process that started this one said; an executor without a name if it said nothing."""
    try:
        said = json.loads(environment.get(VARIABLE) or "{}")
        if said.get("endpoints") is not None:
            said["endpoints"] = tuple(said["endpoints"])
        return Executor(**said)
    except (ValueError, TypeError, AttributeError):
        return Executor()


@dataclass(frozen=True, slots=True)
class JobGpu:
    """How schedulers are asked for a job's GPU; None: not at all. `machine_type`: of Kubernetes."""

    number: int | None = None
    partition: str | None = None
    model: str | None = None
    constraint: str | None = None
    machine_type: str | None = None


def gpu_of_alignments(config: Config) -> JobGpu:
    """The GPU of an MSA job, if MMseqs2 searches on one. Here it takes all: MMseqs2 uses what it sees."""
    name = config.msa_gpu_class
    if name is None:
        return JobGpu()
    entry = config.slurm.gpus.get(name, SlurmGpus())
    number = max(1, len(devices())) if name == LOCAL else 1
    return JobGpu(number, entry.partition, entry.model, entry.constraint, config.kubernetes.gpus.get(name))


#: Alignments may take so many times what the model says, and so many minutes. It rests on one machine's
#: speed, and databases on a network's file system are read more slowly than the searches go.
_PATIENCE, _GRACE_MINUTES = 4.0, 30


def msa_minutes(plan: Path, chunk: str, config: Config, attempt: int = 1) -> int:
    """Minutes after which an MSA job should have ended long ago."""
    planned, model = read_chunk(plan, chunk), load_model(config.calibration)
    if config.msa.asks_server:
        return attempt * (_GRACE_MINUTES + config.msa.server.wait_minutes * _answers(planned, config))
    lengths = np.array([len(chain.sequence) for chain in planned.chains])
    seconds = float(model.msa_seconds(lengths, config.msa, pairing=planned.pairing).sum())
    seconds += model.msa_chunk_seconds(config.msa, pairing=planned.pairing)
    return attempt * math.ceil(_PATIENCE * seconds / config.msa.threads / 60 + _GRACE_MINUTES)


def _answers(chunk: PlannedChunk, config: Config) -> int:
    """Answers of an MSA server that a job waits for, each for a bounded time."""
    tickets = math.ceil(len(chunk.chains) / config.msa.server.chains_per_query) + len(chunk.complexes)
    return tickets + (len(chunk.chains) if chunk.templates else 0)


def predict_mb(memory_gb: float, gpu: GpuClass, config: Config, attempt: int = 1) -> int:
    """Main memory of a prediction job, MB.

    Args:
        memory_gb: what the network takes for the batch's largest target.
    """
    network = memory_gb * 1000 if gpu.device == "cpu" else 0.0
    return attempt * (config.predict.mem_mb + math.ceil(network))

"""What a scheduler may hold a job to: minutes and megabytes, generous, and more at every further attempt."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from snakefold.config import Config
from snakefold.msa.planned import PlannedChunk, read_chunk
from snakefold.plan.cost.gpus import GpuClass
from snakefold.plan.cost.model import load_model

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

# What jobs ask a scheduler for.
import functools
import math
from pathlib import Path

from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.executors import gpu_of_alignments, msa_minutes, predict_mb

# What MSA jobs ask for besides CPUs: all None, which Snakemake takes as nothing, unless MMseqs2 searches on GPUs.
MSA_GPU = gpu_of_alignments(SETTINGS)


@planned
def gpu_class_of(wildcards):
    """Class of GPU that a batch is planned for: an entry of resources/gpus.yaml."""
    return planned_batches(wildcards)[wildcards.batch].gpu


@planned
def gpu_memory_of(wildcards):
    """GPU memory of a batch's largest target, MB."""
    return round(planned_batches(wildcards)[wildcards.batch].memory_gb * 1000)


@functools.cache
def load_class(name):
    """Entry of a GPU class in resources/gpus.yaml."""
    table = SETTINGS.gpu.table
    return load_classes([name], Path(table) if table else None)[0]


@planned
def price_of(wildcards):
    """Dollars a second of what a batch is planned for, as text: Snakemake's resources are whole numbers."""
    return str(load_class(gpu_class_of(wildcards)).dollars_per_second)


@planned
def seconds_of(wildcards):
    """What a batch is expected to take of a worker."""
    return math.ceil(planned_batches(wildcards)[wildcards.batch].seconds)


@planned
def minutes_of(wildcards, attempt):
    """When a scheduler may end a batch that should have ended long ago; a later attempt has longer."""
    return attempt * planned_batches(wildcards)[wildcards.batch].runtime_seconds // 60


@planned
def memory_of(wildcards, attempt):
    """Main memory of a batch's job, MB; a later attempt has more."""
    memory_gb = planned_batches(wildcards)[wildcards.batch].memory_gb
    return predict_mb(memory_gb, load_class(gpu_class_of(wildcards)), SETTINGS, attempt)


def msa_memory_of(wildcards, attempt):
    """Main memory of a chunk's job, MB; a later attempt has more."""
    return attempt * SETTINGS.msa.mem_mb


@planned
def msa_minutes_of(wildcards, attempt):
    """When a scheduler may end a chunk that should have ended long ago; a later attempt has longer."""
    plan = Path(folder_of(stage_of(wildcards)), "plan")
    return msa_minutes(plan, wildcards.chunk, SETTINGS, attempt)


def nearest_minutes(wildcards, attempt):
    """When a scheduler may end the search of all designs: how long it takes is in no model."""
    return attempt * 24 * 60


def on_slurm(name):
    """What jobs of a batch's GPU class ask a SLURM cluster for; nothing if no class has an entry."""

    def value(wildcards):
        entry = SETTINGS.slurm.gpus.get(gpu_class_of(wildcards))
        return getattr(entry, name, None)

    return value


@planned
def endpoint_of(wildcards):
    """Endpoint on RunPod for the engine of a batch; nothing if none is set, as on other machines."""
    return SETTINGS.runpod.endpoint_of(
        planned_batches(wildcards)[wildcards.batch].engine
    )


def machine_type_of(wildcards):
    """Label of a Kubernetes cluster's nodes that have a batch's GPU class; nothing if no class has an entry."""
    return SETTINGS.kubernetes.gpus.get(gpu_class_of(wildcards))

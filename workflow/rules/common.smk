import csv
import functools
import json
import math
import os
import subprocess
from pathlib import Path

from snakefold.config import load_config
from snakefold.cost.gpus import load_classes
from snakefold.paths import put_programs_on_path, resource
from snakefold.plan.limits import msa_minutes, predict_mb
from snakefold.store import open_shared_store

# Rules call `snakefold`, which lies beside the interpreter that runs Snakemake, activated or not.
put_programs_on_path()

SETTINGS = load_config(config, "config/config.yaml and --config")
RESULTS = SETTINGS.results.rstrip("/")
PLAN = f"{RESULTS}/plan"
SUMMARY = f"{RESULTS}/summary.txt"

# With a default storage, `msa` and `predict` read and write there and need no folder of this machine. What other
# rules read and write is local(), for the commands they call know a folder of results; rules/transfer.smk moves
# files between the two.
ELSEWHERE = workflow.storage_settings.default_storage_provider is not None
if ELSEWHERE and workflow.is_main_process:
    # Before anything is uploaded, for Snakemake says less of what is wrong with keys, bucket or clock.
    open_shared_store(SETTINGS.store)

# Batches that are predicted; the others are fetched.
PREDICTED = "[bc][0-9]+-l[0-9]+"


def in_transit(path):
    """A file that is kept in the default storage until it was fetched from there; without one, a file."""
    return temp(path) if ELSEWHERE else path


def planned(resource):
    """A resource that the plan tells. A job elsewhere has no plan: what it asked for is what it was given."""
    return (lambda wildcards: 0) if ELSEWHERE and workflow.remote_exec else resource


def inputs_given():
    """Paths of `input`, each as given or, for the demo, where the workflow keeps it."""
    return [str(resource(path)) for path in SETTINGS.inputs]


@functools.cache
def read_batches(path, changed):
    """Rows of batches.tsv by batch; `changed` (its time) makes a new plan be read anew."""
    with open(path, newline="", encoding="utf-8") as stream:
        return {row["batch"]: row for row in csv.DictReader(stream, delimiter="\t")}


def planned_batches():
    """Rows of batches.tsv by batch, once the plan is made."""
    path = checkpoints.plan.get().output.batches
    return read_batches(path, os.path.getmtime(path))


def chunks_of(wildcards):
    """MSA summaries that a batch waits for."""
    chunks = planned_batches()[wildcards.batch]["chunks"].split(",")
    return [local(f"{RESULTS}/msa/{chunk}.json") for chunk in chunks if chunk]


@planned
def gpu_class_of(wildcards):
    """Class of GPU that a batch is planned for: an entry of resources/gpus.yaml."""
    return planned_batches()[wildcards.batch]["gpu"]


@planned
def gpu_memory_of(wildcards):
    """GPU memory of a batch's largest target, MB."""
    return round(float(planned_batches()[wildcards.batch]["memory_gb"]) * 1000)


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
    return math.ceil(float(planned_batches()[wildcards.batch]["seconds"]))


@planned
def minutes_of(wildcards, attempt):
    """When a scheduler may end a batch that should have ended long ago; a later attempt has longer."""
    return attempt * int(planned_batches()[wildcards.batch]["runtime_seconds"]) // 60


@planned
def memory_of(wildcards, attempt):
    """Main memory of a batch's job, MB; a later attempt has more."""
    memory_gb = float(planned_batches()[wildcards.batch]["memory_gb"])
    return predict_mb(memory_gb, load_class(gpu_class_of(wildcards)), SETTINGS, attempt)


def msa_memory_of(wildcards, attempt):
    """Main memory of a chunk's job, MB; a later attempt has more."""
    return attempt * SETTINGS.msa.mem_mb


@planned
def msa_minutes_of(wildcards, attempt):
    """When a scheduler may end a chunk that should have ended long ago; a later attempt has longer."""
    return msa_minutes(Path(PLAN), wildcards.chunk, SETTINGS, attempt)


def on_slurm(name):
    """What jobs of a batch's GPU class ask a SLURM cluster for; nothing if no class has an entry."""

    def value(wildcards):
        entry = SETTINGS.slurm.gpus.get(gpu_class_of(wildcards))
        return getattr(entry, name, None)

    return value


def machine_type_of(wildcards):
    """Label of a Kubernetes cluster's nodes that have a batch's GPU class; nothing if no class has an entry."""
    return SETTINGS.kubernetes.gpus.get(gpu_class_of(wildcards))


def unfinished_batches():
    """Planned batches that have no table."""
    path = f"{PLAN}/batches.tsv"
    batches = read_batches(path, os.path.getmtime(path)) if os.path.isfile(path) else []
    return [
        batch
        for batch in batches
        if not os.path.isfile(f"{RESULTS}/tables/{batch}.parquet")
    ]


def cancel_jobs_of_a_killed_run():
    """On SLURM nobody else would: its jobs outlive the Snakemake that submitted them."""
    from snakefold.slurm import cancel_left_behind

    if left := cancel_left_behind(Path.cwd(), RESULTS):
        print(
            "Cancelled SLURM jobs that an earlier run left behind:", *left, flush=True
        )


def report_the_rest(dag, scheduler):
    """Jobs have failed for good (or else somebody ended the run): the rest has its report, they are rows of it.

    Once it had one, a table that is not there was removed by `summary`, so that what was lost is planned again.
    """
    reported = any(job.rule.name == "report" for job in dag.finished_jobs)
    if scheduler and scheduler.failed and not reported and unfinished_batches():
        command = ["snakefold", "report", RESULTS]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        print(f"What failed, and why: {RESULTS}/failures.tsv")


def weights_option():
    """Where the parameters are that the plan chose; elsewhere, a job looks for them as a worker does."""
    if ELSEWHERE:
        return []
    folder = json.loads(Path(PLAN, "weights.json").read_text())["folder"]
    return ["--weights", folder or "none"]

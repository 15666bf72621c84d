import functools
import os
from pathlib import Path

from snakefold.config import inputs_of, load_config
from snakefold.kernel.paths import have_home, put_programs_on_path
from snakefold.plan.files import read_rows
from snakefold.plan.stages import FIRST_STAGE, FOLD_THE_REST, SEQUENCES, stages_of
from snakefold.run.designs.places import (
    COMPARED,
    LIST,
    PASSED,
    TABLE as DESIGNS,
    nearest_file,
)

have_home()
# Rules call `snakefold`, which lies beside the interpreter that runs Snakemake, activated or not.
put_programs_on_path()

SETTINGS = load_config(config, "config/config.yaml and --config")
RESULTS = SETTINGS.results.rstrip("/")
# Settings of each stage, by the folder of its results. A run that designs sequences has two: paths of its rules
# have a wildcard. Any other run has one, and none.
STAGES = stages_of(SETTINGS)
AT = f"{RESULTS}/{{stage}}" if len(STAGES) > 1 else f"{RESULTS}/"
PLAN = f"{AT}plan"
SUMMARY = f"{AT}summary.txt"
PUBLISHED = f"{RESULTS}/published.txt"
NEAREST = f"{RESULTS}/{nearest_file(SETTINGS.design.novelty or '')}"

# Whether what is folded are designs, which are compared with their backbones.
COMPARES = bool(SETTINGS.design.engine) and STAGES[""].design.stage == "structures"

# Batches that are predicted, some with a part of the seeds; the others are fetched.
PREDICTED = "[bc][0-9]+-l[0-9]+(-p[0-9]+)?"

if len(STAGES) > 1:

    wildcard_constraints:
        stage=f"({FIRST_STAGE}/)?",


def stage_of(wildcards):
    """The stage of a job: a key of STAGES."""
    return getattr(wildcards, "stage", "")


def folder_of(stage):
    """Results of a stage."""
    return STAGES[stage].results.rstrip("/")


@functools.cache
def read_batches(path, changed):
    """Rows of batches.tsv by batch; `changed` (its time) makes a new plan be read anew."""
    return {row.batch: row for row in read_rows(Path(path).parent)}


def planned_batches(wildcards):
    """Rows of batches.tsv by batch, once the plan of the stage is made."""
    stage = {"stage": stage_of(wildcards)} if len(STAGES) > 1 else {}
    path = checkpoints.plan.get(**stage).output.batches
    return read_batches(path, os.path.getmtime(path))


def collected_batches(wildcards):
    """Batches with whole results: those with parts of the seeds are ranked together first."""
    rows = planned_batches(wildcards).values()
    return [row.batch for row in rows if row.part is None]


def parts_of(wildcards):
    """Results of the batches that predict parts of a batch's targets."""
    parts = planned_batches(wildcards)[wildcards.batch].parts.split(",")
    results = folder_of(stage_of(wildcards))
    return [local(f"{results}/predictions/{part}.tar.zst") for part in parts if part]


def chunks_of(wildcards):
    """MSA summaries that a batch waits for."""
    chunks = planned_batches(wildcards)[wildcards.batch].chunks.split(",")
    results = folder_of(stage_of(wildcards))
    return [local(f"{results}/msa/{chunk}.json") for chunk in chunks if chunk]


def every_chunk(wildcards):
    """MSA summaries of all batches."""
    rows = planned_batches(wildcards).values()
    chunks = {chunk for row in rows for chunk in row.chunks.split(",") if chunk}
    return [local(f"{folder_of('')}/msa/{chunk}.json") for chunk in sorted(chunks)]


def before_summary(wildcards):
    """What else there is before the end of a stage: its failure ends a run that does not keep going."""
    if stage_of(wildcards):
        return [local(f"{RESULTS}/report/index.html")]
    return [local(PUBLISHED)] if SETTINGS.publish else []

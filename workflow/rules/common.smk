import functools
import os
from pathlib import Path

from snakefold.config import inputs_of, load_config
from snakefold.kernel.paths import have_home, put_programs_on_path
from snakefold.plan.files import read_rows
from snakefold.run.designs.places import (
    COMPARED,
    LIST,
    PASSED,
    SEQUENCES,
    TABLE as DESIGNS,
    nearest_file,
)

have_home()
# Rules call `snakefold`, which lies beside the interpreter that runs Snakemake, activated or not.
put_programs_on_path()

SETTINGS = load_config(config, "config/config.yaml and --config")
RESULTS = SETTINGS.results.rstrip("/")
PLAN = f"{RESULTS}/plan"
SUMMARY = f"{RESULTS}/summary.txt"
PUBLISHED = f"{RESULTS}/published.txt"
NEAREST = f"{RESULTS}/{nearest_file(SETTINGS.design.novelty or '')}"

# Whether what is folded are designs, which are compared with their backbones.
COMPARES = bool(SETTINGS.design.engine) and SETTINGS.design.stage == "structures"

# Batches that are predicted; the others are fetched.
PREDICTED = "[bc][0-9]+-l[0-9]+"


@functools.cache
def read_batches(path, changed):
    """Rows of batches.tsv by batch; `changed` (its time) makes a new plan be read anew."""
    return {row.batch: row for row in read_rows(Path(path).parent)}


def planned_batches():
    """Rows of batches.tsv by batch, once the plan is made."""
    path = checkpoints.plan.get().output.batches
    return read_batches(path, os.path.getmtime(path))


def chunks_of(wildcards):
    """MSA summaries that a batch waits for."""
    chunks = planned_batches()[wildcards.batch].chunks.split(",")
    return [local(f"{RESULTS}/msa/{chunk}.json") for chunk in chunks if chunk]

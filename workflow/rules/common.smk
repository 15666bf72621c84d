import csv
import functools
import json
import os
import sys
from pathlib import Path

from snakefold.config import load_config
from snakefold.paths import resource

# Rules call `snakefold`; the interpreter that runs Snakemake has it, activated or not. A conda environment,
# where one is used, is put before this by Snakemake.
os.environ["PATH"] = os.pathsep.join(
    [str(Path(sys.executable).parent), os.environ["PATH"]]
)

SETTINGS = load_config(config, "config/config.yaml and --config")
RESULTS = SETTINGS.results.rstrip("/")
PLAN = f"{RESULTS}/plan"
SUMMARY = f"{RESULTS}/summary.txt"


def inputs_given():
    """Paths of `input`, each as given or, for the demo, where the workflow keeps it."""
    return [str(resource(path)) for path in SETTINGS.inputs]


@functools.cache
def rows_of(path, changed):
    """Rows of a TSV of the plan; `changed` (its time) makes a new plan be read anew."""
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def planned_batches():
    """Rows of batches.tsv, once the plan is made."""
    path = checkpoints.plan.get().output.batches
    return rows_of(path, os.path.getmtime(path))


def chunks_of(wildcards):
    """MSA summaries that a batch waits for."""
    row = next(row for row in planned_batches() if row["batch"] == wildcards.batch)
    return [
        f"{RESULTS}/msa/{chunk}.json" for chunk in row["chunks"].split(",") if chunk
    ]


def weights_folder():
    """Folder of the parameters that the plan chose; empty for an engine that brings its own."""
    return json.loads(Path(PLAN, "weights.json").read_text())["folder"] or "none"

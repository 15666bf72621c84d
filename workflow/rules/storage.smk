from pathlib import Path

from snakefold.plan.files import planned_parameters
from snakefold.kernel.store import open_shared_store

# With a default storage, `msa` and `predict` read and write there and need no folder of this machine. What other
# rules read and write is local(), for the commands they call know a folder of results; rules/transfer.smk moves
# files between the two.
ELSEWHERE = workflow.storage_settings.default_storage_provider is not None
if ELSEWHERE and workflow.is_main_process:
    # Before anything is uploaded, for Snakemake says less of what is wrong with keys, bucket or clock.
    open_shared_store(SETTINGS.store)


def in_transit(path):
    """A file that is kept in the default storage until it was fetched from there; without one, a file."""
    return temp(path) if ELSEWHERE else path


def planned(resource):
    """A resource that the plan tells. A job elsewhere has no plan: what it asked for is what it was given."""
    return (lambda wildcards: 0) if ELSEWHERE and workflow.remote_exec else resource


def weights_option(wildcards):
    """Where the parameters are that the plan chose; elsewhere, a job looks for them as a worker does."""
    if ELSEWHERE:
        return []
    plan = Path(folder_of(stage_of(wildcards)), "plan")
    if workflow.is_main_process:
        batches = planned_batches(wildcards)
    else:
        # A job on a node knows of no checkpoint, which parameters may not ask for there. It has the plan, for it
        # shares the folder.
        batches = read_batches(f"{plan}/batches.tsv", None)
    engine = batches[wildcards.batch].engine
    return ["--weights", planned_parameters(plan, engine) or "none"]

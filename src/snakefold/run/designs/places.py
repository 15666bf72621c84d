"""Files of a design run, below its results: nothing heavy, for every job of a run reads the workflow."""

from __future__ import annotations

from snakefold.kernel import recipes
from snakefold.plan.stages import FIRST_STAGE

#: Results of the stage that designs sequences, below those of the run that folds them.
STAGE = FIRST_STAGE
#: All that is known of the designs, where they are folded.
LIST = "designs/designed.parquet"
#: The table of designs; the chains of those that pass; scores of structures, a file for each batch.
TABLE, PASSED, COMPARED = "designs.tsv", "designs/passed.fasta", "designs/compared"


def nearest_file(database: str) -> str:
    """Where hits in a database are: each database has a file of its own."""
    return f"designs/nearest-{recipes.digest({'database': database})}.tsv"

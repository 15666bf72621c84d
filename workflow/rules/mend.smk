# Before the plan is looked at: what an earlier run left that cannot stay as it is.
import sys
from pathlib import Path

from snakefold import retries
from snakefold.mend import is_run, mend
from snakemake.logging import logger

if workflow.is_main_process and is_run(sys.argv[1:]):
    if Path(RESULTS).is_dir():
        retries.check_writable(Path(RESULTS))
    retries.honour(Path(RESULTS), logger.error)
    mend(Path(RESULTS), SETTINGS.store, print)
elif workflow.is_main_process and workflow.output_settings.dryrun:
    mend(Path(RESULTS), SETTINGS.store, print, dry=True)

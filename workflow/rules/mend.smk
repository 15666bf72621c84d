# Before the plan is looked at: what an earlier run left that cannot stay as it is.
from pathlib import Path

from snakefold import retries
from snakefold.mend import mend
from snakemake.logging import logger

if workflow.is_main_process:
    if not workflow.output_settings.dryrun:
        if Path(RESULTS).is_dir():
            retries.check_writable(Path(RESULTS))
        retries.honour(Path(RESULTS), logger.error)
    mend(Path(RESULTS), SETTINGS.store, print, dry=workflow.output_settings.dryrun)

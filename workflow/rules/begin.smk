# What a run does before its DAG is made, when `all` asks for it. To read the workflow changes nothing, for
# `--lint`, `--unlock` and `--report` read it too, also while a run is active.
import functools
from pathlib import Path

from snakefold.kernel.errors import ConfigError
from snakefold.run import retries
from snakefold.plan.lock import hold_results, note_log
from snakefold.run.mend import mend
from snakefold.run.progress import forget_progress


@functools.cache
def begin():
    """Hold the results, and mend what an earlier run left that cannot stay as it is; a dry run only says so."""
    if not workflow.is_main_process or workflow.execution_settings is None:
        return
    if SETTINGS.designs and not SETTINGS.design.stage:
        raise ConfigError(
            "design.engine: designing and folding are two stages, and this would be the first alone. Start them "
            "with snakefold run, which takes the same settings."
        )
    executor = workflow.executor_plugin.common_settings
    if not executor.dryrun_exec:
        hold_results(Path(RESULTS))
        note_log(Path(RESULTS), workflow.logger_manager.get_logfile())
        retries.check_writable(Path(RESULTS))
        forget_progress(Path(RESULTS))
        show_run()
    if not executor.touch_exec:
        mend(Path(RESULTS), SETTINGS.store, print, dry=executor.dryrun_exec)


def show_run():
    """A logger plugin that shows runs (--logger snakefold) has the screen from now on."""
    for handler in workflow.logger_manager.get_log_handlers():
        if show := getattr(handler, "show", None):
            show(Path(RESULTS))


# Snakemake looks for what is missing among the inputs of its targets only: so the plan's name is one of them.
def wanted(wildcards):
    """What a whole run makes."""
    begin()
    return [local(f"{PLAN}/contents/{CONTENTS}"), local(SUMMARY)]

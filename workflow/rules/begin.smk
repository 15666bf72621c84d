# What a run does before its DAG is made, when `all` asks for it. To read the workflow changes nothing, for
# `--lint`, `--unlock` and `--report` read it too, also while a run is active.
import functools
from pathlib import Path

from snakefold.run import retries
from snakefold.plan.lock import hold_results, note_log
from snakefold.plan.mark import forget_refusal
from snakefold.run.mend import mend
from snakefold.run.progress import forget_progress


@functools.cache
def begin():
    """Hold the results, and mend what an earlier run left that cannot stay as it is; a dry run only says so."""
    if not workflow.is_main_process or workflow.execution_settings is None:
        return
    executor = workflow.executor_plugin.common_settings
    if not executor.dryrun_exec:
        hold_results(Path(RESULTS))
        note_log(Path(RESULTS), workflow.logger_manager.get_logfile())
        retries.check_writable(Path(RESULTS))
        for each in STAGES.values():
            forget_progress(Path(each.results))
            forget_refusal(Path(each.results))
        show_run()
    if not executor.touch_exec:
        for each in STAGES.values():
            mend(Path(each.results), each.store, print, dry=executor.dryrun_exec)
    if executor.dryrun_exec and len(STAGES) > 1:
        print(
            "The designs that the first stage makes are planned and folded in the second."
        )


def show_run():
    """A logger plugin that shows runs (--logger snakefold) has the screen from now on."""
    for handler in workflow.logger_manager.get_log_handlers():
        if show := getattr(handler, "show", None):
            show(Path(RESULTS))


# Snakemake looks for what is missing among the inputs of its targets only: so the plan's name is one of them.
def wanted(wildcards):
    """What a whole run makes."""
    begin()
    folders = map(folder_of, STAGES)
    return [
        local(f"{folder}/{name}")
        for folder in folders
        for name in (f"plan/contents/{CONTENTS}", "summary.txt")
    ]

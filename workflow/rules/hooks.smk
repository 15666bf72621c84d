# What a run does when it starts and when it ends.
import functools
import os
import subprocess
from pathlib import Path

from snakefold.run import retries
from snakefold.kernel.unchanged import bring_to_now
from snakefold.plan.endpoints import check_planned
from snakefold.plan.executors import announce, describe
from snakefold.clusters.job_errors import seldom
from snakefold.plan.lock import hold_results, note_log
from snakemake.logging import logger

if workflow.is_main_process:
    retries.honour(Path(RESULTS), seldom(logger.error))


WATCHES = []


def start_run():
    """Hold the results, tell steps and screen what they need, and leave nothing of a killed run at work."""
    executor = workflow.executor_plugin.name
    hold_results(Path(RESULTS))
    note_log(Path(RESULTS), workflow.logger_manager.get_logfile())
    bring_to_now(Path(RESULTS))
    tell_the_plan_of(workflow)
    if executor not in ("local", "runpod"):
        refuse_what_jobs_would_not_get()
    if executor == "slurm":
        cancel_jobs_of_a_killed_run()
    retries.forget_all(Path(RESULTS))
    WATCHES.append(tell_of_jobs(workflow.scheduler._executor))


def end_well():
    """How it went. A run that was asked for a part (--until) has no summary."""
    end_watches()
    if Path(SUMMARY).is_file():
        print(Path(SUMMARY).read_text())


def end_in_failure():
    """What is there gets its report."""
    end_watches()
    report_the_rest(workflow.dag, workflow.scheduler)


def tell_the_plan_of(workflow):
    """Where jobs go, and what they can carry: only the main process knows."""
    if workflow.is_main_process:
        settings = workflow.executor_settings
        chosen = workflow.resource_settings.overwrite_resources.values()
        executor = describe(
            workflow.executor_plugin.name,
            vars(settings) if settings else {},
            overridden=any("runpod_endpoint" in given for given in chosen),
        )
        announce(executor)
        # The plan step checks what it plans; this plan was made before.
        if os.path.isfile(f"{PLAN}/contents/{CONTENTS}"):
            check_planned(Path(RESULTS), SETTINGS, executor)


def cancel_jobs_of_a_killed_run():
    """On SLURM nobody else would: its jobs outlive the Snakemake that submitted them."""
    from snakefold.clusters.slurm import cancel_left_behind

    if left := cancel_left_behind(Path.cwd(), RESULTS):
        print(
            "Cancelled SLURM jobs that an earlier run left behind:", *left, flush=True
        )


def tell_of_jobs(executor):
    """Why jobs wait and how they ended: on the screen, in failures.tsv, in the bill and in `snakefold status`."""
    from snakefold.clusters.job_errors import show_job_errors
    from snakefold.clusters.watching import watch

    show_job_errors(logger, workflow.output_settings.quiet)
    return watch(
        Path(RESULTS),
        workflow.executor_plugin.name,
        executor,
        functools.partial(logger.info, extra={"for_screen": True}),
        logger.warning,
    )


def end_watches():
    """Nothing waits any more; what an interrupt ended is written down."""
    for watch in filter(None, WATCHES):
        watch.stop()


def unfinished_batches():
    """Planned batches that have no table."""
    path = f"{PLAN}/batches.tsv"
    batches = read_batches(path, os.path.getmtime(path)) if os.path.isfile(path) else []
    return [
        batch
        for batch in batches
        if not os.path.isfile(f"{RESULTS}/tables/{batch}.parquet")
    ]


def report_the_rest(dag, scheduler):
    """Jobs have failed for good (or else somebody ended the run): the rest has its report, they are rows of it."""
    if full := retries.stopped():
        # A report could not be written either.
        print(
            f"Stopped, for nothing can be written ({full.reason}). The next run goes on.",
            flush=True,
        )
        return
    reported = any(job.rule.name == "report" for job in dag.finished_jobs)
    if scheduler and scheduler.failed and not reported and unfinished_batches():
        command = ["snakefold", "report", RESULTS]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if SETTINGS.publish:
            command = ["snakefold", "publish", RESULTS, SETTINGS.publish]
            subprocess.run(command, check=False)
        # Notes what was lost as well, so that the next run plans it again.
        subprocess.run(["snakefold", "summary", RESULTS], check=False)
        print(f"What failed, and why: {RESULTS}/failures.tsv")

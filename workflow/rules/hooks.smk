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
    for each in map(folder_of, STAGES):
        bring_to_now(Path(each))
    tell_the_plan_of(workflow)
    if executor not in ("local", "runpod"):
        refuse_what_jobs_would_not_get()
    if executor == "slurm":
        cancel_jobs_of_a_killed_run()
    for each in map(folder_of, STAGES):
        retries.forget_all(Path(each))
    WATCHES.append(tell_of_jobs(workflow.scheduler._executor))


def end_well():
    """How it went. A run that was asked for a part (--until) has no summary."""
    end_watches()
    for each in map(folder_of, STAGES):
        if Path(each, "summary.txt").is_file():
            print(Path(each, "summary.txt").read_text())


def end_in_failure():
    """What is there gets its report."""
    end_watches()
    if full := retries.stopped():
        # A report could not be written either.
        print(
            f"Stopped, for nothing can be written ({full.reason}). The next run goes on.",
            flush=True,
        )
        return
    lost = len(STAGES) > 1 and unfinished_batches(next(iter(STAGES)))
    for stage in STAGES:
        report_the_rest(stage, workflow.dag, workflow.scheduler)
    if lost and workflow.scheduler and not workflow.scheduler._user_kill:
        os.environ[FOLD_THE_REST] = "1"


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
        for each in map(folder_of, STAGES):
            # The plan step checks what it plans; this plan was made before.
            if os.path.isfile(f"{each}/plan/contents/{CONTENTS}"):
                check_planned(Path(each), SETTINGS, executor)


def cancel_jobs_of_a_killed_run():
    """On SLURM nobody else would: its jobs outlive the Snakemake that submitted them."""
    from snakefold.clusters.slurm import cancel_left_behind

    left = [
        job
        for each in map(folder_of, STAGES)
        for job in cancel_left_behind(Path.cwd(), each)
    ]
    if left:
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
        stages=list(STAGES),
    )


def end_watches():
    """Nothing waits any more; what an interrupt ended is written down."""
    for watch in filter(None, WATCHES):
        watch.stop()


def unfinished_batches(stage):
    """Planned batches of a stage that have no table."""
    results = folder_of(stage)
    path = f"{results}/plan/batches.tsv"
    batches = read_batches(path, os.path.getmtime(path)) if os.path.isfile(path) else []
    return [
        batch
        for batch in batches
        if not os.path.isfile(f"{results}/tables/{batch}.parquet")
    ]


def report_the_rest(stage, dag, scheduler):
    """Jobs have failed for good (or else somebody ended the run): the rest has its report, they are rows of it."""
    results, publish = folder_of(stage), STAGES[stage].publish
    done = [job.rule.name for job in dag.finished_jobs if is_of(job, stage)]
    # What an earlier stage has not made for it yet, a stage cannot lack.
    begun = len(STAGES) == 1 or os.path.isfile(f"{results}/plan/contents/{CONTENTS}")
    if not (scheduler and scheduler.failed and begun) or "summary" in done:
        return
    if "report" not in done and unfinished_batches(stage):
        command = ["snakefold", "report", results]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if publish:
            command = ["snakefold", "publish", results, publish]
            subprocess.run(command, check=False)
        # Notes what was lost as well, so that the next run plans it again.
        subprocess.run(["snakefold", "summary", results], check=False)
        print(f"What failed, and why: {results}/failures.tsv")


def is_of(job, stage):
    """Whether a job is of a stage; rules without a stage are of the last one."""
    return stage_of(job.wildcards) == stage

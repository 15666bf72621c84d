import subprocess
import sys
from pathlib import Path

from snakefold.plan.configure import hand_on
from snakefold.plan.stages import depend
from snakefold.kernel.errors import ConfigError
from snakemake_interface_executor_plugins.utils import format_cli_value

# Steps call programs with these paths, which know of no prefix; files would be looked for where none are made.
if (
    workflow.modifier.path_modifier.prefix
    or workflow.modifier.path_modifier.modifies_prefixes
):
    raise ConfigError(
        "module: `prefix:` and `replace_prefix:` are not supported. Name the folder by the setting `results`: "
        'config: {"results": "prefix/results", ...}'
    )


def contents_name():
    """Digest of what the run depends on: names its settings and its plan."""
    if not workflow.is_main_process:
        # A job runs on what its run planned; files may be elsewhere here, or have changed meanwhile.
        plans = (Path(folder_of(stage), "plan", "contents") for stage in STAGES)
        marks = (path for plan in plans for path in plan.glob("*"))
        return next((path.name for path in marks), "none")
    if not config.get("store") and SETTINGS.store != f"{RESULTS}/store":
        print(
            f"Results are stored in {SETTINGS.store}, as before the store followed `results`: it holds some.",
            f"Set store={RESULTS}/store to begin another.",
            file=sys.stderr,
        )
    found, name = depend(STAGES)
    hand_on((each.config, each.contents) for each in found.values())
    return name


CONTENTS = contents_name()


def sequences_made(wildcards):
    """Inputs that something else may make, in a workflow that uses this one, or because they are not there yet.

    Others are known by content: Snakemake would go by their times, and fail if one is in the future. The second
    stage takes what the first one makes.
    """
    stage = stage_of(wildcards)
    made = len(STAGES) > 1 and not stage
    is_module = not workflow.modifier.is_main_snakefile()
    return [
        local(str(path))
        for path in inputs_of(STAGES[stage])
        if made or is_module or not path.exists()
    ]


def refuse_what_jobs_would_not_get():
    """Snakemake hands its --config to jobs elsewhere in quotes that a shell does not always undo."""
    for given in workflow.config_settings.config_args or []:
        command = f"printf '%s' {format_cli_value(given, quote=True)}"
        said = subprocess.run(["bash", "-c", command], capture_output=True)
        if said.returncode or said.stdout != os.fsencode(given):
            raise ConfigError(
                f"--config {given}: would not reach jobs as it is. Write it into a file and give "
                "--configfile, or use snakefold run, which does so."
            )

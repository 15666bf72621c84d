import subprocess
import sys
from pathlib import Path

from snakefold.plan.configure import hand_on
from snakefold.plan.contents import contents_of, name_of
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
        return next((path.name for path in Path(PLAN, "contents").glob("*")), "none")
    if not config.get("store") and SETTINGS.store != f"{RESULTS}/store":
        print(
            f"Results are stored in {SETTINGS.store}, as before the store followed `results`: it holds some.",
            f"Set store={RESULTS}/store to begin another.",
            file=sys.stderr,
        )
    contents = contents_of(SETTINGS)
    hand_on(SETTINGS, contents)
    return name_of(contents)


CONTENTS = contents_name()


def sequences_made():
    """Inputs that something else may make, in a workflow that uses this one, or because they are not there yet.

    Others are known by content: Snakemake would go by their times, and fail if one is in the future.
    """
    is_module = not workflow.modifier.is_main_snakefile()
    return [str(path) for path in inputs_of(SETTINGS) if is_module or not path.exists()]


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

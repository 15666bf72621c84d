"""Snakemake as `snakefold run` starts it: without its first line, and with exit code 2 for a refused plan.

The line names the profile and has no switch. What else is written while Snakemake reads its options is shown:
a profile's warnings, a wrong option.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

from snakefold.kernel.wording import count
from snakefold.plan.contents import OWN
from snakefold.plan.mark import is_refused
from snakefold.plan.stages import FIRST_STAGE, FOLD_THE_REST, SEQUENCES

#: Environment variable that names the folder of results.
RESULTS = "SNAKEFOLD_RESULTS"
#: Environment variable of a process that folds what there is, after a first stage that failed in part.
_RESUMED = "SNAKEFOLD_FIRST_STAGE_FAILED"
_NOTICE = re.compile(r"^Using .*\bprofiles? .* for setting default command line arguments\.\n", re.MULTILINE)


def main() -> None:
    """Become Snakemake. Ctrl-C before its first job ends it without a traceback."""
    given = sys.argv[1:]
    try:
        from snakemake import cli

        parse_args = cli.parse_args

        def quietly(argv: Any) -> Any:
            said = io.StringIO()
            try:
                with contextlib.redirect_stderr(said):
                    return parse_args(argv)
            finally:
                sys.stderr.write(_NOTICE.sub("", said.getvalue()))

        cli.parse_args = quietly
        sys.argv[0] = "snakemake"  # what its messages call it
        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:
        code = _code(end.code)
        if os.environ.pop(FOLD_THE_REST, "") and code == 1:
            _fold_the_rest(given)
        sys.exit(code or int(_RESUMED in os.environ))


def _fold_the_rest(given: list[str]) -> None:
    """Become Snakemake once more, for the second stage alone, if there is a design to fold.

    A batch of backbones that is lost is no reason to leave the designs of all others: but to Snakemake the
    input of the second stage is then not made. The next run plans both stages again.
    """
    from snakefold.cli.run import write_settings
    from snakefold.config import read_settings
    from snakefold.kernel.errors import SnakefoldError
    from snakefold.run.designs.made import write_sequences

    results = Path(os.environ[RESULTS])
    try:
        number = write_sequences(results)
    except SnakefoldError:
        return
    are = "is" if number == 1 else "are"
    print(f"{count(number, 'design')} of other backbones {are} folded now.", flush=True)
    os.utime(results / SEQUENCES)  # of designs that are complete as far as they go
    settings = results / OWN / "structures.yaml"
    write_settings(settings, read_settings(results / "config.yaml"))
    place = given.index("--configfile") + 1
    os.environ[_RESUMED] = "1"
    command = [sys.executable, "-m", __spec__.name, *given[:place], str(settings), *given[place + 1 :]]
    os.execv(command[0], command)


def _code(code: Any) -> Any:
    """Snakemake's exit code, which is 1 for all that is not well, or a more honest one."""
    if code != 1:
        return code
    plugin = sys.modules.get("snakemake_logger_plugin_snakefold")
    ended = plugin.LogHandler.exit_code if plugin is not None else None
    return ended if ended is not None else 2 if _refused() else code


def _refused() -> bool:
    """Whether a plan was refused."""
    folder = os.environ.get(RESULTS)
    if not folder:
        return False
    return any(map(is_refused, (Path(folder, FIRST_STAGE), Path(folder))))


if __name__ == "__main__":
    main()

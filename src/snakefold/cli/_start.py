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

#: Environment variable that names the folder of results.
RESULTS = "SNAKEFOLD_RESULTS"
_NOTICE = re.compile(r"^Using .*\bprofiles? .* for setting default command line arguments\.\n", re.MULTILINE)


def main() -> None:
    """Become Snakemake. Ctrl-C before its first job ends it without a traceback."""
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
        sys.exit(_code(end.code))


def _code(code: Any) -> Any:
    """Snakemake's exit code, which is 1 for all that is not well, or a more honest one."""
    if code != 1:
        return code
    plugin = sys.modules.get("snakemake_logger_plugin_snakefold")
    ended = plugin.LogHandler.exit_code if plugin is not None else None
    return ended if ended is not None else 2 if _refused() else code


def _refused() -> bool:
    """Whether the plan was refused: it leaves no tables, and nothing was started."""
    folder = os.environ.get(RESULTS)
    if not folder:
        return False
    results = Path(folder)
    return (results / "logs" / "plan.log").is_file() and not (results / "plan" / "batches.tsv").exists()


if __name__ == "__main__":
    main()

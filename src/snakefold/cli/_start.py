"""Snakemake as `snakefold run` starts it: without its first line, which names the profile and has no switch.

What else is written while Snakemake reads its options is shown: a profile's warnings, a wrong option.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from typing import Any

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


if __name__ == "__main__":
    main()

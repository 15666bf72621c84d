"""`snakefold errors`: the exit codes, and codes of failures, refusals and notes, all or one by one."""

from __future__ import annotations

import argparse

from snakefold.cli._command import Commands, command

_EXIT_CODES = {
    0: "All is well: every target has a structure, or nothing was to be done.",
    1: "Something was computed and something failed: failures.tsv names the targets, or the text the damage.",
    2: "A setting, an input, a file or the installation must be corrected. Nothing was started.",
    130: "Interrupted (Ctrl-C). The same command goes on.",
    143: "Ended by SIGTERM. The same command goes on.",
}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = command(
        commands,
        "errors",
        _errors,
        summary="print what the codes of failures, refusals and notes mean, and what to do",
        example="snakefold errors out_of_memory",
    )
    parser.add_argument("code", nargs="?", help="code to explain; if not given, all, as Markdown")


def page() -> str:
    """docs/errors.md."""
    from snakefold.kernel.errors import ADVICE, MEANING, RETRIED, Reason
    from snakefold.kernel.notes import MEANINGS
    from snakefold.molecules.codes import CODES

    again = {True: "tries again", False: ""}
    lines = [
        "# Errors",
        "",
        "An error names the file, the record and the line, what was expected and what to do. What can be",
        "known before a job starts is told before, with exit code 2.",
        "This file is made by `snakefold errors > docs/errors.md`.",
        "",
        "## Exit codes",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in _EXIT_CODES.items()),
        "",
        "## Failures",
        "The column `reason` of failures.tsv, for targets without a structure. A later run computes them",
        "again where the last column says so; the others would fail again as they are.",
        "",
        "| reason | meaning | what to do | a later run |",
        "|---|---|---|---|",
        *(
            f"| `{each}` | {MEANING[each]} | {ADVICE.get(each, '')} | {again[each in RETRIED]} |"
            for each in Reason
        ),
        "",
        "## Refusals",
        "`code` in results/plan/refusals.json, for records and files that cannot become targets. The message",
        "beside it names the place and what to do.",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| `{code}` | {meaning} |" for code, meaning in sorted(CODES.items())),
        "",
        "## Notes",
        "`notes` of a target (metrics.tsv, confidence.json, the page): what a person should know of it.",
        "",
        "| code | meaning | what to do |",
        "|---|---|---|",
        *(f"| `{code}` | {each.text} | {each.advice} |" for code, each in MEANINGS.items()),
    ]
    return "\n".join(lines) + "\n"


def explained(code: str) -> str:
    """What one code means, of whatever kind it is.

    Raises:
        SnakefoldError: there is no such code.
    """
    from snakefold.kernel.errors import SnakefoldError

    rows = [line.strip("| ").split(" | ") for line in page().splitlines() if line.startswith("| ")]
    found = [cells[1:] for cells in rows if cells[0].strip("`") == code]
    if not found:
        raise SnakefoldError(f"{code}: no such code. `snakefold errors` lists all of them.")
    return "\n".join(" ".join(cell.rstrip(" |") for cell in cells if cell.strip(" |")) for cells in found)


def _errors(options: argparse.Namespace) -> None:
    print(page() if options.code is None else explained(options.code) + "\n", end="")

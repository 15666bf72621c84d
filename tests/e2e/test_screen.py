"""`snakefold run` on a terminal: a panel that stays in its place, and the table at the end."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.conftest import TRP_ZIPPER, Run

pytestmark = pytest.mark.slow

SETTINGS = ["msa.tool=single_sequence", "relax.models_to_relax=none", "rehearsal.models=[1]"]
SETTINGS += ["rehearsal.num_recycle=0", "rehearsal.blocks=1"]
FAST = [word for setting in SETTINGS for word in ("--set", setting)]
#: What rich writes: text, and these. Anything else is not expected.
_CODES = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


@dataclass
class Screen:
    """What a terminal shows, as far as a panel needs one; `scrolled`: lines that left it at the top."""

    width: int
    height: int = 30
    rows: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0
    scrolled: int = 0

    def write(self, text: str) -> None:
        """Obey a text."""
        for numbers, code, control, plain in _CODES.findall(text):
            if control == "\r":
                self.column = 0
            elif control == "\n":
                self.row, self.column = self.row + 1, 0
                if self.row == len(self.rows):
                    self.rows.append("")
                self.scrolled = max(self.scrolled, len(self.rows) - self.height)
            elif plain:
                line = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = line[: self.column] + plain + line[self.column + len(plain) :]
                self.column += len(plain)
                whole = plain.startswith(("report:", "resume:"))  # at the end, to be copied
                assert self.column <= self.width or whole, f"wider than the terminal: {plain!r}"
            elif code == "A":
                self.row = max(0, self.row - int(numbers or 1))
            elif code == "K":
                self.rows[self.row] = ""
            else:
                assert code in "mhl", f"unexpected: ESC [{numbers}{code}"

    @property
    def text(self) -> str:
        """What is to be seen."""
        return "\n".join(row.rstrip() for row in self.rows).strip()


def on_terminal(
    run: Run, width: int, *arguments: str, until: Callable[[Screen], bytes] = lambda _: b""
) -> tuple[int, Screen, list[str]]:
    """Exit code, the last screen and all screens of a run; what `until` returns is typed."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    process = subprocess.Popen(
        run.command("run", *arguments),
        cwd=run.folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**environment, "TERM": "xterm"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )
    os.close(terminal)
    # Letters and codes may be cut between two reads.
    screen, decoder, rest = Screen(width), codecs.getincrementaldecoder("utf-8")(), ""
    seen: list[str] = []
    with contextlib.suppress(OSError):  # the last one closed the terminal
        while data := os.read(master, 1 << 16):
            text = rest + decoder.decode(data)
            cut = re.search(r"\x1b(\[[?\d;]*)?$", text)
            rest = cut[0] if cut else ""
            screen.write(text.removesuffix(rest))
            seen.append(screen.text)
            if typed := until(screen):
                os.write(master, typed)
    os.close(master)
    return process.wait(), screen, seen


def fasta(run: Run) -> str:
    (run.folder / "set.fasta").write_text(f">zipper\n{TRP_ZIPPER}\n>broken\nMKT1\n")
    return "set.fasta"


def test_a_run_shows_one_panel_and_then_its_table(run: Run) -> None:
    store = ["--set", f"store={run.folder / 'store'}"]
    code, screen, seen = on_terminal(run, 80, fasta(run), *FAST, *store)
    log = (run.results / "logs" / "run.log").read_text()
    assert code == 0, screen.text + log
    report = (run.results / "report" / "index.html").as_uri()
    table = screen.text.splitlines()
    assert table[0] == "REHEARSAL: random parameters, the structures mean nothing."
    assert table[1:4] == ["done:    1 target", "failed:  0 targets", "refused: 1 record"]
    assert table[-2:] == [f"report:  {report}", "log:     results/logs/run.log"]
    assert screen.scrolled == 0
    # Snakemake's words are in the log, and nowhere else.
    assert "Select jobs to execute..." in log and "Quote" in log
    panels = "\n".join(seen)
    assert not re.search(r"Select jobs|Using (workflow|profile)|Building DAG|overhead", panels)
    for words in (
        "plan        done: 1 target, 1 refused",
        "alignments",
        "1/1",
        "so far",
        "REHEARSAL: random",
    ):
        assert words in panels, panels
    assert re.search(r"fold +━+ +0/1  zipper \(26 residues\) (compiling|predicting)", panels)
    assert len({text.splitlines()[0] for text in seen if "so far" in text}) <= 3, "it stays in its place"
    before = {path: path.stat().st_mtime_ns for path in (run.results / "predictions").iterdir()}

    # Nothing to do: the same table. Then other results from the same store, where no terminal is.
    code, again, _ = on_terminal(run, 120, "set.fasta", *FAST, *store)
    assert code == 0 and again.text.splitlines()[-2:] == table[-2:]
    assert again.text.splitlines()[:4] == table[:4]
    assert {path: path.stat().st_mtime_ns for path in (run.results / "predictions").iterdir()} == before
    plain = run.call("run", "set.fasta", *FAST, *store, "--set", "results=other")
    assert plain.returncode == 0 and plain.stderr == "", plain.stderr
    assert "\x1b" not in plain.stdout and "Select jobs" not in plain.stdout
    lines = plain.stdout.splitlines()
    assert lines[0] == "log:     other/logs/run.log"
    assert re.match(r"REHEARSAL of alphafold2; other: running; |REHEARSAL: random", lines[1]), plain.stdout
    assert "done:    1 target" in lines and lines[-1] == "log:     other/logs/run.log"


@pytest.mark.parametrize("when", ["plan        at work", "loading|compiling"])
def test_ctrl_c_leaves_the_terminal_clean_and_says_how_to_resume(run: Run, when: str) -> None:
    typed: list[bool] = []

    def interrupt(screen: Screen) -> bytes:
        if typed or not re.search(when, screen.text):
            return b""
        typed.append(True)
        return b"\x03"

    code, screen, _ = on_terminal(run, 80, fasta(run), *FAST, until=interrupt)
    assert code == 130, screen.text
    lines = [line for line in screen.text.splitlines() if line]
    # A target this small may be done before the signal arrives.
    assert re.fullmatch(r"Stopped\. (?:[01] of 1 target done, and|Finished targets are) kept\.", lines[0]), (
        screen.text
    )
    assert lines[1].startswith("resume:  snakefold run set.fasta --set msa.tool=single_sequence")
    assert lines[-1] == "log:     results/logs/run.log"
    assert "so far" not in screen.text and "Traceback" not in screen.text


def test_sigterm_ends_a_run_as_ctrl_c_does(run: Run) -> None:
    sent: list[bool] = []

    def end(screen: Screen) -> bytes:
        if not sent and re.search("loading|compiling", screen.text):
            # To the run alone, as a scheduler or `timeout` sends it.
            (own,) = (each for each in children(os.getpid()) if "snakefold.cli._start" in each[1])
            os.kill(own[0], signal.SIGTERM)
            sent.append(True)
        return b""

    code, screen, _ = on_terminal(run, 80, fasta(run), *FAST, until=end)
    assert code == 143, screen.text
    lines = [line for line in screen.text.splitlines() if line]
    assert lines[0].startswith("Stopped."), screen.text
    assert lines[1].startswith("resume:  snakefold run set.fasta")
    assert "Failed:" not in screen.text and "Traceback" not in screen.text


def children(parent: int) -> Iterator[tuple[int, str]]:
    """Processes that a process started, with their command lines."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(status[1]) == parent:
                yield int(folder.name), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()


@pytest.mark.parametrize("verbose", [False, True])
def test_a_plan_that_is_refused_says_why(run: Run, verbose: bool) -> None:
    (run.folder / "bad.fasta").write_text(">a\nMKT1\n")
    arguments = ["bad.fasta", "--set", "on_invalid=stop", *["--verbose"] * verbose]
    process = run.call("run", *arguments)
    assert process.returncode == 2
    assert "bad.fasta:2" in process.stdout + process.stderr
    assert ("Select jobs" in process.stdout + process.stderr) == verbose
    assert not Path(run.results / "plan" / "batches.tsv").exists()

"""A report of an invented run, and a Chromium that notes what a page says, asks for and breaks.

`pytest tests/browser --slow-browser 20` finds tests that read a page before it has done what they asked for:
scripts run at a twentieth of the speed, and timers come late.
"""

from __future__ import annotations

import inspect
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from snakefold.report import build
from tests.browser.make_results import make_results

#: Software rendering: the view is WebGL, and test machines have no graphics card.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)
#: Seconds within which a page does what it is asked to on the busiest machine; only failures take so long.
PATIENCE = 600
#: Timers of a slow page; RATE is replaced by a number.
_LATE = """(() => {
  const { setTimeout } = window;
  window.setTimeout = (act, wait = 0, ...more) => setTimeout(act, wait + 20 * RATE, ...more);
})();"""

T = TypeVar("T")


def eventually(read: Callable[[], T], expected: T | Callable[[T], bool]) -> T:
    """Read until that is `expected`, or fulfils it; returns it.

    Pages answer a click or a key when they come to it: what is read at once may be what was there before.

    Raises:
        AssertionError: it never was; says what was read last, and what was expected.
    """
    fulfilled = expected if callable(expected) else lambda seen: bool(seen == expected)
    end = time.monotonic() + PATIENCE
    while not fulfilled(seen := read()):
        if time.monotonic() > end:
            wanted = inspect.getsource(expected).strip() if callable(expected) else repr(expected)
            raise AssertionError(f"after {PATIENCE} s the page shows {seen!r}, not {wanted}")
        time.sleep(0.05)
    return seen


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slow-browser", type=float, default=1, metavar="RATE", help="Chromium, RATE times slower"
    )


@dataclass
class Visit:
    """An open page, and what happened on it."""

    page: Any
    index: Path
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, target: str = "") -> None:
        """Open the overview, or a target, and wait until everything is drawn."""
        self.page.goto("about:blank")  # else another target would be a step within the page
        self.page.goto(self.index.as_uri() + (f"#/{target}" if target else ""))
        if target:
            self.wait_for_target()
        else:
            self.page.wait_for_selector("body[data-ready]")

    def wait_for_target(self) -> None:
        self.page.wait_for_selector("#target[data-state=ready] .viewer[data-state=ready]")
        self.wait_for_picture()

    def wait_for_picture(self, seen: str | None = None) -> None:
        """Wait until the 3D view has drawn the last of what it was told, after the version `seen`."""
        self.page.wait_for_function(
            """seen => {
                const { version, painted } = document.querySelector("#target .viewer").dataset;
                return version !== undefined && version !== seen && painted === version;
            }""",
            arg=seen,
        )


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a rehearsal with odd and hostile headers, and their report."""
    folder = make_results(tmp_path_factory.mktemp("run"), hostile=True)
    build(folder)
    return folder


# Of the module: while Playwright lives, its event loop runs in this thread, and no other test may start one.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(_ARGUMENTS), timeout=1000 * PATIENCE
        )
        yield browser
        browser.close()


@pytest.fixture
def visiting(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Visit]]:
    """`visiting(results, **settings)`: opens a page for a report, with settings of Playwright's contexts."""
    rate = request.config.getoption("slow_browser", 1)
    with ExitStack() as contexts:

        def visiting(results: Path, **settings: Any) -> Visit:
            context = chromium.new_context(**{"viewport": {"width": 1280, "height": 1400}, **settings})
            contexts.callback(context.close)
            context.set_default_timeout(1000 * PATIENCE)
            page = context.new_page()
            if rate > 1:
                context.add_init_script(_LATE.replace("RATE", str(rate)))
                context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": rate})
            return Visit(page, results / "report" / "index.html")

        yield visiting


@pytest.fixture
def visit(visiting: Callable[..., Visit], results: Path) -> Visit:
    return visiting(results)

"""A report of an invented run, and a Chromium that notes what a page says, asks for and breaks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


@dataclass
class Visit:
    """An open page, and what happened on it."""

    page: Any
    index: Path
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, target: str = "") -> None:
        """Open the overview, or a target, and wait until everything is drawn."""
        self.page.goto("about:blank")  # else another target would be a step within the page
        self.page.goto(self.index.as_uri() + (f"#/{target}" if target else ""))
        if target:
            self.wait_for_target()
        else:
            self.page.wait_for_selector("body[data-ready]", timeout=600_000)

    def wait_for_target(self) -> None:
        self.page.wait_for_selector("#target[data-state=ready] .viewer[data-state=ready]", timeout=600_000)


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
            executable_path=shutil.which("chromium"), args=list(_ARGUMENTS), timeout=600_000
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, results: Path) -> Iterator[Visit]:
    yield from visiting(chromium, results)


def visiting(chromium: Any, results: Path) -> Iterator[Visit]:
    """A page of its own, for the report in `results`."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1400})
    context.set_default_timeout(600_000)
    page = context.new_page()
    found = Visit(page, results / "report" / "index.html")
    page.on("console", lambda said: found.errors.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: found.errors.append(str(error)))
    page.on("request", lambda request: found.requests.append(request.url))
    yield found
    context.close()

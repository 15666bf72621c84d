"""A picture of a report: `python docs/screenshot.py results/report/index.html [target] [picture]`.

Needs Chromium and the development requirements (playwright). Without a target the overview is shown.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

_ARGUMENTS = (
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
)


def screenshot(index: Path, target: str, picture: Path) -> None:
    """Write a picture of the report's overview, or of a target, at 1280 by 1500 points."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("chromium is not on PATH: apt-get install chromium.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_ARGUMENTS))
        page = browser.new_page(viewport={"width": 1280, "height": 1500})
        page.goto(index.resolve().as_uri() + (f"#/{target}" if target else ""))
        page.wait_for_selector("body[data-ready]", timeout=120_000)
        if target:
            page.wait_for_selector("#target[data-state=ready] .viewer[data-painted]", timeout=120_000)
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    given = [*sys.argv[1:], "", ""]
    screenshot(Path(given[0]), given[1], Path(given[2] or Path(__file__).with_name("report.png")))

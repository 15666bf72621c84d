"""What tests of a target's page look at: pixels of the 3D view, plots, and the folder it was made from."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.browser.conftest import Visit, eventually

PLDDT, PAE = "pLDDT of every residue", "Predicted aligned error"
#: Mol* draws at most one picture a frame.
FRAMES = """async () => {
  for (let frame = 0; frame < 4; frame++) await new Promise(requestAnimationFrame);
}"""
#: Colours of selected residues: aligned on, scored, both (report.css: chain-6, chain-1, chain-4).
ROWS, COLUMNS, BOTH = (213, 94, 0), (0, 114, 178), (204, 121, 167)


def pixels(visit: Visit) -> NDArray[np.int64]:
    """The 3D view as it looks when nothing moves, [height, width, 3]."""
    from PIL import Image

    visit.wait_for_picture()
    canvas = visit.page.locator("#target .viewer canvas")
    shots = [canvas.screenshot()]

    def moves() -> bool:
        visit.page.evaluate(FRAMES)
        shots.append(canvas.screenshot())
        return shots[-1] != shots.pop(0)

    eventually(moves, False)
    return np.asarray(Image.open(io.BytesIO(shots[0])).convert("RGB")).astype(int)


def coloured(image: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pixels are not grey, but for Mol*'s axes and buttons and the word REHEARSAL, at the edges."""
    found = np.ptp(image, axis=2) > 40
    found[:50, :170] = False
    found[:, -60:] = False
    found[int(0.72 * len(image)) :, : image.shape[1] // 4] = False
    return np.asarray(found)


def like(image: NDArray[np.int64], colour: tuple[int, int, int]) -> int:
    """Pixels of a colour's hue: shading darkens a colour but keeps its direction."""
    drawn = image[coloured(image)]
    wanted = np.array(colour)
    alike = drawn @ wanted / (np.linalg.norm(drawn, axis=1) * np.linalg.norm(wanted))
    return int(np.count_nonzero(alike > 0.985))


def grey(image: NDArray[np.int64]) -> int:
    """Pixels of a shaded grey."""
    flat = image.reshape(-1, 3)
    return int(np.count_nonzero((np.ptp(flat, axis=1) < 20) & (flat.max(axis=1) < 200)))


def legend(visit: Visit) -> list[str]:
    """What the colours of the 3D view mean."""
    return list(visit.page.locator("#target .frame + .legend li").all_inner_texts())


def plot(visit: Visit, label: str) -> Any:
    return visit.page.locator(f'#target .plot[aria-label="{label}"]')


def said(visit: Visit) -> str:
    return str(visit.page.locator("#said").inner_text())


def painted(visit: Visit, act: Callable[[], object]) -> None:
    """Do something that changes the 3D view, and wait until it looks so."""
    seen = visit.page.locator("#target .viewer").get_attribute("data-version")
    act()
    visit.wait_for_picture(seen)


def at(visit: Visit, label: str, x: float, y: float) -> tuple[float, float]:
    """Where on the page a plot's point (x, y), in its own numbers, is."""
    found = plot(visit, label).evaluate(
        """(plot, [x, y]) => {
            plot.scrollIntoView({ block: "center" });
            const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.d2p(x), box.top + yaxis._offset + yaxis.d2p(y)];
        }""",
        [x, y],
    )
    return float(found[0]), float(found[1])


def select(visit: Visit, first: tuple[float, float], last: tuple[float, float]) -> None:
    """Drag over the PAE from a point (scored, aligned) to another."""
    start, end = (at(visit, PAE, *point) for point in (first, last))
    visit.page.mouse.move(*start)
    visit.page.mouse.down()
    visit.page.mouse.move(*end, steps=8)
    visit.page.mouse.up()


def stored_pae(folder: Path, rank: int = 0) -> NDArray[np.float64]:
    with np.load(folder / "pae.npz") as archive:
        return np.asarray(archive[f"rank_{rank}"] * 0.125)

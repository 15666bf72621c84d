"""PAE matrices for the page: pictures to draw, and whole Ångströms to download.

Five matrices of a protein are several times as large as everything else on its page. What is drawn is
therefore an image of the 8-bit matrix: exact where that is small enough (up to some 140 residues), else with
small losses, which are measured and told on the page. What is downloaded is exact, and loaded only when it is
asked for.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel.errors import SnakefoldError
from snakefold.report.libraries import packed
from snakefold.structures import confidence

#: Matrices above this size are averaged over square blocks for the picture.
MAX_PAE = 600
#: Bits a value of a picture may take. Noisier matrices get a lower quality; pure noise is averaged.
_BITS = 0.5
_QUALITIES = (90, 80, 65, 45, 20)
#: Bytes that any picture may take: as many as that of a protein of 400 residues, whose page is to be small.
_LEAST = 10_000
#: Bits a value that a picture without loss takes at least; seldom less than 3 for a predicted matrix.
_EXACT_BITS = 3

Matrices = Mapping[int, NDArray[np.uint8]]


def read_matrices(path: Path) -> Matrices:
    """Stored PAE by rank: uint8 [L, L], units of `confidence.PAE_UNIT`; empty if there is no file.

    Raises:
        SnakefoldError: the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        return {
            rank: np.rint(matrix / confidence.PAE_UNIT).astype(np.uint8)
            for rank, matrix in confidence.read_pae(path.read_bytes()).items()
        }
    except SnakefoldError as error:
        raise SnakefoldError(f"{path}: {error}") from error


def picture(matrix: NDArray[np.uint8] | None) -> dict[str, Any] | None:
    """A matrix as a grey WebP image, one pixel a pair of residues, the grey being the stored 8-bit value.

    Returns:
        size: pixels a side; step: residues a pixel; image: base64; mean: of the picture, Å; rms and most:
        root mean square and largest difference of the picture from the (averaged) matrix, Å.
    """
    if matrix is None:
        return None
    step = -(-len(matrix) // MAX_PAE)
    allowed = max(_LEAST, (len(matrix) // step) ** 2 * _BITS / 8)
    while True:
        drawn = _averaged(matrix, step) if step > 1 else matrix
        image, seen = _image(drawn, allowed)
        if len(image) <= allowed or len(drawn) <= 2:
            break
        step += 1
    lost = np.abs(seen.astype(np.float64) - drawn) * confidence.PAE_UNIT
    return {
        "size": len(drawn),
        "step": step,
        "image": base64.b64encode(image).decode("ascii"),
        "mean": round(float(seen.mean()) * confidence.PAE_UNIT, 3),
        "rms": round(float(np.sqrt((lost**2).mean())), 2),
        "most": round(float(lost.max()), 2),
    }


def whole_angstroms(matrices: Matrices) -> list[str | None]:
    """Row-major uint8 matrices in whole Å, packed, by rank: what AlphaFold DB's PAE files hold."""
    return [
        packed(np.rint(matrices[rank] * confidence.PAE_UNIT).astype(np.uint8).tobytes())
        if rank in matrices
        else None
        for rank in range(max(matrices, default=-1) + 1)
    ]


def _averaged(matrix: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    starts = np.arange(0, len(matrix), step)
    sums = np.add.reduceat(np.add.reduceat(matrix.astype(np.uint32), starts, 0), starts, 1)
    sizes = np.diff([*starts, len(matrix)])
    return np.rint(sums / np.outer(sizes, sizes)).astype(np.uint8)


def _image(matrix: NDArray[np.uint8], allowed: float) -> tuple[bytes, NDArray[np.uint8]]:
    """The best image of at most `allowed` bytes (else the smallest), and the values that it decodes to."""
    from PIL import Image

    source = Image.fromarray(matrix).convert("RGB")
    if matrix.size * _EXACT_BITS / 8 <= allowed:
        buffer = io.BytesIO()
        source.save(buffer, "WEBP", lossless=True, quality=50, method=2)
        if buffer.tell() <= allowed:
            return buffer.getvalue(), matrix
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        source.save(buffer, "WEBP", quality=quality, method=2)
        if buffer.tell() <= allowed:
            break
    data = buffer.getvalue()
    return data, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))[:, :, 1]

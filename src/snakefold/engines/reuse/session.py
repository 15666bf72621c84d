"""One taken structure becomes one prediction."""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.reuse.found import MAX_BYTES, UnusableError, expand
from snakefold.engines.reuse.predicted import Predicted, read_predicted
from snakefold.engines.spec import TargetMsas
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import Reason, SnakefoldError, TargetError
from snakefold.structures.confidence import read_pae
from snakefold.structures.prediction import Prediction


class ReuseSession:
    """Takes structures; `rehearsal`: those that say REHEARSAL are expected."""

    def __init__(self, *, rehearsal: bool) -> None:
        self.device = ""
        self.seconds: dict[str, float] = {}
        self._rehearsal = rehearsal

    def predict(self, target: TargetInput, msas: TargetMsas) -> list[Prediction]:
        """The model that came with the request.

        Raises:
            TargetError: it is missing, not what the plan found, or not of this target.
        """
        start = time.monotonic()
        files = {name.partition(".")[0]: data for name, data in msas.files.items()}
        try:
            origin = json.loads(files["origin"])
            name, sha256 = str(origin["name"]), str(origin["sha256"])
            data = files["structure"]
        except (KeyError, TypeError, ValueError) as error:
            raise _refusal("The request holds no structure for this target.") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _refusal(f"{name}: the bytes are not those that the plan found.")
        predicted = self._read(target, name, data)
        pae, warnings = _pae(files.get("pae"), target.length)
        pdb = predicted.pdb()
        source = f"Taken from {name}, sha256 {sha256}"
        return [
            Prediction(
                name="reused",
                pdb=pdb,
                structure=None if pdb else predicted.model(),
                plddt=predicted.plddt,
                pae=pae,
                ranking_confidence=float(predicted.plddt.mean()),
                seconds=time.monotonic() - start,
                warnings=[source, *warnings],
                origin=f"{source}: {predicted.title}." if predicted.title else f"{source}.",
            )
        ]

    def _read(self, target: TargetInput, name: str, data: bytes) -> Predicted:
        try:
            predicted = read_predicted(data)
        except UnusableError as error:
            raise _refusal(f"{name}: {error}.") from error
        if list(predicted.chains) != target.chains:
            raise _refusal(f"{name}: its sequence is not the target's.")
        if predicted.rehearsal and not self._rehearsal:
            raise _refusal(f"{name}: it says REHEARSAL, and this is no rehearsal.")
        return predicted


def _refusal(message: str) -> TargetError:
    return TargetError(Reason.INVALID_INPUT, message, "Plan again.")


def _pae(data: bytes | None, length: int) -> tuple[NDArray[np.float32] | None, list[str]]:
    """PAE [L, L] in Å, and a warning if what came is none: the structure is sound without it."""
    if data is None:
        return None, []
    try:
        matrix = _npz(data) if data.startswith(b"PK") else _alphafold_db(json.loads(expand(data)))
        if matrix.shape != (length, length) or not bool(np.all(matrix >= 0)):
            raise ValueError(f"shape {matrix.shape}")  # noqa: TRY301
    except (
        UnusableError,
        SnakefoldError,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        RecursionError,
    ) as error:
        return None, [f"the PAE beside it cannot be read ({str(error)[:200]})"]
    return matrix, []


def _npz(data: bytes) -> NDArray[np.float32]:
    """Best model's matrix in a pae.npz of snakefold."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            size = sum(member.file_size for member in members.infolist())
    except zipfile.BadZipFile as error:
        raise UnusableError(str(error)) from error
    if size > MAX_BYTES:
        raise UnusableError(f"it unpacks to more than {MAX_BYTES} bytes")
    return read_pae(data)[0]


def _alphafold_db(content: Any) -> NDArray[np.float32]:
    """AlphaFold DB's matrix, row = aligned on; version 1 listed pairs of residues instead."""
    entry: Mapping[str, Any] = content[0] if isinstance(content, list) else content
    if "predicted_aligned_error" in entry:
        return np.asarray(entry["predicted_aligned_error"], dtype=np.float32)
    first, second, distance = (np.asarray(entry[name]) for name in ("residue1", "residue2", "distance"))
    matrix = np.full((int(first.max()), int(second.max())), np.nan, dtype=np.float32)
    matrix[first - 1, second - 1] = distance
    return matrix

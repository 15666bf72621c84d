"""ESMFold's files in a weights folder: which there are, and whether they are whole. Reads no tensor.

They are those of a model on Hugging Face (facebook/esmfold_v1): config.json, and model.safetensors or
pytorch_model.bin. The tokenizer's files are not read: the vocabulary is in config.json.
"""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import WeightsMissingError

ADDRESS = "https://huggingface.co/facebook/esmfold_v1"
GET = (
    f"ESMFold's files (config.json and pytorch_model.bin, 8.4 GB) are at {ADDRESS}. Download them into the "
    "folder esmfold of the weights folder: hf download facebook/esmfold_v1 --local-dir WEIGHTS/esmfold"
)
#: Bytes of the numbers in a tensor, by the names of safetensors.
_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
#: The header of 8.4 GB is half a megabyte.
_LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Files:
    """Paths in the weights folder `weights`."""

    weights: Path

    @property
    def folder(self) -> Path:
        """ESMFold's place among all engines'."""
        return self.weights / "esmfold"

    @property
    def config(self) -> Path:
        """Sizes of the network, and the vocabulary."""
        return self.folder / "config.json"

    @property
    def safetensors(self) -> Path:
        """The parameters; transformers prefers them in this form."""
        return self.folder / "model.safetensors"

    @property
    def pickled(self) -> Path:
        """The parameters as they were published."""
        return self.folder / "pytorch_model.bin"

    @property
    def parameters(self) -> Path | None:
        """The file that transformers loads; None: there is none."""
        return next((path for path in (self.safetensors, self.pickled) if path.is_file()), None)

    def missing(self) -> list[str]:
        """Names of files that a prediction needs."""
        found = [] if self.config.is_file() else [self.config.name]
        return found if self.parameters else [*found, f"{self.safetensors.name} or {self.pickled.name}"]


def configuration(path: Path) -> dict[str, Any]:
    """What config.json says.

    Raises:
        WeightsMissingError: it is none of a folding model.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsMissingError(f"{path}: cannot be read as JSON ({error}). {GET}") from error
    if not (isinstance(found, dict) and found.get("model_type") == "esm" and found.get("is_folding_model")):
        raise WeightsMissingError(
            f"{path}: expected the configuration of ESMFold (model_type esm, is_folding_model true), found "
            f"another model's. {GET}"
        )
    return found


def problem(path: Path, *, every_byte: bool = False) -> str:
    """What is wrong with a file of parameters; empty: nothing that its form shows.

    Args:
        every_byte: compare the checksums of a zip archive as well, which reads all of it.
    """
    try:
        if path.suffix == ".safetensors":
            _, start, ends = header(path)
            expected, size = start + max(ends, default=0), path.stat().st_size
            return "" if size == expected else f"{size} bytes instead of {expected}"
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() if every_byte else None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return str(error) or type(error).__name__
    return f"{damaged}: its checksum is another" if damaged else ""


def header(path: Path) -> tuple[dict[str, str], int, list[int]]:
    """Of a file of safetensors: its metadata, where its numbers start, and where each tensor ends from there.

    Raises:
        ValueError, OSError: it is no such file.
    """
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > _LONGEST_HEADER:
            raise ValueError("it has no header of safetensors")
        found = json.loads(stream.read(size))
    if not isinstance(found, dict):
        raise ValueError("its header is no JSON object")  # noqa: TRY004
    metadata = found.pop("__metadata__", {})
    ends = []
    for name, tensor in found.items():
        try:
            first, last = tensor["data_offsets"]
            wanted = math.prod(tensor["shape"]) * _BYTES[tensor["dtype"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"tensor {name} of its header is not described") from error
        if last - first != wanted:
            raise ValueError(f"tensor {name} has {last - first} bytes instead of {wanted}")
        ends.append(last)
    return metadata, 8 + size, ends

"""Where the network's parameters are: the folder MODEL_CACHE_DIR, filled from the hub or with random ones."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakefold_images.errors import WeightsError

FOLDER = "MODEL_CACHE_DIR"
TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable
REPOSITORY = "facebook/sam3"
#: Files that the network is made of. The repository has the same parameters a second time (sam3.pt, 3.4 GB).
NEEDED = (
    "config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
_WANTED = (*NEEDED, "special_tokens_map.json", "vocab.json", "merges.txt", "LICENSE")
#: Key in the metadata of model.safetensors that random parameters have; it survives copying.
MARK = "rehearsal"
REHEARSAL = "REHEARSAL: random parameters chose the regions; the picture means nothing."
_LARGEST_HEADER = 100_000_000
_AGAIN = "Remove it, and fetch it again."


@dataclass(frozen=True)
class Weights:
    """Parameters that are complete.

    Attributes:
        folder: has `NEEDED`.
        rehearsal: they are random.
        version: for reports.
    """

    folder: Path
    rehearsal: bool
    version: str


def weights_folder() -> Path:
    """MODEL_CACHE_DIR.

    Raises:
        WeightsError: it is not set.
    """
    if not (name := os.environ.get(FOLDER, "")):
        raise WeightsError(f"${FOLDER} is not set: a folder for the parameters of {REPOSITORY} (3.4 GB).")
    return Path(name).expanduser()


def find(folder: Path) -> Weights:
    """Parameters in a folder: as plain files, or in the layout of huggingface_hub.

    Raises:
        WeightsError: there are none, or some of their files are missing; the text names them.
    """
    place, version = _place(folder)
    missing = [name for name in NEEDED if not (place / name).is_file()]
    if missing:
        raise WeightsError(
            f"{place}: no parameters of {REPOSITORY}: {', '.join(missing)} missing. Fetch them: "
            f"snakefold-images weights fetch (needs ${TOKEN})."
        )
    rehearsal = MARK in _metadata(place / "model.safetensors")
    return Weights(place, rehearsal, "random parameters" if rehearsal else version)


def fetch(folder: Path, *, revision: str = "main", say: Callable[[str], None] = print) -> Weights:
    """Download the parameters from the hub (HF_ENDPOINT, by default huggingface.co), or complete a download.

    Raises:
        WeightsError: no token, no access, no answer, or a folder with random parameters.
    """
    if (folder / "model.safetensors").is_file() and MARK in _metadata(folder / "model.safetensors"):
        raise WeightsError(
            f"{folder}: has random parameters, and official ones do not go beside them. Set ${FOLDER} to "
            "another folder."
        )
    token = os.environ.get(TOKEN, "")
    page = f"https://huggingface.co/{REPOSITORY}"
    if not token:
        raise WeightsError(
            f"${TOKEN} is not set. {REPOSITORY} is given to people who accept its licence: do so on {page}, "
            f"make a token on https://huggingface.co/settings/tokens, and set ${TOKEN}."
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    say(f"{REPOSITORY} ({revision}) into {folder}: 3.4 GB")
    try:
        snapshot_download(
            REPOSITORY,
            revision=revision,
            cache_dir=folder,
            token=token,
            allow_patterns=list(_WANTED),
            endpoint=os.environ.get("HF_ENDPOINT") or None,
        )
    except GatedRepoError as error:
        raise WeightsError(
            f"{REPOSITORY}: the hub refuses access with this ${TOKEN}. Its owner must accept the licence on "
            f"{page}, and wait until access is granted."
        ) from error
    except RevisionNotFoundError as error:
        raise WeightsError(f"{REPOSITORY}: the hub has no revision {revision!r}.") from error
    except RepositoryNotFoundError as error:
        raise WeightsError(
            f"{REPOSITORY}: the hub knows no such repository for this ${TOKEN}: the token is wrong or "
            "expired, or may not read repositories of others. Check it on https://huggingface.co/settings/tokens."
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise WeightsError(
            f"{REPOSITORY}: the download failed ({_what_failed(error)}). What is complete is kept: run the "
            "same command again."
        ) from error
    return find(folder)


def _what_failed(error: BaseException | None) -> str:
    """The status of the hub's answer, which huggingface_hub hides behind an error of its own, or that."""
    first = error
    while error is not None:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return f"status {status}"
        error = error.__cause__ or error.__context__
    return type(first).__name__


def _place(folder: Path) -> tuple[Path, str]:
    """The folder that has the files, and the version for reports."""
    hub = folder / f"models--{REPOSITORY.replace('/', '--')}"
    if (folder / "config.json").is_file() or not hub.is_dir():
        return folder, f"{REPOSITORY} from {folder}"
    reference = hub / "refs" / "main"
    commit = reference.read_text().strip() if reference.is_file() else ""
    found = hub / "snapshots" / commit
    if not commit or not found.is_dir():
        others = sorted((hub / "snapshots").glob("*/"), key=lambda path: path.stat().st_mtime)
        found = others[-1] if others else found
    return found, f"{REPOSITORY}@{found.name[:12]}"


def _metadata(path: Path) -> dict[str, str]:
    """The texts in the header of a safetensors file.

    Raises:
        WeightsError: it is none.
    """
    try:
        header = _header(path)
        ends = [value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"]
        whole = max(ends, default=0) == path.stat().st_size - _header_length(path) - 8
        found = dict(header.get("__metadata__") or {})
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise WeightsError(f"{path}: no safetensors file. {_AGAIN}") from error
    if not whole:
        raise WeightsError(f"{path}: damaged: its length is not what its header says. {_AGAIN}")
    return found


def _header_length(path: Path) -> int:
    with path.open("rb") as stream:
        return min(int(struct.unpack("<Q", stream.read(8))[0]), _LARGEST_HEADER)


def _header(path: Path) -> dict[str, Any]:
    length = _header_length(path)
    with path.open("rb") as stream:
        stream.seek(8)
        header: dict[str, Any] = json.loads(stream.read(length))
        return header

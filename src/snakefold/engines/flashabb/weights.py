"""Parameters of flash-abb: one file with a known checksum, out of flash-abb's wheel (BSD-3).

The wheel has network and parameters. It is no dependency, for its metadata asks for PyTorch.
"""

from __future__ import annotations

from pathlib import Path

from snakefold.engines.wheels import Packed, Parameters, Wheel

#: The release of flash-abb whose network and parameters these are.
VERSION = "0.0.5"
_FILE = "flabb_weights.pt"
PARAMETERS = Parameters(
    title="flash-abb",
    folder="flashabb",
    wheel=Wheel(
        name="flash-abb",
        version=VERSION,
        sha256="97f1c067fa2d9d05c192a4f4678d56daff793dc6221323b847741c04cda7c7e2",
        command="snakefold weights fetch flashabb",
    ),
    licence=f"flash_abb-{VERSION}.dist-info/licenses/LICENCE",
    files={
        _FILE: Packed(
            member=f"flash_abb/weights/{_FILE}",
            size=28_869_531,
            sha256="1c266694c15c9890707db418bb8e424bf7de45f562a74142d4942f25c1e39e6a",
        )
    },
    megabytes=79,
)


def parameters_file(folder: Path) -> Path:
    """The file of the parameters in a weights folder."""
    return PARAMETERS.path(folder, _FILE)


def existing(folder: Path | None) -> Path:
    """The file of the parameters, which is there; see `Parameters.existing`."""
    return PARAMETERS.existing(folder, _FILE)


def read(path: Path) -> bytes:
    """The file, complete; see `Parameters.read`."""
    return PARAMETERS.read(path, _FILE)


locate, fetch, check = PARAMETERS.locate, PARAMETERS.fetch, PARAMETERS.check

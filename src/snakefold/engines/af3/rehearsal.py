"""Rehearsal parameters: random numbers in the family's own format, of a network with one block of each stack.

A plan names what is drawn (`declare`); the first task that needs the file draws it (`draw`), in the engine's
own environment: names and shapes are those of the network that is installed, not a second truth in a table.
What is drawn depends on what `declare` wrote and on nothing else, so that all machines have equal parameters
and a recipe can name them before there are any.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from snakefold.engines.af3.models import NETWORKS, Network
from snakefold.engines.af3.settings import Af3Settings
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.store import write_atomically

SEED = 0
#: Raised whenever the same seed gives other numbers, so that older files are drawn again.
DRAWING = 1
_DECLARED = "REHEARSAL.json"
_README = """REHEARSAL

The parameters in this folder are random numbers in the format of AlphaFold 3's family, of a network with one
block of each stack. They were not trained on anything. What is predicted with them means nothing.
REHEARSAL.json says what they are drawn from.
"""


def mark(model: str) -> dict[str, Any]:
    """What random parameters are drawn from."""
    return {"drawing": DRAWING, "seed": SEED, "blocks": 1, "model": model}


def folder_of(weights: Path, network: Network) -> Path:
    """A model's place in a weights folder; the wheel wants it called as the model."""
    return weights / "af3" / network.name


def declare(weights: Path, network: Network) -> None:
    """Say that a weights folder has random parameters, which nobody needs to have drawn yet.

    Raises:
        WeightsMissingError: the folder has other parameters: official ones are never replaced.
    """
    folder = folder_of(weights, network)
    wanted = mark(network.name)
    if declared(weights, network) == wanted:
        return
    path = folder / network.file
    if path.is_file() and declared(weights, network) is None:
        raise WeightsMissingError(
            f"{path}: holds other parameters, which are not overwritten. Choose another folder."
        )
    path.unlink(missing_ok=True)
    write_atomically(folder / "REHEARSAL.txt", _README.encode())
    write_atomically(folder / _DECLARED, json.dumps(wanted).encode())


def declared(weights: Path, network: Network) -> dict[str, Any] | None:
    """What `declare` wrote of a model; None: its parameters are no random ones.

    Raises:
        WeightsMissingError: the file is damaged.
    """
    path = folder_of(weights, network) / _DECLARED
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise WeightsMissingError(
            f"{path}: cannot be read ({error}). Remove the folder; random parameters are drawn again."
        ) from error
    if not isinstance(found, dict):
        raise WeightsMissingError(f"{path}: expected a JSON object. Remove the folder.")
    return found


def draw(weights: Path, settings: Af3Settings, components: Path) -> None:
    """Draw a declared model's file, if it is missing.

    Runs in the engine's environment, in a process that runs no other model. The file is whole or absent, and
    two processes that draw it write the same numbers.

    Args:
        components: a folder of `components.write`.

    Raises:
        WeightsMissingError: nothing is declared, or by a release that draws others.
    """
    network = NETWORKS[settings.model]
    wanted, here = declared(weights, network), mark(network.name)
    if wanted != here:
        what = "declared are none" if wanted is None else f"declared are those of {wanted}"
        raise WeightsMissingError(
            f"{folder_of(weights, network)}: {what}, and this release of snakefold draws random parameters "
            f"of {here}. Plan again with it."
        )
    path = folder_of(weights, network) / network.file
    if not path.is_file():
        write_atomically(path, blob(settings, components))


def blob(settings: Af3Settings, components: Path) -> bytes:
    """Random parameters of a model.

    Weights are uniform around zero with variance 1/fan-in, biases zero, scales one, so that activations keep
    their magnitude. Layers that training starts at zero are drawn too: zeros would hide parts of the network.
    """
    import numpy as np
    import zstandard

    from snakefold.engines.af3.network import shapes
    from snakefold.engines.drawing import uniform

    model, named = settings.model, shapes(settings, components)
    from alphafold3.model import model_config, params

    stream = io.BytesIO()
    with zstandard.ZstdCompressor(level=1).stream_writer(stream, closefd=False) as file:
        for scope, name, shape in named:
            if name == "scale":
                values = np.ones(shape, np.float32)
            elif name in ("offset", "bias"):
                values = np.zeros(shape, np.float32)
            else:
                source = np.random.PCG64(np.random.SeedSequence([SEED, *f"{model} {scope} {name}".encode()]))
                inputs = max(1, shape[-2] if len(shape) > 1 else 1)
                values = uniform(tuple(shape), 1 / inputs, source)
            file.write(params.encode_record(scope, name, values))
        said = np.frombuffer(f"REHEARSAL {json.dumps(mark(model))}".encode(), np.uint8)
        file.write(params.encode_record("__meta__", "__identifier__", said))
        convention = np.array([model_config.MIN_BLOB_CONVENTION.get(model, 1)], np.int32)
        file.write(params.encode_record("__meta__", "__convention__", convention))
    return stream.getvalue()

"""Rehearsal parameters of ESMFold: random numbers in the official format, of a narrow network.

A plan names what is drawn (`declare`); the first task that needs the files draws them (`draw`), in the
engine's own environment, where the names and shapes of the arrays come from the network itself. What is drawn
depends on what `declare` wrote and on nothing else: the numbers of an array come from a stream that its name
seeds. So all machines have equal parameters, and a recipe can name them before there are any.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from snakefold.engines.esmfold.folder import Files, header
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.store import write_atomically

SEED = 0
#: Raised whenever the same seed gives other numbers, so that older files are drawn again.
DRAWING = 1
#: Sizes of the network. ESMFold has 2,560 channels, 36 layers and 40 heads in the language model, 1,024 and
#: 128 channels in the trunk, 384 channels and 8 blocks in the structure module.
_LANGUAGE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_TRUNK = {
    "sequence_state_dim": 32,
    "pairwise_state_dim": 16,
    "sequence_head_width": 8,
    # As many heads as the official one has: chunks are counted by them.
    "pairwise_head_width": 4,
}
_STRUCTURE = {
    "sequence_dim": 16,
    "pairwise_dim": 16,
    "ipa_dim": 4,
    "resnet_dim": 16,
    "num_heads_ipa": 4,
    "num_blocks": 4,
}

_MARK = "REHEARSAL"
_DECLARED = "REHEARSAL.json"
_README = """REHEARSAL

The parameters in this folder are random numbers in the format of ESMFold's, of a narrow network. They were
not trained on anything. What is predicted with them means nothing. REHEARSAL.json says what they are drawn
from; the files are drawn by the first prediction.
"""


def mark(blocks: int) -> dict[str, Any]:
    """What random parameters are drawn from."""
    return {"drawing": DRAWING, "seed": SEED, "blocks": blocks}


def declare(folder: Path, blocks: int) -> None:
    """Say that a weights folder has random parameters, which nobody needs to have drawn yet.

    Raises:
        WeightsMissingError: the folder has other parameters: official ones are never replaced.
    """
    files = Files(folder)
    wanted = mark(blocks)
    if declared(folder) == wanted:
        return
    if files.parameters is not None and read_mark(files.parameters) is None:
        raise WeightsMissingError(
            f"{files.parameters}: holds other parameters, which are not overwritten. Choose another folder."
        )
    write_atomically(files.folder / "REHEARSAL.txt", _README.encode())
    write_atomically(files.folder / _DECLARED, json.dumps(wanted).encode())


def declared(folder: Path) -> dict[str, Any] | None:
    """What `declare` wrote into a weights folder; None: its parameters are no random ones.

    Raises:
        WeightsMissingError: the file is damaged.
    """
    path = Files(folder).folder / _DECLARED
    try:
        found = dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise WeightsMissingError(
            f"{path}: cannot be read ({error}). Remove the folder; random parameters are drawn again."
        ) from error
    return found


def read_mark(path: Path) -> dict[str, Any] | None:
    """What a file was drawn from; None: it is no random one. It stays with a copy.

    Raises:
        WeightsMissingError: the file is damaged.
    """
    if path.suffix != ".safetensors":
        return None
    try:
        metadata, _, _ = header(path)
        return json.loads(metadata[_MARK]) if _MARK in metadata else None
    except (OSError, ValueError) as error:
        raise WeightsMissingError(
            f"{path}: expected parameters of ESMFold, found a damaged file ({error}). Remove it, and "
            "download it again."
        ) from error


def draw(folder: Path) -> None:
    """Draw what a declared folder lacks. Runs in the engine's environment.

    Files are whole or absent, and two processes that draw the same file write the same bytes.

    Raises:
        WeightsMissingError: nothing is declared, or by a release that draws others.
    """
    files = Files(folder)
    wanted = declared(folder)
    here = None if wanted is None else mark(int(wanted.get("blocks", 0)))
    if wanted is None or wanted != here:
        what = "declared are none" if wanted is None else f"declared are those of {wanted}"
        raise WeightsMissingError(
            f"{files.folder}: {what}, and this release of snakefold draws random parameters of {here}. "
            "Plan again with it."
        )
    there = files.safetensors.is_file() and files.config.is_file()
    if there and read_mark(files.safetensors) == wanted:
        return
    config, tensors = _network(wanted)
    write_atomically(files.folder / "vocab.txt", "\n".join(config["vocab_list"]).encode())
    write_atomically(files.config, json.dumps(config, indent=2, sort_keys=True).encode())
    from safetensors.torch import save

    # `format` is what transformers asks for.
    write_atomically(files.safetensors, save(tensors, {"format": "pt", _MARK: json.dumps(wanted)}))


def _network(drawn_from: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The configuration, and all arrays by name.

    Weights are uniform around zero with variance 1/fan-in, biases zero, scales one, so that activations keep
    their magnitude; layers that training starts at zero are drawn too, for zeros would hide parts of the
    network. The language model is in float16, as in the official file.
    """
    import torch
    from transformers.models.esm.configuration_esm import EsmConfig, get_default_vocab_list
    from transformers.models.esm.modeling_esmfold import EsmForProteinFolding

    vocabulary = list(get_default_vocab_list())
    sizes = {
        **_LANGUAGE,
        "vocab_size": len(vocabulary),
        "vocab_list": vocabulary,
        "mask_token_id": vocabulary.index("<mask>"),
        "pad_token_id": vocabulary.index("<pad>"),
        "position_embedding_type": "rotary",
        "emb_layer_norm_before": False,
        "token_dropout": True,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-5,
        "is_folding_model": True,
        "esmfold_config": {
            "esm_type": "random",
            "fp16_esm": True,
            "lddt_head_hid_dim": 16,
            "trunk": {**_TRUNK, "num_blocks": drawn_from["blocks"], "structure_module": _STRUCTURE},
        },
    }
    with torch.random.fork_rng(devices=[]):  # building a network draws numbers
        network = EsmForProteinFolding(EsmConfig(**sizes, architectures=["EsmForProteinFolding"]))
    _fill(network, drawn_from["seed"])
    config = {**sizes, "architectures": ["EsmForProteinFolding"], "model_type": "esm", "dtype": "float32"}
    return config, {name: array.contiguous().clone() for name, array in network.state_dict().items()}


def _fill(network: Any, seed: int) -> None:
    """Put random numbers into a network. Buffers are constants: they stay."""
    import numpy as np
    import torch

    from snakefold.engines.drawing import uniform

    scales = {
        f"{place}.weight" for place, layer in network.named_modules() if "LayerNorm" in type(layer).__name__
    }
    with torch.no_grad():
        for key, array in network.named_parameters():
            if key in scales:
                array.fill_(1.0)
            elif array.dim() < 2:
                array.zero_()
            else:
                source = np.random.PCG64(np.random.SeedSequence([seed, *key.encode()]))
                inputs = int(np.prod(array.shape[1:]))
                array.copy_(torch.from_numpy(uniform(tuple(array.shape), 1 / inputs, source)))

"""Random parameters for a network of SAM 3's kind and a thousandth of its size, in files like the official.

Every step runs with them, in a second on a CPU, and the regions that they find mean nothing: whatever is made
with them says REHEARSAL. The numbers are a generator's raw stream, so the same on every machine.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold_images.errors import WeightsError
from snakefold_images.weights import FOLDER, MARK, NEEDED, Weights, find

_SIDE, _PATCH = 112, 14
_GRID = _SIDE // _PATCH
_START, _END = "<|startoftext|>", "<|endoftext|>"
_NEXT_CHARACTER = 256
#: Of the seeds that were tried, one whose network finds every concept, each time in about half of the image.
_SEED = 29


def draw(folder: Path) -> Weights:
    """Write random parameters into a folder.

    Raises:
        WeightsError: it has parameters that are not random.
    """
    if any((folder / name).exists() for name in NEEDED) and not find(folder).rehearsal:
        raise WeightsError(f"{folder}: has parameters. Set ${FOLDER} to another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    from transformers.models.clip.tokenization_clip import CLIPTokenizer
    from transformers.models.sam3.configuration_sam3 import Sam3Config
    from transformers.models.sam3.modeling_sam3 import Sam3Model

    vocabulary = _vocabulary()
    CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    config = Sam3Config(**_sizes(vocabulary))
    # The official file is that of the video model: the detector, which this is, and a tracker.
    about: dict[str, Any] = {
        "architectures": ["Sam3VideoModel"],
        "model_type": "sam3_video",
        "detector_config": config.to_dict(),
    }
    _write(folder / "config.json", json.dumps(about, indent=2).encode())
    processor = {
        "image_processor_type": "Sam3ImageProcessor",
        "size": {"height": _SIDE, "width": _SIDE},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "rescale_factor": 1 / 255,
        "resample": 2,
    }
    _write(folder / "processor_config.json", json.dumps({"image_processor": processor}, indent=2).encode())
    network = Sam3Model(config)
    learnt = {name for name, _ in network.named_parameters()}
    tensors = {
        f"detector_model.{name}": _drawn(name, value.shape) if name in learnt else value.numpy()
        for name, value in network.state_dict().items()
    }
    tensors["tracker_neck.of_no_use.weight"] = np.zeros(1, np.float32)
    _write(folder / "model.safetensors", _safetensors(tensors))
    return find(folder)


def _safetensors(tensors: dict[str, NDArray[Any]]) -> bytes:
    """The file of tensors. The library's own writer puts metadata in any order: equal files would differ."""
    codes = {"float32": "F32", "int64": "I64"}
    header: dict[str, Any] = {"__metadata__": {"format": "pt", MARK: f"seed {_SEED}"}}
    end = 0
    for name, tensor in sorted(tensors.items()):
        start, end = end, end + tensor.nbytes
        kind = codes[tensor.dtype.name]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(tensors[name].tobytes() for name in sorted(tensors))


def _drawn(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Parameters of a tensor; of a stream that only its name decides."""
    if name.startswith("detr_decoder.presence_head") and name.endswith("layer3.bias"):
        # Every concept is there: a rehearsal without regions would rehearse no edit.
        return np.full(shape, 4.0, np.float32)
    if len(shape) < 2:
        norm = "norm" in name and name.endswith("weight")
        return np.full(shape, 1.0 if norm else 0.0, np.float32)
    generator = np.random.PCG64([_SEED, zlib.crc32(name.encode())])
    uniform = (generator.random_raw(int(np.prod(shape))) >> np.uint64(40)) / float(1 << 24)
    spread = 1.0 if "embed" in name and "patch" not in name else (3 / int(np.prod(shape[1:]))) ** 0.5
    return ((2 * uniform - 1) * spread).astype(np.float32).reshape(shape)


def _sizes(vocabulary: dict[str, int]) -> dict[str, Any]:
    width: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
    return {
        "vision_config": {
            "model_type": "sam3_vision_model",
            "fpn_hidden_size": 32,
            "backbone_feature_sizes": [[4 * _GRID] * 2, [2 * _GRID] * 2, [_GRID] * 2],
            "backbone_config": {
                **width,
                "model_type": "sam3_vit_model",
                "num_hidden_layers": 2,
                "image_size": _SIDE,
                "patch_size": _PATCH,
                "window_size": 4,
                "global_attn_indexes": [1],
                "pretrain_image_size": _SIDE // 2,
            },
        },
        "text_config": {
            **width,
            "model_type": "clip_text_model",
            "vocab_size": len(vocabulary),
            "projection_dim": 32,
            "num_hidden_layers": 2,
            "max_position_embeddings": 32,
            "hidden_act": "gelu",
            "bos_token_id": vocabulary[_START],
            "eos_token_id": vocabulary[_END],
            "pad_token_id": vocabulary[_END],
        },
        "geometry_encoder_config": {**width, "num_layers": 1},
        "detr_encoder_config": {**width, "num_layers": 1},
        "detr_decoder_config": {**width, "num_layers": 1, "num_queries": 2},
        "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 4, "num_upsampling_stages": 3},
    }


def _vocabulary() -> dict[str, int]:
    """CLIP's tokens of single bytes, inside and at the end of a word: no merges are needed.

    Byte-level tokenizers write bytes that are no printable characters of Latin-1 as characters from 256 on.
    """
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = len([byte for byte in range(256) if byte not in printable])
    characters = [chr(code) for code in [*printable, *range(_NEXT_CHARACTER, _NEXT_CHARACTER + others)]]
    tokens = [*characters, *(character + "</w>" for character in characters), _START, _END]
    return {token: number for number, token in enumerate(tokens)}


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(data)
    temporary.replace(path)

"""The network: which pixels of an image show a concept (SAM 3, through transformers).

transformers' own processor needs torchvision, whose wheels load beside one build of torch only. The network
needs none of it for prompts of text, so the processor's steps are here: an image becomes a tensor, and scores
become masks.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from snakefold_images.colour import Bytes
from snakefold_images.edit import Mask
from snakefold_images.errors import ImagesError, WeightsError
from snakefold_images.weights import Weights

#: Tokens of a prompt, as transformers' processor pads it.
_TOKENS = 32
#: Concepts that go through the decoder at once; each takes a copy of the image's features.
_AT_ONCE = {"cpu": 4, "cuda": 16}


@dataclass(frozen=True)
class Instance:
    """One thing that was found.

    Attributes:
        score: 0 to 1.
        box: left, top, right, bottom in pixels.
    """

    score: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Found:
    """What was found of a concept in an image.

    Attributes:
        mask: union of all instances, (H, W).
        score: of the best candidate, whether it counts or not.
        instances: that count, best first.
    """

    mask: Mask
    score: float
    instances: tuple[Instance, ...]


class Finder(Protocol):
    """Whatever finds concepts in images."""

    @property
    def weights(self) -> Weights: ...

    def find(
        self, image: Bytes, prompts: Sequence[str], threshold: float, mask_threshold: float
    ) -> list[Found]: ...


class Network:
    """SAM 3 with its parameters loaded; may be used by several threads."""

    def __init__(self, weights: Weights, device: str = "auto") -> None:
        """Load parameters.

        Args:
            device: auto, cpu or cuda.

        Raises:
            WeightsError: a file is damaged, or lacks tensors.
        """
        self._torch, model, tokenizer = _imported()
        self.weights = weights
        self._lock = threading.Lock()
        self._device = device if device != "auto" else "cuda" if self._torch.cuda.is_available() else "cpu"
        self._pixels = _pixels(weights.folder)
        self._texts: dict[str, tuple[Any, Any]] = {}
        try:
            self._tokenizer = tokenizer.from_pretrained(weights.folder, local_files_only=True)
            loaded, about = model.from_pretrained(
                weights.folder, local_files_only=True, dtype=self._torch.float32, output_loading_info=True
            )
        except Exception as error:
            raise WeightsError(
                f"{weights.folder}: cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        # transformers draws what a file lacks, and says so in a warning.
        lacking = sorted(about["missing_keys"]) + sorted(str(each) for each in about["mismatched_keys"])
        if lacking:
            raise WeightsError(
                f"{weights.folder}: {len(lacking)} tensors are missing or of another shape, such as "
                f"{lacking[0]}. Fetch the parameters again: snakefold-images weights fetch."
            )
        self._model = loaded.to(self._device).eval()

    @property
    def device(self) -> str:
        """cpu or cuda."""
        return self._device

    def find(
        self, image: Bytes, prompts: Sequence[str], threshold: float, mask_threshold: float
    ) -> list[Found]:
        """What is found of each prompt. The image is encoded once, each prompt once per process.

        Args:
            image: sRGB (H, W, 3).
            threshold: score above which an instance counts.
            mask_threshold: probability above which a pixel belongs to it.

        Raises:
            MemoryError: that of the device ran out.
        """
        try:
            return self._find(image, prompts, threshold, mask_threshold)
        except self._torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error

    def _find(
        self, image: Bytes, prompts: Sequence[str], threshold: float, mask_threshold: float
    ) -> list[Found]:
        found: list[Found] = []
        at_once = _AT_ONCE.get(self._device, 1)
        with self._lock, self._torch.inference_mode():
            vision = self._model.get_vision_features(self._tensor(image))
            for start in range(0, len(prompts), at_once):
                output = self._decoded(vision, prompts[start : start + at_once])
                found += self._read(output, image.shape[:2], threshold, mask_threshold)
        return found

    def _tensor(self, image: Bytes) -> Any:
        torch = self._torch
        size, mean, deviation = self._pixels
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        # Bytes in, bytes out: what torchvision's `resize` does with an image on a CPU.
        pixels = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)
        mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in (mean, deviation))
        return ((pixels.float() / 255 - mean) / deviation).to(self._device)

    def _text(self, prompt: str) -> tuple[Any, Any]:
        if prompt not in self._texts:
            tokens = self._tokenizer(
                [prompt], return_tensors="pt", padding="max_length", truncation=True, max_length=_TOKENS
            )
            mask = tokens["attention_mask"].to(self._device)
            features = self._model.get_text_features(tokens["input_ids"].to(self._device), mask)
            self._texts[prompt] = features.pooler_output, mask
        return self._texts[prompt]

    def _decoded(self, vision: Any, prompts: Sequence[str]) -> Any:
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        texts, masks = zip(*(self._text(prompt) for prompt in prompts), strict=True)
        several = type(vision)(
            fpn_hidden_states=_repeated(vision.fpn_hidden_states, len(prompts)),
            fpn_position_encoding=_repeated(vision.fpn_position_encoding, len(prompts)),
        )
        return self._model(
            vision_embeds=several,
            text_embeds=BaseModelOutputWithPooling(pooler_output=self._torch.cat(texts)),
            attention_mask=self._torch.cat(masks),
        )

    def _read(
        self, output: Any, size: tuple[int, int], threshold: float, mask_threshold: float
    ) -> list[Found]:
        scores = output.pred_logits.sigmoid() * output.presence_logits.sigmoid()
        return [
            self._concept(each, size, (threshold, mask_threshold))
            for each in zip(scores, output.pred_boxes, output.pred_masks, strict=True)
        ]

    def _concept(
        self, output: tuple[Any, Any, Any], size: tuple[int, int], limits: tuple[float, float]
    ) -> Found:
        scores, boxes, masks = output
        threshold, mask_threshold = limits
        torch = self._torch
        height, width = size
        order = scores.argsort(descending=True)
        order = order[scores[order] > threshold]
        if not len(order):
            return Found(np.zeros(size, np.bool_), _rounded(scores.max()), ())
        # The union first: one map is enlarged, not one for each of up to 200 instances.
        union = masks[order].amax(dim=0).sigmoid()[None, None].float().cpu()
        probability = torch.nn.functional.interpolate(union, size, mode="bilinear", align_corners=False)
        mask = (probability[0, 0] > mask_threshold).numpy()
        scale = torch.tensor([width, height, width, height])
        corners = (boxes[order].float().cpu() * scale).round().clamp(min=0).minimum(scale).int().tolist()
        instances = [
            Instance(_rounded(score), (left, top, right, bottom))
            for score, (left, top, right, bottom) in zip(scores[order], corners, strict=True)
        ]
        return Found(mask, instances[0].score, tuple(instances))


def _imported() -> tuple[Any, Any, Any]:
    """torch, and transformers' classes of network and tokenizer."""
    try:
        import torch

        # From its module: the package hides the class where torchvision is missing.
        from transformers.models.clip.tokenization_clip import CLIPTokenizer
        from transformers.models.sam3.modeling_sam3 import Sam3Model
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # the lines of a worker are its log
    except (ImportError, RuntimeError) as error:
        hint = "Install the packages of requirements.lock."
        if "torchvision" in str(error):
            hint = "torchvision is of another build than torch, and not needed: pip uninstall torchvision."
        raise ImagesError(f"The network cannot be imported: {str(error)[:300]}. {hint}") from error
    return torch, Sam3Model, CLIPTokenizer


def _pixels(folder: Path) -> tuple[tuple[int, int], list[float], list[float]]:
    """Size of the network's input (height, width), mean and deviation of its channels."""
    path = folder / "processor_config.json"
    try:
        given = json.loads(path.read_text())["image_processor"]
        size = int(given["size"]["height"]), int(given["size"]["width"])
        mean, deviation = [float(x) for x in given["image_mean"]], [float(x) for x in given["image_std"]]
        factor, resample = float(given["rescale_factor"]), int(given["resample"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise WeightsError(
            f"{path}: cannot be read ({type(error).__name__}: {error}). Fetch it again."
        ) from error
    if abs(factor * 255 - 1) > 1e-6 or resample != 2 or len(mean) != 3 or len(deviation) != 3:
        raise WeightsError(
            f"{path}: expected rescale_factor 1/255, resample 2 (bilinear) and three channels, "
            f"not {factor}, {resample} and {len(mean)}."
        )
    return size, mean, deviation


def _repeated(levels: Sequence[Any], times: int) -> tuple[Any, ...]:
    return tuple(level.expand(times, *level.shape[1:]) for level in levels)


def _rounded(score: Any) -> float:
    return round(float(score), 4)

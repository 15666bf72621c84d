"""ESMFold in this process: transformers' EsmForProteinFolding, loaded once, one target at a time.

It has no random numbers in a prediction: results are a function of the sequence, the settings and what
computes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read when transformers is imported: nothing is downloaded

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers.models.esm.configuration_esm import EsmConfig
from transformers.models.esm.modeling_esmfold import EsmForProteinFolding
from transformers.models.esm.openfold_utils import atom14_to_atom37, residue_constants

from snakefold.engines.esmfold.chunks import chunk_size
from snakefold.engines.esmfold.folder import GET, Files
from snakefold.engines.esmfold.settings import EsmFoldSettings
from snakefold.kernel.errors import Reason, TargetError, WeightsMissingError

#: Names of the atoms that a residue can have, in the order of the arrays.
ATOMS: tuple[str, ...] = tuple(residue_constants.atom_types)
_CA = ATOMS.index("CA")
#: Contacts by the language model, which folding does not read: the official file lacks them.
_UNREAD = "esm.contact_head."


@dataclass(frozen=True)
class Device:
    """What computes: torch's word for it, a person's, precision of the language model and of the rest."""

    kind: str
    name: str
    language: torch.dtype
    trunk: torch.dtype = torch.float32

    @property
    def precision(self) -> dict[str, str]:
        """By the part of the network."""
        named = {"language model": self.language, "folding": self.trunk}
        return {part: str(kind).removeprefix("torch.") for part, kind in named.items()}


@dataclass(frozen=True)
class Folded:
    """What the network gives for L residues.

    Attributes:
        residues: three-letter names.
        positions, mask: of atoms [L, 37, 3] in Å and [L, 37], in the order of `ATOMS`; X has none.
        plddt: 0 to 100 [L], of the CA atoms.
        pae: in Å [L, L].
        ptm: of the whole, 0 to 1.
        finite: all of these are numbers.
    """

    residues: list[str]
    positions: NDArray[np.float32]
    mask: NDArray[np.bool_]
    plddt: NDArray[np.float64]
    pae: NDArray[np.float32]
    ptm: float

    @property
    def finite(self) -> bool:
        """Whether all numbers are."""
        arrays = (self.positions, self.plddt, self.pae, self.ptm)
        return all(bool(np.isfinite(each).all()) for each in arrays)


def device_of(settings: EsmFoldSettings) -> Device:
    """What the settings ask for, as far as this machine has it.

    Raises:
        TargetError: a GPU is asked for, and torch sees none.
    """
    there = torch.cuda.is_available()
    if settings.accelerator == "gpu" and not there:
        raise TargetError(
            Reason.INTERNAL,
            f"esmfold.accelerator is gpu, and torch {torch.__version__} sees no NVIDIA GPU here.",
            "Install the builds for GPUs (snakefold engines install esmfold --gpu) where jobs run, check "
            "nvidia-smi, or set esmfold.accelerator: cpu.",
        )
    if settings.accelerator == "cpu" or not there:
        return Device("cpu", "CPU", torch.float32)
    return Device("cuda", torch.cuda.get_device_name(), torch.float16)


class Network:
    """The loaded network."""

    def __init__(self, files: Files, settings: EsmFoldSettings, device: Device) -> None:
        self._settings, self._device = settings, device
        torch.set_grad_enabled(False)
        torch.set_float32_matmul_precision("highest")
        if device.kind == "cpu":
            torch.set_num_threads(settings.cpu_threads)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        network = _load(files, device)
        network.esm.to(device.language)
        self._network = network.eval().to(device.kind)

    def fold(self, sequence: str) -> Folded:
        """Predict one chain.

        Raises:
            TargetError: memory ran out.
        """
        letters = residue_constants.restype_order_with_x
        types = torch.tensor([[letters[letter] for letter in sequence]], device=self._device.kind)
        self._network.trunk.set_chunk_size(chunk_size(len(sequence), self._settings.chunk_size))
        try:
            found = self._network(types, num_recycles=self._settings.num_recycles)
            return _folded(sequence, {name: found[name].cpu().numpy() for name in _READ})
        except (RuntimeError, MemoryError) as error:
            if not (isinstance(error, MemoryError) or "memory" in str(error)):
                raise
            raise TargetError(
                Reason.OUT_OF_MEMORY,
                f"{len(sequence)} residues: {str(error)[:200]}",
                "Use a larger GPU class (gpu.classes), lower esmfold.chunk_size, or give more main memory "
                "(predict.mem_mb).",
            ) from error
        finally:
            if self._device.kind == "cuda":
                torch.cuda.empty_cache()


#: What is read of the network's output.
_READ = ("positions", "aatype", "residx_atom37_to_atom14", "atom37_atom_exists", "plddt", "ptm",
         "predicted_aligned_error")  # fmt: skip


def _folded(sequence: str, found: dict[str, NDArray[Any]]) -> Folded:
    """One chain's part of the output, on the scales of snakefold; transformers gives pLDDT from 0 to 1."""
    names = [residue_constants.restype_1to3.get(letter, "UNK") for letter in sequence]
    return Folded(
        residues=names,
        positions=atom14_to_atom37(found["positions"][-1], found)[0],
        mask=found["atom37_atom_exists"][0] > 0,
        plddt=100.0 * found["plddt"][0, :, _CA].astype(np.float64),
        pae=found["predicted_aligned_error"][0],
        ptm=float(found["ptm"]),
    )


def _load(files: Files, device: Device) -> EsmForProteinFolding:
    """The network with the parameters of a folder, none of them left as drawn.

    Raises:
        WeightsMissingError: the files are not those of such a network.
    """
    try:
        config = EsmConfig.from_pretrained(files.folder, local_files_only=True)
        config.esmfold_config.fp16_esm = device.language == torch.float16
        network, told = EsmForProteinFolding.from_pretrained(
            files.folder,
            config=config,
            dtype=device.trunk,
            local_files_only=True,
            use_safetensors=files.parameters == files.safetensors,
            output_loading_info=True,
        )
    except MemoryError:
        raise
    except Exception as error:  # a damaged file may raise anything
        text = " ".join(str(error).split())[:300]
        raise WeightsMissingError(f"{files.folder}: cannot be loaded as ESMFold ({text}). {GET}") from error
    missing = sorted(name for name in told["missing_keys"] if not name.startswith(_UNREAD))
    other = sorted(str(each) for each in told["mismatched_keys"])
    if missing or other:
        raise WeightsMissingError(
            f"{files.parameters}: {f'lacks the tensor {missing[0]}' if missing else f'has {other[0]}'}, so "
            f"it is not that of {files.config}. {GET}"
        )
    return network

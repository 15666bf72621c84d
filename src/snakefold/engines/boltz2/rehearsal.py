"""Rehearsal parameters of Boltz-2: random numbers in the official format, of a network a hundredth the size.

A plan names what is drawn (`declare`); the first task that needs a file draws it (`draw`), in the engine's
own environment. A plan could draw no more than half: components are RDKit's molecules. And names and shapes
of some thousand arrays are those of the network that is installed, not a second truth in a table. What is
drawn depends on what `declare` wrote and on nothing else: the numbers of an array come from a stream that its
name seeds. So all machines have equal parameters, and a recipe can name them before there are any.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from snakefold.engines.boltz2 import components
from snakefold.engines.boltz2.folder import Files
from snakefold.kernel.errors import WeightsMissingError
from snakefold.kernel.store import write_atomically

SEED = 0
#: Raised whenever the same seed gives other numbers, so that older files are drawn again.
DRAWING = 1
#: Channels of a token and of a pair of tokens (Boltz-2 has 384 and 128), which set the size of all else.
TOKEN, PAIR = 32, 16

_MARK = "REHEARSAL "
_DECLARED = "REHEARSAL.json"
_README = """REHEARSAL

The parameters in this folder are random numbers in the format of Boltz-2's, of a network a hundredth of
its size. They were not trained on anything. What is predicted with them means nothing.
REHEARSAL.json says what they are drawn from.
"""


def mark() -> dict[str, Any]:
    """What random parameters are drawn from, components of the dictionary among them."""
    return {
        "drawing": DRAWING,
        "seed": SEED,
        "token_s": TOKEN,
        "token_z": PAIR,
        "components": f"biotite {components.DICTIONARY}",
    }


def declare(folder: Path) -> None:
    """Say that a weights folder has random parameters, which nobody needs to have drawn yet.

    Raises:
        WeightsMissingError: the folder has other parameters: official ones are never replaced.
    """
    files = Files(folder)
    wanted = mark()
    if declared(folder) == wanted:
        return
    for path in (files.structure, files.affinity):
        if path.is_file() and read_mark(path) is None:
            raise WeightsMissingError(
                f"{path}: holds other parameters, which are not overwritten. Choose another folder."
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


def read_mark(path: Path) -> dict[str, Any] | None:
    """What a checkpoint was drawn from; None: it is no random one. It stays with a file that is copied.

    Raises:
        WeightsMissingError: the file is no zip file, as checkpoints are.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            comment = archive.comment.decode("utf-8", "replace")
    except (zipfile.BadZipFile, OSError) as error:
        raise WeightsMissingError(
            f"{path}: expected a checkpoint of Boltz-2, found a damaged file ({error}). "
            "Fetch it again: snakefold weights fetch boltz2."
        ) from error
    return json.loads(comment.removeprefix(_MARK)) if comment.startswith(_MARK) else None


def draw(folder: Path, codes: Iterable[str] = (), *, affinity: bool = False) -> Sequence[str]:
    """Draw what a declared folder lacks: checkpoints, amino acids, nucleotides and the components asked for.

    Runs in the engine's environment. Files are whole or absent, and two processes that draw the same file
    write the same numbers.

    Args:
        codes: of the Chemical Component Dictionary.
        affinity: the checkpoint of the affinity network as well.

    Returns:
        The codes that the dictionary lacks: their targets fail in Boltz's own words.

    Raises:
        WeightsMissingError: nothing is declared, or by a release that draws others.
        MissingProgramError: the environment lacks the dictionary.
    """
    files = Files(folder)
    wanted = declared(folder)
    here = mark()
    if wanted != here:
        what = "declared are none" if wanted is None else f"declared are those of {wanted}"
        raise WeightsMissingError(
            f"{files.folder}: {what}, and this release of snakefold draws random parameters of {here}. "
            "Plan again with it."
        )
    for path, kind in ((files.structure, False), (files.affinity, True)):
        if (affinity or not kind) and not (path.is_file() and read_mark(path) == wanted):
            write_atomically(path, checkpoint(wanted, affinity=kind))
    return components.write(files.molecules, codes)


def checkpoint(drawn_from: dict[str, Any], *, affinity: bool) -> bytes:
    """A Lightning checkpoint of random parameters.

    Weights are uniform around zero with variance 1/fan-in, biases zero, scales one, so that activations keep
    their magnitude; layers that training starts at zero are drawn too, for zeros would hide parts of the
    network. Numbers are equal on every machine; bytes are with equal versions of torch.
    """
    import pytorch_lightning
    import torch
    from boltz.model.models.boltz2 import Boltz2

    sizes = _hyper_parameters(drawn_from["token_s"], drawn_from["token_z"], affinity=affinity)
    with torch.random.fork_rng(devices=[]):  # building a network draws numbers
        model = Boltz2(**sizes)
    _fill(model, drawn_from["seed"], "affinity" if affinity else "structure")
    stream = io.BytesIO()
    torch.save(
        {
            "state_dict": model.state_dict(),
            "hyper_parameters": sizes,
            "pytorch-lightning_version": pytorch_lightning.__version__,
            "epoch": 0,
            "global_step": 0,
            "loops": {},
        },
        stream,
    )
    with zipfile.ZipFile(stream, "a") as archive:
        archive.comment = (_MARK + json.dumps(drawn_from)).encode()
    return stream.getvalue()


def _fill(model: Any, seed: int, name: str) -> None:
    """Put random numbers into a network. Buffers are constants: they stay."""
    import numpy as np
    import torch

    from snakefold.engines.drawing import uniform

    scales = {
        f"{place}.weight" for place, layer in model.named_modules() if type(layer).__name__ == "LayerNorm"
    }
    with torch.no_grad():
        for key, array in model.named_parameters():
            # A fixed layer embeds a number in waves, whose frequencies and phases are drawn in training, too.
            flat = array.dim() < 2 and array.requires_grad
            if key in scales:
                array.fill_(1.0)
            elif flat:
                array.zero_()
            else:
                source = np.random.PCG64(np.random.SeedSequence([seed, *f"{name} {key}".encode()]))
                inputs = int(np.prod(array.shape[1:]))
                array.copy_(torch.from_numpy(uniform(tuple(array.shape), 1 / inputs, source)))


def _hyper_parameters(token: int, pair: int, *, affinity: bool) -> dict[str, Any]:
    """Arguments of Boltz-2's network, as a checkpoint has them.

    `boltz predict` puts its own in place of those of the Pairformer, the MSA module, the diffusion process
    and steering. These are the same.
    """
    from dataclasses import asdict

    from boltz.data import const
    from omegaconf import OmegaConf

    from boltz import main

    backbone = 1 + len(const.protein_backbone_atom_index) + len(const.nucleic_backbone_atom_index)
    small = {"dropout": 0.0, "activation_checkpointing": False}
    sizes: dict[str, Any] = {
        "atom_s": 16,
        "atom_z": 8,
        "token_s": token,
        "token_z": pair,
        "num_bins": 64,
        # Position (3), charge, element, and whether it is which atom of a backbone.
        "atom_feature_dim": 3 + 1 + const.num_elements + backbone,
        "use_no_atom_char": True,
        "use_atom_backbone_feat": True,
        "use_residue_feats_atoms": False,
        "bond_type_feature": True,
        "fix_sym_check": True,
        "cyclic_pos_enc": True,
        "conditioning_cutoff_min": 4.0,
        "conditioning_cutoff_max": 20.0,
        "use_templates": not affinity,
        "use_templates_v2": True,
        "template_args": {"template_dim": 8, "template_blocks": 1},
        "predict_bfactor": not affinity,
        "alpha_pae": 1.0,  # without, there is no pTM, and Boltz's writer fails
        "validate_structure": False,
        # Boltz asks for attributes of these when it loads a checkpoint: a dict has none.
        "training_args": OmegaConf.create(
            {"max_lr": 0.0018, "weight_decay": 0.0, "diffusion_multiplicity": 16, "recycling_steps": 3}
        ),
        "validation_args": OmegaConf.create({}),
        "diffusion_loss_args": OmegaConf.create({}),
        "embedder_args": {
            "atom_encoder_depth": 1,
            "atom_encoder_heads": 2,
            "add_method_conditioning": True,
            "add_modified_flag": True,
            "add_cyclic_flag": True,
            "add_mol_type_feat": True,
        },
        "score_model_args": {
            "sigma_data": 16,
            "dim_fourier": 16,
            "atom_encoder_depth": 1,
            "atom_encoder_heads": 2,
            "atom_decoder_depth": 1,
            "atom_decoder_heads": 2,
            "token_transformer_depth": 2,
            "token_transformer_heads": 2,
            "conditioning_transition_layers": 2,
        },
        "pairformer_args": asdict(main.PairformerArgsV2()),
        "msa_args": asdict(main.MSAModuleArgs(subsample_msa=True)),
        "diffusion_process_args": asdict(main.Boltz2DiffusionParams()),
        "confidence_prediction": True,
        "token_level_confidence": True,
        "confidence_model_args": {
            "num_dist_bins": 64,
            "max_dist": 22,
            "add_s_to_z_prod": True,
            "add_s_input_to_s": True,
            "add_z_input_to_z": True,
            "pairformer_args": {"num_blocks": 1, "num_heads": 16, **small},
            "confidence_args": {
                "num_plddt_bins": 50,
                "num_pde_bins": 64,
                "num_pae_bins": 64,
                "use_separate_heads": True,
            },
        },
    }
    if not affinity:
        return sizes
    member = {
        "num_dist_bins": 64,
        "max_dist": 22,
        "pairformer_args": {"num_blocks": 1, **small},
        "transformer_args": {
            "token_s": token,
            "num_blocks": 1,
            "num_heads": 8,
            "activation_checkpointing": False,
        },
    }
    return sizes | {
        "affinity_prediction": True,
        "affinity_ensemble": True,
        "affinity_mw_correction": True,
        "affinity_model_args1": member,
        "affinity_model_args2": member,
    }

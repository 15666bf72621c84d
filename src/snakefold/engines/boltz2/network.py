"""Boltz-2's networks in this process: loaded once, and their results a function of input, seed and settings.

Boltz's own functions parse, make features, predict and write; Lightning's trainer, which would be set up for
every target and does not end at SIGTERM, is left out. Boltz draws random numbers in three places: conformers
of SMILES ligands (RDKit's own generator, without a seed), rotations of reference conformers, and sampling.
Each is seeded where it is used, so that nothing depends on what the process did before.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from boltz import main as boltz
from boltz.data.module import inferencev2
from boltz.data.module.inferencev2 import Boltz2InferenceDataModule, PredictionDataset, collate
from boltz.data.mol import load_canonicals
from boltz.data.parse import schema
from boltz.data.types import Manifest, Record
from boltz.data.write.writer import BoltzAffinityWriter, BoltzWriter
from boltz.model.layers import initialize
from boltz.model.models.boltz2 import Boltz2
from rdkit import Chem
from rdkit.Chem import AllChem

from snakefold.engines.boltz2.settings import Boltz2Settings
from snakefold.kernel.errors import Reason, TargetError

#: Recycles of the affinity network, as in `boltz predict`.
_AFFINITY_RECYCLING = 5
#: What RDKit's generator starts from: the first ligand of a fresh `boltz predict` gets this conformer.
_CONFORMER_SEED = 42
_FOLDERS = ("msa", "constraints", "templates", "mols", "structures", "records")


@dataclass(frozen=True)
class Device:
    """What computes.

    Attributes:
        name: in words.
        precision: of the network.
        kernels: fused kernels of cuEquivariance are used.
    """

    torch: str
    name: str
    precision: str
    kernels: bool = False


def device_of(settings: Boltz2Settings) -> Device:
    """What the settings ask for, as far as this machine has it.

    Raises:
        TargetError: a GPU is asked for, and torch sees none.
    """
    there = torch.cuda.is_available()
    if settings.accelerator == "gpu" and not there:
        raise TargetError(
            Reason.INTERNAL,
            f"boltz2.accelerator is gpu, and torch {torch.__version__} sees no NVIDIA GPU here.",
            "Install the builds for GPUs (snakefold engines install boltz2 --gpu) where jobs run, check "
            "nvidia-smi, or set boltz2.accelerator: cpu.",
        )
    if settings.accelerator == "cpu" or not there:
        return Device("cpu", "CPU", "float32")
    recent = torch.cuda.get_device_capability()[0] >= 8
    return Device("cuda", torch.cuda.get_device_name(), "bfloat16", recent and _has_kernels())


def _has_kernels() -> bool:
    try:
        import cuequivariance_torch  # noqa: F401
    except ImportError:
        return False
    return True


def prepare(settings: Boltz2Settings, device: Device) -> None:
    """What Boltz expects of its process, and its unseeded conformers replaced by seeded ones."""
    for name in ("CUEQ_DEFAULT_CONFIG", "CUEQ_DISABLE_AOT_TUNING"):  # as `boltz predict` has them
        os.environ.setdefault(name, "1")
    warnings.filterwarnings("ignore", module="pytorch_lightning")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_grad_enabled(False)
    torch.set_float32_matmul_precision("highest")
    if device.torch == "cpu":
        torch.set_num_threads(settings.cpu_threads)
    Chem.SetDefaultPickleProperties(Chem.PropertyPickleOptions.AllProps)
    schema.compute_3d_conformer = _seeded_conformer


def _seeded_conformer(molecule: Chem.Mol, version: str = "v3") -> bool:
    """As Boltz's `compute_3d_conformer`, from a fixed seed."""
    options = AllChem.ETKDGv3() if version == "v3" else AllChem.ETKDGv2()
    options.clearConfs = False
    options.randomSeed = _CONFORMER_SEED
    number = AllChem.EmbedMolecule(molecule, options)
    if number == -1:
        options.useRandomCoords = True
        number = AllChem.EmbedMolecule(molecule, options)
    if number == -1:
        return False
    with suppress(RuntimeError, ValueError):  # no force field: Boltz keeps the embedded coordinates too
        AllChem.UFFOptimizeMolecule(molecule, confId=number, maxIters=1000)
    chosen = molecule.GetConformer(number)
    chosen.SetProp("name", "Computed")
    chosen.SetProp("coord_generation", f"ETKDG{version}")
    return True


def seed_all(seed: int) -> None:
    """Seed every generator that Boltz or its libraries draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def _undrawn() -> Iterator[None]:
    """Networks are built without random numbers, which the checkpoint replaces, all of them (`strict`).

    Drawing them would take longer than reading the checkpoint: a minute for both official networks.
    """
    truncated, linear = initialize.trunc_normal_init_, torch.nn.Linear.reset_parameters
    initialize.trunc_normal_init_ = _left_alone
    torch.nn.Linear.reset_parameters = _left_alone  # type: ignore[method-assign, unused-ignore]
    try:
        yield
    finally:
        initialize.trunc_normal_init_ = truncated
        torch.nn.Linear.reset_parameters = linear  # type: ignore[method-assign, unused-ignore]


def _left_alone(*_: Any, **__: Any) -> None:
    return None


@dataclass(frozen=True)
class Parsed:
    """A target as Boltz has parsed it, in a folder of its own."""

    record: Record
    folder: Path

    def structure(self) -> Any:
        """Its chains, residues and atoms (boltz.data.types.StructureV2)."""
        from boltz.data.types import StructureV2

        return StructureV2.load(self.folder / "structures" / f"{self.record.id}.npz")


class Networks:
    """The structure network, the affinity network if it is wanted, and molecules that targets share."""

    def __init__(self, settings: Boltz2Settings, places: Places, device: Device, *, affinity: bool) -> None:
        prepare(settings, device)
        self._settings, self._molecules, self._device = settings, places.molecules, device
        self._canonicals = load_canonicals(str(places.molecules))
        # Boltz reads the same thirty files for every dataset, and here each target has one.
        inferencev2.load_canonicals = lambda _: self._canonicals
        self._structure = self._load(places.structure, affinity=False)
        self._affinity = self._load(places.affinity, affinity=True) if affinity else None

    def _load(self, checkpoint: Path, *, affinity: bool) -> Boltz2:
        """A network as `boltz predict` sets it up."""
        settings = self._settings
        diffusion = boltz.Boltz2DiffusionParams()
        diffusion.step_scale = settings.step_scale
        steering = boltz.BoltzSteeringParams()
        steering.fk_steering = steering.physical_guidance_update = settings.use_potentials
        steering.contact_guidance_update = not affinity
        alignment = boltz.MSAModuleArgs(
            subsample_msa=True, num_subsampled_msa=settings.num_subsampled_msa, use_paired_feature=True
        )
        samples = settings.diffusion_samples_affinity if affinity else settings.diffusion_samples
        predict = {
            "recycling_steps": _AFFINITY_RECYCLING if affinity else settings.recycling_steps,
            "sampling_steps": settings.sampling_steps_affinity if affinity else settings.sampling_steps,
            "diffusion_samples": samples,
            "max_parallel_samples": min(settings.max_parallel_samples, samples)
            if affinity
            else settings.max_parallel_samples,
            "write_confidence_summary": not affinity,
            "write_full_pae": not affinity,
            "write_full_pde": not affinity,
        }
        more: dict[str, Any] = (
            {"affinity_mw_correction": settings.affinity_mw_correction}
            if affinity
            else {"use_kernels": self._device.kernels}
        )
        with _undrawn():
            network = Boltz2.load_from_checkpoint(
                checkpoint,
                strict=True,
                map_location="cpu",
                weights_only=False,
                predict_args=predict,
                diffusion_process_args=asdict(diffusion),
                ema=False,
                pairformer_args=asdict(boltz.PairformerArgsV2()),
                msa_args=asdict(alignment),
                steering_args=asdict(steering),
                **more,
            )
        network.setup("predict")
        return network.eval().to(self._device.torch)

    def parse(self, name: str, source: Path, folder: Path) -> Parsed:
        """Parse a YAML.

        Raises:
            TargetError: Boltz refuses it; its own words.
        """
        for each in _FOLDERS:
            (folder / each).mkdir(parents=True)
        try:
            boltz.process_input(
                source,
                ccd=dict(self._canonicals),
                msa_dir=folder / "msa",
                mol_dir=self._molecules,
                boltz2=True,
                use_msa_server=False,
                msa_server_url="",
                msa_pairing_strategy="greedy",
                msa_server_username=None,
                msa_server_password=None,
                api_key_header=None,
                api_key_value=None,
                max_msa_seqs=self._settings.max_msa_seqs,
                processed_msa_dir=folder / "msa",
                processed_constraints_dir=folder / "constraints",
                processed_templates_dir=folder / "templates",
                processed_mols_dir=folder / "mols",
                structure_dir=folder / "structures",
                records_dir=folder / "records",
            )
        except MemoryError:
            raise
        except Exception as error:  # a parser of somebody else's may raise anything
            raise _refused(error) from error
        return Parsed(Record.load(folder / "records" / f"{name}.json"), folder)

    def predict_structures(self, parsed: Parsed, seed: int, out: Path) -> Path:
        """Write the models of one seed into a folder below `out`, and return that.

        Raises:
            TargetError: memory ran out.
        """
        writer = BoltzWriter(str(parsed.folder / "structures"), str(out), "mmcif", boltz2=True)
        records = [parsed.record]
        self._predict(
            self._structure,
            parsed,
            records,
            structures=parsed.folder / "structures",
            writer=writer,
            seed=seed,
        )
        return out / parsed.record.id

    def predict_affinity(self, parsed: Parsed, seed: int, out: Path) -> None:
        """Predict affinities for the best model of one seed, and write them beside it.

        Raises:
            TargetError: memory ran out.
        """
        if self._affinity is None:
            raise TargetError(Reason.INTERNAL, "The affinity network was not loaded with the batch.")
        writer = BoltzAffinityWriter(str(parsed.folder / "structures"), str(out))
        records = boltz.expand_affinity_records(Manifest([parsed.record])).records
        self._predict(
            self._affinity, parsed, records, structures=out, writer=writer, seed=seed, affinity=True
        )

    def _predict(
        self,
        network: Boltz2,
        parsed: Parsed,
        records: Sequence[Record],
        *,
        structures: Path,
        writer: BoltzWriter | BoltzAffinityWriter,
        seed: int,
        affinity: bool = False,
    ) -> None:
        folder = parsed.folder
        places = {
            "msa_dir": folder / "msa",
            "mol_dir": self._molecules,
            "constraints_dir": folder / "constraints",
            "template_dir": folder / "templates",
            "extra_mols_dir": folder / "mols",
        }
        dataset = PredictionDataset(
            Manifest(list(records)),
            structures,
            override_method="other" if affinity else None,
            affinity=affinity,
            **places,
        )
        moving = Boltz2InferenceDataModule(Manifest([]), structures, num_workers=0, **places)
        for number in range(len(records)):
            with self._memory():
                seed_all(seed)
                features = collate([dataset[number]])
                batch = moving.transfer_batch_to_device(features, torch.device(self._device.torch), 0)
                seed_all(seed)
                with torch.inference_mode(), self._autocast():
                    found = network.predict_step(batch, number)
                writer.write_on_batch_end(None, network, found, [number], batch, number, 0)
            if writer.failed:  # Boltz goes on without the target
                raise _out_of_memory("Boltz ran out of memory and skipped the target.")

    def _autocast(self) -> Any:
        return torch.autocast("cuda", dtype=torch.bfloat16, enabled=self._device.precision == "bfloat16")

    @contextmanager
    def _memory(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not (isinstance(error, MemoryError) or "memory" in str(error)):
                raise
            raise _out_of_memory(str(error)[:200]) from error
        finally:
            if self._device.torch == "cuda":
                gc.collect()
                torch.cuda.empty_cache()


@dataclass(frozen=True)
class Places:
    """Files that are loaded."""

    structure: Path
    affinity: Path
    molecules: Path


def _out_of_memory(text: str) -> TargetError:
    return TargetError(
        Reason.OUT_OF_MEMORY,
        text,
        "Use a larger GPU class (gpu.classes), lower boltz2.max_parallel_samples, or give more main memory "
        "(predict.mem_mb).",
    )


def _refused(error: Exception) -> TargetError:
    text = " ".join(str(error).split())[:500]
    if "3D conformer" in text:
        return TargetError(
            Reason.INVALID_INPUT,
            f"RDKit finds no three-dimensional shape of a ligand ({text}).",
            "Check its SMILES, above all rings and stereocentres, or give the ligand by its CCD code.",
        )
    if text.startswith("CCD component"):
        return TargetError(
            Reason.INVALID_INPUT,
            f"Boltz-2's molecules lack a component: {text}",
            "Check the code, or give the ligand as a SMILES.",
        )
    return TargetError(
        Reason.INVALID_INPUT,
        f"Boltz refuses the input: {type(error).__name__}: {text}",
        "Correct the record.",
    )

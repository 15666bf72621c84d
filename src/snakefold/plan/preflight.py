"""What can be known to be wrong with a run from its settings alone, before Snakemake or a job is started."""

from __future__ import annotations

import os
from pathlib import Path

from snakefold import engines
from snakefold.config import Config
from snakefold.kernel.errors import ConfigError, SnakefoldError, WeightsMissingError
from snakefold.kernel.machine import has_gpu
from snakefold.kernel.paths import expanded, resource
from snakefold.kernel.store import open_store
from snakefold.kernel.wording import listed
from snakefold.msa import programs
from snakefold.msa.databases import presets as databases
from snakefold.msa.nearest import check_database
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.executors import Executor
from snakefold.plan.groups import Groups

#: Values of the setting `weights` that name no folder.
_NO_FOLDER = {"auto", "rehearsal"}
#: Environment variable that an executor cannot work without, and how to get its value.
_CREDENTIALS = {
    "runpod": (
        "RUNPOD_API_KEY",
        "Make a key in RunPod's console (Settings, API Keys) and: export RUNPOD_API_KEY=…",
    )
}


def check_run(config: Config, executor: Executor) -> None:
    """See that what the settings name is there: GPU classes, databases, parameters, the store, credentials.

    What depends on the targets is for the plan step to find.

    Raises:
        MissingProgramError: MMseqs2 is to search on a GPU, and there is no build of it with CUDA.
        ConfigError: a GPU class or preset is not known, an engine asks for what no class has, alignments are
            to be made on a GPU that is not there, a credential or a known structure is missing, or the
            control of designs is no structure.
        DatabaseMissingError: the text lists the files, or says that `design.novelty` is none.
        WeightsMissingError: `weights` names no folder, or one without what the engine needs.
        StoreError, DiskError: the store cannot be read.
    """
    load_classes(config.gpu.classes, Path(config.gpu.table) if config.gpu.table else None)
    for name in config.wanted_engines:
        config.caveats_of(name)
    check_databases(config)
    _check_gpu_of_alignments(config, executor)
    check_parameters(config)
    _check_references(config)
    check_comparisons(config)
    open_store(config.store)
    _check_credentials(executor)


def check_databases(config: Config) -> databases.Preset:
    """The preset of the settings, whose databases are all there if an engine needs alignments."""
    preset = databases.load_preset(config.msa.db_preset, config.msa.db_root)
    if any(kind.needs.alignment for kind in Groups(config)):
        databases.check(preset, config.msa, pairing=False)
    return preset


def _check_gpu_of_alignments(config: Config, executor: Executor) -> None:
    name = config.msa_gpu_class
    if name is None or not any(kind.needs.alignment for kind in Groups(config)):
        return
    if executor.aligns_here:
        if not has_gpu():
            raise ConfigError(
                "msa.mmseqs.gpu is true, and this machine, which makes the alignments, has no NVIDIA driver. "
                "Run where there is a GPU, or set msa.mmseqs.gpu: false."
            )
    else:
        [kind] = load_classes([name], Path(config.gpu.table) if config.gpu.table else None)
        if kind.device != "gpu":
            raise ConfigError(
                f"msa.mmseqs.gpu is true, and the MSA jobs' class {name} has no GPU. Set "
                "msa.mmseqs.gpu_class to one that has."
            )
    if executor.shares_disks or executor.aligns_here:
        programs.find("mmseqs", gpu=True)


def check_parameters(config: Config) -> None:
    """See that `weights` names a folder, and that an engine finds there what some kind of target needs.

    Raises:
        WeightsMissingError: it does not.
    """
    check_weights_folder(config)
    kinds = list(Groups(config))
    names = {kind.engine.name for kind in kinds}
    if len(names) > 1:
        return  # which of them gets targets is not known yet
    errors = []
    for kind in kinds:
        try:
            settings = config.settings_of(kind.engine.name)
            kind.engine.parameters(config.weights, settings, {kind.name}, whole=False)
        except WeightsMissingError as error:
            errors.append(error)
    if errors and len(errors) == len(kinds):
        raise errors[0]


def check_weights_folder(config: Config) -> None:
    """See that `weights` names a folder, if it names one.

    Raises:
        WeightsMissingError: there is none.
    """
    if config.weights not in _NO_FOLDER and not Path(expanded(config.weights)).is_dir():
        fetched = [name for name in config.wanted_engines if engines.get(name).weights is not None]
        commands = listed([f"`snakefold weights fetch {name} {config.weights}`" for name in fetched])
        fetch = f", or fetch the official parameters: {commands}" if fetched else ""
        raise WeightsMissingError(
            f"weights: {config.weights}: no such folder. Correct the path, or set `weights: auto`{fetch}."
        )


def _check_references(config: Config) -> None:
    for name, path in config.references.items():
        if not resource(path).is_file():
            raise ConfigError(
                f"references.{name}: {path}: no such file. Expected a structure in PDB or mmCIF format."
            )


def check_comparisons(config: Config) -> None:
    """See that what designs are compared with is there, which is read at the end of a run only.

    Raises:
        ConfigError: `design.control` is no structure.
        DatabaseMissingError: `design.novelty` is no file and no database.
    """
    check_control(config)
    if config.design.novelty:
        check_database(Path(config.design.novelty))


def check_control(config: Config) -> None:
    """See that `design.control`, if it is set, is a structure.

    Raises:
        ConfigError: it is none.
    """
    path = config.design.control
    if path is None:
        return
    from snakefold.structures.files import ca_traces, read_file

    wrong = ""
    try:
        if not resource(path).is_file():
            wrong = "no such file."
        elif not ca_traces(read_file(resource(path))):
            wrong = "has no protein chain."
    except SnakefoldError as error:
        wrong = str(error)
    if wrong:
        raise ConfigError(f"design.control: {path}: {wrong} Expected a structure in PDB or mmCIF format.")


def _check_credentials(executor: Executor) -> None:
    name, advice = _CREDENTIALS.get(executor.name, ("", ""))
    if name and not os.environ.get(name, "").strip():
        raise ConfigError(f"The environment variable {name} is not set. {advice}")

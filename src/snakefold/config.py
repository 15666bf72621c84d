"""The run's configuration: one model from which the schema, the checks and the documentation are made."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from snakefold import engines
from snakefold.engines.alphafold2.settings import RehearsalSettings
from snakefold.engines.spec import Hardware
from snakefold.kernel.contracts import Model, RelaxSettings
from snakefold.kernel.devices import devices
from snakefold.kernel.errors import ConfigError, StoreError
from snakefold.kernel.machine import has_gpu
from snakefold.kernel.paths import house, packaged, resource
from snakefold.kernel.setting_errors import told
from snakefold.kernel.setting_paths import (
    NULLS,
    ArgumentPath,
    SettingPath,
    default_store,
    no_option,
    plain_path,
)
from snakefold.kernel.store.location import is_s3, parse_location
from snakefold.kernel.wording import count
from snakefold.msa.settings import MsaSettings

#: Context of a validation of settings that computed something already.
_RECORDED = "recorded"


class BatchSettings(Model):
    """How targets are cut into jobs."""

    max_targets: int = Field(100, ge=1, description="Maximum targets per prediction job.")
    max_residues: int = Field(
        50_000,
        ge=1,
        description="Maximum residues (tokens, if the engine counts those) per prediction job. A longer "
        "target runs alone.",
    )
    bucket_edges: list[Annotated[int, Field(ge=1)]] | None = Field(
        None,
        description="Padded lengths of monomers. Empty: chosen from the lengths in the set.",
    )
    seeds_per_job: int | None = Field(
        None,
        ge=1,
        description="Seeds of a target that one prediction job has at the most: a target with more is spread "
        "over jobs that run side by side, and the models of all are ranked together. Empty: one job has all.",
    )


class PredictSettings(Model):
    """One prediction job, as the scheduler sees it."""

    threads: int = Field(2, ge=1, description="CPU threads per prediction job.")
    mem_mb: int = Field(
        4000,
        ge=500,
        description="Main memory per prediction job, MB. If a CPU predicts, the network's memory is added. "
        "Each retry adds the same amount again.",
    )
    gpu: int = Field(
        1, ge=0, description="GPUs per prediction job; profiles/default runs one such job at a time."
    )
    retries: int = Field(
        2,
        ge=0,
        description="Maximum retries of a prediction job. A retry resumes at the first unfinished target.",
    )


class GpuSettings(Model):
    """What predictions run on."""

    classes: list[str] = Field(
        ["local"],
        min_length=1,
        description="GPU classes for predictions: entries of resources/gpus.yaml. `local` is this machine.",
    )
    workers: Annotated[int, Field(ge=1)] | dict[str, Annotated[int, Field(ge=1)]] | None = Field(
        None,
        description="Maximum workers: one limit that applies to each class, or one limit per class. Empty: "
        "1, and on this machine as many as it has GPUs.",
    )
    table: SettingPath | None = Field(
        None, description="Your own table of GPU classes, in the format of resources/gpus.yaml."
    )


class SlurmGpus(Model):
    """GPUs of one class on a SLURM cluster."""

    partition: str | None = Field(None, description="Partition. Empty: the partition of the CPU jobs.")
    model: str | None = Field(
        None, pattern=r"^[a-zA-Z0-9_.]+$", description="GPU type in the nodes' Gres: sbatch --gpus MODEL:1."
    )
    constraint: str | None = Field(None, description="Node features: sbatch --constraint.")


class SlurmSettings(Model):
    """What jobs ask a SLURM cluster for (profiles/slurm)."""

    account: str | None = Field(None, description="SLURM account. Empty: your default account.")
    partition: str | None = Field(
        None, description="Partition of the CPU jobs. Empty: the default partition."
    )
    gpus: dict[str, SlurmGpus] = Field(
        {},
        description="Per GPU class: any of partition, model (GPU type in the nodes' Gres) and constraint.",
    )


class KubernetesSettings(Model):
    """Which nodes of a Kubernetes cluster jobs ask for (profiles/kubernetes)."""

    machine_type: str | None = Field(
        None,
        description="Node label node.kubernetes.io/instance-type of the CPU jobs. Empty: any node.",
    )
    gpus: dict[str, str] = Field(
        {}, description="Per GPU class: the same label of nodes with this GPU, for example g5.2xlarge."
    )


class RunpodSettings(Model):
    """Which endpoints prediction jobs go to on RunPod (profiles/runpod)."""

    endpoint: str | None = Field(
        None,
        description="Endpoint of the engines that run in snakefold's own environment. profiles/runpod sets "
        "it.",
    )
    endpoints: dict[str, str] = Field(
        {},
        description="Per engine: its endpoint. An engine with an environment of its own needs an entry, "
        "because it has an image of its own.",
    )

    def endpoint_of(self, engine: str) -> str | None:
        """Endpoint of an engine's jobs; None: none is set."""
        if engine in self.endpoints:
            return self.endpoints[engine]
        return self.endpoint if engines.get(engine).environment is None else None


class OutputSettings(Model):
    """What lies beside the structures besides what is always there."""

    pae_json: bool = Field(
        False,
        description="PAE of every model as AlphaFold DB has it, pae_<n>.json, for ChimeraX and PAE viewers "
        "(whole Å; pae.npz is finer and smaller). Folders that exist stay as they are: "
        "`snakefold export pae` writes it of finished targets.",
    )


class ScreenSettings(Model):
    """Ligands that are predicted with one receptor, one target for each."""

    ligands: SettingPath | None = Field(
        None,
        description="SMILES list (.smi), SDF or table (columns smiles or ccd, id) of ligands. Each makes a "
        "target with the one record of `input`, the receptor (docs/inputs.md). Empty: no screen.",
    )
    affinity: bool = Field(
        False, description="Ask for the affinity of each ligand of `ligands`; the engine must predict it."
    )


class DesignSettings(Model):
    """Sequences that are designed for backbones, folded, and compared with them."""

    engine: str = Field(
        "",
        description="Engine that designs sequences for the backbones of `input`, such as proteinmpnn; "
        "`engine` folds them. Empty: nothing is designed.",
    )
    stage: Literal["", "sequences", "structures"] = Field(
        "",
        description="One stage alone: sequences are designed, or structures of designs are predicted and "
        "compared. A run does both, and sets this for the steps of each. Empty: both.",
    )
    chains: str | list[str] = Field(
        "",
        description="Chains to design, as `A B` or as a list, where no sheet says so. Empty: all of them.",
    )
    homooligomer: bool = Field(
        False, description="Designed chains are copies, and get the same sequence, where no sheet says so."
    )
    conserved: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.0],
        min_length=1,
        description="Shares of the most conserved positions that keep their residue, by the alignment of the "
        "native sequence. Each makes designs of its own.",
    )
    max_rmsd: float = Field(
        2.0, gt=0, description="Å: a design passes if its CA atoms are no further from the backbone's (RMSD)."
    )
    min_plddt: float = Field(80.0, ge=0, le=100, description="A design passes if its mean pLDDT is no lower.")
    control: SettingPath | None = Field(
        None,
        description="A structure with another fold (PDB or mmCIF), which no design is made for: designs are "
        "compared with it as well. Empty: none.",
        exclude_if=lambda value: value is None,
    )
    novelty: SettingPath | None = Field(
        None,
        description="FASTA file or MMseqs2 database in which the nearest sequence of each design is looked "
        "for. Empty: none is.",
    )


def _as_capability(version: object) -> int | None:
    """8.6, as NVIDIA calls it, as the whole number that compilers use: 86. `load_classes` refuses others."""
    try:
        return round(float(str(version)) * 10)
    except ValueError:
        return None


class Settings(Model):
    """config/config.yaml, but for the sections of the engines."""

    input: str | list[str] = Field(
        "resources/demo/proteins.fasta",
        description="FASTA, CSV, A3M, AlphaFold 3 JSON or Boltz YAML files (plain or .gz), or folders.",
    )
    results: ArgumentPath = Field("results", description="Folder for everything a run writes.")
    store: str = Field(
        "",
        description="Results by content: a folder, or s3://bucket/prefix?endpoint_url=…&region=… "
        "(docs/store.md). Runs that share a store compute nothing twice. Empty: the folder `store` in "
        "`results`.",
    )
    publish: str | None = Field(
        None,
        description="Bucket for structures, report and tables, sent at the end of the run even if targets "
        "failed: s3://bucket/prefix?endpoint_url=…&region=… (docs/s3.md). Use one prefix per run. Empty: "
        "nothing is sent.",
    )
    on_invalid: Literal["skip", "stop"] = Field(
        "skip",
        description="If a record is invalid: skip lists it and folds the others; stop starts nothing.",
    )
    min_length: int = Field(
        16,
        ge=1,
        description="Minimum length of a target of proteins alone, residues of all chains. A target with "
        "ligands, nucleic acids, modifications or constraints may be shorter.",
    )
    max_length: int = Field(
        5000, ge=1, description="Maximum length of a target, residues of all polymer chains."
    )
    reuse: list[SettingPath] = Field(
        [],
        description="Folders or tar archives of predicted structures (PDB, mmCIF). A target whose exact "
        "sequence is there is taken from there, labelled, and not predicted (docs/reuse.md).",
    )
    objective: Literal["cost", "time"] = Field(
        "cost",
        description="cost: the cheapest plan that meets the deadline; time: the fastest plan within budget.",
    )
    budget: float | None = Field(
        None, gt=0, description="Dollars. Nothing starts if the quote is higher. Empty: no limit."
    )
    deadline: float | None = Field(
        None, gt=0, description="Hours from the start of the run to its end. Empty: no limit."
    )
    calibration: SettingPath | None = Field(
        None,
        description="File written by `snakefold calibrate`. Empty: your own calibration if there is one, "
        "otherwise the published figures.",
    )
    engine: str = Field("alphafold2", description="Engine that predicts: the name of an installed engine.")
    engines: list[str] = Field(
        [],
        description="Several engines: each target goes to the first engine that accepts it. A sample sheet "
        "may name the engine of a target (column engine). Empty: `engine`.",
        # Folders of results from before this setting have none: a default that is written plans them again.
        exclude_if=lambda value: not value,
    )
    weights: ArgumentPath = Field(
        "auto",
        description="Folder of parameters: params/params_*.npz of AlphaFold2, openfold/ of OpenFold, "
        "flashabb/ of flash-abb. auto: $SNAKEFOLD_WEIGHTS, then your data folder; random (rehearsal) "
        "parameters of AlphaFold2 or OpenFold if neither has any. rehearsal: always random parameters.",
    )
    rehearsal: RehearsalSettings = RehearsalSettings()
    batch: BatchSettings = BatchSettings()
    gpu: GpuSettings = GpuSettings()
    msa: MsaSettings = MsaSettings()
    predict: PredictSettings = PredictSettings()
    container: str | None = Field(
        None,
        description="Container image with snakefold for every step: docker://… or a .sif file. Snakemake "
        "uses it with --software-deployment-method apptainer.",
    )
    slurm: SlurmSettings = SlurmSettings()
    kubernetes: KubernetesSettings = KubernetesSettings()
    # Folders of results from before these settings have none: defaults that are written plan them again.
    runpod: RunpodSettings = Field(RunpodSettings(), exclude_if=lambda value: value == RunpodSettings())
    screen: ScreenSettings = Field(ScreenSettings(), exclude_if=lambda value: value == ScreenSettings())
    design: DesignSettings = Field(DesignSettings(), exclude_if=lambda value: value == DesignSettings())
    output: OutputSettings = Field(OutputSettings(), exclude_if=lambda value: value == OutputSettings())
    references: dict[str, SettingPath] = Field(
        {}, description="Known structures to compare with: target id → PDB or mmCIF file."
    )
    relax: RelaxSettings = RelaxSettings()

    @field_validator("engine")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        return value if info.context == _RECORDED else _known_engine(value)

    @field_validator("engines")
    @classmethod
    def _all_known(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("an engine is named twice")
        return value if info.context == _RECORDED else [_known_engine(name) for name in value]

    @field_validator("input")
    @classmethod
    def _some_input(cls, value: str | list[str]) -> str | list[str]:
        given = [value] if isinstance(value, str) else value
        if not given or not all(given):
            raise ValueError("at least one file or folder is needed, and none may be empty")
        paths = [plain_path(path) for path in given]
        # Snakemake reads braces in file names as wildcards.
        if braced := [path for path in paths if set("{}") & set(path)]:
            raise ValueError(f"no path may have {{ or }} in it: rename {braced[0]!r}")
        return paths[0] if isinstance(value, str) else paths

    @model_validator(mode="before")
    @classmethod
    def _what_is_not_given(cls, values: object) -> object:
        if not isinstance(values, Mapping):
            return values
        given = _without_nulls(values, cls)
        if given.get("store") is None:
            given["store"] = default_store(str(given.get("results", "results")))
        return given

    @field_validator("store")
    @classmethod
    def _folder_as_given(cls, value: str) -> str:
        return value if "://" in value or is_s3(value) else no_option(plain_path(value))

    @field_validator("results", "store")
    @classmethod
    def _usable_folder(cls, value: str) -> str:
        if not value.strip("/. ") or not value.isprintable() or set("{}") & set(value):
            raise ValueError("the name of a folder below or beside this one is needed, without { and }")
        return value

    @field_validator("store", "publish")
    @classmethod
    def _location(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                parse_location(value)
        except StoreError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("publish")
    @classmethod
    def _on_s3(cls, value: str | None) -> str | None:
        if value is not None and not is_s3(value):
            raise ValueError("s3://bucket/prefix is expected; a folder for results is named by `results`")
        return value

    @model_validator(mode="after")
    def _conserved_by_alignments(self) -> Settings:
        if self.designs and any(self.design.conserved) and self.msa.tool == "single_sequence":
            raise ValueError(
                "design.conserved: positions are conserved in an alignment, and msa.tool: single_sequence "
                "searches none. Set msa.tool, or leave design.conserved out."
            )
        return self

    @property
    def inputs(self) -> list[Path]:
        """`input` as a list of paths."""
        return [Path(item) for item in ([self.input] if isinstance(self.input, str) else self.input)]

    @property
    def designs(self) -> bool:
        """Whether sequences are designed: then the input is backbones."""
        return bool(self.design.engine) and self.design.stage != "structures"

    @property
    def wanted_engines(self) -> list[str]:
        """Engines that targets go to: each to the first that takes it."""
        if self.designs:
            return [self.design.engine]
        return self.engines or [self.engine]

    def settings_of(self, engine: str, *, rehearsal: bool = False) -> Any:
        """The section of an engine, for where predictions run; cut down when the parameters are random."""
        found = engines.get(engine)
        configured = getattr(self, engine)
        chosen = found.rehearsed(configured, self.rehearsal) if rehearsal else configured
        return found.settled(chosen, self.hardware)

    def caveats_of(self, engine: str, *, rehearsal: bool = False) -> list[str]:
        """What an engine's settings do not get of where predictions run.

        Raises:
            ConfigError: they ask for what is certainly not there.
        """
        found = engines.get(engine)
        configured = getattr(self, engine)
        chosen = found.rehearsed(configured, self.rehearsal) if rehearsal else configured
        return list(found.caveats(chosen, self.hardware))

    @cached_property
    def hardware(self) -> Hardware:
        """What predicts, by the GPU classes. `local` is this machine, and what it has.

        Raises:
            ConfigError: the table of GPU classes cannot be read.
        """
        path = resource(self.gpu.table) if self.gpu.table else house() / "resources" / "gpus.yaml"
        table = read_settings(path)
        kinds: set[str] = set()
        capabilities: dict[str, int | None] = {}
        for name in self.gpu.classes:
            entry = table.get(name) or {}
            here = name == "local" and has_gpu()
            kind = "gpu" if here else str(entry.get("device", "gpu"))
            kinds.add(kind)
            given = entry.get("compute_capability")
            found = {device.capability for device in devices()} if here else set()
            if len(found) > 1:
                capabilities |= {f"{name} (sm_{each})": each for each in sorted(found, key=str)}
            elif kind == "gpu":
                capabilities[name] = found.pop() if found else _as_capability(given)
        return Hardware(kinds.pop() if len(kinds) == 1 else "", capabilities)

    @property
    def msa_gpu_class(self) -> str | None:
        """GPU class that MSA jobs are asked for with; None: they search on CPUs."""
        return (self.msa.mmseqs.gpu_class or self.gpu.classes[0]) if self.msa.on_gpu else None

    def relax_of(self, *, rehearsal: bool) -> RelaxSettings:
        """As configured, but bounded in a rehearsal."""
        if not rehearsal:
            return self.relax
        return self.relax.model_copy(update={"max_iterations": self.rehearsal.relax_max_iterations})


if TYPE_CHECKING:

    class Config(Settings):
        """`Settings` with a section for every engine that is installed."""

else:
    _SECTIONS = {name: engines.get(name).Settings for name in engines.names()}
    Config = create_model(
        "Config",
        __base__=Settings,
        __doc__="config/config.yaml.",
        **{name: (section, section()) for name, section in _SECTIONS.items()},
    )


def _known_engine(name: str) -> str:
    if name in engines.broken():
        raise ValueError(engines.broken()[name])
    if name not in engines.names():
        near = difflib.get_close_matches(name, engines.names(), 1, 0.6)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"no such engine is installed; there are {', '.join(engines.names())}{meant}")
    return name


def _without_nulls(values: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The settings without those that are said to be empty, where that is allowed."""
    kept = dict(values)
    for name, value in values.items():
        field = model.model_fields.get(name)
        if field is None:
            continue
        section = field.annotation
        if isinstance(value, Mapping) and isinstance(section, type) and issubclass(section, BaseModel):
            kept[name] = _without_nulls(value, section)
        elif name == "store" and (value is None or value in NULLS):
            del kept[name]
        elif isinstance(value, str) and value in NULLS and type(None) in get_args(section):
            kept[name] = None
    return kept


def load_config(
    values: Mapping[str, Any], source: str = "the configuration", *, recorded: bool = False
) -> Config:
    """Check a configuration given as a mapping.

    Args:
        recorded: of a run that was made: its engines need not be installed any more. Nothing is computed with
            it, and settings that this installation does not know are left out.

    Raises:
        ConfigError: names every wrong setting by its dotted path, what was found and what is expected.
    """
    if recorded:
        values = {name: value for name, value in values.items() if name in Config.model_fields}
    try:
        config = Config.model_validate(values, context=_RECORDED if recorded else None)
    except ValidationError as error:
        lines = told(error.errors(), lambda: sorted(_names(Config)))
        raise ConfigError(f"{source}: {count(len(lines), 'wrong setting')}.\n" + "\n".join(lines)) from error
    if config.min_length > config.max_length:
        raise ConfigError(
            f"{source}: min_length {config.min_length} is above max_length {config.max_length}."
        )
    for section, gpus in (("slurm", config.slurm.gpus), ("kubernetes", config.kubernetes.gpus)):
        unknown = [name for name in config.gpu.classes if gpus and name not in gpus]
        if unknown:
            raise ConfigError(
                f"{source}: {section}.gpus does not say how to ask for {', '.join(unknown)} of gpu.classes. "
                f"It has: {', '.join(gpus)}."
            )
        own = config.msa_gpu_class
        if gpus and own and own not in gpus:
            raise ConfigError(
                f"{source}: {section}.gpus does not say how to ask for {own}, msa.mmseqs.gpu_class. It has: "
                f"{', '.join(gpus)}."
            )
    return config


def _names(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all settings of a model, and of its sections."""
    for name, field in model.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from _names(section, f"{prefix}{name}.")
        yield f"{prefix}{name}"


def is_demo(config: Config) -> bool:
    """Whether nobody named an input, so that the demo set is folded."""
    return [str(path) for path in config.inputs] == [type(config).model_fields["input"].default]


def inputs_of(config: Config) -> list[Path]:
    """Paths of `input`: the demo that comes with snakefold if it was left at that, else the user's own."""
    demo = type(config).model_fields["input"].default
    return [packaged(path) if str(path) == demo else resource(path) for path in config.inputs]


def read_config(path: Path) -> Config:
    """Read and check a YAML file."""
    return load_config(read_settings(path), str(path))


def read_recorded(results: Path) -> Config:
    """Read the settings of a run from its results folder, as `load_config(…, recorded=True)`."""
    path = results / "config.yaml"
    return load_config(read_settings(path), str(path), recorded=True)


def read_settings(path: Path) -> dict[str, Any]:
    """Settings of a YAML file as they stand there, unchecked."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    # ValueError: a date that is none, or bytes that are no text; RecursionError: brackets without end.
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected settings as `name: value` lines.")
    return values

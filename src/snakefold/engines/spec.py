"""The engine protocol: everything that is asked of an engine, and nothing of what it is.

An engine is an object that an entry point of the group `snakefold.engines` names. Its module imports nothing
heavy, so that a run can be planned and priced where the engine itself is not installed.
`Defaults` answers what most engines have no opinion on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import ValidationError

from snakefold.kernel.contracts import FoldRequest, Model, MsaMeta, RelaxChoice, RelaxSettings, TargetInput
from snakefold.kernel.errors import SnakefoldError
from snakefold.molecules.accepts import PROTEINS, Accepts
from snakefold.molecules.entities import Assembly
from snakefold.structures.prediction import Prediction

if TYPE_CHECKING:  # every command of snakefold reads the specs of all engines, and most need no arrays
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
else:
    Floats = ArrayLike = Any


# ---- what travels to an engine -------------------------------------------------------------------------
@dataclass(frozen=True)
class ChainMsa:
    """MSA of one chain: msa.a3m, pairing.a3m, bytes of templates.npz.

    `keys`, if an entity brought the alignment and said what its rows are paired by: one for each row of
    `a3m`; rows of different entities with the same key belong together, None is paired with nothing.
    `meta` and `hits` (meta.json, hits.tsv) are no business of an engine: they go into the target's folder.
    """

    a3m: str
    pairing: str | None = None
    templates: bytes | None = None
    meta: MsaMeta | None = None
    hits: str = ""
    depth: int = 1
    neff: float | None = 1.0
    keys: Sequence[int | None] | None = None


@dataclass(frozen=True)
class TargetMsas:
    """MSAs of one target: of its chains, or the A3M that the target brought.

    `chains` of a target without an assembly: one for each chain (`TargetInput.chains`), in order. Of an
    assembly: one for each protein entity (`TargetInput.proteins`), in order, however many copies it has;
    None where the entity says `msa: empty`. Other entities have none.

    `paired`, if an MSA server paired a complex: an A3M of each different chain, in the order in which they
    are met (`TargetInput.pairable`); rows with the same number belong together. It takes the place of the
    chains' own rows for pairing. `files` are what else travels with the target, by name; templates that an
    assembly brings are `templates/<sha256>.<cif or pdb>` (`entities.Template`), its initial guess is
    `initial_guess/<sha256>.<cif or pdb>`.
    """

    chains: Sequence[ChainMsa | None] = ()
    own_a3m: str | None = None
    paired: Sequence[str] | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def given(self) -> list[ChainMsa]:
        """The entries of `chains` that are there."""
        return [chain for chain in self.chains if chain is not None]


#: Cards of a target's page that not every engine fills: pLDDT along the chain, PAE, alignment with searches,
#: affinity of a ligand (`Affinity` says which columns it is in).
VIEWS = ("plddt", "pae", "alignment", "affinity")


# ---- what an engine declares -----------------------------------------------------------------------------
@dataclass(frozen=True)
class Column:
    """A column of metrics.tsv: Python type of its values, unit (empty: none), meaning."""

    type: type
    unit: str
    meaning: str


@dataclass(frozen=True)
class Affinity:
    """The columns that a predicted affinity is in; the overview is sorted by it, the tightest first.

    Attributes:
        value: log10 of IC50 in µM.
        probability: that the ligand binds, 0 to 1; empty: the engine gives none.
        members: the same of each network of an ensemble, whose mean `value` is.
        note: how to read them, in a sentence or two.
    """

    value: str
    probability: str = ""
    members: tuple[tuple[str, str], ...] = ()
    note: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        named = (self.value, self.probability, *(name for member in self.members for name in member))
        return tuple(filter(None, named))


@dataclass(frozen=True)
class Environment:
    """An environment of an engine's own: `snakefold engines install` makes it, `snakefold task` starts it.

    Attributes:
        python: version of its interpreter, as 3.11; snakefold itself runs there, so 3.11 at least.
        lock: requirements with hashes, among them those of envs/base.in; travels with the engine.
        cpu_lock: takes the lock's place on a machine without an NVIDIA driver, where builds for GPUs would be
            gigabytes for nothing; None: one lock serves all. Versions are the same, local parts (+cpu) apart.
        cpu_source: where builds of `cpu_lock` are that the usual index lacks, in words; who has configured no
            index with them reads it.
    """

    python: str
    lock: Path
    cpu_lock: Path | None = None
    cpu_source: str = ""

    def version(self, package: str) -> str:
        """The version that the lock has of a distribution, the same wherever a run is planned.

        Raises:
            SnakefoldError: the lock cannot be read, or does not have exactly one.
        """
        versions = locked(self.lock).get(canonical(package), [])
        if len(versions) != 1:
            found = f"has {', '.join(versions)} of it" if versions else "lacks it"
            raise SnakefoldError(f"{self.lock}: expected one version of {package}; it {found}. Lock again.")
        return versions[0]


def canonical(package: str) -> str:
    """The name of a distribution, of all spellings that mean the same."""
    return re.sub(r"[-_.]+", "-", package).lower()


def locked(lock: Path) -> dict[str, list[str]]:
    """Versions by distribution in a lock.

    Raises:
        SnakefoldError: it cannot be read.
    """
    try:
        text = lock.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SnakefoldError(
            f"{lock}: the lock of an engine's environment cannot be read ({error}). Install the distribution "
            "that brings the engine again."
        ) from error
    versions: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.MULTILINE):
        versions.setdefault(canonical(name), []).append(version)
    return versions


@dataclass(frozen=True)
class Needs:
    """What must be there before a prediction.

    Attributes:
        alignment: of every protein chain, of assemblies as well, but where an entity brings one or wants none
            (`TargetInput.searched`); only then is it searched, and part of the recipe.
        pairing: the different chains of a complex need rows with species names as well. The recipe of these
            searches is another, and it is part of the result's: an engine gives targets that pair
            (`Molecules.pairable`) a group of their own, or adding one would predict all others again.
        templates: structures are searched for the alignments, if the settings of the search say so.
    """

    alignment: bool = False
    pairing: bool = False
    templates: bool = False


@dataclass(frozen=True)
class Hardware:
    """What a run predicts on, as far as its settings say.

    Attributes:
        device: cpu, gpu, or empty where both kinds may come.
        capabilities: by GPU class, the compute capability of the least of its cards as a whole number (80 is
            sm_80); None: not known.
    """

    device: str = ""
    capabilities: Mapping[str, int | None] = field(default_factory=dict)


Log = Callable[[str], object]


@dataclass(frozen=True)
class Weights:
    """How an engine's parameters get into a weights folder: `snakefold weights fetch` and `check` ask.

    The folder is that of all engines (`weights_folder`); each has its files in a place of its own there.

    Attributes:
        fetch: download what is missing or damaged. Takes the folder, another address of the files (None: the
            official one) and the log. Raises SnakefoldError; complete files stay as they are.
        check: log a line for every file, and say whether a prediction can use them.
        convert: write another program's file into the folder, or as the file that is named (None: in its
            place in the folder), and return where it is. None: files are used as they were published.
        parts: parameters of some of its models alone, by the name that fetches them.
    """

    fetch: Callable[[Path, str | None, Log], None]
    check: Callable[[Path, Log], bool]
    convert: Callable[[Path, Path, Path | None, Log], Path] | None = None
    parts: Mapping[str, Weights] = field(default_factory=dict)


@dataclass(frozen=True)
class Parameters:
    """Folder of the parameters (None: the engine brings its own, or needs none).

    `rehearsal`: random ones, drawn with so many `blocks`.
    """

    folder: Path | None = None
    rehearsal: bool = False
    blocks: int | None = None


class Molecules(Protocol):
    """A target, as far as it decides which group it belongs to, and how large it is."""

    @property
    def chains(self) -> Sequence[str]:
        """Sequences of the protein chains, in order; none of an assembly."""
        ...

    @property
    def length(self) -> int:
        """Residues of all polymer chains."""
        ...

    @property
    def assembly(self) -> Assembly | Mapping[str, Any] | None:
        """What it is, if it is more than chains of plain protein: as an object, or as contracts have it."""
        ...

    @property
    def backbone(self) -> Model | Mapping[str, Any] | None:
        """What is designed of a backbone (`molecules.designs`): as an object, or as contracts have it."""
        ...

    @property
    def searched(self) -> Sequence[str]:
        """Sequences of protein whose alignments are searched; see `TargetInput`."""
        ...

    @property
    def pairable(self) -> Sequence[str]:
        """The different sequences whose rows may be paired: with two or more, pairing has a meaning."""
        ...


class Rehearsal(Protocol):
    """The section `rehearsal` of the configuration, as far as engines read it."""

    @property
    def blocks(self) -> int:
        """Blocks of the network whose random parameters are drawn."""
        ...


class Work(Protocol):
    """What one group of targets takes, by published figures; a calibration multiplies them.

    Sizes are those of `Engine.size` (of a padded group: padded), as arrays. Nothing falls with the size.
    """

    @property
    def engine(self) -> str:
        """Name of the engine, under which a calibration keeps what was measured."""
        ...

    @property
    def relaxed(self) -> int:
        """Models of a target that are relaxed."""
        ...

    @property
    def gpu_relax(self) -> bool:
        """Relaxed on the GPU, on a class that has one."""
        ...

    def network_seconds(self, sizes: ArrayLike, device: str, speed: float) -> Floats:
        """Seconds in the network, all models of a target; `device` is cpu or gpu, `speed` in A100."""
        ...

    def features_seconds(self, sizes: ArrayLike, device: str) -> Floats:
        """Seconds to make the network's input and to write its output."""
        ...

    def compile_seconds(self, sizes: ArrayLike, device: str, *, cached: bool = False) -> Floats:
        """Seconds to compile a program for one more size; 0 for engines that compile nothing."""
        ...

    def load_seconds(self, device: str) -> float:
        """Seconds from the start of a process to its first target."""
        ...

    def memory_gb(self, sizes: ArrayLike) -> Floats:
        """GB of GPU memory that a card must have."""
        ...

    def result_bytes(self, sizes: ArrayLike) -> tuple[Floats, Floats]:
        """Bytes of a target's files: of text, which packs to a fifth, and of what is packed already."""
        ...


class Session(Protocol):
    """A warm engine: parameters loaded once, programs compiled once per shape."""

    seconds: dict[str, float]
    device: str

    def predict(self, target: TargetInput, msas: TargetMsas) -> Sequence[Prediction] | Result:
        """All models of one target, in any order. Raises TargetError with a typed reason."""
        ...


@runtime_checkable
class LooksAhead(Protocol):
    """A session that can make ready for a target while the device predicts another."""

    def look_ahead(self, target: TargetInput, msas: TargetMsas) -> None:
        """What is asked for after the next `predict`, most likely. Must not raise."""
        ...


@dataclass(frozen=True)
class Result:
    """What an engine gives for one target besides, or in place of, models.

    Attributes:
        predictions: models with coordinates, in any order; none from an engine that predicts no structure.
        scores: of the target, by the names in the engine's `columns`; what it does not give is absent.
        files: of its own, by name.
        notes: what befell the target (`kernel.notes`).
        ran: settings that it was computed with, where the request leaves them open or the machine could not
            follow; files of models state them.
        as_planned: it is what the request's recipe names. If not, it is delivered, and never stored under
            that name.
    """

    predictions: Sequence[Prediction] = ()
    scores: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    notes: Sequence[str] = ()
    ran: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    as_planned: bool = True


def as_result(given: Sequence[Prediction] | Result) -> Result:
    """What a session gave, in one form."""
    return given if isinstance(given, Result) else Result(predictions=given)


def relaxation(engine: Engine, relax: RelaxSettings) -> RelaxSettings:
    """The settings of relaxation, as far as they hold for an engine: some models are never relaxed."""
    return relax if engine.relaxes else relax.model_copy(update={"models_to_relax": RelaxChoice.NONE})


Said = Mapping[str, Any]


@runtime_checkable
class Engine(Protocol):
    """What turns targets into results.

    Attributes:
        name: in settings, requests and results; the name of its entry point too.
        title: as a sentence calls it.
        accepts: what it takes besides plain proteins (`molecules.accepts`).
        Settings: its section of the configuration, and `settings` of a request.
        groups: targets that share settings and programs; names, in order. No batch mixes two.
        columns: scores of its own in metrics.tsv: name → Column.
        views: what a target's page shows, of `VIEWS`.
        affinity: what the view `affinity` reads; None: it predicts none.
        packages: distributions whose versions are recorded with a run.
        selectable: may be named by a configuration; what it gives was computed, not taken from somewhere.
        relaxes: its models are relaxed by the setting `relax`.
        size_unit: what `size` counts, in the plural: residues, or tokens (`molecules.tokens`).
        licence: address of the licence of its parameters; empty: none is known.
        weights: how its parameters are fetched; None: it brings them, or needs none.
        environment: what it runs in; None: snakefold's own interpreter. With one, `version` and `recipe` must
            not depend on what the interpreter that asks has installed: see `Environment.version`.
    """

    name: str
    title: str
    accepts: Accepts
    Settings: type[Model]
    groups: tuple[str, ...]
    columns: Mapping[str, Column]
    views: tuple[str, ...]
    affinity: Affinity | None
    packages: tuple[str, ...]
    selectable: bool
    relaxes: bool
    size_unit: str
    licence: str
    weights: Weights | None
    environment: Environment | None

    @property
    def version(self) -> str:
        """Part of the recipe: raised when equal input gives other results."""
        ...

    def doctor(self, log: Log) -> Iterable[str]:
        """Make what the engine needs besides its packages, where it is missing; what is wrong with it.

        `snakefold engines doctor` asks it where the packages are sound.
        """
        ...

    def check(self, target: TargetInput, settings: Any) -> None:
        """Refuse a target that it cannot take, before anything is computed. Raises TargetError."""
        ...

    def notes(self, target: TargetInput, settings: Any) -> Sequence[str]:
        """What a person should know of a target that it takes before it is predicted (`kernel.notes`).

        A plan says it in targets.tsv and with the quote. It may be asked of a million targets.
        """
        ...

    def group(self, target: Molecules, settings: Any) -> str:
        """The group that a target belongs to."""
        ...

    def size(self, target: Molecules) -> int:
        """What a target's cost grows with, in `size_unit`."""
        ...

    def pads(self, group: str, settings: Any) -> bool:
        """Whether targets are padded to a common size, so that one program serves many of them."""
        ...

    def needs(self, group: str, settings: Any) -> Needs:
        """What must be there before a prediction of a group."""
        ...

    def sequences(self, settings: Any) -> int:
        """Sequences that are designed for a backbone; 0: the engine designs none."""
        ...

    def work(
        self, group: str, settings: Any, relax: RelaxSettings, *, blocks: int | None = None, rows: Any = None
    ) -> Work:
        """What a prediction of a group takes.

        Args:
            blocks: of the network, if they are not the official parameters' (a rehearsal).
            rows: what is known of the alignments (`alignment_rows`); None: the most that the network takes.
        """
        ...

    def parts(self, settings: Any, seeds: int) -> Sequence[Any]:
        """The settings of jobs that predict at most `seeds` seeds each, and together what `settings` ask for.

        Models of all parts have different names, and none depends on another part. Empty: one job has all.
        """
        ...

    def does_all(self, settings: Any) -> bool:
        """Whether a prediction does all that `work` counts. If it may stop early, seconds teach nothing."""
        ...

    def alignment_rows(
        self, request: FoldRequest, targets: Sequence[TargetInput], depths: Sequence[int]
    ) -> Any:
        """How many rows of their alignments targets of one size and group were computed with."""
        ...

    def rehearsed(self, settings: Any, rehearsal: Any) -> Any:
        """The settings of a run with random parameters, which teach nothing and should cost little."""
        ...

    def settled(self, settings: Any, hardware: Hardware) -> Any:
        """The settings of a run that predicts on this hardware.

        What is left open by `auto` and changes results is said here, before a recipe names it.
        """
        ...

    def caveats(self, settings: Any, hardware: Hardware) -> Sequence[str]:
        """What a quote warns of: what these settings, not yet settled, do not get on this hardware.

        Raises:
            ConfigError: they ask for what it certainly does not have. Nothing is started.
        """
        ...

    def parameters(
        self,
        place: str,
        settings: Any,
        groups: Collection[str],
        *,
        draw: Any = None,
        blocks: int = 1,
        whole: bool = True,
        cache: Path | None = None,
    ) -> Parameters | None:
        """The parameters that these groups need.

        Args:
            place: the setting `weights`.
            draw: settings that random parameters are drawn for, where `place` allows them and there are none;
                None draws none.
            blocks: of the network, that are drawn.
            whole: see that files hold what their names say; who loads them at once sees it.
            cache: folder of random parameters.

        Raises:
            WeightsMissingError: the folder named lacks some, or one is damaged.
        """
        ...

    def parameter_folder(self, place: str) -> Path | None:
        """The folder that the setting `weights` means, whether anything is there or not."""
        ...

    def parameter_files(self, weights: Path | None) -> Sequence[Path]:
        """Files that are loaded: they must not change meanwhile."""
        ...

    def recipe(self, group: str, settings: Any, weights: Path | None) -> dict[str, Any]:
        """What results of a group depend on: version, settings, fingerprints of the parameters."""
        ...

    def files(self, request: FoldRequest, target: TargetInput, msas: TargetMsas) -> Mapping[str, bytes]:
        """Files of a target that tell what it was predicted with, made from its inputs."""
        ...

    def describe(self, told: Told) -> Sequence[str]:
        """Sentences of a methods section: what was predicted with what. Sources are cited by `told.cite`."""
        ...

    def cites(self, told: Told) -> Collection[str]:
        """What the sentences cite, in the words of `when` in resources/citations.yaml."""
        ...

    def start(
        self,
        request: FoldRequest,
        msas: Mapping[str, TargetMsas],
        weights: Path | None,
        cache: Path | None,
    ) -> Session:
        """Load what the batch needs. `msas` by result key, so that shapes can be chosen for all of them."""
        ...


def settings_of(engine: Engine, request: FoldRequest) -> Any:
    """The settings of a request, as its engine reads them.

    Raises:
        SnakefoldError: they are none of this engine's; the text names each.
    """
    try:
        return engine.Settings.model_validate(request.settings)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}"
            for item in error.errors(include_url=False)
        )
        raise SnakefoldError(f"settings of the engine {engine.name}: {wrong}.") from error


class Told(Protocol):
    """What a run recorded of one engine, for its methods section.

    Attributes:
        run: who ran it: `snakefold 0.2 on Snakemake 9`, with sources.
        recipes: by group the recipe of its results (`Engine.recipe`).
        rehearsal: the parameters were random.
    """

    @property
    def run(self) -> str: ...

    @property
    def recipes(self) -> Mapping[str, Said]: ...

    @property
    def rehearsal(self) -> bool: ...

    def package(self, name: str) -> str:
        """`name version`, or the name if nobody recorded it."""
        ...

    def cite(self, *words: str) -> str:
        """` (Author year; …)` of sources for these."""
        ...


class NoSettings(Model):
    """An engine without settings."""


class Defaults:
    """Answers of an engine that folds single targets, compiles nothing and brings its parameters along."""

    name = ""
    title = ""
    accepts = PROTEINS
    Settings: type[Model] = NoSettings
    groups: tuple[str, ...] = ("target",)
    columns: Mapping[str, Column] = {}
    views: tuple[str, ...] = ("plddt", "pae")
    affinity: Affinity | None = None
    packages: tuple[str, ...] = ()
    selectable = True
    relaxes = False
    size_unit = "residues"
    licence = ""
    weights: Weights | None = None
    environment: Environment | None = None

    def doctor(self, log: Log) -> Iterable[str]:
        """Nothing is needed besides."""
        del log
        return ()

    def check(self, target: TargetInput, settings: Any) -> None:
        """Takes everything that it accepts."""

    def notes(self, target: TargetInput, settings: Any) -> Sequence[str]:
        """Nothing."""
        del target, settings
        return ()

    def group(self, target: Molecules, settings: Any) -> str:
        """All targets are alike."""
        del target, settings
        return self.groups[0]

    def size(self, target: Molecules) -> int:
        """Residues of all chains, at least 1."""
        return max(1, target.length)

    def pads(self, group: str, settings: Any) -> bool:
        """Nothing is padded where nothing is compiled."""
        del group, settings
        return False

    def needs(self, group: str, settings: Any) -> Needs:
        """Nothing but the target."""
        del group, settings
        return Needs()

    def sequences(self, settings: Any) -> int:
        """None."""
        del settings
        return 0

    def parts(self, settings: Any, seeds: int) -> Sequence[Any]:
        """None."""
        del settings, seeds
        return ()

    def alignment_rows(
        self, request: FoldRequest, targets: Sequence[TargetInput], depths: Sequence[int]
    ) -> Any:
        """Alignments change nothing of what it takes."""
        del request, targets, depths

    def does_all(self, settings: Any) -> bool:
        """Nothing stops early."""
        del settings
        return True

    def rehearsed(self, settings: Any, rehearsal: Any) -> Any:
        """As configured."""
        del rehearsal
        return settings

    def settled(self, settings: Any, hardware: Hardware) -> Any:
        """As configured."""
        del hardware
        return settings

    def caveats(self, settings: Any, hardware: Hardware) -> Sequence[str]:
        """Nothing."""
        del settings, hardware
        return ()

    def parameters(
        self,
        place: str,
        settings: Any,
        groups: Collection[str],
        *,
        draw: Any = None,
        blocks: int = 1,
        whole: bool = True,
        cache: Path | None = None,
    ) -> Parameters | None:
        """It brings its own."""
        del place, settings, groups, draw, blocks, whole, cache
        return Parameters()

    def parameter_folder(self, place: str) -> Path | None:
        """None: no file is read."""
        del place
        return None

    def parameter_files(self, weights: Path | None) -> Sequence[Path]:
        """None that could change."""
        del weights
        return ()

    def files(self, request: FoldRequest, target: TargetInput, msas: TargetMsas) -> Mapping[str, bytes]:
        """None."""
        del request, target, msas
        return {}

    def cites(self, told: Told) -> Collection[str]:
        """Its own name."""
        del told
        return {self.name}

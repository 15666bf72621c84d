"""What finished runs took, part by part: read from a results folder."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median

from snakefold import engines
from snakefold.config import Config, read_recorded
from snakefold.engines.spec import Work, relaxation, settings_of
from snakefold.kernel import archive, tables
from snakefold.kernel.contracts import FoldRequest, TargetInput, TargetOutcome
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.notes import Code
from snakefold.kernel.padding import padded_length
from snakefold.msa.databases.presets import only
from snakefold.msa.planned import read_chunk
from snakefold.msa.settings import MsaSettings
from snakefold.plan.cost.gpus import LOCAL
from snakefold.plan.cost.msa import database_sizes
from snakefold.plan.files import PLANNED_ANEW, part_of
from snakefold.run.benchmarks import last_job
from snakefold.run.task import read_response


@dataclass(frozen=True, slots=True)
class TargetSeconds:
    """Wall seconds of one target that was computed (not taken from the store).

    Attributes:
        length, padded_length: residues, and those that the network computed with.
        network: all models without compilation; `features`: input and output around it.
        relax: None where no model came out relaxed.
        cpu: CPU seconds of the process over the whole target.
    """

    target: str
    batch: str
    gpu: str
    device: str
    work: Work
    length: int
    padded_length: int
    network: float
    features: float
    compile: float
    relax: float | None
    cpu: float | None = None

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.network + self.features + self.compile + (self.relax or 0.0)


@dataclass(frozen=True, slots=True)
class BatchSeconds:
    """One prediction job: wall and CPU seconds of its process; `load` is what no target accounts for."""

    batch: str
    gpu: str
    work: Work
    targets: int
    shapes: int
    load: float
    wall: float
    cpu: float | None


@dataclass(frozen=True, slots=True)
class ChunkSeconds:
    """One alignment job; `residues` of the chains that were searched, `database_bytes` by name."""

    chunk: str
    settings: MsaSettings
    pairing: bool
    chains: int
    residues: int
    database_bytes: Mapping[str, int]
    wall: float
    cpu: float


@dataclass(frozen=True)
class Observations:
    """Everything that runs took."""

    targets: list[TargetSeconds] = field(default_factory=list)
    batches: list[BatchSeconds] = field(default_factory=list)
    chunks: list[ChunkSeconds] = field(default_factory=list)

    def __add__(self, other: Observations) -> Observations:
        return Observations(
            self.targets + other.targets, self.batches + other.batches, self.chunks + other.chunks
        )

    def __bool__(self) -> bool:
        return bool(self.targets or self.chunks)


@dataclass(frozen=True, slots=True)
class _Planned:
    batch: str
    gpu: str = ""


def read_observations(results: Path) -> Observations:
    """Observations of one run.

    Raises:
        SnakefoldError: the folder is no results folder, or one of its files cannot be read.
    """
    config_file, batches = results / "config.yaml", results / "plan" / "batches.tsv"
    missing = [path for path in (config_file, batches) if not path.is_file()]
    if missing:
        raise SnakefoldError(
            f"{results}: not the results folder of a run ({missing[0]} is not there). "
            "Give the folder that the setting `results` names, usually `results`."
        )
    config = read_recorded(results)
    found = Observations()
    planned = {row.batch: row.gpu or LOCAL for row in tables.rows(batches, _Planned, advice=PLANNED_ANEW)}
    # A later plan lists no batch whose targets are in the store; its archive is still there.
    for path in sorted((results / "predictions").glob("*.tar.zst")):
        name = path.name.removesuffix(".tar.zst")
        try:
            targets, batch = _batch(results, name, planned.get(name), config)
        except (OSError, ValueError, KeyError) as error:
            raise SnakefoldError(
                f"{path}: cannot be read as a batch's results: {error}. Run again."
            ) from error
        found.targets.extend(targets)
        found.batches.extend([batch] if batch else [])
    for path in sorted((results / "msa").glob("*.json")):
        found.chunks.extend(_chunk(results, path.stem, config.msa))
    return found


def is_rehearsal(results: Path) -> bool:
    """Whether a batch that was predicted there was one of random parameters."""
    for packed in (results / "predictions").glob("*.tar.zst"):
        asked = results / "requests" / packed.name.removesuffix(".tar.zst") / "request.json"
        try:
            if asked.is_file() and json.loads(asked.read_text()).get("rehearsal"):
                return True
        except (OSError, ValueError, AttributeError):
            continue  # `read_observations` says what is wrong with it
    return False


def _batch(
    results: Path, name: str, planned: str | None, config: Config
) -> tuple[list[TargetSeconds], BatchSeconds | None]:
    packed = results / "predictions" / f"{name}.tar.zst"
    asked = results / "requests" / name / "request.json"
    if not (packed.is_file() and asked.is_file()):
        return [], None
    request = FoldRequest.model_validate_json(asked.read_text())
    engine = engines.find(request.engine)
    if engine is None or not engine.selectable:  # one that is not installed cannot say what it worked on
        return [], None
    if not engine.does_all(settings_of(engine, request)):
        return [], None
    files = archive.unpack(packed.read_bytes())
    response = read_response(files)
    gpu = _ran_on(results, name, planned, response.device)
    if gpu is None:
        return [], None
    computed = {
        outcome.result_key: outcome
        for outcome in response.outcomes
        if outcome.state == "done" and not outcome.stored
    }
    if not computed:
        return [], None
    own = {key: _Own.read(results, name, outcome, files) for key, outcome in computed.items()}
    if any(each.slower for each in own.values()):
        return [], None
    works = _works(request, {key: each.depth for key, each in own.items()}, config)
    targets = []
    for target in request.targets:
        key = target.result_key
        if key not in computed:
            continue
        seconds = own[key].seconds
        networks = sum(value for part, value in seconds.items() if part.startswith("predict_"))
        compiling = seconds.get("compile", 0.0)
        targets.append(
            TargetSeconds(
                target=target.id,
                batch=name,
                gpu=gpu,
                device=response.device,
                work=works[key],
                length=target.length,
                padded_length=_computed_length(request, target),
                network=max(networks - compiling, 0.0),
                features=max(computed[key].seconds - networks - seconds["relax"], 0.0),
                compile=compiling,
                relax=seconds["relax"] if own[key].relaxed else None,
                cpu=seconds.get("cpu"),
            )
        )
    if len(computed) < len(request.targets):
        return targets, None
    return targets, _whole(results, targets, list(computed.values()), response.seconds["total"])


def _ran_on(results: Path, batch: str, planned: str | None, device: str) -> str | None:
    """The class that a batch ran on: what its executor says, else the plan; a CPU is never a planned GPU."""
    if device.lower() == "cpu":
        return LOCAL
    executed = results / "executions" / f"{batch}.json"
    if executed.is_file():
        return json.loads(executed.read_text()).get("gpu") or planned
    return planned


@dataclass(frozen=True, slots=True)
class _Own:
    """Of a target's files: timings.json, and what confidence.json says of depth and relaxation."""

    seconds: dict[str, float]
    depth: int
    relaxed: bool
    slower: bool

    @classmethod
    def read(cls, results: Path, batch: str, outcome: TargetOutcome, files: Mapping[str, bytes]) -> _Own:
        folder = results / "structures" / outcome.id
        names = ("timings.json", "confidence.json")
        if part_of(batch) is None and all((folder / name).is_file() for name in names):
            # Unpacked by `collect`: unpacking again takes ten times as long.
            members = {name: (folder / name).read_bytes() for name in names}
        else:
            members = archive.unpack(files[f"targets/{outcome.result_key}.tar.zst"])
        seconds, scores = (json.loads(members[name]) for name in names)
        relaxed = any(model["relaxed"] for model in scores["models"])
        # What ran without the kernels that were planned took longer than the work that the plan tells.
        slower = any(text.startswith(Code.WITHOUT_KERNELS) for text in scores.get("warnings", []))
        return cls(seconds, scores["msa_depth"] or 1, relaxed, slower)


def _whole(
    results: Path, targets: list[TargetSeconds], outcomes: list[TargetOutcome], total: float
) -> BatchSeconds:
    """The process of a batch of which every target was computed."""
    first = targets[0]
    took = last_job(results / "benchmarks" / "predict" / f"{first.batch}.tsv")
    wall = max(took.wall or 0.0, total)
    # The first target also pays for imports and for small programs: that is loading, however late it comes.
    late = max(first.features - median(target.features for target in targets), 0.0)
    return BatchSeconds(
        batch=first.batch,
        gpu=first.gpu,
        work=first.work,
        targets=len(targets),
        shapes=len({target.padded_length for target in targets}),
        load=max(wall - sum(outcome.seconds for outcome in outcomes) + late, 0.0),
        wall=wall,
        cpu=took.cpu if took.wall is not None else None,
    )


def _works(request: FoldRequest, depths: Mapping[str, int], config: Config) -> dict[str, Work]:
    """Work by result key, from the depths of the MSAs: the session chooses rows for all of one length."""
    engine = engines.get(request.engine)
    settings = settings_of(engine, request)
    blocks = config.rehearsal.blocks if request.rehearsal else None
    together: dict[int, list[TargetInput]] = defaultdict(list)
    for target in request.targets:
        if target.result_key in depths:
            together[_computed_length(request, target)].append(target)
    works = {}
    for targets in together.values():
        rows = engine.alignment_rows(request, targets, [depths[each.result_key] for each in targets])
        for target in targets:
            group = engine.group(target, settings)
            works[target.result_key] = engine.work(
                group, settings, relaxation(engine, request.relax), blocks=blocks, rows=rows
            )
    return works


def _computed_length(request: FoldRequest, target: TargetInput) -> int:
    """Size that the engine computes with: padded, if it pads."""
    engine = engines.get(request.engine)
    settings, size = settings_of(engine, request), engine.size(target)
    pads = engine.pads(engine.group(target, settings), settings)
    return padded_length(size, request.bucket_edges) if pads else size


def _chunk(results: Path, name: str, settings: MsaSettings) -> Iterable[ChunkSeconds]:
    try:
        summary = json.loads((results / "msa" / f"{name}.json").read_text())
        searched, templates = set(summary["searched"]), set(summary.get("templates", ()))
        chunk = read_chunk(results / "plan", name)
    except (OSError, ValueError, KeyError, TypeError, SnakefoldError):
        return  # of an earlier plan, or cut short: nothing to learn from it
    if settings.asks_server:
        return  # a server's seconds say nothing of this machine
    if templates and templates != searched:
        return  # what the templates took is not known apart
    settings = settings if templates else only(settings, "msa")
    took = last_job(results / "benchmarks" / "msa" / f"{name}.tsv")
    lengths = [len(chain.sequence) for chain in chunk.chains if chain.key in searched]
    if lengths and took.wall is not None:
        yield ChunkSeconds(
            chunk=name,
            settings=settings,
            pairing=chunk.pairing,
            chains=len(lengths),
            residues=sum(lengths),
            database_bytes=database_sizes(settings, pairing=chunk.pairing),
            wall=took.wall,
            cpu=took.wall if took.cpu is None else took.cpu,
        )


def write_timings(results: Path) -> Observations:
    """Write `timings.tsv` into a results folder: a row for every target, batch and chunk computed."""
    found = read_observations(results)
    columns = (
        "kind", "name", "batch", "gpu", "device", "engine", "length", "padded_length", "targets", "chains",
        "residues", "network", "features", "compile", "relax", "load", "wall", "cpu",
    )  # fmt: skip
    rows: list[dict[str, object]] = [
        _row(item, kind="target", name=item.target, engine=item.work.engine, wall=item.seconds)
        for item in found.targets
    ]
    rows += [_row(item, kind="batch", name=item.batch, engine=item.work.engine) for item in found.batches]
    rows += [_row(item, kind="chunk", name=item.chunk, engine=item.settings.tool) for item in found.chunks]
    cells = ([row.get(name) for name in columns] for row in rows)
    tables.write(results / "timings.tsv", tables.lines(columns, cells, floats=".3f"))
    return found


def _row(item: TargetSeconds | BatchSeconds | ChunkSeconds, **named: object) -> dict[str, object]:
    return {each.name: getattr(item, each.name) for each in fields(item)} | named

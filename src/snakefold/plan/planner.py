"""The plan: records checked, equal ones folded into one, sorted, cut into batches and chunks, and written.

What a batch costs and where it runs is decided where `_cut` makes it, and shown in batches.tsv: prices and
GPU classes belong there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from snakefold.config import Config
from snakefold.contracts import ModelPreset, TargetInput
from snakefold.errors import InputError, Refusal, TargetError
from snakefold.inputs.names import safe_id, shown, unique_ids
from snakefold.paths import resource
from snakefold.plan.batches import Batch, cut_batches, cut_chunks
from snakefold.plan.buckets import bucket_edges, padded_length
from snakefold.plan.files import (
    ChainRow,
    PlanFiles,
    PlannedBatch,
    PlannedChain,
    PlannedChunk,
    PlannedTarget,
    State,
    TargetRow,
    write_plan,
)
from snakefold.recipes import sequence_key
from snakefold.store import Entry, Store
from snakefold.targets import Target, read_records

Check = Callable[[TargetInput], None]


@dataclass(frozen=True, slots=True)
class Recipes:
    """Digests that name results in the store.

    Attributes:
        fold, complex_fold: predictions of monomers and of complexes.
        msa, paired_msa: MSAs, and MSAs with rows for pairing.
        rehearsal: the predictions are made with random parameters.
    """

    fold: str
    complex_fold: str
    msa: str
    paired_msa: str
    rehearsal: bool

    def of(self, target: TargetInput) -> str:
        """Recipe of the target's prediction."""
        return self.complex_fold if len(target.chains) > 1 else self.fold


@dataclass(frozen=True, slots=True)
class Plan:
    """What a plan amounts to; its text is for the terminal."""

    records: int
    targets: int
    duplicates: int
    stored: int
    refused: int
    batches: int
    chains: int
    chunks: int
    residues: int

    def __str__(self) -> str:
        return (
            f"{self.records} records: {self.targets} targets ({self.residues} residues) in {self.batches} "
            f"batches, {self.duplicates} duplicates, {self.refused} refused; {self.stored} targets are "
            f"in the store; {self.chains} chains to align in {self.chunks} chunks"
        )


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A target, in the form of the contracts, beside what its record said."""

    record: Target
    target: TargetInput
    result_key: str


def make_plan(
    config: Config,
    folder: Path,
    *,
    name: Callable[[Sequence[TargetInput]], Recipes],
    store: Store | None = None,
    check: Check | None = None,
) -> Plan:
    """Read the input and write the plan into `folder`; equal input gives equal files.

    Targets with the same result (equal chains, and equal A3M if they bring one) are computed once, under the
    id of the first. What is in the store stays in its batch, whose job finds it there: batches and chunks do
    not depend on what was finished before.

    Args:
        name: says what results of these targets are called; raises if something they need is missing.
        store: where finished targets are looked up; None looks nothing up.
        check: the engine's own check; raises TargetError for a target that it cannot fold.

    Raises:
        InputError: nothing can be folded, or `on_invalid: stop` and something is refused. Nothing is written.
    """
    paths = [resource(path) for path in config.inputs]
    read = read_records(paths, min_length=config.min_length, max_length=config.max_length)
    records = [_accept(record, check) for record in read]
    refusals = [record for record in records if isinstance(record, Refusal)]
    accepted = [record for record in records if isinstance(record, _Accepted)]
    if not accepted or (refusals and config.on_invalid == "stop"):
        raise InputError(refusals)

    computed: dict[str, _Accepted] = {}
    for item in accepted:
        computed.setdefault(item.result_key, item)
    unique = list(computed.values())
    recipes = name([item.target for item in unique])
    batches = _cut(unique, config)
    stored = {
        item.result_key
        for item in unique
        if store is not None and store.has(Entry("fold", recipes.of(item.target), item.result_key))
    }
    batch_of = {unique[member].result_key: batch for batch in batches for member in batch.members}

    chunks = _chunks(unique, batches, config.msa.chunk_size, recipes)
    chunk_of = {chain.key: chunk for chunk in chunks for chain in chunk.chains}
    planned = [
        PlannedBatch(
            batch=batch.name,
            engine=config.engine,
            recipe=recipes.of(unique[batch.members[0]].target),
            msa_recipes={key: chunk_of[key].recipe for key in _keys_to_align(unique, batch)},
            rehearsal=recipes.rehearsal,
            padded_length=batch.padded_length,
            chunks=sorted({chunk_of[key].chunk for key in _keys_to_align(unique, batch)}),
            targets=[_planned(unique[member]) for member in batch.members],
        )
        for batch in batches
    ]
    files = PlanFiles(
        targets=list(_target_rows(records, computed, batch_of, stored)),
        chains=list(_chain_rows(unique, batches, chunk_of)),
        batches=planned,
        chunks=chunks,
        refusals=refusals,
    )
    write_plan(folder, files)
    return Plan(
        records=len(records),
        targets=len(unique),
        duplicates=len(accepted) - len(unique),
        stored=len(stored),
        refused=len(refusals),
        batches=len(batches),
        chains=len(chunk_of),
        chunks=len(chunks),
        residues=sum(item.record.length for item in unique),
    )


def _accept(record: Target | Refusal, check: Check | None) -> _Accepted | Refusal:
    if isinstance(record, Refusal):
        return record
    target = TargetInput(
        id=record.id, key=record.key, chains=list(record.chains), msa_sha256=record.msa_sha256
    )
    try:
        if check is not None:
            check(target)
    except TargetError as error:
        return Refusal(
            file=record.file,
            record=record.record,
            line=record.line,
            header=shown(record.header),
            code=str(error.reason),
            message=error.message,
            advice=error.advice,
        )
    return _Accepted(record, target, target.result_key)


def _cut(unique: Sequence[_Accepted], config: Config) -> list[Batch]:
    lengths = [item.record.length for item in unique]
    # AlphaFold's multimer network has no padded form; other engines have no compiled programs to share.
    pads = config.engine == "alphafold2" and config.alphafold2.model_preset is not ModelPreset.MULTIMER
    is_padded = [pads and len(item.record.chains) == 1 for item in unique]
    settings = config.alphafold2
    edges = sorted(config.batch.bucket_edges or ()) or bucket_edges(
        (length for length, yes in zip(lengths, is_padded, strict=True) if yes),
        predictions=len(settings.models) * settings.num_seeds * (settings.num_recycle + 1) / 4,
    )
    return cut_batches(
        lengths,
        [
            padded_length(length, edges) if yes else None
            for length, yes in zip(lengths, is_padded, strict=True)
        ],
        [len(item.record.chains) > 1 for item in unique],
        max_targets=config.batch.max_targets,
        max_residues=config.batch.max_residues,
    )


def _chains_to_align(unique: Sequence[_Accepted], batch: Batch) -> Iterator[str]:
    """Chains of a batch, but those of targets that bring their own A3M."""
    for member in batch.members:
        if unique[member].record.msa is None:
            yield from unique[member].record.chains


def _keys_to_align(unique: Sequence[_Accepted], batch: Batch) -> list[str]:
    return sorted({sequence_key([chain]) for chain in _chains_to_align(unique, batch)})


def _chunks(
    unique: Sequence[_Accepted], batches: Sequence[Batch], chunk_size: int, recipes: Recipes
) -> list[PlannedChunk]:
    """Chunks in the order in which the batches need them.

    Only chains of heteromers need rows for pairing, which cost another search: AlphaFold-Multimer pairs the
    different chains of a complex. They get chunks of their own, unless it makes no difference.
    """
    chains = list(dict.fromkeys(chain for batch in batches for chain in _chains_to_align(unique, batch)))
    paired: set[str] = set()
    if recipes.paired_msa != recipes.msa:
        heteromers = (item.record for item in unique if len(set(item.record.chains)) > 1)
        paired = {chain for record in heteromers if record.msa is None for chain in record.chains}
    alone = cut_chunks((chain for chain in chains if chain not in paired), chunk_size)
    together = cut_chunks((chain for chain in chains if chain in paired), chunk_size)
    cut = [(chunk, False) for chunk in alone] + [(chunk, True) for chunk in together]
    return [
        PlannedChunk(
            chunk=f"m{number:04d}",
            recipe=recipes.paired_msa if pairing else recipes.msa,
            pairing=pairing,
            chains=[PlannedChain(key=sequence_key([chain]), sequence=chain) for chain in chunk],
        )
        for number, (chunk, pairing) in enumerate(cut, 1)
    ]


def _planned(item: _Accepted) -> PlannedTarget:
    return PlannedTarget(
        target=item.target, msa_path=None if item.record.msa is None else str(item.record.msa)
    )


def _chain_rows(
    unique: Sequence[_Accepted], batches: Sequence[Batch], chunk_of: Mapping[str, PlannedChunk]
) -> Iterator[ChainRow]:
    needed_by: dict[str, str] = {}
    for batch in batches:
        for chain in _chains_to_align(unique, batch):
            needed_by.setdefault(chain, batch.name)
    for chain, batch_name in needed_by.items():
        key = sequence_key([chain])
        yield ChainRow(key, len(chain), chunk_of[key].chunk, batch_name)


def _target_rows(
    records: Sequence[_Accepted | Refusal],
    computed: Mapping[str, _Accepted],
    batch_of: Mapping[str, Batch],
    stored: set[str],
) -> Iterator[TargetRow]:
    ids = iter(_all_ids(records))
    for record in records:
        name = next(ids)
        if isinstance(record, Refusal):
            source = f"{record.file}:{record.line}" if record.line else record.file
            reason = f"{record.message} {record.advice}".strip()
            yield TargetRow(name, State.REFUSED, shown(reason), source=source, header=record.header)
            continue
        first = computed[record.result_key]
        batch = batch_of[record.result_key]
        duplicate = first is not record
        done = State.STORED if record.result_key in stored else State.TO_DO
        yield TargetRow(
            id=name,
            state=State.DUPLICATE_OF if duplicate else done,
            duplicate_of=first.target.id if duplicate else "",
            length=record.record.length,
            chains=len(record.record.chains),
            key=record.target.key,
            batch=batch.name,
            bucket=batch.padded_length,
            source=f"{record.record.file}:{record.record.line}",
            note=record.record.note,
            header=shown(record.record.header, None),
        )


def _all_ids(records: Sequence[_Accepted | Refusal]) -> Iterator[str]:
    """Ids of all records; those of the refused give way to those of targets."""
    taken = [record.target.id for record in records if isinstance(record, _Accepted)]
    wanted = [safe_id(*_called(record)) for record in records if isinstance(record, Refusal)]
    free = iter(unique_ids(taken + wanted)[len(taken) :])
    for record in records:
        yield next(free) if isinstance(record, Refusal) else record.target.id


def _called(refusal: Refusal) -> tuple[str, str]:
    """What a refused record calls itself, and what it is called if that says nothing."""
    words = refusal.header.split(maxsplit=1) or [Path(refusal.file).name]
    return words[0], f"record-{refusal.record}"

"""A draft becomes the files of `results/plan/`."""

from __future__ import annotations

import filecmp
import json
import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from snakefold.engines.reuse import ENGINE as COLLECTION
from snakefold.engines.reuse.inputs import batch_recipe
from snakefold.kernel import tables
from snakefold.kernel.errors import Refusal
from snakefold.kernel.names import shown
from snakefold.kernel.padding import padded_length
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.wording import count
from snakefold.msa.planned import PlannedChain, PlannedChunk, PlannedComplex
from snakefold.plan.alignments import Chunk, is_complex, to_search
from snakefold.plan.batches import Batch
from snakefold.plan.draft import Draft
from snakefold.plan.files import BatchRow, ChainRow, Kind, PlannedBatch, PlannedTarget, State, TargetRow
from snakefold.plan.groups import Group
from snakefold.plan.parts import batches_of_parts
from snakefold.plan.present import UNKNOWN
from snakefold.plan.records import target_input


def write_text(path: Path, text: str) -> bool:
    """Write a small file, unless it is as it should be; whether it was written.

    It is on the disk for good only after `flush`: there may be many of them.
    """
    data = text.encode()
    if path.is_file() and path.read_bytes() == data:
        return False
    with _part_of(path) as part:
        part.write_bytes(data)
        part.replace(path)
    return True


def flush(paths: Collection[Path]) -> None:
    """Wait until these files and their names are on the disk.

    Several at once: a file system commits together what is waited for together.
    """
    with ThreadPoolExecutor(_FLUSHES) as pool:
        for _ in pool.map(_flush_one, [*paths, *{path.parent for path in paths}]):
            pass


def _flush_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_table(path: Path, kind: type[Any], rows: Iterable[Any]) -> None:
    """Write rows of the dataclass `kind`, one after the other, as a table with tabs."""
    with _part_of(path) as part:
        with part.open("w", encoding="utf-8", newline="") as stream:
            stream.writelines(tables.row_lines(kind, rows))
            stream.flush()
            os.fsync(stream.fileno())
        if not (path.is_file() and filecmp.cmp(part, path, shallow=False)):
            part.replace(path)


def remove_others(folder: Path, names: set[str]) -> None:
    """Remove what an earlier plan had more of."""
    for path in folder.glob("*.json"):
        if path.name not in names:
            path.unlink()


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to first, so that a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


#: Files that are waited for at the same time.
_FLUSHES = 16
_TABLES = ("targets.tsv", "batches.tsv", "chains.tsv")


def write_plan(folder: Path, draft: Draft) -> None:
    """Write the plan, the tables last, and remove what an earlier one had more of.

    Summaries of searches (`msa/<chunk>.json` beside the folder) that were made for an earlier plan go too.
    """
    members: dict[str, set[str]] = {"batches": set(), "chunks": set()}
    written: list[Path] = []

    def write(path: Path, text: str) -> None:
        if write_text(path, text):
            written.append(path)

    duplicates, waited = _duplicates(draft), _waited(draft)
    for batch in draft.batches:
        members["batches"].add(f"{batch.name}.json")
        planned = _planned_batch(draft, batch, duplicates, waited.get(batch.name, []))
        write(folder / "batches" / f"{batch.name}.json", planned.model_dump_json(indent=1) + "\n")
    for chunk in draft.chunks:
        members["chunks"].add(f"{chunk.name}.json")
        text = _planned_chunk(chunk, draft.recipes.searches).model_dump_json(indent=1)
        write(folder / "chunks" / f"{chunk.name}.json", text + "\n")
        # The store lacks these now, whatever an earlier run did: the chunk may look as it did then.
        (folder.parent / "msa" / f"{chunk.name}.json").unlink(missing_ok=True)
    for kind, names in members.items():
        remove_others(folder / kind, names)
    refusals = [asdict(refusal) for refusal in draft.records.refusals]
    write(folder / "refusals.json", json.dumps(refusals, indent=1, ensure_ascii=False) + "\n")
    flush(written)
    write_table(folder / "chains.tsv", ChainRow, chain_rows(draft))
    write_table(folder / "batches.tsv", BatchRow, batch_rows(draft))
    write_table(folder / "targets.tsv", TargetRow, target_rows(draft))


def remove_tables(folder: Path) -> None:
    """Leave nothing behind that could be taken for a plan."""
    for name in _TABLES:
        (folder / name).unlink(missing_ok=True)


def batch_rows(draft: Draft) -> Iterator[BatchRow]:
    """Rows of batches.tsv."""
    waited = _waited(draft)
    for batch, price in zip(draft.batches, draft.prices.batches, strict=True):
        lengths = draft.records.lengths[list(batch.members)]
        yield BatchRow(
            batch=batch.name,
            engine=_engine(draft, batch),
            gpu=batch.gpu,
            kind=batch.kind,
            group=_group(draft, batch).name,
            bucket_edges=",".join(map(str, batch.bucket_edges)),
            targets=len(lengths),
            residues=int(lengths.sum()),
            shortest=int(lengths.min()),
            longest=int(lengths.max()),
            chunks=",".join(_chunks(draft, batch)),
            seconds=price.seconds,
            dollars=price.dollars,
            memory_gb=price.memory_gb,
            runtime_seconds=price.runtime_seconds,
            parts=",".join(waited.get(batch.name, [])),
        )


def target_rows(draft: Draft) -> Iterator[TargetRow]:
    """Rows of targets.tsv, in the input's order."""
    seen: set[int] = set()
    for row, index, name in zip(
        draft.records.rows, draft.records.computed.tolist(), draft.records.ids(), strict=True
    ):
        if isinstance(row, Refusal):
            source = f"{row.file}:{row.line}" if row.line else row.file
            reason = f"{row.message} {row.advice}".strip()
            yield TargetRow(name, State.REFUSED, shown(reason), source=source, header=row.header)
            continue
        batch = draft.batches[draft.batch_of[index]]
        first = draft.records.targets[index].id
        duplicate = index in seen
        seen.add(index)
        same = "sequences" if row.assembly is None else "molecules"
        yield TargetRow(
            id=name,
            state=State.DUPLICATE_OF if duplicate else draft.state(index),
            reason=f"same {same} as {first}" if duplicate else _reason(draft, index),
            duplicate_of=first if duplicate else "",
            length=row.length,
            chains=row.copies,
            key=row.key,
            engine=draft.records.kinds[int(draft.records.groups[index])].engine.name,
            batch=batch.name,
            bucket=padded_length(row.length, batch.bucket_edges) if batch.bucket_edges else None,
            seconds=0.0 if duplicate else float(draft.prices.seconds[[*draft.parts(index)]].sum()),
            dollars=0.0 if duplicate else float(draft.prices.dollars[[*draft.parts(index)]].sum()),
            source=f"{row.file}:{row.line}",
            note="; ".join(filter(None, (row.note, *draft.records.notes.get(index, ())))),
            header=shown(row.header, None),
        )


def chain_rows(draft: Draft) -> Iterator[ChainRow]:
    """Rows of chains.tsv: chains to search, in the order in which batches need them."""
    met: set[str] = set()
    for batch in draft.batches:
        for chain in _chains(draft, batch):
            if chain in draft.chunk_of and chain not in met:
                met.add(chain)
                chunk = draft.chunks[draft.chunk_of[chain]]
                length = len(chain) - chain.count(":")
                yield ChainRow(sequence_key([chain]), length, ",".join(chunk.missing), chunk.name, batch.name)


def _reason(draft: Draft, index: int) -> str:
    target = draft.records.targets[index]
    group = int(draft.records.groups[index])
    recipe = draft.recipes.folds[group]
    match draft.state(index):
        case State.STORED:
            if index in draft.records.parts:
                return f"all {count(len(draft.parts(index)), 'part')} of its seeds are in the store"
            return f"result {recipe} is in the store"
        case State.REUSED:
            return shown(f"{draft.present.found[index].structure} has these sequences", None)
    nothing = (
        f"no result {recipe} in the store" if recipe != UNKNOWN else "results were not looked up in the store"
    )
    lacking = draft.alignments.lacking(target)
    if not draft.records.kinds[group].needs.alignment:
        return nothing
    if target.msa is not None:
        alignment = "it brings its alignment"
    elif not target.searched:
        alignment = "nothing of it is aligned"
    elif "msa" in lacking:
        alignment = "to align"
    elif "pairs" in lacking:
        alignment = "its alignments are in the store, its chains are to be paired"
    elif lacking:
        alignment = "its alignment is in the store, its templates are to be searched"
    else:
        alignment = "its alignment is in the store"
    return f"{nothing}; {alignment}"


def _group(draft: Draft, batch: Batch) -> Group:
    return draft.records.kinds[int(draft.records.groups[batch.members[0]])]


def _engine(draft: Draft, batch: Batch) -> str:
    return COLLECTION.name if batch.kind == Kind.REUSE else _group(draft, batch).engine.name


def _recipe(draft: Draft, batch: Batch) -> str:
    """What the batch's results are called in the store."""
    if batch.members[0] in draft.present.found:
        found = {draft.records.keys[index]: draft.present.found[index] for index in batch.members}
        return batch_recipe(found)
    return draft.recipes.folds[int(draft.records.groups[batch.members[0]])]


def _engine_recipe(draft: Draft, batch: Batch) -> dict[str, Any]:
    if batch.members[0] in draft.present.found:
        return {}
    return draft.recipes.engine_recipe(int(draft.records.groups[batch.members[0]]))


def _is_rehearsal(draft: Draft, batch: Batch) -> bool:
    first = draft.present.found.get(batch.members[0])
    own = draft.recipes.rehearsals[int(draft.records.groups[batch.members[0]])]
    return own if first is None else first.rehearsal


def _chains(draft: Draft, batch: Batch) -> Iterator[str]:
    """Chains whose alignments the batch needs, and complexes whose paired rows it needs."""
    if batch.gpu:
        needs = _group(draft, batch).needs
        targets = ((draft.records.targets[member], needs) for member in batch.members)
        yield from to_search(targets, draft.recipes)


def _chunks(draft: Draft, batch: Batch) -> list[str]:
    numbers = {draft.chunk_of[chain] for chain in _chains(draft, batch) if chain in draft.chunk_of}
    return [draft.chunks[number].name for number in sorted(numbers)]


def _waited(draft: Draft) -> dict[str, list[str]]:
    """Of batches whose targets are predicted in parts, the batches that predict these."""
    if not draft.records.parts:
        return {}
    names = batches_of_parts(draft.batches, draft.records)
    return {
        batch.name: list(dict.fromkeys(name for member in batch.members for name in names[member]))
        for batch in draft.batches
        if batch.members[0] in names
    }


def _duplicates(draft: Draft) -> dict[int, list[str]]:
    """Ids of the records that get another's result, by the index of its target."""
    duplicates: dict[int, list[str]] = {}
    seen: set[int] = set()
    for index, name in zip(draft.records.computed.tolist(), draft.records.ids(), strict=True):
        if index in seen:
            duplicates.setdefault(index, []).append(name)
        elif index >= 0:
            seen.add(index)
    return duplicates


def _planned_batch(
    draft: Draft, batch: Batch, duplicates: dict[int, list[str]], waited: list[str]
) -> PlannedBatch:
    searched = {sequence_key([each]): each for each in _chains(draft, batch)}
    complexes = sorted(key for key, each in searched.items() if is_complex(each))
    chains = {key: each for key, each in searched.items() if not is_complex(each)}
    paired = sorted(key for key, chain in chains.items() if chain in draft.alignments.paired)
    recipes = draft.recipes
    return PlannedBatch(
        batch=batch.name,
        engine=_engine(draft, batch),
        gpu=batch.gpu,
        recipe=_recipe(draft, batch),
        engine_recipe=_engine_recipe(draft, batch),
        msa_recipes={key: recipes.paired_msa if key in paired else recipes.msa for key in sorted(chains)},
        paired=paired,
        templates=recipes.templates if chains and _group(draft, batch).needs.templates else None,
        pairs=recipes.pairs if complexes else None,
        complexes=complexes,
        rehearsal=_is_rehearsal(draft, batch),
        bucket_edges=list(batch.bucket_edges),
        chunks=_chunks(draft, batch),
        parts=_parts(draft, batch),
        part_batches=waited,
        targets=[_planned(draft, member, duplicates) for member in batch.members],
    )


def _parts(draft: Draft, batch: Batch) -> list[str]:
    """Recipes of the parts that the targets of a batch are predicted in."""
    parts = draft.records.parts.get(batch.members[0], ())
    return [draft.recipes.folds[int(draft.records.groups[part])] for part in parts]


def _planned(draft: Draft, index: int, duplicates: dict[int, list[str]]) -> PlannedTarget:
    target = draft.records.targets[index]
    return PlannedTarget(
        target=target_input(target),
        duplicates=duplicates.get(index, []),
        msa_path=None if target.msa is None else str(target.msa),
        files={digest: str(path) for digest, path in target.files},
        found=draft.present.found.get(index),
    )


def _planned_chunk(chunk: Chunk, searches: Mapping[str, Mapping[str, Any]]) -> PlannedChunk:
    pairs = chunk.pairs if any(map(is_complex, chunk.chains)) else None
    named = {"msa": chunk.recipe, "templates": chunk.templates or "", "pairs": pairs or ""}
    return PlannedChunk(
        chunk=chunk.name,
        recipe=chunk.recipe,
        templates=chunk.templates,
        pairing=chunk.pairing,
        depends_on={kind: dict(searches[name]) for kind, name in named.items() if name in searches},
        chains=[
            PlannedChain(key=sequence_key([chain]), sequence=chain)
            for chain in chunk.chains
            if not is_complex(chain)
        ],
        pairs=pairs,
        complexes=[
            PlannedComplex(key=sequence_key([each]), chains=each.split(":"))
            for each in chunk.chains
            if is_complex(each)
        ],
    )

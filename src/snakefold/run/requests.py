"""A batch of the plan becomes a request: `request.json` and, beside it, the MSAs in `inputs.tar.zst`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from snakefold import engines
from snakefold.config import Config
from snakefold.engines.reuse.inputs import reuse_inputs
from snakefold.engines.spec import ChainMsa, TargetMsas, settings_of
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, MsaMeta, RelaxChoice
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, write_atomically
from snakefold.kernel.unchanged import changed
from snakefold.molecules.lines import BadFile
from snakefold.molecules.sequences import BadSequence
from snakefold.molecules.targets import msa_text
from snakefold.msa import templates
from snakefold.msa.planned import PlannedChain, PlannedChunk
from snakefold.plan.files import PlannedBatch

#: Searches a chunk, puts what it finds into the store, and returns what failed: message by key of the chain.
Search = Callable[[PlannedChunk], Mapping[str, str]]


def make_request(batch: PlannedBatch, config: Config) -> FoldRequest:
    """The request of a planned batch."""
    relax = config.relax_of(rehearsal=batch.rehearsal)
    settings = {}
    if engines.get(batch.engine).selectable:
        settings = config.settings_of(batch.engine, rehearsal=batch.rehearsal).model_dump(mode="json")
    else:
        # What is taken stays as it is.
        relax = relax.model_copy(update={"models_to_relax": RelaxChoice.NONE})
    return FoldRequest(
        batch=batch.batch,
        engine=batch.engine,
        settings=settings,
        relax=relax,
        recipe=batch.recipe,
        engine_recipe=batch.engine_recipe,
        rehearsal=batch.rehearsal,
        bucket_edges=batch.bucket_edges,
        targets=[planned.target for planned in batch.targets],
    )


def gather_inputs(
    batch: PlannedBatch, failed: Mapping[str, str], store: Store, search: Search | None = None
) -> dict[str, bytes]:
    """Files of `inputs.tar.zst`: `chains/<chain key>/…` and `targets/<result key>/…`.

    A chain without an MSA travels as `chains/<chain key>/failed.json`, so that only its targets fail.

    Args:
        failed: what the search said, by key of the chain.
        search: searches a chunk of chains whose MSAs or templates the store has lost since the plan was made,
            and says which failed; without it they fail.
    """
    files: dict[str, bytes] = {}
    chains: dict[str, str] = {}
    for planned in batch.targets:
        if planned.found is not None:
            files |= reuse_inputs(planned.target.result_key, planned.found)
        elif planned.msa_path is not None:
            own = _own_a3m(Path(planned.msa_path), planned.target.msa_sha256)
            files[f"targets/{planned.target.result_key}/msa.a3m"] = own
        elif batch.msa_recipes:
            chains |= {sequence_key([chain]): chain for chain in planned.target.chains}
    found = {key: _searched(batch, key, store) for key in chains if key not in failed}
    lost = [key for key, known in found.items() if known is None]
    if lost and search is not None:
        for chunk in _chunks(batch, {key: chains[key] for key in lost}):
            failed = {**failed, **search(chunk)}
        found |= {key: _searched(batch, key, store) for key in lost if key not in failed}
    for key in chains:
        known = found.get(key)
        if known is None:
            message = failed.get(key, "The MSA is no longer in the store: run the msa step again.")
            known = {"failed.json": json.dumps({"message": message}).encode()}
        files |= {f"chains/{key}/{name}": content for name, content in known.items()}
    return files


def read_inputs(
    request: FoldRequest, files: Mapping[str, bytes]
) -> tuple[dict[str, TargetMsas], dict[str, str]]:
    """MSAs by result key, and for targets whose MSA failed the message by result key.

    Nothing fails for want of an alignment that the engine does not read.
    """
    msas: dict[str, TargetMsas] = {}
    failed: dict[str, str] = {}
    engine = engines.get(request.engine)
    settings = settings_of(engine, request)
    for target in request.targets:
        needs = engine.needs(engine.group(target, settings), settings)
        folder = f"targets/{target.result_key}/"
        beside = {name.removeprefix(folder): data for name, data in files.items() if name.startswith(folder)}
        own = beside.pop("msa.a3m", None)
        if beside or not needs.alignment:
            msas[target.result_key] = TargetMsas(files=beside)
            continue
        if own is not None:
            msas[target.result_key] = TargetMsas(own_a3m=own.decode())
            continue
        try:
            msas[target.result_key] = TargetMsas(
                chains=[_chain_msa(files, sequence_key([chain])) for chain in target.chains]
            )
        except _ChainFailedError as error:
            failed[target.result_key] = str(error)
    return msas, failed


def write_request(
    batch: PlannedBatch,
    config: Config,
    failed: Mapping[str, str],
    store: Store,
    folder: Path,
    *,
    search: Search | None = None,
) -> None:
    """Write `request.json` and `inputs.tar.zst` into `folder`; the arguments are those of `gather_inputs`."""
    inputs = archive.pack(gather_inputs(batch, failed, store, search))
    write_atomically(folder / "inputs.tar.zst", inputs)
    request = make_request(batch, config)
    write_atomically(folder / "request.json", request.model_dump_json(indent=1).encode())


def _searched(batch: PlannedBatch, key: str, store: Store) -> dict[str, bytes] | None:
    """Files of a chain, None if the store lacks some of them. What the search tools wrote stays there."""
    msa = store.get(Entry("msa", batch.msa_recipes[key], key))
    if msa is None:
        return None
    files = {name: content for name, content in archive.unpack(msa).items() if not name.startswith("raw/")}
    if batch.templates is None:
        return files
    found = store.get(Entry("templates", batch.templates, key))
    return None if found is None else templates.join(files, templates.unpack(found))


def _chunks(batch: PlannedBatch, chains: Mapping[str, str]) -> Iterator[PlannedChunk]:
    """Chains (by key) of a batch, as they are searched: those for pairing apart from the others."""
    for pairing in (False, True):
        wanted = [key for key in chains if (key in batch.paired) == pairing]
        if wanted:
            yield PlannedChunk(
                chunk=batch.batch,
                recipe=batch.msa_recipes[wanted[0]],
                templates=batch.templates,
                pairing=pairing,
                chains=[PlannedChain(key=key, sequence=chains[key]) for key in wanted],
            )


class _ChainFailedError(Exception):
    """The search of one chain failed; the text is its message."""


def _chain_msa(files: Mapping[str, bytes], key: str) -> ChainMsa:
    folder = f"chains/{key}"
    if f"{folder}/msa.a3m" not in files:
        failure = files.get(f"{folder}/failed.json", b'{"message": "The request holds no MSA for a chain."}')
        raise _ChainFailedError(json.loads(failure)["message"])
    found = files.get(f"{folder}/meta.json")
    meta = MsaMeta.model_validate_json(found) if found is not None else None
    pairing = files.get(f"{folder}/pairing.a3m")
    return ChainMsa(
        a3m=files[f"{folder}/msa.a3m"].decode(),
        pairing=pairing.decode() if pairing is not None else None,
        templates=files.get(f"{folder}/templates.npz"),
        meta=meta,
        hits=files.get(f"{folder}/hits.tsv", b"").decode(),
        depth=meta.depth if meta else 1,
        neff=meta.neff if meta else 1.0,
    )


def _own_a3m(path: Path, expected_sha256: str | None) -> bytes:
    try:
        data = msa_text(path).encode()
    except (BadFile, BadSequence, UnicodeEncodeError) as error:
        raise SnakefoldError(f"{path}: the A3M was whole when the run was planned. {error}") from error
    if hashlib.sha256(data).hexdigest() != expected_sha256:
        raise changed([f"{path} (an A3M of the input)"])
    return data

"""A batch of the plan becomes a request: `request.json` and, beside it, the MSAs in `inputs.tar.zst`.

Nothing is searched here: this runs on the machine that Snakemake runs on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.config import Config
from snakefold.engines.reuse.inputs import reuse_inputs
from snakefold.engines.spec import ChainMsa, TargetMsas, settings_of
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, MsaMeta, RelaxChoice, TargetInput
from snakefold.kernel.errors import LostError, Reason, SnakefoldError, TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry, Store, write_atomically
from snakefold.kernel.unchanged import changed
from snakefold.molecules import own_msa, own_templates
from snakefold.molecules.backbone_inputs import structure_bytes
from snakefold.molecules.designs import Design, file_name
from snakefold.molecules.entities import NO_ALIGNMENT
from snakefold.molecules.lines import BadFile
from snakefold.molecules.sequences import BadSequence
from snakefold.molecules.targets import msa_text
from snakefold.msa import template_files
from snakefold.msa.server.facts import paired_texts
from snakefold.plan import groups
from snakefold.plan.files import PlannedBatch, PlannedTarget

#: What is said of a chain whose entries were there when the plan was made, or when they were searched.
_LOST = "Its alignment or its templates are no longer in the store."


def make_request(batch: PlannedBatch, config: Config) -> FoldRequest:
    """The request of a planned batch."""
    relax = config.relax_of(rehearsal=batch.rehearsal)
    settings = {}
    if engines.get(batch.engine).selectable:
        engine = engines.get(batch.engine)
        chosen = groups.settings_of(config, engine, rehearsal=batch.rehearsal, part=batch.part)
        settings = chosen.model_dump(mode="json")
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


def gather_inputs(batch: PlannedBatch, failed: Mapping[str, str], store: Store) -> dict[str, bytes]:
    """Files of `inputs.tar.zst`: `chains/<chain key>/…`, `targets/<result key>/…` and `alignments/…`.

    A chain without an MSA travels as `chains/<chain key>/failed.json`, so that only its targets fail: with
    `msa_failed`, or as `lost` where the store had its entries and has them no more.

    Args:
        failed: what the search said, by key of the chain.
    """
    return _gather(batch, failed, store)[0]


def _gather(
    batch: PlannedBatch, failed: Mapping[str, str], store: Store
) -> tuple[dict[str, bytes], set[str]]:
    """The files, and the keys of the chains that the store has lost."""
    files: dict[str, bytes] = {}
    chains: set[str] = set()
    for planned in batch.targets:
        if planned.found is not None:
            files |= reuse_inputs(planned.target.result_key, planned.found)
        elif planned.msa_path is not None:
            own = _own_a3m(Path(planned.msa_path), planned.target.msa_sha256)
            files[f"targets/{planned.target.result_key}/msa.a3m"] = own
        else:
            chains |= searched_for(batch, planned)
            files |= _brought(planned)
    lost = set()
    for key in sorted(chains):
        if key in failed:
            known = _failed(failed[key], Reason.MSA_FAILED)
        elif (entries := _searched(batch, key, store)) is not None:
            known = entries
        else:
            lost.add(key)
            known = _failed(_LOST, Reason.LOST)
        files |= {f"chains/{key}/{name}": content for name, content in known.items()}
    return files, lost


def searched_for(batch: PlannedBatch, planned: PlannedTarget) -> set[str]:
    """Keys of the chains whose alignments a target is predicted with: none if it brings its own.

    The key of its different chains is among them, if an MSA server paired them.
    """
    if not batch.msa_recipes or planned.found is not None or planned.msa_path is not None:
        return set()
    target = planned.target
    together = {sequence_key(target.pairable)} & set(batch.complexes)
    return {sequence_key([chain]) for chain in target.searched} | together


def entries_of(batch: PlannedBatch, key: str) -> list[Entry]:
    """What the request of a batch reads of a chain, or of a complex."""
    if batch.pairs and key in batch.complexes:
        return [Entry("pairs", batch.pairs, key)]
    templates = [Entry("templates", batch.templates, key)] if batch.templates else []
    return [Entry("msa", batch.msa_recipes[key], key), *templates]


def read_inputs(
    request: FoldRequest, files: Mapping[str, bytes]
) -> tuple[dict[str, TargetMsas], dict[str, TargetError]]:
    """MSAs by result key, and what befell those of the other targets by result key.

    Nothing fails for want of an alignment that the engine does not read.
    """
    msas: dict[str, TargetMsas] = {}
    failed: dict[str, TargetError] = {}
    engine = engines.get(request.engine)
    settings = settings_of(engine, request)
    for target in request.targets:
        needs = engine.needs(engine.group(target, settings), settings)
        folder = f"targets/{target.result_key}/"
        beside = {name.removeprefix(folder): data for name, data in files.items() if name.startswith(folder)}
        own = beside.pop("msa.a3m", None)
        try:
            beside |= _structures(files, target)
        except TargetError as error:
            failed[target.result_key] = error
            continue
        structured = target.assembly is not None or target.backbone is not None
        if not needs.alignment or (beside and not structured):
            msas[target.result_key] = TargetMsas(files=beside)
            continue
        if own is not None:
            msas[target.result_key] = TargetMsas(own_a3m=own.decode())
            continue
        try:
            msas[target.result_key] = TargetMsas(
                chains=_chain_msas(files, target),
                paired=_paired(files, sequence_key(target.pairable)),
                files=beside,
            )
        except TargetError as error:
            failed[target.result_key] = error
    return msas, failed


def write_request(
    batch: PlannedBatch, config: Config, failed: Mapping[str, str], store: Store, folder: Path
) -> None:
    """Write `request.json` and `inputs.tar.zst` into `folder`; the arguments are those of `gather_inputs`.

    Raises:
        LostError: the store has lost alignments of every target. No job is started, and paid, for nothing.
    """
    files, lost = _gather(batch, failed, store)
    if lost and all(lost & searched_for(batch, planned) for planned in batch.targets):
        raise LostError(
            f"{batch.batch}: the store {store.location} has lost the alignments or templates of all its "
            f"targets ({_told(batch, lost)}). Nothing was sent or paid. Run again: rule msa searches them."
        )
    write_atomically(folder / "inputs.tar.zst", archive.pack(files))
    request = make_request(batch, config)
    write_atomically(folder / "request.json", request.model_dump_json(indent=1).encode())


def _told(batch: PlannedBatch, lost: Collection[str]) -> str:
    """The first entry that is missing, as a place below the store's."""
    names = " or ".join(entry.name for entry in entries_of(batch, min(lost)))
    more = f" and those of {len(lost) - 1} more" if len(lost) > 1 else ""
    return f"{names}{more}"


def _failed(message: str, reason: Reason) -> dict[str, bytes]:
    return {"failed.json": json.dumps({"message": message, "reason": reason}).encode()}


def _searched(batch: PlannedBatch, key: str, store: Store) -> dict[str, bytes] | None:
    """Files of a chain, None if the store lacks some of them. What the search tools wrote stays there."""
    first, *more = entries_of(batch, key)
    msa = store.get(first)
    if msa is None:
        return None
    files = {name: content for name, content in archive.unpack(msa).items() if not name.startswith("raw/")}
    for entry in more:
        found = store.get(entry)
        if found is None:
            return None
        files = template_files.join(files, template_files.unpack(found))
    return files


def _paired(files: Mapping[str, bytes], key: str) -> list[str] | None:
    """Paired rows of each different chain of a complex, if an MSA server paired them."""
    folder = f"chains/{key}/"
    beside = {name.removeprefix(folder): data for name, data in files.items() if name.startswith(folder)}
    if "failed.json" in beside:
        raise _failure(beside["failed.json"])
    return paired_texts(beside) or None


def _failure(told: bytes) -> TargetError:
    values = json.loads(told)
    # Requests of releases before 0.3 name no reason.
    return TargetError(Reason(values.get("reason", Reason.MSA_FAILED)), values["message"])


def _chain_msas(files: Mapping[str, bytes], target: TargetInput) -> list[ChainMsa | None]:
    """Of each chain, or of each protein entity of an assembly; see `TargetMsas`."""
    if target.assembly is None:
        return [_chain_msa(files, sequence_key([chain])) for chain in target.chains]
    return [_entity_msa(files, entity) for entity in target.proteins]


def _entity_msa(files: Mapping[str, bytes], entity: Mapping[str, Any]) -> ChainMsa | None:
    own, paired = (_own_text(files, entity.get(name)) for name in ("msa", "paired_msa"))
    if own or paired:
        rows = own_msa.rows_of(own or f">query\n{entity['sequence']}\n")
        depth = sum(line.startswith(">") for line in rows.a3m.splitlines())
        # As AlphaFold 3 has them: rows with species names, which say what is paired.
        return ChainMsa(a3m=rows.a3m, pairing=paired or None, depth=depth, neff=None, keys=rows.keys)
    if entity.get("msa") == NO_ALIGNMENT:
        return None
    return _chain_msa(files, sequence_key([entity["sequence"]]))


def _own_text(files: Mapping[str, bytes], alignment: str | None) -> str:
    """The text of an alignment that an entity brings; empty if it brings none."""
    if alignment is None or alignment == NO_ALIGNMENT:
        return ""
    name = _own_file(alignment)
    if name not in files:
        raise TargetError(Reason.INVALID_INPUT, f"The request lacks {name}, which an entity brings.")
    return files[name].decode()


def _own_file(alignment: str) -> str:
    return f"alignments/{alignment.removeprefix('sha256:')}.msa"


def _brought(planned: PlannedTarget) -> dict[str, bytes]:
    """The backbone, or the alignments and templates, that a target brings."""
    if planned.target.backbone is not None:
        return _backbone(planned)
    sequences = [each["sequence"] for each in planned.target.proteins]
    files = {}
    structures = own_templates.carried(planned.target.assembly)
    for name, digest in structures.items():
        files[name] = _structure(Path(planned.files[digest]), digest)
    for digest, path in planned.files.items():
        if digest in structures.values():
            continue
        try:
            text = own_msa.own_text(Path(path), digest, sequences)
        except BadFile as error:
            raise SnakefoldError(f"{path}: whole when the run was planned. {error}") from error
        if text is None:
            raise changed([f"{path} (an alignment of the input)"])
        files[_own_file(digest)] = text.encode()
    return files


def _backbone(planned: PlannedTarget) -> dict[str, bytes]:
    design = Design.model_validate(planned.target.backbone)
    path = Path(planned.files[design.structure])
    try:
        data = structure_bytes(path)
    except (OSError, ValueError) as error:
        raise SnakefoldError(f"{path}: whole when the run was planned. {error}") from error
    if hashlib.sha256(data).hexdigest() != design.structure:
        raise changed([f"{path} (a backbone of the input)"])
    return {f"targets/{planned.target.result_key}/{file_name(design.form)}": data}


def _structure(path: Path, digest: str) -> bytes:
    try:
        data = own_templates.template_bytes(path, digest)
    except (OSError, ValueError) as error:
        raise SnakefoldError(f"{path}: whole when the run was planned. {error}") from error
    if data is None:
        raise changed([f"{path} (a structure that the input names)"])
    return data


def _structures(files: Mapping[str, bytes], target: TargetInput) -> dict[str, bytes]:
    """The templates and the initial guess that an assembly brings, as they are called in the request."""
    found = {}
    for name in own_templates.carried(target.assembly):
        if name not in files:
            raise TargetError(Reason.INVALID_INPUT, f"The request lacks {name}, which the target brings.")
        found[name] = files[name]
    return found


def _chain_msa(files: Mapping[str, bytes], key: str) -> ChainMsa:
    folder = f"chains/{key}"
    if f"{folder}/msa.a3m" not in files:
        nothing = b'{"message": "The request holds no MSA for a chain."}'
        raise _failure(files.get(f"{folder}/failed.json", nothing))
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

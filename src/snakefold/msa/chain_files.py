"""The files of a chain's MSA, from the alignments that were found for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from snakefold.kernel import tables
from snakefold.kernel.contracts import DatabaseUse, MsaMeta
from snakefold.msa import a3m
from snakefold.msa.bundle import RawMsa
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings

_PARSE = {"a3m": a3m.parse_a3m, "sto": a3m.parse_stockholm}


def chain_files(
    chain: PlannedChain,
    raws: Sequence[RawMsa],
    settings: MsaSettings,
    used: Mapping[str, tuple[int | None, str]],
    *,
    as_found: bool = False,
) -> dict[str, bytes]:
    """Files of one chain, merged as AlphaFold merges them: in the order of `raws`, without duplicate rows.

    Args:
        used: row limit and fingerprint by name of database.
        as_found: keep all rows as they are, each alignment with its own copy of the query, and search
            templates with all of them, as ColabFold does.

    Raises:
        ValueError: an alignment cannot be read.
    """
    started = time.perf_counter()
    alone = a3m.Msa([chain.key], [chain.sequence])
    uses, own, pairing = [], [alone], [alone]
    for raw in raws:
        limits, fingerprints = zip(*(used[name] for name in raw.database.split("+")), strict=True)
        limit = min((limit for limit in limits if limit is not None), default=None)
        msa = _PARSE[raw.format](raw.text).truncated(limit)
        (pairing if raw.pairing else own).append(msa)
        uses.append(
            DatabaseUse(
                name=raw.database,
                rows=raw.found,
                kept=len(msa) - 1,
                fingerprint="+".join(fingerprints),
                steps=list(raw.steps),
            )
        )
    merged = a3m.joined(own[1:]) if as_found else a3m.merge(own)
    files = {"msa.a3m": merged.to_a3m().encode(), "hits.tsv": _table(chain, raws)}
    if len(pairing) > 1:
        files["pairing.a3m"] = a3m.merge(pairing).to_a3m().encode()
    if settings.keep_raw:
        files |= {f"raw/{raw.database}.{raw.format}": raw.text.encode() for raw in raws}
    seconds = {raw.database: round(raw.seconds, 3) for raw in raws}
    neff = a3m.neff(merged)
    meta = MsaMeta(
        key=chain.key,
        length=len(chain.sequence),
        tool=settings.tool,
        depth=merged.depth,
        first_depth=merged.depth if as_found else a3m.merge(own[:2]).depth,
        neff=round(neff, 3),
        databases=uses,
        commands=[command for raw in raws for command in raw.commands],
        seconds=seconds | {"merge": round(time.perf_counter() - started, 3)},
        warnings=[text for raw in raws for text in raw.warnings],
    )
    return files | {"meta.json": meta.model_dump_json(indent=1).encode() + b"\n"}


def _table(chain: PlannedChain, raws: Sequence[RawMsa]) -> bytes:
    cells = (
        [chain.key, hit.target, f"{hit.evalue:.3g}", hit.pident, hit.alnlen, raw.database]
        for raw in raws
        for hit in raw.hits
    )
    return "".join(
        tables.lines(["query", "target", "evalue", "pident", "alnlen", "database"], cells)
    ).encode()

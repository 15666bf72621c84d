"""Clustering sequences with MMseqs2."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from snakefold.kernel.envelope import digest_of
from snakefold.kernel.wording import count
from snakefold.molecules.targets import Target
from snakefold.msa import programs
from snakefold.worker.endpoints.mmseqs2 import ClusterRequest, ClusterResponse
from snakefold.worker.mmseqs import Mmseqs, read_sequences, write_fasta
from snakefold.worker.mmseqs_answers import given_names, inline_text
from snakefold.worker.responses import entry_for, remembered
from snakefold.worker.tasks import Context

_OPTIONS = {
    "min_seq_id": "--min-seq-id",
    "coverage": "-c",
    "cov_mode": "--cov-mode",
    "kmer_per_seq": "--kmer-per-seq",
}
_CLUSTERS = "clusters.json"


def cluster(request: ClusterRequest, context: Context) -> ClusterResponse:
    """Cluster the sequences; the same request is answered from the store.

    Raises:
        InputError, InvalidInput: a sequence is refused: nothing starts.
        JobError: the answer is too large.
    """
    started = time.monotonic()
    sequences = read_sequences(request.sequences_fasta, "sequences_fasta")
    names, changed = given_names(sequences)
    digest = digest_of(request.model_dump(mode="json", exclude={"threads", "return_representatives"}))
    entry = entry_for("cluster", digest, {"mmseqs": programs.version("mmseqs")})

    def compute() -> tuple[dict[str, bytes], bool]:
        return {_CLUSTERS: json.dumps(_clusters(request, sequences, context)).encode()}, True

    files, before = remembered(context.store, entry, compute, context.log)
    if before:
        context.log("These sequences were clustered before: taken from the store")
    found: dict[str, Any] = json.loads(files[_CLUSTERS])
    pairs: list[tuple[int, int]] = found["pairs"]
    representatives = list(dict.fromkeys(first for first, _ in pairs))
    fasta = "".join(f">{names[each]}\n{sequences[each].chains[0]}\n" for each in representatives)
    with context.transfer.all_room():
        return ClusterResponse(
            digest=digest,
            cluster_tsv=inline_text(
                "cluster_tsv", "".join(f"{names[first]}\t{names[other]}\n" for first, other in pairs), context
            ),
            representatives_fasta=inline_text("representatives_fasta", fasta, context)
            if request.return_representatives
            else None,
            sequences=len(sequences),
            clusters=len(representatives),
            warnings=changed,
            commands=found["commands"],
            seconds={"total": round(time.monotonic() - started, 3)},
        )


def _clusters(request: ClusterRequest, sequences: list[Target], context: Context) -> dict[str, Any]:
    """Numbers of representative and member of every row, and the command lines."""
    with tempfile.TemporaryDirectory(prefix="snakefold-mmseqs-") as scratch:
        folder = Path(scratch)
        mmseqs = Mmseqs(folder, context, request.threads or context.settings.threads)
        fasta, made, found, table = (folder / name for name in ("all.fasta", "all", "clusters", "table.tsv"))
        # Numbers for names: mmseqs cuts names at blanks, and takes those apart that look like UniProt's.
        write_fasta(fasta, ((f"s{number}", each.chains[0]) for number, each in enumerate(sequences)))
        mmseqs("createdb", fasta, made, "--shuffle", "0", "--dbtype", "1", threads=False)
        options: list[str] = []
        for key, option in _OPTIONS.items():
            if (value := getattr(request, key)) is not None:
                options += [option, str(value)]
        mmseqs(request.cluster_method, made, found, folder / "tmp", *options)
        mmseqs("createtsv", made, made, found, table)
        rows = (line.split("\t") for line in table.read_text("ascii").splitlines())
        pairs = [(int(first[1:]), int(other[1:])) for first, other in rows]
    context.log(
        f"{count(len(sequences), 'sequence')} in {count(len({first for first, _ in pairs}), 'cluster')}"
    )
    return {"pairs": pairs, "commands": mmseqs.commands}

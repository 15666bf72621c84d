"""What a worker serves: how an `input` is told, its contract, and the function that does it.

A further task is an entry of `TASKS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from snakefold.kernel.envelope import Envelope
from snakefold.worker.endpoints.alphafold2 import FlatRequest, SequencesRequest
from snakefold.worker.endpoints.boltz2 import PoseRequest
from snakefold.worker.endpoints.mmseqs2 import BuildRequest, ClusterRequest, SearchRequest
from snakefold.worker.endpoints.models import AlignRequest, PredictRequest
from snakefold.worker.endpoints.proteinmpnn import DesignRequest


@dataclass(frozen=True)
class Served:
    """A request that is served.

    Attributes:
        contract: what it may be.
        does: `module:function`, imported when it is asked for. It takes the request and a `tasks.Context`,
            and gives the response; or the response, and whether a target ran out of memory.
    """

    contract: type[BaseModel]
    does: str


_DESIGN = Served(DesignRequest, "snakefold.worker.designs:design")
#: By the value of `task`.
TASKS: dict[str, Served] = {
    "search": Served(SearchRequest, "snakefold.worker.mmseqs:search"),
    "build": Served(BuildRequest, "snakefold.worker.mmseqs_build:build"),
    "cluster": Served(ClusterRequest, "snakefold.worker.mmseqs_cluster:cluster"),
    "design": _DESIGN,
    "predict": Served(PredictRequest, "snakefold.worker.models:predict"),
    "align": Served(AlignRequest, "snakefold.worker.models:align"),
}

_FLAT = Served(FlatRequest, "snakefold.worker.flat:fold_flat")
#: By a key that is there.
KEYS: dict[str, Served] = {
    "input_yaml": Served(PoseRequest, "snakefold.worker.poses:predict_poses"),
    "pdb_base64": _DESIGN,
    "sequences": Served(SequencesRequest, "snakefold.worker.flat_sequences:fold_sequences"),
    "sequence": _FLAT,
    "fasta": _FLAT,
    "fasta_url": _FLAT,
}
ENVELOPE = Served(Envelope, "snakefold.worker.fold:fold_envelope")
EVERY: tuple[Served, ...] = tuple(dict.fromkeys([ENVELOPE, *KEYS.values(), *TASKS.values()]))

"""A session of esmfold in the engine's environment, for test_esmfold.py.

    python esmfold_session.py WEIGHTS OUT RECYCLES CHUNK SEQUENCE…

Predicts all sequences forwards (OUT/0), then backwards (OUT/1), arrays and PDB by the place of the sequence;
and the first in the precision of a GPU (OUT/half.npz). Prints what befell one while memory runs out.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from snakefold.engines.esmfold import ENGINE
from snakefold.engines.esmfold.folder import Files
from snakefold.engines.esmfold.network import Device, Network
from snakefold.engines.spec import TargetMsas
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.kernel.errors import TargetError
from snakefold.kernel.recipes import sequence_key

weights, out = map(Path, sys.argv[1:3])
recycles, chunk = int(sys.argv[3]), int(sys.argv[4])
targets = [
    TargetInput(id=f"t{place}", key=sequence_key([sequence]), chains=[sequence])
    for place, sequence in enumerate(sys.argv[5:])
]
request = FoldRequest(
    batch="b",
    engine="esmfold",
    settings={
        "accelerator": "cpu",
        "cpu_threads": 1,
        "num_recycles": recycles,
        "chunk_size": chunk,
    },
    recipe="0" * 16,
    targets=targets,
)
session = ENGINE.start(request, {}, weights, None)
for number, order in enumerate((targets, targets[::-1])):
    (out / str(number)).mkdir()
    for target in order:
        found = session.predict(target, TargetMsas()).predictions[0]
        place = out / str(number) / target.id.removeprefix("t")
        place.with_suffix(".pdb").write_text(found.pdb)
        np.savez(place, plddt=found.plddt, pae=found.pae, ptm=found.ptm, recycles=found.recycles)
        folded = session._network.fold(target.chains[0])
        np.savez(place.with_name(f"{place.name}-raw"), positions=folded.positions, mask=folded.mask)

half = Network(Files(weights), session._settings, Device("cpu", "a GPU's precision", torch.float16))
np.savez(out / "half.npz", positions=half.fold(targets[0].chains[0]).positions)


def run_out(*_: object, **__: object) -> None:
    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")


session._network._network.trunk.forward = run_out
try:
    session.predict(targets[0], TargetMsas())
except TargetError as error:
    print(json.dumps({"reason": str(error.reason), "advice": error.advice}))

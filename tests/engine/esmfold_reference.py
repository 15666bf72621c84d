"""transformers' own call on a folder of Hugging Face's layout, for test_esmfold.py. Nothing of snakefold.

    python esmfold_reference.py FOLDER OUT RECYCLES CHUNK SEQUENCE…

Writes <place>.npz and <place>.pdb of each sequence into OUT, whole-<place>.npz of it without chunks, and
half.npz of the first with the language model in float16, as on a GPU.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import EsmForProteinFolding

folder, out = map(Path, sys.argv[1:3])
recycles, chunk = int(sys.argv[3]), int(sys.argv[4])
torch.set_num_threads(1)
model = EsmForProteinFolding.from_pretrained(folder, local_files_only=True).eval()
model.esm.float()
model.trunk.config.max_recycles = recycles + 1  # passes
names = ("plddt", "ptm", "predicted_aligned_error", "positions", "atom14_atom_exists")
for place, sequence in enumerate(sys.argv[5:]):
    for size, name in ((None, f"whole-{place}"), (chunk, str(place))):
        model.trunk.set_chunk_size(size)
        found = model.infer(sequence)
        np.savez(out / f"{name}.npz", **{name: found[name].numpy() for name in names})
    (out / f"{place}.pdb").write_text(model.output_to_pdb(found)[0])
model.esm.half()
np.savez(out / "half.npz", positions=model.infer(sys.argv[5])["positions"].numpy())

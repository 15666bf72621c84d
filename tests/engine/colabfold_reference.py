"""Runs the real `colabfold_batch`, with parameters of fewer Evoformer blocks, and in float32 if asked.

    python colabfold_reference.py BLOCKS PRECISION [colabfold_batch's arguments …]

colabfold_batch takes the number of blocks from the model's name and has no option for the precision. Nothing
else is changed: the same code runs, on smaller stacks.
"""

from __future__ import annotations

import functools
import sys
from typing import Any


def main() -> None:
    blocks, precision, *arguments = sys.argv[1:]
    from alphafold.model import config

    original = config.model_config

    def with_blocks(name: str) -> Any:
        changed = original(name)
        changed.model.embeddings_and_evoformer.evoformer_num_block = int(blocks)
        return changed

    config.model_config = with_blocks
    from colabfold import batch

    batch.run = functools.partial(batch.run, use_bfloat16=precision == "bfloat16")
    sys.argv = ["colabfold_batch", *arguments]
    batch.main()


if __name__ == "__main__":
    main()

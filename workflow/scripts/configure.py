"""Write the settings of a run, defaults included, where every step reads them."""
# ruff: noqa: F821  (Snakemake defines `snakemake` before it runs the script)

from pathlib import Path

import yaml

from snakefold.store import write_atomically

with Path(snakemake.log[0]).open("w", encoding="utf-8") as log:
    text = yaml.safe_dump(snakemake.params.config, sort_keys=False, allow_unicode=True)
    write_atomically(Path(snakemake.output.config), text.encode())
    Path(snakemake.output.lost).touch()
    log.write(text)

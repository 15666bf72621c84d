"""MSA shapes: how many rows the network computes with.

Rows beyond the MSA's own are masked: they change nothing and cost time. So without explicit settings the
shape shrinks to the deepest MSA of the targets that share a program, rounded up a little, so that the next
batch finds the program in the compilation cache. ColabFold does so for a single query only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from snakefold.engines.alphafold2.settings import ModelPreset, NetworkSettings
from snakefold.kernel.errors import ConfigError

#: Rows of the clustered and the extra MSA that ColabFold gives all models of a preset (AlphaFold's largest).
MONOMER_ROWS = (512, 5120)
MULTIMER_ROWS = (508, 2048)
EARLIER_MULTIMER_ROWS = (252, 1152)
#: Templates that the network reads; AlphaFold takes their rows off the clustered MSA.
MAX_TEMPLATES = 4
#: AlphaFold-Multimer's limits: rows of one chain, and of these at most so many paired.
MULTIMER_CHAIN_ROWS = 2048
MULTIMER_PAIRED_ROWS = 1024


@dataclass(frozen=True)
class MsaShape:
    """Rows of the clustered and of the extra MSA; `depth`: rows that a multimer's MSA is padded to."""

    clusters: int
    extra: int
    depth: int = 0


def rounded_up(rows: int) -> int:
    """The next number with three significant binary digits: …, 32, 40, 48, 56, 64, 80, …; at least 1."""
    step = 1 << max(0, (max(rows, 1)).bit_length() - 3)
    return -(-max(rows, 1) // step) * step


def most_rows(preset: ModelPreset) -> tuple[int, int]:
    """The most rows of the clustered and of the extra MSA that a network takes if no setting says."""
    if preset in (ModelPreset.MULTIMER_V1, ModelPreset.MULTIMER_V2):
        return EARLIER_MULTIMER_ROWS
    return MULTIMER_ROWS if preset.multimer else MONOMER_ROWS


def choose(settings: NetworkSettings, preset: ModelPreset, depths: Iterable[int]) -> MsaShape:
    """Shape for targets whose MSAs have `depths` rows. Explicit settings are taken exactly.

    A multimer's depth is padded only where several targets share the program: a lone one keeps its own.
    """
    depths = list(depths)
    multimer = preset.multimer
    most_clusters, most_extra = most_rows(preset)
    rows = max(depths) + (MAX_TEMPLATES if settings.use_templates else 0)
    clusters = settings.max_msa_clusters or min(rounded_up(rows), most_clusters)
    extra = settings.max_extra_msa or min(rounded_up(rows - clusters), most_extra)
    if settings.use_templates and clusters <= MAX_TEMPLATES:
        raise ConfigError(
            f"{settings.section}.max_msa_clusters: {clusters} leaves no row for the MSA, because "
            f"{MAX_TEMPLATES} are templates. Set it to {MAX_TEMPLATES + 1} or more, or use_templates to "
            "false."
        )
    # AlphaFold needs at least one row beyond the clusters; ColabFold pads by as much as there are templates.
    depth = clusters + MAX_TEMPLATES
    if len(depths) > 1:
        depth = max(depth, rounded_up(max(depths)))
    return MsaShape(clusters, extra, depth if multimer else 0)


def multimer_depth(chain_rows: Iterable[int], pairing_rows: Iterable[int]) -> int:
    """Most rows that the merged MSA of a complex can have, by the rows of its different chains."""
    chain_rows, pairing_rows = list(chain_rows), list(pairing_rows)
    unpaired = sum(min(rows, MULTIMER_CHAIN_ROWS) for rows in chain_rows)
    if len(chain_rows) < 2:
        return unpaired
    # A paired row takes a row of at least two chains.
    return unpaired + min(MULTIMER_PAIRED_ROWS, 1 + sum(pairing_rows) // 2)

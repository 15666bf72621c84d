"""What is asked of a prediction, as far as it costs something."""

from __future__ import annotations

from dataclasses import dataclass

from snakefold.config import Config, engine_settings, relax_settings
from snakefold.kernel.contracts import (
    AlphaFold2Settings,
    FoldRequest,
    ModelPreset,
    RelaxChoice,
    RelaxSettings,
)

#: Rows of the clustered and the extra MSA that ColabFold gives all models of a preset (AlphaFold's largest).
MONOMER_ROWS = (512, 5120)
MULTIMER_ROWS = (508, 2048)
#: Evoformer blocks of the official parameters.
OFFICIAL_BLOCKS = 48


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked of a prediction, the same for every target of its kind.

    Attributes:
        predictions: models times seeds.
        passes: recycles + 1.
        msa_rows, extra_rows: rows of the clustered and of the extra MSA.
        blocks: Evoformer blocks (official parameters have 48).
        relaxed: models that are relaxed.
        models: sets of parameters that are loaded.
        programs: networks compiled for one input shape (two where only some models read templates).
        multimer: AlphaFold-Multimer's network.
        float32: arithmetic of 32 bits in place of bfloat16.
        gpu_relax: relaxed on the GPU, on a class that has one.
    """

    engine: str = "alphafold2"
    predictions: int = 5
    passes: int = 4
    msa_rows: int = 512
    extra_rows: int = 5120
    blocks: int = 48
    relaxed: int = 1
    models: int = 5
    programs: int = 1
    multimer: bool = False
    float32: bool = False
    gpu_relax: bool = True


def work_of(config: Config, rehearsal: bool, complexes: bool) -> Work:
    """The work of a run's monomers, or of its complexes.

    MSAs are not made yet: without explicit limits, rows are the most that the network takes, which searches
    of the usual databases reach; a run without alignments has one row.
    """
    rows = (1, 1) if config.msa.tool == "single_sequence" else None
    return _work(
        config.engine,
        engine_settings(config, rehearsal),
        relax_settings(config, rehearsal),
        rows=rows,
        blocks=config.rehearsal.blocks if rehearsal else OFFICIAL_BLOCKS,
        complexes=complexes,
    )


def work_of_request(request: FoldRequest, rows: tuple[int, int], *, blocks: int, complexes: bool) -> Work:
    """The work that a request asked for; `rows` of the clustered and the extra MSA where it names none."""
    return _work(
        request.engine, request.alphafold2, request.relax, rows=rows, blocks=blocks, complexes=complexes
    )


def _work(
    engine: str,
    settings: AlphaFold2Settings,
    relax: RelaxSettings,
    *,
    rows: tuple[int, int] | None,
    blocks: int,
    complexes: bool,
) -> Work:
    if engine != "alphafold2":
        relaxed = min(1, _relaxed(relax, 1))
        return Work(
            engine=engine,
            predictions=1,
            passes=1,
            msa_rows=1,
            extra_rows=1,
            relaxed=relaxed,
            models=1,
            gpu_relax=relax.use_gpu_relax is not False,
        )
    multimer = settings.model_preset is ModelPreset.MULTIMER or (
        complexes and settings.model_preset is ModelPreset.AUTO
    )
    most = MULTIMER_ROWS if multimer else MONOMER_ROWS
    clusters, extra = rows or most
    models = len(settings.models)
    mixed = settings.use_templates and not multimer and {n <= 2 for n in settings.models} == {True, False}
    return Work(
        engine=engine,
        predictions=models * settings.num_seeds,
        passes=settings.num_recycle + 1,
        msa_rows=settings.max_msa_clusters or min(clusters, most[0]),
        extra_rows=settings.max_extra_msa or min(extra, most[1]),
        blocks=blocks,
        relaxed=_relaxed(relax, models * settings.num_seeds),
        models=models,
        programs=2 if mixed else 1,
        multimer=multimer,
        float32=settings.precision == "float32",
        gpu_relax=relax.use_gpu_relax is not False,
    )


def _relaxed(relax: RelaxSettings, predictions: int) -> int:
    return {RelaxChoice.NONE: 0, RelaxChoice.BEST: 1, RelaxChoice.ALL: predictions}[relax.models_to_relax]

"""The family's code, called as a library: one model per process, one program per bucket.

The wheel alphafold3-colabfold brings the network, the featuriser and the confidences, but no program that
runs them. What imports it (`features`, `dssp`) is called from here, after what it looks for is set
(`_prepare`).
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakefold.engines import compilation
from snakefold.engines.af3 import dssp
from snakefold.engines.af3.components import INDEX, SETS
from snakefold.engines.af3.features import featurised
from snakefold.engines.af3.settings import Af3Settings
from snakefold.kernel.errors import (
    MissingProgramError,
    Reason,
    SnakefoldError,
    TargetError,
    WeightsMissingError,
)

#: Name of the jitted function, by which its programs are counted.
NETWORK = "af3_network"
#: Variables that the wheel reads where it is imported or traced, some sixty: each changes a default.
VARIABLES = ("AF3_", "IF2_", "BIOEMU2_")
#: What a model of a process is, for the featuriser keeps a model's conventions in globals.
_running: str | None = None
_PRECISIONS = {"bfloat16": "all", "mixed": "intermediate", "float32": "none"}
_lock = threading.Lock()


@dataclass(frozen=True)
class Model:
    """One structure, and what the model says of it.

    Attributes:
        structure: the wheel's: atoms with pLDDT in the B column.
        metadata: scores, and of each token its chain and residue.
        arrays: full_pae, contact_probs [T, T], where the model has them.
        tokens: of each token the name of its first atom.
        disordered: that the fraction of disordered residues was computed; DSSP may fail.
    """

    structure: Any
    metadata: Mapping[str, Any]
    arrays: Mapping[str, Any]
    tokens: Sequence[str]
    disordered: bool


@dataclass(frozen=True)
class Predicted:
    """Models of one seed, padded to `bucket` tokens; seconds of features, the network, its compilation."""

    models: Sequence[Model]
    bucket: int
    features: float
    seconds: float
    compiling: float


class Network:
    """A model of the family, warm. Not for use by several threads.

    Args:
        folder: of its parameters, called as the model: one file.
        components: a folder of `components.write`.
        one_block: it is a rehearsal's: each stack of the network has one block.
        cache: folder of compiled programs.

    Raises:
        SnakefoldError: another model runs in this process; DSSP does not work.
        TargetError: a GPU is wanted and there is none.
        WeightsMissingError: the parameters are none of this model's.
    """

    def __init__(
        self,
        settings: Af3Settings,
        folder: Path,
        components: Path,
        *,
        one_block: bool = False,
        cache: Path | None = None,
    ) -> None:
        _prepare(settings, components, cache)
        import haiku as hk
        import jax
        from alphafold3.model import model, params
        from alphafold3.model.components import platform

        dssp.see_that_it_works()
        self._settings, self._folder = settings, folder
        self.spec, config = configured(settings, one_block=one_block)
        try:
            with _quiet():
                self._params = params.get_model_haiku_params(folder)
        except (OSError, ValueError, RuntimeError, params.RecordError) as error:
            raise WeightsMissingError(
                f"{folder}: cannot be read as parameters of {settings.model}: {error}"
            ) from error
        # Made while the first program is traced, it would be part of the key of every later one.
        platform.preinit_tokamax_context()

        def forward(batch: Any) -> Any:  # haiku's modules are made inside
            return model.Model(config)(batch)

        transformed = hk.transform(forward)

        def af3_network(values: Any, key: Any, batch: Any) -> Any:
            return transformed.apply(values, key, batch)

        self._apply = jax.jit(af3_network)
        self._compiled = compilation.counts()

    @property
    def compilations(self) -> int:
        """Programs compiled for the network since it was made; those of the cache folder do not count."""
        return compilation.counts().compiled - self._compiled.compiled

    def predict(self, document: Mapping[str, Any]) -> Predicted:
        """All models of a JSON of AlphaFold 3 with one seed.

        Raises:
            TargetError: the featuriser refuses it, or memory ran out.
        """
        import jax
        import numpy as np
        from alphafold3.model import model

        started = time.monotonic()
        with _quiet():
            given, batch = featurised(document, self.spec, self._settings.buckets, self._folder)
        features = time.monotonic() - started
        started, before = time.monotonic(), compilation.counts().seconds
        try:
            with _quiet():
                raw = self._apply(self._params, jax.random.PRNGKey(given.rng_seeds[0]), on_device(batch))
                result = {**jax.tree.map(_as_float32, dict(raw)), "__identifier__": self.spec.name.encode()}
        except Exception as error:
            if "RESOURCE_EXHAUSTED" not in str(error) and "out of memory" not in str(error).lower():
                raise
            raise TargetError(
                Reason.OUT_OF_MEMORY,
                f"{len(batch['seq_mask'])} tokens, padded: {str(error)[:200]}",
                "Use a GPU class with more memory, or fewer af3.num_diffusion_samples.",
            ) from error
        seconds = time.monotonic() - started
        names = [_name(each) for each in np.asarray(batch["ref_atom_name_chars"])[:, 0]]
        with _quiet(), _lock:
            dssp.FAILURES.clear()
            found = list(
                model.Model.get_inference_result(batch=batch, result=result, model_name=self.spec.name)
            )
            disordered = not dssp.FAILURES
        return Predicted(
            [
                Model(each.predicted_structure, each.metadata, each.numerical_data, names, disordered)
                for each in found
            ],
            bucket=len(batch["seq_mask"]),
            features=features,
            seconds=seconds,
            compiling=compilation.counts().seconds - before,
        )


def configured(settings: Af3Settings, *, one_block: bool) -> tuple[Any, Any]:
    """The wheel's own word on a model, and its configuration with these settings."""
    import jax
    from alphafold3.model import config_factory, model_registry

    spec = model_registry.get(settings.model)
    # A plan has settled both; a request of somebody's own may leave them open.
    on_gpu = jax.default_backend() != "cpu"
    major = str(getattr(jax.devices()[0], "compute_capability", "")).partition(".")[0]
    recent = on_gpu and major.isdigit() and int(major) >= 8
    attention = settings.attention
    if attention == "auto":
        attention = "triton" if recent else "xla"
    precision = settings.precision
    if precision == "auto":
        precision = "bfloat16" if recent else "mixed" if on_gpu else "float32"
    with _quiet():
        config = config_factory.make_model_config(
            flash_attention_implementation=attention,
            num_diffusion_samples=settings.num_diffusion_samples,
            num_sampling_steps=settings.num_sampling_steps,
            num_recycles=spec.default_num_recycles
            if settings.num_recycles is None
            else settings.num_recycles,
            model_name=spec.name,
            num_msa=settings.num_msa,
            bfloat16=_PRECISIONS[precision],
        )
    if one_block:
        _cut(config)
    return spec, config


def shapes(settings: Af3Settings, components: Path) -> list[tuple[str, str, tuple[int, ...]]]:
    """Scope, name and shape of every parameter of a rehearsal's network, in order, by tracing it."""
    _prepare(settings, components, None)
    import haiku as hk
    import jax
    from alphafold3.model import model

    spec, config = configured(settings, one_block=True)
    protein = {"id": ["A"], "sequence": "ACDEFGHIKLMN", "unpairedMsa": "", "pairedMsa": "", "templates": []}
    given = {"dialect": "alphafold3", "version": 1, "name": "shapes", "modelSeeds": [0]}
    with _quiet():
        _, batch = featurised({**given, "sequences": [{"protein": protein}]}, spec, (32,), None)

        def forward(batch: Any) -> Any:
            return model.Model(config)(batch)

        found = jax.eval_shape(hk.transform(forward).init, jax.random.PRNGKey(0), on_device(batch))
    return [
        (scope, name, tuple(array.shape))
        for scope, arrays in sorted(found.items())
        for name, array in sorted(arrays.items())
    ]


def _cut(config: Any) -> None:
    """Leave one block of every stack that the model has."""
    trunk, heads = config.evoformer, config.heads
    for stack in (
        trunk.pairformer,
        trunk.msa_stack,
        trunk.template.template_stack,
        heads.confidence.pairformer,
        getattr(trunk, "coda", None),
        getattr(trunk, "lm_encoder", None),
    ):
        if stack is not None:
            stack.num_layer = min(1, stack.num_layer)
    trunk.per_atom_conditioning.atom_transformer.num_blocks = 1
    heads.diffusion.transformer.num_blocks = heads.diffusion.transformer.super_block_size = 1
    heads.diffusion.atom_transformer.num_blocks = 1


def on_device(batch: Mapping[str, Any]) -> Any:
    """What of a batch the network reads."""
    import jax
    import jax.numpy as jnp
    from alphafold3.model.components import utils

    return jax.tree.map(jnp.asarray, utils.remove_invalidly_typed_feats(batch))


def _prepare(settings: Af3Settings, components: Path, cache: Path | None) -> None:
    """Set what the wheel reads where it is imported, and configure JAX.

    Raises:
        SnakefoldError: another model or dictionary is used in this process already.
        TargetError: a GPU is wanted and there is none.
    """
    global _running  # noqa: PLW0603
    wanted = f"{settings.model} with {components}"
    if _running not in (None, wanted) or (_running is None and "alphafold3" in sys.modules):
        raise SnakefoldError(
            f"engine af3: this process runs {_running or 'the code for another program'}, and was asked for "
            f"{wanted}. The family's code keeps a model's conventions in global variables: start another "
            "process."
        )
    for name in [name for name in os.environ if name.startswith(VARIABLES)]:
        del os.environ[name]
    os.environ["LIBCIFPP_DATA_DIR"] = str(components)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if settings.accelerator == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    compilation.prepare(cache, NETWORK)
    import jax

    if settings.accelerator == "gpu" and jax.default_backend() == "cpu":
        raise TargetError(
            Reason.INTERNAL,
            "af3.accelerator is gpu, and JAX finds no GPU on this machine.",
            "Install the environment's builds for GPUs (snakefold engines install af3 --gpu), or set cpu.",
        )
    if _running is None:
        _redirect(components)
    _running = wanted


def _redirect(components: Path) -> None:
    """Have the wheel read its dictionary from a folder of ours, and tell of every failure of DSSP."""
    try:
        from absl import logging
        from alphafold3.common import resources
    except ImportError as error:
        raise MissingProgramError(
            f"The engine af3 needs its own environment ({error}). Make it: snakefold engines install af3"
        ) from error
    logging.set_verbosity("error")  # it warns of every atom of a modified residue
    of_wheel = resources.filename
    ours = {INDEX.removesuffix(".index"), SETS}

    def filename(name: Any) -> str:
        base = os.path.basename(os.fspath(name))  # noqa: PTH119
        return str(components / base) if base in ours else str(of_wheel(name))

    resources.filename = filename
    dssp.hear_failures()


def _as_float32(value: Any) -> Any:
    import numpy as np

    found = np.asarray(value)
    return found.astype(np.float32) if found.dtype.name == "bfloat16" else found


def _name(characters: Any) -> str:
    """Four numbers of an atom's name: ASCII from the blank on."""
    return "".join(chr(int(each) + 32) for each in characters).strip()


@contextmanager
def _quiet() -> Iterator[None]:
    """The wheel prints what belongs to nobody here: failures are raised."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield

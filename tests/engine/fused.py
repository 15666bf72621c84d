"""The fused kernels without a GPU: Pallas interprets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import jax
import pytest
from jax.experimental import pallas


@contextmanager
def interpreted() -> Iterator[None]:
    """Every `pl.pallas_call` of alphafold-colabfold is computed by JAX, an operation after the other."""
    from alphafold.model import tri_flash, tri_mul

    compiled = (tri_flash.tri_flash, tri_mul.gated_dual_proj, tri_mul.pallas_layer_norm)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pallas, "pallas_call", partial(pallas.pallas_call, interpret=True))
        for each in compiled:
            each.clear_cache()
        yield
    for each in compiled:
        each.clear_cache()


def half(values: object) -> jax.Array:
    """As the network has them: bfloat16."""
    import jax.numpy as jnp

    return jnp.asarray(values, jnp.bfloat16)

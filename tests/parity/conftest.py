"""Fixtures of the engines' tests: random parameters, and the real colabfold_batch."""

from tests.engine.conftest import colabfold_batch, compile_cache, weights_folder

__all__ = ["colabfold_batch", "compile_cache", "weights_folder"]

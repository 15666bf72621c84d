"""JAX: where compiled programs are kept, and how many were compiled. Engines in JAX share it."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from snakefold.kernel import stages


@dataclass
class Counts:
    """What JAX built in this process so far.

    Attributes:
        compiled: programs for the network that XLA compiled.
        from_cache: programs for the network taken from the cache folder.
        cache_misses: programs of any kind, small ones included, that the cache folder did not have.
        seconds: spent on tracing, lowering and compiling the network, or on reading its program.
    """

    compiled: int = 0
    from_cache: int = 0
    cache_misses: int = 0
    seconds: float = 0.0


_counts = Counts()
#: Names of the jitted functions that are networks, of all engines of this process.
_networks: set[str] = set()
_COMPILED = "/jax/core/compile/backend_compile_duration"
#: What comes before it for every new shape, and is never cached.
_PREPARED = ("/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration")


def prepare(cache_folder: Path | None, network: str) -> None:
    """Import and configure JAX. Programs compiled from now on are kept in `cache_folder`.

    Args:
        cache_folder: the folder; None keeps nothing on disk.
        network: name of the jitted function that is the engine's network; its programs are counted.
    """
    # As colabfold: long targets spill from the GPU into the host's memory instead of failing.
    os.environ.setdefault("TF_FORCE_UNIFIED_MEMORY", "1")
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "4.0")
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    _networks.add(network)
    _listen()
    if cache_folder is None:
        return
    folder = str(cache_folder.absolute())
    if jax.config.jax_compilation_cache_dir != folder:  # type: ignore[attr-defined]
        cache_folder.mkdir(parents=True, exist_ok=True)
        # JAX keeps the first folder it used until it is told to forget it.
        compilation_cache.reset_cache()
        jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    if jax.default_backend() == "cpu":
        # JAX would name a folder for autotuning, which only GPUs do, below this one. Its path would be part
        # of every program's key: a copied or moved store would compile all of them again.
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")


def device_name() -> str:
    """The device that predicts, in words."""
    import jax

    device = jax.devices()[0]
    return "CPU" if device.platform == "cpu" else str(device.device_kind)


def counts() -> Counts:
    """A snapshot of the process's counts."""
    return Counts(**vars(_counts))


@cache
def _listen() -> None:
    import jax

    # JAX reports a hit just before the (then short) compilation it belongs to, in the same thread.
    found = threading.local()

    def on_event(event: str, **_: str | int) -> None:
        if event == "/jax/compilation_cache/cache_hits":
            found.hit = True
        elif event == "/jax/compilation_cache/cache_misses":
            _counts.cache_misses += 1

    def on_duration(event: str, duration_secs: float, **details: str | int) -> None:
        name = str(details.get("fun_name"))
        network = any(each in name for each in _networks)
        if network and event in (_COMPILED, *_PREPARED):
            _counts.seconds += duration_secs
        if event == _COMPILED:
            hit = getattr(found, "hit", False)
            _counts.from_cache += network and hit
            _counts.compiled += network and not hit
            found.hit = False
            if network:
                stages.say(stages.PREDICTING)

    jax.monitoring.register_event_listener(on_event)
    jax.monitoring.register_event_duration_secs_listener(on_duration)

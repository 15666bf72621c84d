"""Whether the endpoints are there that prediction jobs would be sent to: asked before anything is paid."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from snakefold import engines
from snakefold.config import Config
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.wording import listed
from snakefold.plan.executors import Executor
from snakefold.plan.files import BatchRow, Kind, read_rows

_NOTHING = "Nothing has been started, nothing has been spent."


def missing(rows: Iterable[BatchRow], config: Config, executor: Executor) -> list[str]:
    """What endpoints lack that the batches to predict need, in a text for each engine.

    The executor sends a job to the endpoint `<name>-<GPU class>` if there is one, else to `<name>`.
    """
    if executor.endpoints is None:
        return []
    known = set(executor.endpoints)
    classes: dict[str, set[str]] = {}
    for row in rows:
        if row.kind == Kind.PREDICT:
            classes.setdefault(row.engine, set()).add(row.gpu)
    found = []
    for engine, wanted in sorted(classes.items()):
        endpoint = config.runpod.endpoint_of(engine)
        if endpoint is None:
            found.append(_unset(engine))
        elif absent := sorted(each for each in wanted if not {endpoint, f"{endpoint}-{each}"} & known):
            found.append(_absent(engine, endpoint, absent, sorted(known)))
    return found


def check(rows: Iterable[BatchRow], config: Config, executor: Executor) -> None:
    """See that all endpoints are there that the batches need.

    Raises:
        ConfigError: some are not; the text says what to do.
    """
    if texts := missing(rows, config, executor):
        raise ConfigError(" ".join([*texts, _NOTHING]))


def check_planned(results: Path, config: Config, executor: Executor) -> None:
    """The same for what an existing plan still has to predict: endpoints may be gone since it was made.

    Raises:
        ConfigError: some are not there.
    """
    left = (row for row in read_rows(results / "plan") if not _is_predicted(results, row.batch))
    check(left, config, executor)


def _is_predicted(results: Path, batch: str) -> bool:
    made = (f"tables/{batch}.parquet", f"predictions/{batch}.tar.zst")
    return any((results / name).exists() for name in made)


def _unset(engine: str) -> str:
    own = engines.get(engine).environment is not None
    name = f"runpod.endpoints.{engine}" if own else "runpod.endpoint"
    image = f"engine {engine}, which has an image of its own," if own else f"engine {engine}"
    return (
        f"No setting says which endpoint the jobs of {image} go to. Set {name}, as settings.yaml of "
        "profiles/runpod does (--configfile of Snakemake replaces that file; give both)."
    )


def _absent(engine: str, endpoint: str, classes: list[str], known: list[str]) -> str:
    names = listed([f"{endpoint}-{each}" for each in classes])
    build, image = "Deploy it:", "IMAGE"
    if engines.get(engine).environment is not None:
        build = f"Build its image (containers/build_and_push.sh --engine={engine}) and deploy it:"
        image = f"{endpoint}=IMAGE"
    return (
        f"Jobs of engine {engine} go to the endpoint {names} (or {endpoint}), and there is none; there are: "
        f"{', '.join(known) or 'none'}. {build} snakefold deploy apply --image {image}. Or give the id of "
        f"yours: --runpod-endpoints {endpoint}=ID."
    )

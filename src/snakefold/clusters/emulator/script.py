"""A script of faults: a file, YAML or JSON, that becomes rules and rates."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from snakefold.clusters.emulator.faults import Fault, Faults


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Rule(_Part):
    """What of a `Fault` can be written down."""

    what: str
    call: str = "*"
    endpoint: str = "*"
    nth: int | list[int] | None = None
    times: int | None = None
    status: int = 502
    seconds: float = 1.0
    error: str = ""
    at: float = 0.0


class _Script(_Part):
    rules: list[_Rule] = []
    rates: dict[str, float] = {}
    seed: int = 0


def read_faults(path: Path) -> Faults:
    """A script: `{seed: 1, rates: {failed: 0.01}, rules: [{what: reset_after, nth: 2}]}`, YAML or JSON.

    Raises:
        ValueError: the file is no such script; the text says where.
        OSError: it cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping with any of: {', '.join(_Script.model_fields)}")  # noqa: TRY004
    try:
        # A key without a value is as good as none.
        script = _Script.model_validate({key: value for key, value in content.items() if value is not None})
        rules = [Fault(**rule.model_dump(exclude_unset=True)) for rule in script.rules]
        return Faults(rules, rates=script.rates, seed=script.seed)
    except ValidationError as error:
        wrong = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise ValueError(f"{path}: {'; '.join(wrong)}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error

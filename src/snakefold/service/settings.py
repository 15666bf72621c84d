"""Settings of the service: a YAML file, and options of the command line laid over it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from snakefold.config import read_settings as read_yaml
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.setting_errors import told
from snakefold.kernel.wording import count

#: Environment variables: a worker process finds the settings in the first, Redis' password is in the second.
VARIABLE, REDIS_PASSWORD = "SNAKEFOLD_SERVICE", "SNAKEFOLD_REDIS_PASSWORD"
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Workers(_Section):
    """Processes that do the work, by kind. 0: those of other machines do it."""

    jobs: int = Field(1, ge=0, le=64, description="Warm processes for requests of endpoints; one per GPU.")
    runs: int = Field(1, ge=0, le=64, description="Runs of the workflow at once.")
    quotes: int = Field(1, ge=0, le=16, description="Sets that are planned and priced at once.")
    searches: int = Field(1, ge=0, le=64, description="Tickets of the MSA server that are searched at once.")


class Limits(_Section):
    """What is refused before it is read whole, and how much a user may have waiting."""

    body_mb: float = Field(16, gt=0, description="Largest request, MB.")
    upload_mb: float = Field(256, gt=0, description="Largest set: files of a submission together, MB.")
    body_seconds: float = Field(
        60, gt=0, description="Longest time that a request's body may take to arrive."
    )
    head_seconds: float = Field(10, gt=0, description="Longest time until a request's head is there.")
    send_seconds: float = Field(
        60, gt=0, description="Time within which a client takes some of an answer: 1 kB a second at least."
    )
    connections: int = Field(2000, ge=10, description="Connections at once; more are answered 503.")
    streams: int = Field(16, ge=1, description="Events and archives that are sent to one user at once.")
    waiting: int = Field(1000, ge=1, description="Jobs, runs and tickets of one user that have not ended.")
    targets: int = Field(100_000, ge=1, description="Targets of one set.")
    residues: int = Field(50_000_000, ge=1, description="Residues of one set.")


class Tickets(_Section):
    """What the MSA server takes (docs/msa-server.md)."""

    max_queries: int = Field(64, ge=1, le=1000, description="Maximum sequences per ticket.")
    max_length: int = Field(10_000, ge=1, le=65_535, description="Maximum residues per sequence.")
    max_residues: int = Field(50_000, ge=1, description="Maximum residues per ticket.")
    retry_after: int = Field(10, ge=1, description="Seconds until a user who asked too much may ask again.")


class OpenFoldRoutes(_Section):
    """Routes of aws-do-openfold-inference: which engine answers them, and where their files are."""

    engine: str = Field("openfold", description="Engine that predicts.")
    settings: dict[str, Any] = Field({}, description="Settings of that engine, as in config.yaml.")
    num_models: int = Field(
        1, ge=1, le=100, description="Names that are served: model_0, model_1, … All are the same model."
    )
    config_preset: str = Field(
        "model_1_ptm", pattern=r"^[A-Za-z0-9_.-]{1,50}$", description="Part of the names of predicted files."
    )
    db_preset: str | None = Field(
        None, description="Databases of alignments; empty: the first preset that the workers have."
    )
    output_dir_base: Path | None = Field(
        None, description="Folder of `predictions`; if empty, `openfold` in `folder`."
    )
    alignment_dir: Path | None = Field(
        None,
        description="Folder of alignments, one folder per tag; if empty, `alignments` in `output_dir_base`.",
    )
    use_precomputed_alignments: bool = Field(
        True, description="Predict with the .a3m and .sto files of the tag's folder, if there are any."
    )


class NimModel(_Section):
    """A numbered model of a NIM: what is asked for it."""

    engine: str = Field(description="Engine that predicts.")
    settings: dict[str, Any] = Field({}, description="Settings of that engine, as in config.yaml.")


class NimAlphaFold2(NimModel):
    """What AlphaFold2's routes ask."""

    engine: str = Field("alphafold2", description="Engine that predicts.")


class NimRoutes(_Section):
    """Routes of NVIDIA's NIMs: which engines answer them."""

    alphafold2: NimAlphaFold2 = NimAlphaFold2()
    openfold2: dict[int, NimModel] = Field(
        {},
        description="Engine and settings of OpenFold2's route, by the number in `selected_models`; empty: "
        "1 is the engine openfold.",
    )
    db_preset: str | None = Field(
        None, description="Databases of alignments; empty: the first preset that the workers have."
    )
    max_template_date: str | None = Field(
        None,
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="Search templates up to this date; empty: search none, and refuse requests for them.",
    )


class ServiceSettings(_Section):
    """Everything that `snakefold serve` goes by."""

    folder: Path = Field(
        Path("snakefold-service"), description="Records, inputs and results. Workers share it."
    )
    host: str = Field("127.0.0.1", description="Address to listen on. Others than loopback need `tokens`.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0: any free one.")
    names: tuple[str, ...] = Field(
        (), description="Host names that clients call the service by, besides those of loopback."
    )
    tokens: Path | None = Field(
        None, description="File of tokens (`snakefold tokens`); without it, loopback only."
    )
    queue: str = Field(
        "sqlite",
        description="`sqlite`: a file in `folder`. redis://host:port/number: workers on several machines. "
        f"Its password is in {REDIS_PASSWORD}.",
    )
    store: str = Field(
        "", description="Store that jobs, runs and searches share; if empty, `store` in `folder`."
    )
    endpoints: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")], ...] = Field(
        ("fold", "boltz", "mmseqs", "proteinmpnn"),
        description="Names under /v2/. All do the same: the request says which task it is.",
    )
    profile: str = Field("default", description="Profile that runs use, as `snakefold run --profile`.")
    configfile: Path | None = Field(
        None, description="Settings of runs and of the MSA server, as --configfile."
    )
    results: Literal["keep"] | float = Field(
        30.0, description="Days that records are kept after their end; `keep`: for good."
    )
    rehearsal: bool = Field(
        False, description="Predict with random parameters on routes whose requests cannot say so."
    )
    workers: Workers = Workers()
    limits: Limits = Limits()
    tickets: Tickets = Tickets()
    openfold: OpenFoldRoutes = OpenFoldRoutes()
    nim: NimRoutes = NimRoutes()

    @field_validator("queue")
    @classmethod
    def _known_queue(cls, value: str) -> str:
        if value == "sqlite":
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise ValueError("expected sqlite, or redis://host:port/number")
        if parts.password:
            raise ValueError(f"a password does not belong in a file: export {REDIS_PASSWORD}=…")
        return value

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in _LOOPBACK

    @property
    def shared_store(self) -> str:
        """The store of jobs, runs and searches."""
        return self.store or str(self.folder.absolute() / "store")

    @property
    def queue_address(self) -> str:
        """Redis with its password."""
        password = os.environ.get(REDIS_PASSWORD)
        if not password:
            return self.queue
        parts = urlsplit(self.queue)
        user = f"{parts.username or ''}:{quote(password, safe='')}@"
        where = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=user + where))


Checked = TypeVar("Checked", bound=BaseModel)


def checked(model: type[Checked], values: Mapping[str, Any], source: str) -> Checked:
    """Values of a file as a model.

    Raises:
        ConfigError: names each that is wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = told(error.errors(), lambda: sorted(model.model_fields), "docs/service-settings.md")
        raise ConfigError(f"{source}: {count(len(lines), 'wrong setting')}.\n" + "\n".join(lines)) from error


def read_settings(path: Path | None, over: Mapping[str, Any]) -> ServiceSettings:
    """The settings of a file, with those of the command line laid over them.

    Raises:
        ConfigError: the file cannot be read, or a setting is wrong.
    """
    values = read_yaml(path) if path is not None else {}
    for name, value in over.items():
        section, dot, leaf = name.partition(".")
        if dot:
            values[section] = {**(values.get(section) or {}), leaf: value}
        else:
            values[section] = value
    settings = checked(ServiceSettings, values, str(path or "snakefold serve"))
    if settings.tokens is None and not settings.is_private:
        raise ConfigError(
            f"host {settings.host}: anybody on the network could use the service. Make tokens first "
            "(snakefold tokens add --file tokens.yaml --user NAME) and set `tokens`."
        )
    return settings


def hand_on(settings: ServiceSettings) -> dict[str, str]:
    """The environment that gives a worker process these settings."""
    return {VARIABLE: settings.model_dump_json()}


def handed_on() -> ServiceSettings:
    """The settings that `hand_on` gave this process."""
    return ServiceSettings.model_validate_json(os.environ[VARIABLE])


def table(model: type[BaseModel] = ServiceSettings, above: str = "") -> list[str]:
    """Rows of all settings for the documentation: name, default, what it is."""
    rows = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += table(field.annotation, f"{above}{name}.")
            continue
        value = field.default
        shown = ", ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
        rows.append(f"| `{above}{name}` | {shown} | {field.description} |")
    return rows


if __name__ == "__main__":
    print(
        "# Settings of the service\n\nA YAML file for `snakefold serve --config`; [service.md](service.md).\n"
    )
    print("\n".join(["| setting | default | what it is |", "|---|---|---|", *table()]))

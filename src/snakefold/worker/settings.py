"""What a worker takes from its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from snakefold.kernel.errors import SnakefoldError
from snakefold.worker.callbacks import CallbackSettings, read_callback_settings
from snakefold.worker.objects import ObjectSettings, read_object_settings

if TYPE_CHECKING:
    from snakefold.msa.settings import MsaSettings

#: Items of a job that are read or written at a time.
BATCH_CONCURRENCY = 4

#: Name, default and meaning of every variable (docs/endpoints.md is made from it).
VARIABLES: dict[str, tuple[str, str]] = {
    "RUNPOD_VOLUME_PATH": ("/runpod-volume", "Mount point of the network volume."),
    "SNAKEFOLD_STORE": (
        "`store` on the volume, or the user's cache folder",
        "Store of finished targets and responses: a folder, or s3://bucket/prefix?endpoint_url=…&region=….",
    ),
    "SNAKEFOLD_WEIGHTS": (
        "`weights` on the volume, or the user's data folder",
        "Folder of parameters: params/params_*.npz of AlphaFold2, flashabb/ of flash-abb.",
    ),
    "SNAKEFOLD_REHEARSAL_BLOCKS": ("2", "Evoformer blocks of the random parameters that a rehearsal draws."),
    "SNAKEFOLD_DB_ROOT": (
        "`databases` on the volume, or the preset's own",
        "Databases of the flat form's db_preset.",
    ),
    "MMSEQS_DB_ROOT": ("", "First folder to search for MMseqs2 databases."),
    "SNAKEFOLD_RESULTS": (
        "",
        "s3://bucket/prefix?… for results too large to be inline; the answer has a presigned GET.",
    ),
    "SNAKEFOLD_TRANSFER_HOSTS": (
        "",
        "Hosts (host or host:port, comma-separated) allowed in presigned addresses even if they are private "
        "or not https, for an S3 server of your own. Not applied to fasta_url.",
    ),
    "STORAGE_S3_ENDPOINT": (
        "AWS",
        "Address of the S3 service whose objects jobs name by `key` (jobs-by-key.md).",
    ),
    "STORAGE_REGION": ("`auto`, of AWS: boto3's", "Its region."),
    "STORAGE_BUCKET": ("", "The bucket, where a job names none."),
    "STORAGE_ACCESS_KEY": ("what boto3 finds", "Its access key."),
    "STORAGE_SECRET_KEY": ("what boto3 finds", "Its secret key."),
    "STORAGE_READ_PREFIXES": (
        "nothing",
        "What jobs may read, comma-separated: `inputs/`, `inputs/{user_id}/`, `s3://bucket/prefix/`.",
    ),
    "STORAGE_WRITE_PREFIXES": ("nothing", "What jobs may write, likewise."),
    "STORAGE_MAX_BYTES": ("4 GiB", "Bytes that an object may have."),
    "SNAKEFOLD_CALLBACK_SECRET": (
        "",
        "What callbacks have as `Authorization: Bearer …`. An older name is GPU_CALLBACK_SECRET.",
    ),
    "SNAKEFOLD_CALLBACK_HOSTS": (
        "any public host",
        "The only hosts that callbacks go to, comma-separated: `host`, `host:port`, for plain http "
        "`http://host:port`. They may be private.",
    ),
    "BATCH_CONCURRENCY": ("4", "Items of a job that are read or written at a time, at the most."),
    "SNAKEFOLD_JOB_TIMEOUT": ("", "Seconds after which a job is stopped (reason timeout)."),
    "SNAKEFOLD_PROGRESS_SECONDS": (
        "15",
        "Seconds between progress reports: until it ends, the job's output is `{progress: {done, of}}`.",
    ),
    "SNAKEFOLD_MSA_SERVER": (
        "",
        "Address of an MSA server (ColabFold's API) that jobs with use_msa_server may ask. Its operator can "
        "read the sequences.",
    ),
    "SNAKEFOLD_MSA_CONTACT": ("", "Your e-mail address, which the MSA server gets with every request."),
    "SNAKEFOLD_THREADS": ("all cores", "CPU threads of a search."),
}


@dataclass(frozen=True)
class Settings:
    """See `VARIABLES`. `volume` is None where none is mounted."""

    volume: Path | None
    store: str
    weights: Path
    rehearsal_blocks: int
    db_root: Path | None
    mmseqs_root: Path | None
    results: str | None
    transfer_hosts: frozenset[str]
    job_timeout: float | None
    progress_seconds: float
    threads: int
    msa_server: MsaSettings | None = None
    objects: ObjectSettings = field(default_factory=ObjectSettings)
    callbacks: CallbackSettings = field(default_factory=CallbackSettings)
    batch_concurrency: int = BATCH_CONCURRENCY

    @property
    def mmseqs_roots(self) -> list[Path]:
        """Folders that MMseqs2 databases are looked for in, in order."""
        on_volume = [self.volume / "mmseqsdb"] if self.volume else []
        return [
            *([self.mmseqs_root] if self.mmseqs_root else []),
            *on_volume,
            Path("/opt/mmseqs/data/mmseqsdb"),
        ]


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings of the environment.

    Raises:
        SnakefoldError: a variable is wrong, such as one that should be a number and is none.
    """
    given = os.environ if environment is None else environment
    mount = Path(given.get("RUNPOD_VOLUME_PATH") or VARIABLES["RUNPOD_VOLUME_PATH"][0])
    volume = mount if mount.is_dir() else None
    root = given.get("SNAKEFOLD_DB_ROOT")
    mmseqs_root = given.get("MMSEQS_DB_ROOT")
    timeout = given.get("SNAKEFOLD_JOB_TIMEOUT")
    return Settings(
        volume=volume,
        store=given.get("SNAKEFOLD_STORE") or str(_on_volume(volume, "store") or _cache() / "store"),
        weights=Path(given.get("SNAKEFOLD_WEIGHTS") or _existing(volume, "weights") or _weights()),
        rehearsal_blocks=int(_number("SNAKEFOLD_REHEARSAL_BLOCKS", given, 2)),
        db_root=Path(root) if root else _existing(volume, "databases"),
        mmseqs_root=Path(mmseqs_root) if mmseqs_root else None,
        results=given.get("SNAKEFOLD_RESULTS") or None,
        transfer_hosts=frozenset(
            host.strip().lower()
            for host in given.get("SNAKEFOLD_TRANSFER_HOSTS", "").split(",")
            if host.strip()
        ),
        job_timeout=_number("SNAKEFOLD_JOB_TIMEOUT", given, 0) if timeout else None,
        progress_seconds=_number("SNAKEFOLD_PROGRESS_SECONDS", given, 15),
        threads=int(_number("SNAKEFOLD_THREADS", given, len(os.sched_getaffinity(0)))),
        msa_server=_msa_server(given),
        objects=read_object_settings(given),
        callbacks=read_callback_settings(given),
        batch_concurrency=max(1, int(_number("BATCH_CONCURRENCY", given, BATCH_CONCURRENCY))),
    )


def _msa_server(given: Mapping[str, str]) -> MsaSettings | None:
    url = given.get("SNAKEFOLD_MSA_SERVER")
    if not url:
        return None
    from pydantic import ValidationError

    from snakefold.msa.settings import MsaSettings

    server = {"url": url, "contact": given.get("SNAKEFOLD_MSA_CONTACT", "")}
    try:
        found = MsaSettings.model_validate({"tool": "server", "server": server})
    except ValidationError as error:
        wrong = "; ".join(str(each["msg"]) for each in error.errors(include_input=False, include_url=False))
        raise SnakefoldError(f"SNAKEFOLD_MSA_SERVER, SNAKEFOLD_MSA_CONTACT: {wrong}.") from error
    if found.server.is_public and not found.server.contact:
        raise SnakefoldError(
            "SNAKEFOLD_MSA_CONTACT is not set: the server that SNAKEFOLD_MSA_SERVER names is run by its "
            "authors for everybody, and they want to be able to write to whoever asks it."
        )
    return found


def _on_volume(volume: Path | None, name: str) -> Path | None:
    return volume / name if volume else None


def _existing(volume: Path | None, name: str) -> Path | None:
    folder = _on_volume(volume, name)
    return folder if folder and folder.is_dir() else None


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("snakefold")


def _weights() -> Path:
    from snakefold.engines.weights_folder import default_folder

    return default_folder()


def _number(name: str, given: Mapping[str, str], default: float) -> float:
    try:
        value = float(given.get(name) or default)
    except ValueError as error:
        raise SnakefoldError(f"{name}: expected a number.") from error
    if not 0 <= value < float("inf"):
        raise SnakefoldError(f"{name}: expected a number, not below 0.")
    return value

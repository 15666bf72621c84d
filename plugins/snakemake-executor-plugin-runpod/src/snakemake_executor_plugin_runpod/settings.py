"""Settings as Snakemake reads them from the command line or a profile, and what they come to."""

# No `from __future__ import annotations`: Snakemake reads the types of these fields at run time.
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, List, Optional  # noqa: UP035 (Snakemake's parser knows only these)
from urllib.parse import urlsplit

import yaml
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase  # type: ignore[import-untyped]

API_KEY = "RUNPOD_API_KEY"
BASE_URL = "RUNPOD_API_BASE_URL"
MANAGEMENT_URL = "RUNPOD_MANAGEMENT_URL"
VOLUME_KEYS = ("RUNPOD_S3_ACCESS_KEY_ID", "RUNPOD_S3_SECRET_ACCESS_KEY")


class NoServiceError(WorkflowError):
    """RunPod is not configured, or cannot be reached: what `fallback` is for. Wrong settings are not."""


def _setting(default: Any, text: str, **more: Any) -> Any:
    return field(default=default, metadata={"help": text, "env_var": False, "required": False, **more})


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """The API key is no setting: it is read from RUNPOD_API_KEY, so that it stands in no file and no argv."""

    endpoints: List[str] = field(  # noqa: UP006
        default_factory=list,
        metadata={
            "help": "Endpoints: NAME=ENDPOINT_ID, several of them, or one YAML file that maps names to ids.",
            "nargs": "+",
            "metavar": "NAME=ID",
        },
    )
    base_url: Optional[str] = _setting(  # noqa: UP045
        None, f"Jobs API (${BASE_URL}, or https://api.runpod.ai/v2)."
    )
    management_url: Optional[str] = _setting(  # noqa: UP045
        None,
        f"Management API (${MANAGEMENT_URL}, or https://api.runpod.io/v2); only read, `none`: not asked.",
    )
    max_in_flight: int = _setting(
        0, "Jobs in an endpoint's queue and workers at once; 0: three times its workersMax."
    )
    poll_interval: float = _setting(5.0, "Seconds between two looks at a job.")
    execution_timeout: int = _setting(
        600, "Seconds a job may run whose rule has no resource `runtime` (minutes)."
    )
    queue_timeout: int = _setting(
        86400, "Seconds a job may wait for a worker; after that it is cancelled, and has failed."
    )
    patience: float = _setting(
        900.0, "Seconds for which calls that fail (no connection, 429, 5xx, storage) are repeated."
    )
    overtime: float = _setting(
        120.0,
        "Seconds past its execution timeout or its ttl after which a job that RunPod still calls live is "
        "cancelled.",
    )
    overtime_resends: int = _setting(
        1, "How often a job that was cancelled for `overtime` is sent again, over all its tries."
    )
    cancel_timeout: float = _setting(
        60.0,
        "Seconds for which an interrupted run tries to cancel its jobs, besides a ninth of a second for each "
        "of them (RunPod's limit); what is not confirmed by then is listed.",
    )
    transfer: str = _setting(
        "auto",
        "How files travel: inline (in the request), s3 (presigned URLs), volume (a RunPod network volume), "
        "or auto: inline while they are small, else s3 or volume, whichever is configured.",
        choices=["auto", "inline", "s3", "volume"],
    )
    bucket: Optional[str] = _setting(None, "S3 bucket for files.")  # noqa: UP045
    prefix: str = _setting("snakemake-runpod", "Prefix of the keys in the bucket or on the volume.")
    endpoint_url: Optional[str] = _setting(  # noqa: UP045
        None, "Address of the S3 service, where it is not AWS. The keys are boto3's (AWS_ACCESS_KEY_ID, …)."
    )
    region: Optional[str] = _setting(None, "Region of the bucket.")  # noqa: UP045
    volume: Optional[str] = _setting(  # noqa: UP045
        None, f"Id of the RunPod network volume for files; its S3 keys: {' and '.join(VOLUME_KEYS)}."
    )
    datacenter: Optional[str] = _setting(None, "Data centre of the volume, as in EU-RO-1.")  # noqa: UP045
    budget: Optional[float] = _setting(  # noqa: UP045
        None,
        "Dollars that may be spent: nothing more is submitted once spent and in flight would pass it. "
        "Without this setting it is the number under `budget` in the workflow's config, if there is one. "
        "0: no limit. "
        "Needs the resource dollars_per_second in every rule that runs on an endpoint.",
        type=float,
    )
    on_interrupt: str = _setting(
        "cancel",
        "What becomes of running jobs on Ctrl-C or SIGTERM: cancel, or keep (the next run re-attaches).",
        choices=["cancel", "keep"],
    )
    fallback: str = _setting(
        "none",
        "Where jobs run that RunPod cannot run (unconfigured, not to be reached, endpoint gone, no worker in "
        "queue-timeout, job lost time and again): none (they fail), or local (on this machine).",
        choices=["none", "local"],
    )


@dataclass(frozen=True)
class Limit:
    """Dollars that may be spent (0: no limit), and where that was said."""

    dollars: float = 0.0
    place: str = ""

    def __str__(self) -> str:
        return f"${self.dollars:.2f} ({self.place})"


@dataclass(frozen=True)
class Configuration:
    """Settings, checked, with what the environment adds. Seconds and dollars."""

    api_key: str = field(repr=False)
    endpoints: Mapping[str, str]
    base_url: str = "https://api.runpod.ai/v2"
    management_url: str = "https://api.runpod.io/v2"
    max_in_flight: int = 0
    poll_interval: float = 5.0
    execution_timeout: float = 600.0
    queue_timeout: float = 86400.0
    patience: float = 900.0
    overtime: float = 120.0
    overtime_resends: int = 1
    cancel_timeout: float = 60.0
    transfer: str = "auto"
    bucket: str | None = None
    prefix: str = "snakemake-runpod"
    endpoint_url: str | None = None
    region: str | None = None
    volume: str | None = None
    datacenter: str | None = None
    budget: Limit = Limit()
    keep: bool = False
    fallback: bool = False

    def endpoint_of(self, name: str, gpu_class: str = "") -> str:
        """Endpoint id of a logical name; `<name>-<gpu_class>` is looked up first.

        Raises:
            WorkflowError: neither is configured.
        """
        for key in (f"{name}-{gpu_class}", name) if gpu_class else (name,):
            if key in self.endpoints:
                return self.endpoints[key]
        known = ", ".join(sorted(self.endpoints)) or "none"
        raise WorkflowError(
            f"No endpoint is configured for runpod_endpoint={name!r} (configured: {known}). "
            f"Give its id: --runpod-endpoints {name}=ENDPOINT_ID, or `runpod-endpoints` in the profile."
        )


def configure(
    settings: ExecutorSettings,
    environment: Mapping[str, str] = os.environ,
    config: Mapping[str, Any] | None = None,
) -> Configuration:
    """Check the settings. `config`: that of the workflow, for the budget.

    Raises:
        WorkflowError: what is missing or wrong, and what to set.
    """
    key = environment.get(API_KEY, "").strip()
    if not key:
        raise NoServiceError(
            f"The environment variable {API_KEY} is not set. Make a key in RunPod's console (Settings, API "
            "Keys; "
            f"it must be allowed to use the endpoints) and: export {API_KEY}=…"
        )
    if not key.isascii() or any(character.isspace() for character in key):
        raise WorkflowError(f"{API_KEY} holds a character that no key has (a space or a line break?).")
    endpoints = read_endpoints(settings.endpoints)
    if not endpoints:
        raise NoServiceError(
            "No RunPod endpoint is configured. Give their ids: --runpod-endpoints NAME=ENDPOINT_ID"
        )
    for name, least in {
        "poll_interval": 0.05,
        "execution_timeout": 5,
        "queue_timeout": 5,
        "patience": 0,
        "overtime": 0,
        "overtime_resends": 0,
        "cancel_timeout": 1,
    }.items():
        if getattr(settings, name) < least:
            raise WorkflowError(f"--runpod-{name.replace('_', '-')} must be at least {least}.")
    if settings.transfer == "s3" and not settings.bucket:
        raise WorkflowError("--runpod-transfer s3 needs --runpod-bucket.")
    if settings.transfer == "volume" and not settings.volume:
        raise WorkflowError("--runpod-transfer volume needs --runpod-volume and --runpod-datacenter.")
    if settings.volume and not settings.datacenter:
        raise WorkflowError("--runpod-volume needs --runpod-datacenter, as in EU-RO-1.")
    if settings.volume and not all(environment.get(name) for name in VOLUME_KEYS):
        raise WorkflowError(
            f"--runpod-volume needs the volume's S3 keys in {' and '.join(VOLUME_KEYS)} "
            "(RunPod's console: Settings, S3 API Keys)."
        )
    return Configuration(
        api_key=key,
        endpoints=endpoints,
        base_url=_address(settings.base_url or environment.get(BASE_URL) or Configuration.base_url),
        management_url=_management(settings, environment),
        max_in_flight=settings.max_in_flight,
        poll_interval=settings.poll_interval,
        execution_timeout=settings.execution_timeout,
        queue_timeout=settings.queue_timeout,
        patience=settings.patience,
        overtime=settings.overtime,
        overtime_resends=settings.overtime_resends,
        cancel_timeout=settings.cancel_timeout,
        transfer=settings.transfer,
        bucket=settings.bucket,
        prefix=settings.prefix.strip("/"),
        endpoint_url=settings.endpoint_url,
        region=settings.region,
        volume=settings.volume,
        datacenter=settings.datacenter,
        budget=find_budget(settings.budget, config or {}),
        keep=settings.on_interrupt == "keep",
        fallback=settings.fallback == "local",
    )


def find_budget(setting: float | None, config: Mapping[str, Any]) -> Limit:
    """The setting, or else what the workflow's config says.

    Raises:
        WorkflowError: neither a number of dollars nor none.
    """
    place, given = "--runpod-budget", setting if setting is not None else config.get("budget")
    if setting is None:
        place = "`budget` in the workflow's config"
    if given is None:
        return Limit()
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < float("inf"):
        raise WorkflowError(
            f"{place}: {given!r} is not a number of dollars. --runpod-budget holds whatever the config says "
            "(0: no limit)."
        )
    return Limit(float(given), place)


def read_endpoints(given: list[str]) -> dict[str, str]:
    """`["fold=abc123", "endpoints.yaml"]` to names and ids.

    Raises:
        WorkflowError: an entry that is neither a pair nor such a file.
    """
    endpoints: dict[str, str] = {}
    for entry in given:
        name, equals, endpoint = (part.strip() for part in entry.partition("="))
        if equals:
            endpoints[name] = endpoint
            continue
        try:
            content = yaml.safe_load(Path(entry).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise WorkflowError(
                f"--runpod-endpoints {entry}: no such file. It is written where endpoints are deployed "
                "(`snakefold deploy apply` writes endpoints.lock.yaml); or give NAME=ENDPOINT_ID."
            ) from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise WorkflowError(
                f"--runpod-endpoints {entry}: neither NAME=ENDPOINT_ID nor a YAML file: {error}"
            ) from error
        if isinstance(content, dict) and isinstance(content.get("endpoints"), dict):
            content = content["endpoints"]
        if not isinstance(content, dict):
            raise WorkflowError(f"{entry}: expected a mapping of names to endpoint ids.")
        for key, value in content.items():
            endpoints[str(key)] = str(value.get("id", "") if isinstance(value, dict) else value)
    for name, endpoint in endpoints.items():
        # An id becomes a part of a URL: nothing that could leave its place in it.
        if not name or not endpoint.replace("-", "").replace("_", "").isalnum() or not endpoint.isascii():
            raise WorkflowError(f"--runpod-endpoints: {name}={endpoint}: this is not an endpoint id.")
    return endpoints


def _management(settings: ExecutorSettings, environment: Mapping[str, str]) -> str:
    given = settings.management_url or environment.get(MANAGEMENT_URL)
    if given == "none":
        return ""
    if given:
        return _address(given)
    # Somebody who sends jobs elsewhere than to RunPod has no endpoints there to ask about.
    elsewhere = settings.base_url or environment.get(BASE_URL)
    return "" if elsewhere else Configuration.management_url


def is_safe(url: str) -> bool:
    """Whether nobody on the way can read what is sent there: https, or this machine."""
    parts = urlsplit(url)
    loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
    return parts.scheme == "https" or (parts.scheme == "http" and loopback)


def _address(url: str) -> str:
    parts = urlsplit(url)
    if not is_safe(url):
        raise WorkflowError(f"{url}: the API key is only sent over https (or to this machine).")
    if parts.username or parts.password or parts.query:
        raise WorkflowError("An API's address holds neither a password nor a query.")
    return url.rstrip("/")

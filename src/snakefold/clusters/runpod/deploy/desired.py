"""What endpoints.yaml asks for, as resources of RunPod's management API v2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from snakefold.clusters.runpod.deploy.api import Kind
from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.paths import house
from snakefold.kernel.wording import count
from snakefold.plan.cost.gpus import ClassName, GpuClass, load_classes

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Secret = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
Workers = Annotated[int, Field(ge=0, le=1000)]

_CUDA_IMAGE = re.compile(r"nvidia/cuda:(\d+\.\d+)")
_SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"rpa_\w{8}|AKIA\w{12}|://[^/@\s]+:[^/@\s]+@|X-Amz-Signature", re.IGNORECASE)


class Volume(Model):
    """The network volume: databases, weights, compiled programs and, by default, the worker's store."""

    name: Name
    size_gb: int = Field(ge=10, le=4096, description="It can grow later, and never shrink.")
    data_center: str = Field(description="Workers run only there. It cannot be changed.")
    type: str = "STANDARD"


class Endpoint(Model):
    """One entry of `endpoints`. Seconds, GB."""

    gpu_classes: list[ClassName] = Field(min_length=1, description="Classes of resources/gpus.yaml.")
    endpoint_per_class: bool = Field(
        False, description="An endpoint each, NAME-CLASS, for rules with gpu_class; else one for all classes."
    )
    image: str = Field("", description="Empty: that of the file.")
    args: str = ""
    registry: str | None = Field(None, description="Id of the registry credentials of a private image.")
    disk_gb: int = Field(20, ge=1)
    env: dict[Variable, str] = Field({}, description="Of the worker; secrets have no place here.")
    secrets: dict[Variable, Secret] = Field({}, description="Variable → name of a RunPod secret.")
    workers_max: Workers | dict[ClassName, Workers] = 1
    workers_min: int = Field(0, ge=0, description="Workers that are paid for all the time.")
    idle_timeout: int = Field(10, ge=1, le=3600, description="Paid for after a worker's last job.")
    execution_timeout: int = Field(3600, ge=5, le=604_800, description="Of jobs that ask for none.")
    queue_delay: float = Field(4, ge=0.5, description="A job that waits longer starts a worker.")
    flashboot: bool = True
    min_cuda_version: str | None = Field(
        None, pattern=r"^(any|\d+\.\d+)$", description="Empty: what the image is built on; or any."
    )
    data_centers: list[str] = Field([], description="Empty: any, or that of the volume.")
    use_volume: bool = True

    @field_validator("env")
    @classmethod
    def _no_secrets(cls, env: dict[str, str]) -> dict[str, str]:
        for name, value in env.items():
            if _SECRET_NAME.search(name) or _SECRET_VALUE.search(value):
                raise ValueError(
                    f"{name} looks like a secret: make a RunPod secret of it, and name that under `secrets`"
                )
        return env

    def workers_of(self, gpu_class: str) -> int:
        """workersMax of the endpoint of a class."""
        return self.workers_max.get(gpu_class, 0) if isinstance(self.workers_max, dict) else self.workers_max


class Deployment(Model):
    """endpoints.yaml."""

    prefix: Name = Field("snakefold", description="Of the names in the account.")
    image: str = ""
    volume: Volume | None = None
    endpoints: dict[Name, Endpoint] = Field(min_length=1)

    @model_validator(mode="after")
    def _places_agree(self) -> Deployment:
        for name, endpoint in self.endpoints.items():
            places = endpoint.data_centers
            if self.volume and endpoint.use_volume and places and places != [self.volume.data_center]:
                raise ValueError(
                    f"endpoints.{name}.data_centers: the volume is in {self.volume.data_center}, and workers "
                    "elsewhere cannot mount it; leave data_centers out, or set use_volume: false"
                )
            if isinstance(endpoint.workers_max, dict) and not endpoint.endpoint_per_class:
                raise ValueError(
                    f"endpoints.{name}.workers_max: by class needs endpoint_per_class: true; give one number"
                )
        return self


@dataclass(frozen=True)
class Resource:
    """A resource as it should be. `key` is its logical name; ids of others are put in by `with_ids`."""

    kind: Kind
    key: str
    body: Mapping[str, Any] = field(repr=False)
    uses_volume: bool = False
    dollars_per_second: float = 0.0

    @property
    def name(self) -> str:
        return str(self.body["name"])

    def with_ids(self, template: str, volume: str | None) -> dict[str, Any]:
        """Body of an endpoint that refers to its template and to the volume by id."""
        volumes = [volume] if self.uses_volume and volume else []
        return {**self.body, "templateId": template, "networkVolumes": volumes}


def read_deployment(path: Path, image: str | None = None) -> Deployment:
    """Read and check endpoints.yaml.

    Raises:
        ConfigError: names every wrong entry.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        deployment = Deployment.model_validate(values | ({"image": image} if image else {}))
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError(
            f"{path}: {count(len(lines), 'wrong entry', 'wrong entries')}.\n" + "\n".join(lines)
        ) from None
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    return deployment


def resources(deployment: Deployment, table: Path | None = None) -> list[Resource]:
    """Everything to be had, in the order in which it is made: the volume, then template and endpoint in turn.

    An endpoint has a template of its own: RunPod deletes a template with the endpoint it is bound to.

    Raises:
        ConfigError: no image is set, or a class is unknown or not to be had on RunPod.
    """
    found: list[Resource] = []
    if volume := deployment.volume:
        body = {"name": volume.name, "size": volume.size_gb, "dataCenter": volume.data_center}
        found.append(Resource("volume", "volume", {**body, "type": volume.type}))
    for name, endpoint in deployment.endpoints.items():
        image = endpoint.image or deployment.image
        if not image:
            raise ConfigError(
                f"endpoint {name}: no image is set. Push the worker's image to a registry, and name it as "
                "`image` in endpoints.yaml or with --image."
            )
        classes = load_classes(endpoint.gpu_classes, table)
        for gpu_class in classes:
            if gpu_class.runpod_pool is None:
                raise ConfigError(f"endpoint {name}: GPU class {gpu_class.name} has no runpod_pool.")
        groups = [[one] for one in classes] if endpoint.endpoint_per_class else [classes]
        for group in groups:
            key = f"{name}-{group[0].name}" if endpoint.endpoint_per_class else name
            found += _pair(deployment, endpoint, key, image, group)
    return found


def image_cuda() -> str:
    """CUDA of the image that workers are built on: the one place that says it is the image's own file.

    Raises:
        ConfigError: the file does not name it.
    """
    path = house() / "containers" / "Docker.base"
    found = _CUDA_IMAGE.search(path.read_text(encoding="utf-8"))
    if not found:
        raise ConfigError(f"{path}: expected BASE_IMAGE=…/nvidia/cuda:VERSION-….")
    return found[1]


def _cuda(endpoint: Endpoint) -> str | None:
    if endpoint.min_cuda_version == "any":
        return None
    return endpoint.min_cuda_version or image_cuda()


def _pair(
    deployment: Deployment, endpoint: Endpoint, key: str, image: str, classes: list[GpuClass]
) -> list[Resource]:
    name = f"{deployment.prefix}-{key}"
    volume = deployment.volume if endpoint.use_volume else None
    secrets = {name: f"{{{{ RUNPOD_SECRET_{secret} }}}}" for name, secret in endpoint.secrets.items()}
    template = {
        "name": name,
        "image": image,
        "args": endpoint.args,
        "disk": endpoint.disk_gb,
        "env": {**endpoint.env, **secrets},
        "ports": [],
        "registry": endpoint.registry,
        "serverless": True,
        "startJupyter": False,  # both are on unless one says so
        "startSsh": False,
    }
    body = {
        "name": name,
        "type": "QUEUE",
        "gpu": {
            "pools": [str(one.runpod_pool) for one in classes],
            "count": 1,
            # Always there, so that a version that is no longer asked for is taken back.
            "minCudaVersion": _cuda(endpoint),
        },
        "workers": {
            "min": endpoint.workers_min,
            "max": endpoint.workers_of(classes[0].name),
            "idleTimeout": endpoint.idle_timeout,
        },
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": endpoint.queue_delay},
        "timeout": endpoint.execution_timeout * 1000,
        "flashboot": "FLASHBOOT" if endpoint.flashboot else "OFF",
        "dataCenterIds": [volume.data_center] if volume else endpoint.data_centers,
    }
    price = max(one.dollars_per_second for one in classes)
    return [
        Resource("template", key, template),
        Resource("endpoint", key, body, uses_volume=volume is not None, dollars_per_second=price),
    ]

"""What endpoints.yaml asks for, as resources of RunPod's management API v2."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from snakefold import engines
from snakefold.clusters.runpod.deploy.api import Kind
from snakefold.engines.spec import locked
from snakefold.kernel.contracts import Model
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.paths import house
from snakefold.kernel.wording import count
from snakefold.plan.cost.gpus import ClassName, GpuClass, load_classes

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Secret = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
Workers = Annotated[int, Field(ge=0, le=1000)]

#: Of a lock, what its build of CUDA is told by.
_CUDA_PACKAGES = ("nvidia-cuda-runtime", "nvidia-cuda-runtime-cu12")
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
    engine: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]{0,31})?$",
        description="Engine with an environment of its own, which the image has; empty: snakefold's image.",
    )
    image: str = Field("", description="Empty: that of the file; with `engine`: the endpoint is left out.")
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
    """A resource as it should be. `key` is its logical name; ids of others are put in by `with_ids`.

    `cuda`: of an endpoint, the version that its image needs of a host's driver.
    """

    kind: Kind
    key: str
    body: Mapping[str, Any] = field(repr=False)
    uses_volume: bool = False
    dollars_per_second: float = 0.0
    cuda: str = ""

    @property
    def name(self) -> str:
        return str(self.body["name"])

    def with_ids(self, template: str, volume: str | None) -> dict[str, Any]:
        """Body of an endpoint that refers to its template and to the volume by id."""
        volumes = [volume] if self.uses_volume and volume else []
        return {**self.body, "templateId": template, "networkVolumes": volumes}


@dataclass(frozen=True)
class Wanted:
    """What a command is about.

    Attributes:
        resources: everything to be had, in the order in which it is made.
        left_out: endpoints of the file that stay as they are, and why.
        only: whether endpoints were named: what is no longer in the file stays as well.
    """

    resources: Sequence[Resource]
    left_out: Mapping[str, str] = field(default_factory=dict)
    only: bool = False

    def concerns(self, key: str, endpoints: Collection[str]) -> bool:
        """Whether a resource of that logical name may be changed; `endpoints`: all of the file."""
        owner = _owner(key, endpoints)
        return not self.only if owner is None else owner not in self.left_out


def read_deployment(path: Path, images: Sequence[str] = ()) -> Deployment:
    """Read and check endpoints.yaml.

    Args:
        images: in place of those of the file: IMAGE of the file, or ENDPOINT=IMAGE.

    Raises:
        ConfigError: names every wrong entry.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        deployment = Deployment.model_validate(values)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError(
            f"{path}: {count(len(lines), 'wrong entry', 'wrong entries')}.\n" + "\n".join(lines)
        ) from None
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from error
    for given in images:
        deployment = _with_image(deployment, given)
    return deployment


def _with_image(deployment: Deployment, given: str) -> Deployment:
    name, equals, image = given.rpartition("=")
    if not equals:
        return deployment.model_copy(update={"image": given})
    if name not in deployment.endpoints:
        raise ConfigError(
            f"--image {given}: there is no endpoint {name} in endpoints.yaml; there are: "
            f"{', '.join(deployment.endpoints)}."
        )
    changed = deployment.endpoints[name].model_copy(update={"image": image})
    return deployment.model_copy(update={"endpoints": {**deployment.endpoints, name: changed}})


def resources(
    deployment: Deployment, names: Sequence[str] = (), table: Path | None = None, *, images: bool = True
) -> Wanted:
    """What is to be had: the volume, then template and endpoint in turn.

    An endpoint has a template of its own: RunPod deletes a template with the endpoint it is bound to.

    Args:
        names: of endpoints of the file, which alone are meant; none: all that have an image.
        images: whether images matter; where nothing is made, none needs one.

    Raises:
        ConfigError: an endpoint is not in the file or has no image, or none has one; or a class or an engine
            is unknown, or a class not to be had on RunPod.
    """
    if unknown := sorted(set(names) - set(deployment.endpoints)):
        raise ConfigError(
            f"endpoint {', '.join(unknown)}: is not in endpoints.yaml, which has: "
            f"{', '.join(deployment.endpoints)}."
        )
    found: list[Resource] = []
    if volume := deployment.volume:
        body = {"name": volume.name, "size": volume.size_gb, "dataCenter": volume.data_center}
        found.append(Resource("volume", "volume", {**body, "type": volume.type}))
    left_out: dict[str, str] = {}
    for name, endpoint in deployment.endpoints.items():
        if names and name not in names:
            left_out[name] = "it was not named"
            continue
        image = endpoint.image or ("" if endpoint.engine else deployment.image)
        if not image and images:
            if names:
                raise ConfigError(f"endpoint {name}: no image is set. {_how(name, endpoint)}")
            left_out[name] = f"no image is set. To have it: {_how(name, endpoint)}"
            continue
        classes = load_classes(endpoint.gpu_classes, table)
        for gpu_class in classes:
            if gpu_class.runpod_pool is None:
                raise ConfigError(f"endpoint {name}: GPU class {gpu_class.name} has no runpod_pool.")
        groups = [[one] for one in classes] if endpoint.endpoint_per_class else [classes]
        for group in groups:
            key = f"{name}-{group[0].name}" if endpoint.endpoint_per_class else name
            found += _pair(deployment, endpoint, key, image, group)
    if len(left_out) == len(deployment.endpoints):
        reasons = " ".join(f"Endpoint {name}: {why}" for name, why in left_out.items())
        raise ConfigError(f"no image is set, so there is nothing to deploy. {reasons}")
    return Wanted(found, left_out, bool(names))


def _how(name: str, endpoint: Endpoint) -> str:
    """How an endpoint gets an image."""
    built, given = "containers/build_and_push.sh", "--image IMAGE"
    if endpoint.engine:
        built, given = f"{built} --engine={endpoint.engine}", f"--image {name}=IMAGE"
    return f"Push one to a registry ({built}) and name it as `image` in endpoints.yaml or with {given}."


def _owner(key: str, endpoints: Collection[str]) -> str | None:
    """The endpoint of the file that a logical name, NAME or NAME-CLASS, is of."""
    owners = [name for name in endpoints if key == name or key.startswith(f"{name}-")]
    return max(owners, key=len, default=None)


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


def engine_cuda(name: str) -> str:
    """CUDA that the image of an engine needs: the newest of snakefold's image and of the engine's lock.

    Raises:
        ConfigError: no such engine is installed, or it has no environment of its own.
    """
    engine = engines.find(name)
    if engine is None or engine.environment is None:
        own = [each for each in engines.names() if engines.get(each).environment is not None]
        raise ConfigError(
            f"engine {name}: expected an engine that is installed and has an environment of its own: "
            f"{', '.join(own) or 'there is none'}. Others need no `engine` in endpoints.yaml."
        )
    versions = locked(engine.environment.lock)
    found = [image_cuda()]
    for package in _CUDA_PACKAGES:
        found += [".".join(version.split(".")[:2]) for version in versions.get(package, [])]
    return max(found, key=version_of)


def version_of(text: str) -> tuple[int, ...]:
    """A version of CUDA, to be compared."""
    return tuple(map(int, text.split(".")))


def _pair(
    deployment: Deployment, endpoint: Endpoint, key: str, image: str, classes: list[GpuClass]
) -> list[Resource]:
    name = f"{deployment.prefix}-{key}"
    volume = deployment.volume if endpoint.use_volume else None
    cuda = engine_cuda(endpoint.engine) if endpoint.engine else image_cuda()
    asked = None if endpoint.min_cuda_version == "any" else endpoint.min_cuda_version or cuda
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
            "minCudaVersion": asked,
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
        Resource("endpoint", key, body, volume is not None, dollars_per_second=price, cuda=cuda),
    ]

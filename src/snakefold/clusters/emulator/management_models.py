"""Bodies of the management API v2 as its OpenAPI document has them; keys it does not have are refused."""

from __future__ import annotations

import datetime
import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from snakefold.clusters.emulator.worker import POOLS

Name = Annotated[str, Field(min_length=1)]
CudaVersion = Annotated[str, Field(pattern=r"^\d+\.\d+$")]
FlashBoot = Literal["OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """Only what the caller sent: a PATCH leaves the rest as it is."""
        return self.model_dump(exclude_unset=True)


class Container(Body):
    args: str = ""
    disk: Annotated[int, Field(ge=1)] = 20
    env: dict[str, str] = {}
    image: str = ""
    ports: list[str] = []
    registry: str | None = None


class PersistentMount(Body):
    size: Annotated[int, Field(ge=10)]
    path: str


class TemplateMounts(Body):
    persistent: PersistentMount | None = None


class UpdateTemplate(Container):
    name: Name = ""
    allowedCudaVersions: list[CudaVersion] = []
    category: Literal["CPU", "NVIDIA", "AMD"] = "NVIDIA"
    mounts: TemplateMounts = TemplateMounts()
    public: bool = False
    serverless: bool = False
    startJupyter: bool = True
    startSsh: bool = True


class CreateTemplate(UpdateTemplate):
    name: Name
    image: str


class UpdateGpu(Body):
    pools: Annotated[list[str], Field(min_length=1)] = []
    excludedTypes: list[str] = []
    count: Annotated[int, Field(ge=1)] = 1
    allowedCudaVersions: list[CudaVersion] = []
    minCudaVersion: Annotated[str, Field(pattern=r"^$|^\d+\.\d+$")] | None = None

    @model_validator(mode="after")
    def types_need_pools(self) -> UpdateGpu:
        if "excludedTypes" in self.model_fields_set and "pools" not in self.model_fields_set:
            raise ValueError("excludedTypes requires pools")
        return self


class CreateGpu(UpdateGpu):
    pools: Annotated[list[str], Field(min_length=1)]


class EndpointWorkers(Body):
    min: Annotated[int, Field(ge=0)] = 0
    max: Annotated[int, Field(ge=0)] = 3
    idleTimeout: Annotated[int, Field(ge=1, le=3600)] = 10


class QueueDelay(Body):
    type: Literal["QUEUE_DELAY"]
    queueDelay: Annotated[float, Field(ge=0.5)]

    @field_validator("queueDelay", mode="before")
    @classmethod
    def whole_numbers_too(cls, value: Any) -> Any:
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


class RequestCount(Body):
    type: Literal["REQUEST_COUNT"]
    requestCount: Annotated[int, Field(ge=1)]


EndpointScaling = Annotated[QueueDelay | RequestCount, Field(discriminator="type")]


class UpdateEndpoint(Container):
    name: Name = ""
    gpu: UpdateGpu | None = None
    cpu: list[dict[str, Any]] | None = None
    dataCenterIds: list[str] = []
    flashboot: FlashBoot = "OFF"
    networkVolumes: list[str] = []
    scaling: EndpointScaling | None = None
    templateId: Name | None = None
    timeout: int = 300_000
    workers: EndpointWorkers = EndpointWorkers()


class CreateEndpoint(UpdateEndpoint):
    name: Name
    type: Literal["QUEUE", "LOAD_BALANCER"]
    scaling: EndpointScaling
    gpu: CreateGpu | None = None

    @model_validator(mode="after")
    def has_an_image(self) -> CreateEndpoint:
        if self.templateId is None and not self.image:
            raise ValueError("image is required unless templateId is set")
        return self


class UpdateVolume(Body):
    name: Name = ""
    size: Annotated[int, Field(ge=10, le=4096)] = 10

    @model_validator(mode="after")
    def says_something(self) -> UpdateVolume:
        if not self.model_fields_set:
            raise ValueError("at least one field must be given")
        return self


class CreateVolume(Body):
    name: Name
    size: Annotated[int, Field(ge=10, le=4096)]
    dataCenter: Name
    type: Literal["STANDARD", "HIGH_PERFORMANCE"] = "STANDARD"


DATA_CENTERS = ("EU-RO-1", "EU-CZ-1", "US-KS-2", "US-TX-3", "CA-MTL-3")


def new_record(name: str, pool: str) -> dict[str, Any]:
    gpu = {"pools": [pool] if pool else [], "count": 1, "allowedCudaVersions": [], "minCudaVersion": None}
    return {
        "id": name, "name": name, "type": "QUEUE", "pool": pool, "gpu": gpu,
        "args": "", "disk": 20, "env": {}, "image": "", "ports": [], "registry": None,
        "dataCenterIds": [], "networkVolumes": [], "flashboot": "OFF", "createdAt": iso(None),
    }  # fmt: skip


def gpus() -> list[dict[str, Any]]:
    return [
        {
            "id": card, "name": card.removeprefix("NVIDIA "), "pool": pool, "manufacturer": "NVIDIA",
            "memory": memory, "secure": True, "community": False, "maxCount": {"secure": 8, "community": 0},
            "price": {"secure": round(price * 3600, 2), "community": 0, "serverless": round(price * 3600, 4)},
        }
        for pool, (price, card, memory) in POOLS.items()
    ]  # fmt: skip


def data_centers() -> list[dict[str, Any]]:
    return [
        {
            "id": place, "name": place, "region": place.split("-")[0], "networkVolumeTypes": ["STANDARD"],
            "compliance": [], "globalNetwork": True,
        }
        for place in DATA_CENTERS
    ]  # fmt: skip


def new_id() -> str:
    return secrets.token_hex(7)


def iso(moment: float | None) -> str:
    when = (
        datetime.datetime.now(datetime.UTC)
        if moment is None
        else datetime.datetime.fromtimestamp(moment, datetime.UTC)
    )
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")

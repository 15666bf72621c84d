"""Records and catalogues of the management API v2, as it lists them."""

from __future__ import annotations

import datetime
import secrets
from typing import Any

from snakefold.clusters.emulator.scaling import POOLS

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

"""The endpoint of a task that is no folding, by the same command: what the seed's own template asked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from snakefold.cli import main

from .deploying import account

IMAGE = "registry/snakefold-images:1"
FILE = Path(__file__).resolve().parents[2] / "plugins" / "snakefold-images" / "endpoints.yaml"


def test_image_editing_is_deployed_from_its_own_file(tmp_path, monkeypatch, capsys):
    with account(tmp_path, monkeypatch, capsys) as place:
        file = Path(shutil.copy(FILE, tmp_path / "images.yaml"))
        wanted = yaml.safe_load(file.read_text())
        place.account.secrets += wanted["endpoints"]["images"]["secrets"].values()
        words = ["--endpoints", str(file), "--image", IMAGE]
        assert main(["deploy", "apply", *words, "--yes"]) == 0
        made = place.records()["snakefold-images-images"]
        assert made["workers"] == {"min": 0, "max": 3, "idleTimeout": 5}
        (template,) = place.account.templates.values()
        assert IMAGE in template.values() and 20 in template.values()
        (volume,) = place.account.volumes.values()
        assert volume["size"] == 50
        names = {"STORAGE_ACCESS_KEY", "STORAGE_SECRET_KEY", "GPU_CALLBACK_SECRET", "HF_TOKEN"}
        assert {name for name, value in made["env"].items() if value.startswith("{{ RUNPOD_SECRET_")} == names
        assert made["env"]["BATCH_CONCURRENCY"] == "4"
        assert main(["deploy", "plan", "--check", *words]) == 0

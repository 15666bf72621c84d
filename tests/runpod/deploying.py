"""What the tests of `snakefold deploy` share: an account of the emulated service, a file, and the command."""

from __future__ import annotations

import contextlib
from pathlib import Path

import yaml

from snakefold.cli import main
from snakefold.clusters.emulator import EmulatorThread, Scaling

from .helpers import environment_of

SECRET = "sk_live_this_is_a_secret"  # noqa: S105
BASE = {
    "prefix": "test",
    "image": "registry/worker:1",
    "volume": {"name": "test", "size_gb": 50, "data_center": "EU-RO-1"},
    "endpoints": {
        "fold": {
            "gpu_classes": ["ampere_24", "ada_48_pro"],
            "endpoint_per_class": True,
            "workers_max": 2,
            "env": {"SNAKEFOLD_THREADS": "8"},
            "secrets": {"AWS_SECRET_ACCESS_KEY": "s3_key"},
        },
        "mmseqs": {"gpu_classes": ["ada_24", "ampere_24"], "use_volume": False},
    },
}


class Place:
    """An account, endpoints.yaml, and the command."""

    def __init__(self, service: EmulatorThread, folder: Path, monkeypatch, capsys):
        self.service, self.file, self.capsys = service, folder / "endpoints.yaml", capsys
        self.lock = folder / "endpoints.lock.yaml"
        self.account = service.emulator.account
        self.account.secrets.append("s3_key")
        for name, value in environment_of(service).items():
            monkeypatch.setenv(name, value)
        self.write()

    def write(self, **changes):
        """endpoints.yaml, with entries changed: `endpoints__fold__workers_max=3`; None removes."""
        content = yaml.safe_load(yaml.safe_dump(BASE))
        for path, value in changes.items():
            *above, last = path.split("__")
            place = content
            for name in above:
                place = place[name]
            place[last] = value
            if value is None:
                del place[last]
        self.file.write_text(yaml.safe_dump(content))

    def run(self, action, *arguments):
        """Exit code and what was said, on both channels."""
        code = main(["deploy", action, "--file", str(self.file), *arguments])
        said = self.capsys.readouterr()
        assert SECRET not in said.out + said.err
        assert self.service.api_key not in said.out + said.err
        return code, said.out + said.err

    def records(self):
        return {record["name"]: record for record in self.account.endpoints.values()}

    def writes(self):
        """What the account holds, to see that nothing was changed."""
        return repr((self.account.templates, self.account.endpoint_records(), self.account.volumes))


@contextlib.contextmanager
def account(tmp_path, monkeypatch, capsys, **settings):
    with EmulatorThread({"theirs": {"scaling": Scaling(workers_max=1)}}, **settings) as service:
        yield Place(service, tmp_path, monkeypatch, capsys)

"""Starts jobs as snakemake_executor_plugin_pod does, in containers of the image $POD_IMAGE, by $POD_PROGRAM.

As in a pod on a cluster, the working directory is an empty volume. It is the folder `work` of the job's, so
that a test can look at it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from snakemake_executor_plugin_pod import Executor as Pods
from snakemake_executor_plugin_pod import common_settings

__all__ = ["Executor", "common_settings"]

#: User of the image.
_USER = 1001


class Executor(Pods):
    """Containers that share nothing with this machine but its network."""

    def start(
        self, pod: Path, command: str, given: Mapping[str, str], log: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a job's command; variables are told by name, so that no process list has their values."""
        os.chown(pod / "work", _USER, _USER)
        names = sorted(given.keys() - {"PATH"})
        words = [
            *(
                *json.loads(os.environ["POD_PROGRAM"]),
                f"--volume={pod / 'work'}:/workdir",
                "--workdir=/workdir",
            ),
            *(f"--env={name}" for name in names),
            *(os.environ["POD_IMAGE"], "/bin/sh", "-c", command),
        ]
        (pod / "words").write_text(json.dumps(words))
        return subprocess.Popen(
            words,
            env={**os.environ, **given},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

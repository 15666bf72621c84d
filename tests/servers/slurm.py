"""SLURM: a real munged, slurmctld, one slurmd a node, and slurmdbd on MariaDB where jobs are accounted for.

Everything is in one folder and on ports of its own, and run by the user who runs the tests. The file of a GPU
must be a character device; those that every machine has will do.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import psutil

from tests.servers.processes import ends_with_parent, free_ports

_ENTRY = re.compile(r"(\S+?)=(\S*)")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")


@dataclass(frozen=True)
class Node:
    """A node with some GPUs of one type, all of them in the partitions `cpu`, `gpu` and `hidden`."""

    name: str
    gpu_type: str
    gpus: int = 1
    cpus: int = 4
    memory_mb: int = 64_000


@dataclass(frozen=True)
class Job:
    """What slurmctld wrote down about a job, or about one of its attempts, when it ended.

    Times are seconds since 1970; a job that never started has both equal.
    """

    id: str
    state: str
    partition: str
    node: str
    start: float
    end: float


class Slurm:
    """One cluster named `name`. `bin` and `environment` are for those who use it."""

    def __init__(self, folder: Path, nodes: Sequence[Node], *, accounting: bool = False) -> None:
        self.folder, self.nodes, self.accounting = folder, tuple(nodes), accounting
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = free_ports(len(nodes) + 3)
        for name in ("state", "log", "bin", "munge", *(f"spool-{node.name}" for node in nodes)):
            (folder / name).mkdir(parents=True)
        # munged looks at every folder above its socket.
        (folder / "munge").chmod(0o755)
        key = folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (folder / "slurm.conf").write_text(self._configuration())
        (folder / "gres.conf").write_text(self._gres())
        (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
        self._srun()

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a shell on the login node."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def start(self) -> None:
        """Start every daemon and wait until all nodes are idle."""
        self._start(
            *("munged", "--foreground", "--force", f"--socket={self._socket}"),
            *(
                f"--{name}={self.folder / 'munge' / name.partition('-')[0]}"
                for name in ("key-file", "seed-file")
            ),
            *(f"--pid-file={self.folder / 'munge' / 'pid'}", f"--log-file={self.folder / 'log' / 'munged'}"),
        )
        self._wait("munged", self._socket.exists)
        if self.accounting:
            self._start_accounting()
        self._start("slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
        for node in self.nodes:
            self.start_node(node.name)
        self._wait("slurmctld", lambda: set(self.node_states().values()) == {"idle"})

    def start_node(self, name: str) -> None:
        """Start a node's slurmd."""
        self._start("slurmd", "-D", "-N", name, "-f", str(self.folder / "slurm.conf"), name=name)

    def fail_node(self, name: str) -> None:
        """Let a node die with all that runs on it: slurmctld notices when it does not answer."""
        process = self._processes.pop(name)
        # The daemons first: a step's would still report what became of its tasks.
        daemons, tasks = {psutil.Process(process.pid)}, set()
        for task in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                variables = task.environ()
                if variables.get("SLURMD_NODENAME") == name and self._is_ours(variables):
                    tasks.add(task)
                    daemons |= {each for each in task.parents() if each.name() == "slurmstepd"}
        for each in (*daemons, *tasks):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()

    def call(self, *command: str) -> str:
        """Output of one of SLURM's commands."""
        return subprocess.run(
            command,
            env=os.environ | self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        ).stdout

    def node_states(self) -> dict[str, str]:
        """State of every node by its name; empty while slurmctld does not answer."""
        try:
            return dict(line.split() for line in self.call("sinfo", "-h", "-N", "-o", "%N %t").splitlines())
        except subprocess.CalledProcessError:
            return {}

    def jobs(self) -> list[dict[str, str]]:
        """What slurmctld knows of every job, ended ones included, in scontrol's words.

        `GRES`, which only running jobs have, is what they were given.
        """
        said = self.call("scontrol", "--details", "--oneliner", "show", "jobs")
        return [dict(_ENTRY.findall(line)) for line in said.splitlines() if line.startswith("JobId=")]

    def ended(self) -> list[Job]:
        """Every attempt of every job that is over, by jobcomp/filetxt."""
        path = self.folder / "log" / "jobs"
        return [_job(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def stop(self) -> None:
        """End every job and every daemon, in the order in which they depend on one another."""
        with contextlib.suppress(subprocess.SubprocessError):
            self.call("scancel", f"--user={getuser()}")
        for node in self.nodes:
            if node.name in self._processes:
                self.fail_node(node.name)
        for name in reversed(list(self._processes)):
            process = self._processes.pop(name)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def _socket(self) -> Path:
        return self.folder / "munge" / "socket"

    def _configuration(self) -> str:
        host, folder = socket.gethostname().partition(".")[0], self.folder
        accounts = "slurmdbd" if self.accounting else "none"
        lines = [
            *("ClusterName=test", f"SlurmctldHost={host}(127.0.0.1)", f"SlurmctldPort={self._ports[0]}"),
            *(f"SlurmUser={getuser()}", f"SlurmdUser={getuser()}"),
            *("AuthType=auth/munge", f"AuthInfo=socket={self._socket}", "CredType=cred/munge"),
            *("MpiDefault=none", "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none"),
            *("SelectType=select/cons_tres", "SelectTypeParameters=CR_Core_Memory", "GresTypes=gpu"),
            "SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1",
            # The machine has fewer CPUs than its nodes say.
            *("SlurmdParameters=config_overrides", "ReturnToService=2", "KillWait=1", "MinJobAge=86400"),
            # A node that is slow to answer on a busy machine has not failed.
            "SlurmdTimeout=20",
            *(f"StateSaveLocation={folder / 'state'}", f"SlurmdSpoolDir={folder}/spool-%n"),
            *(f"SlurmctldPidFile={folder / 'slurmctld.pid'}", f"SlurmdPidFile={folder}/slurmd-%n.pid"),
            *(f"SlurmctldLogFile={folder / 'log' / 'slurmctld'}", f"SlurmdLogFile={folder}/log/slurmd-%n"),
            *("JobCompType=jobcomp/filetxt", f"JobCompLoc={folder / 'log' / 'jobs'}"),
            f"AccountingStorageType=accounting_storage/{accounts}",
        ]
        if self.accounting:
            lines += ["AccountingStorageHost=localhost", f"AccountingStoragePort={self._ports[1]}"]
            # For slurmdbd, the socket of munge is called a password.
            lines += ["AccountingStorageTRES=gres/gpu", f"AccountingStoragePass={self._socket}"]
            lines.append("JobAcctGatherType=jobacct_gather/linux")
        lines += [
            f"NodeName={node.name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={node.cpus} "
            f"RealMemory={node.memory_mb} Gres=gpu:{node.gpu_type}:{node.gpus} Feature={node.gpu_type}"
            for node, port in zip(self.nodes, self._ports[3:], strict=True)
        ]
        lines += [f"PartitionName={name} Nodes=ALL MaxTime=INFINITE" for name in ("cpu", "gpu")]
        lines.append("PartitionName=hidden Nodes=ALL MaxTime=INFINITE Hidden=YES")
        return "\n".join(lines) + "\n"

    def _gres(self) -> str:
        lines = ["AutoDetect=off"]
        for node in self.nodes:
            for device in _DEVICES[: node.gpus]:
                lines.append(f"NodeName={node.name} Name=gpu Type={node.gpu_type} File={device}")
        return "\n".join(lines) + "\n"

    def _srun(self) -> None:
        """The step that the executor plugin starts in a job loses SLURM_CONF; elsewhere it needs none."""
        path = self.folder / "bin" / "srun"
        path.write_text(
            f'#!/bin/sh\nSLURM_CONF="{self.folder}/slurm.conf" exec {shutil.which("srun")} "$@"\n'
        )
        path.chmod(0o755)

    def _start_accounting(self) -> None:
        database, mysql = self.folder / "mysql", self.folder / "mysql.sock"
        install = ("mariadb-install-db", "--no-defaults", f"--user={getuser()}", f"--datadir={database}")
        subprocess.run(
            [*install, "--skip-test-db", "--auth-root-authentication-method=normal"],
            check=True,
            capture_output=True,
            timeout=1800,
        )
        self._start(
            *("mariadbd", "--no-defaults", f"--user={getuser()}", f"--datadir={database}"),
            *(f"--socket={mysql}", f"--port={self._ports[2]}", "--bind-address=127.0.0.1"),
            *("--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0"),
            f"--pid-file={self.folder / 'mariadbd.pid'}",
        )
        self._wait("mariadbd", mysql.exists)
        password = secrets.token_hex(8)
        subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={mysql}", "--user=root"],
            input="CREATE DATABASE slurm; "
            f"CREATE USER slurm@localhost IDENTIFIED BY '{password}'; "
            f"CREATE USER slurm@'127.0.0.1' IDENTIFIED BY '{password}'; "
            "GRANT ALL ON slurm.* TO slurm@localhost, slurm@'127.0.0.1';",
            text=True,
            check=True,
            timeout=600,
        )
        configuration = self.folder / "slurmdbd.conf"
        configuration.touch(0o600)
        lines = [
            *("AuthType=auth/munge", f"AuthInfo=socket={self._socket}", f"SlurmUser={getuser()}"),
            *("DbdHost=localhost", f"DbdPort={self._ports[1]}", f"PidFile={self.folder / 'slurmdbd.pid'}"),
            *("StorageType=accounting_storage/mysql", "StorageHost=127.0.0.1", "StorageUser=slurm"),
            *(f"StoragePort={self._ports[2]}", f"StoragePass={password}", "StorageLoc=slurm"),
        ]
        configuration.write_text("\n".join(lines) + "\n")
        # slurmdbd has no option for the place of its file.
        self._start("slurmdbd", "-D", environment={"SLURM_CONF": str(self.folder / "slurm.conf")})
        self._wait("slurmdbd", lambda: self._answers("sacctmgr", "show", "account"))
        # An account for whoever runs this, who has `root` from the start.
        for entity in ("cluster test", "account lab cluster=test", f"user {getuser()} account=lab"):
            self.call("sacctmgr", "--immediate", "add", *entity.split())

    def _answers(self, *command: str) -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            return bool(self.call(*command))
        return False

    def _is_ours(self, variables: dict[str, str]) -> bool:
        return variables.get("SLURM_CONF") == str(self.folder / "slurm.conf")

    def _start(self, *command: str, name: str = "", environment: dict[str, str] | None = None) -> None:
        name = name or command[0]
        with (self.folder / "log" / f"{name}.out").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*ends_with_parent(), *command],
                cwd=self.folder,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait(self, name: str, is_ready: Callable[[], bool], timeout: float = 600) -> None:
        deadline = time.monotonic() + timeout
        while not is_ready():
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log" / f"{name}.out").read_text(errors="replace").splitlines()[-10:]
                self.stop()
                raise RuntimeError(f"{name} did not start:\n" + "\n".join(said))
            time.sleep(0.05)


@contextlib.contextmanager
def running(folder: Path, nodes: Sequence[Node], *, accounting: bool = False) -> Iterator[Slurm]:
    """A cluster that is stopped whatever happens."""
    slurm = Slurm(folder, nodes, accounting=accounting)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


def _job(line: str) -> Job:
    entries = dict(item.partition("=")[::2] for item in line.split())
    start, end = (
        time.mktime(time.strptime(entries[name], "%Y-%m-%dT%H:%M:%S")) if entries[name] != "Unknown" else 0.0
        for name in ("StartTime", "EndTime")
    )
    return Job(entries["JobId"], entries["JobState"], entries["Partition"], entries["NodeList"], start, end)

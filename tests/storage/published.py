"""A results folder to publish, and what a bucket has of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from snakefold.run.publish import Published, open_destination, publish
from snakefold.run.publish.publisher import MANIFEST
from tests.servers.s3_proxy import Proxy
from tests.servers.seaweedfs import SeaweedFS

#: As a run leaves them. What is published first, then what stays here.
PRODUCTS = {
    "config.yaml": b"results: results\n",
    "metrics.tsv": b"id\trehearsal\na\tTrue\nb\tTrue\n",
    "metrics.parquet": b"PAR1\0\xffPAR1",
    "failures.tsv": b"id\tstate\treason\tmessage\tsource\n",
    "figures/plddt.svg": b"<svg/>",
    "multiqc/snakefold_general_mqc.json": b"{}",
    "plan/targets.tsv": b"id\n",
    "report/index.html": b"<h1>REHEARSAL</h1>",
    "report/assets/run.js": b"snakefold.start()",
    "report/data/a.js": b"a()",
    "ro-crate-metadata.json": b"{}",
    "structures/a/ranked_0.pdb": b"REMARK REHEARSAL\n",
    "structures/a/pae.npz": b"",
    "structures/b/ranked_0.pdb": b"REMARK REHEARSAL\n",
    "workflow/Snakefile": b"rule all:\n",
}
OTHERS = {
    "logs/plan.log": b"",
    "metrics.tsv.bak": b"",
    "msa/m0001.json": b"{}",
    "plan/batches/b0001.json": b"{}",
    "plan/weights.json": b"{}",
    "predictions/b0001.tar.zst": b"",
    "requests/b0001/request.json": b"{}",
    "store/fold/x/ab/abc": b"",
    "structures/.a.1234.part": b"half",
    "structures/gone/ranked_0.pdb": b"a target of an earlier run\n",
    "summary.txt": b"report:  file:///home/somebody/results/report/index.html\n",
    "tables/b0001.parquet": b"",
}
SUMMARY = b"""\
REHEARSAL: random parameters, the structures mean nothing.
done:    2 targets
failed:  0 targets
refused: 0 records
report:  report/index.html
"""
ALL = {**PRODUCTS, "summary.txt": SUMMARY}


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def send(results: Path, location: str) -> Published:
    return publish(results, open_destination(location), print)


def there(server: SeaweedFS, location: str) -> dict[str, bytes]:
    """Objects below a location's prefix, by name."""
    bucket, prefix = place_of(location)
    client = server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    names = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {
        name.removeprefix(prefix): client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names
    }


def place_of(location: str) -> tuple[str, str]:
    """Bucket, and prefix with its slash."""
    bucket, _, prefix = location.partition("?")[0].removeprefix("s3://").partition("/")
    return bucket, f"{prefix}/"


def prefix_of(location: str) -> str:
    return place_of(location)[1]


def named(found: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the manifest names, every size and sum compared."""
    head, *rows = [line.split("\t") for line in found[MANIFEST].decode().splitlines()]
    assert head == ["path", "size", "sha256"]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    for name, size, sha256 in rows:
        assert (len(found[name]), hashlib.sha256(found[name]).hexdigest()) == (int(size), sha256), name
    return {row[0]: found[row[0]] for row in rows}


def writes(proxy: Proxy, location: str) -> list[str]:
    """Objects that were written or removed through a proxy, in order; a removed one as `-name`."""
    start = "/{}/{}".format(*place_of(location))
    marks = {"PUT": "", "DELETE": "-"}
    return [
        marks[asked.method] + asked.path.removeprefix(start)
        for asked in proxy.seen
        # To begin and give up an upload (?uploads, ?uploadId) writes nothing.
        if asked.method in marks and asked.status in (200, 204) and "?" not in asked.path
        if asked.path.startswith(start)
    ]

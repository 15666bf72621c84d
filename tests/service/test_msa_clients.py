"""Programs that ask an MSA server run unchanged against this one, to the end: `colabfold_batch` and `boltz`.

Their networks have random parameters; what they made of the answers is compared.
"""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from families import THIOREDOXIN, UBIQUITIN
from serving import Serving, colabfold_databases, running

from snakefold.engines import environments
from snakefold.engines.boltz2 import ENGINE as BOLTZ
from snakefold.kernel import archive, recipes
from snakefold.kernel.recipes import sequence_key
from snakefold.kernel.store import Entry
from snakefold.msa import a3m
from snakefold.msa.settings import MsaSettings
from snakefold.service.msa.pairing import paired
from snakefold.service.msa.search import searches
from tests.engine.conftest import colabfold_batch, weights_folder

__all__ = ["colabfold_batch", "weights_folder"]  # fixtures

#: Short, so that a network on a CPU is quick; long enough to find relatives.
FIRST, SECOND = UBIQUITIN[:44], THIOREDOXIN[:48]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with ColabFold's recipe."""
    root = colabfold_databases(tmp_path_factory.mktemp("databases"))
    settings = MsaSettings(tool="mmseqs", db_preset="colabfold", db_root=str(root), threads=2)
    with running(tmp_path_factory.mktemp("served"), settings) as server:
        # Clients find these tickets complete: they wait ten seconds for one that is not.
        for kind, mode in (("pair", "pairgreedy"), ("pair", "pairgreedy-env"), ("msa", "env")):
            assert server.wait(server.ask(kind, mode, FIRST, SECOND)) == "COMPLETE"
        yield server


def entry_of(serving: Serving, sequence: str, name: str) -> a3m.Msa:
    """An alignment of a chain in the store."""
    entry = Entry("msa", recipes.digest(searches(serving.served.msa).pairing or {}), sequence_key([sequence]))
    files = archive.unpack(serving.store.get(entry) or b"")
    return a3m.parse_a3m(files[name].decode())


def rows(serving: Serving, sequence: str, name: str) -> list[str]:
    return list(entry_of(serving, sequence, name).rows)


def test_colabfold_batch(serving: Serving, colabfold_batch: Callable[..., None], tmp_path: Path) -> None:
    before = len(serving.log)
    (tmp_path / "query.csv").write_text(f"id,sequence\ncomplex,{FIRST}:{SECOND}\n")
    colabfold_batch(
        tmp_path / "query.csv",
        tmp_path / "results",
        *("--host-url", serving.url, "--num-models", "1", "--num-recycle", "0", "--max-msa", "8:16"),
    )
    assert len(serving.log) == before  # nothing was searched
    assert len(list((tmp_path / "results").glob("complex_unrelaxed_rank_001_*.pdb"))) == 1
    # ColabFold's own A3M of the complex: paired rows over both chains, then rows of each.
    lines = (tmp_path / "results" / "complex.a3m").read_text().splitlines()
    assert lines[0] == f"#{len(FIRST)},{len(SECOND)}\t1,1"
    whole = [line for line in lines[1:] if line[0] != ">"]
    own = rows(serving, FIRST, "msa.a3m")
    alone = [row for row in whole if row.endswith("-" * len(SECOND))]
    assert len(own) > 10
    assert [row[: -len(SECOND)] for row in alone if row[: -len(SECOND)] != FIRST] == own[1:]
    pairs = [row for row in whole[1:] if row.strip("-") and row not in alone and row[0] != "-" * len(FIRST)]
    best = rows(serving, FIRST, "pairing.a3m")[1]
    assert any(row.startswith(best) and not row.endswith("-" * len(SECOND)) for row in pairs)


@pytest.mark.needs("boltz2")
def test_boltz_predict(serving: Serving, tmp_path: Path) -> None:
    place = environments.place_of(BOLTZ)
    assert place.prefix is not None
    python = environments.interpreter(place.prefix)
    variables = {**environments.variables(BOLTZ, place.prefix), "OMP_NUM_THREADS": "1"}
    weights = tmp_path / "weights"
    draw = (
        "import sys, pathlib\nfrom snakefold.engines.boltz2 import rehearsal\n"
        "folder = pathlib.Path(sys.argv[1])\nrehearsal.declare(folder)\nrehearsal.draw(folder)\n"
        # Boltz fetches what is missing, whether or not it needs it.
        "(folder / 'boltz2' / 'boltz2_aff.ckpt').write_text('none')\n"
    )
    proteins = [{"protein": {"id": name, "sequence": text}} for name, text in (("A", FIRST), ("B", SECOND))]
    (tmp_path / "pair.yaml").write_text(json.dumps({"version": 1, "sequences": proteins}))
    predict = [
        *(python.with_name("boltz"), "predict", tmp_path / "pair.yaml", "--cache", weights / "boltz2"),
        *("--use_msa_server", "--msa_server_url", serving.url, "--out_dir", tmp_path / "out"),
        *("--accelerator", "cpu", "--recycling_steps", "0", "--sampling_steps", "2"),
        *("--diffusion_samples", "1", "--num_workers", "0", "--preprocessing-threads", "1"),
    ]
    before = len(serving.log)
    for command in ([python, "-c", draw, weights], predict):
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, env=variables, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert len(serving.log) == before
    out = tmp_path / "out" / "boltz_results_pair"
    assert (out / "predictions" / "pair" / "pair_model_0.cif").is_file()
    # The CSV that Boltz made of the answers: the paired rows with their keys, then those of the chain.
    with (out / "msa" / "pair_0.csv").open() as stream:
        table = [(int(row["key"]), row["sequence"]) for row in csv.DictReader(stream)]
    chains = [entry_of(serving, each, "pairing.a3m") for each in (FIRST, SECOND)]
    expected = paired(chains, complete=False)[0].rows[1:]
    assert len(expected) > 5
    assert [row for key, row in table if key > 0] == [row for row in expected if row.strip("-")]
    assert [row for key, row in table if key == -1 and row != FIRST] == rows(serving, FIRST, "msa.a3m")[1:]

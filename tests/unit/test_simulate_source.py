"""Where the work of a simulation comes from, its picture, and its command."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from snakefold import engines
from snakefold.cli import main
from snakefold.config import load_config
from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.cost.gpus import load_classes
from snakefold.plan.cost.model import CostModel
from snakefold.plan.planner import make_plan
from snakefold.plan.present import Recipes
from snakefold.plan.simulate import source
from snakefold.plan.simulate.cluster import Cluster, Pool
from snakefold.plan.simulate.gantt import COLOURS, draw
from snakefold.plan.simulate.model import PARTS, simulate
from snakefold.plan.simulate.prices import Prices, prices_of
from snakefold.plan.simulate.source import DISTRIBUTIONS, draw_lengths

CLASSES = ["ada_24", "ampere_80"]


def prices(**values) -> Prices:
    config = load_config({"gpu": {"classes": CLASSES, "workers": 3}, **values})
    return prices_of(config, CostModel(), {gpu.name: gpu for gpu in load_classes(CLASSES)}, rehearsal=False)


def cluster(workers: int = 3) -> Cluster:
    return Cluster({name: Pool(workers, 30.0, 0.0005) for name in CLASSES}, cores=4)


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    """Thirty monomers, a homodimer and a heterodimer, and a duplicate."""
    random = np.random.default_rng(2)
    sequences = [
        "".join(random.choice(list("ACDEFGHIKLMNPQRSTVWY"), length))
        for length in random.integers(40, 500, 32)
    ]
    monomers = sequences[:30]
    records = [*monomers, monomers[0], f"{sequences[30]}:{sequences[30]}", f"{sequences[30]}:{sequences[31]}"]
    path = tmp_path / "set.fasta"
    path.write_text("".join(f">t{number}\n{text}\n" for number, text in enumerate(records)))
    return path


def test_a_plan_is_simulated_as_it_stands(fasta, tmp_path):
    price = prices(input=str(fasta), msa={"tool": "jackhmmer", "db_preset": "reduced_dbs", "chunk_size": 8})
    make_plan(price.config, tmp_path / "plan", name=lambda _: Recipes(["0", "1"] * 2, "2", "3", [False] * 4))
    workload = source.from_plan(tmp_path / "plan", price)
    with (tmp_path / "plan" / "batches.tsv").open(newline="") as stream:
        rows = {row["batch"]: row for row in csv.DictReader(stream, delimiter="\t")}
    assert workload.targets == 32
    assert [job.name for job in workload.jobs] == list(rows)
    for job in workload.jobs:
        row = rows[job.name]
        assert (job.gpu, len(job.shapes)) == (row["gpu"], int(row["targets"]))
        assert len(job.searches) == len(row["chunks"].split(","))
        # The plan's own figure for the batch starts with its worker.
        assert job.seconds == pytest.approx(float(row["seconds"]), rel=0.35, abs=60)
    # Chunks whose rows are paired search one database more.
    unpaired = price.model.msa_seconds([300], price.config.msa)
    paired = price.model.msa_seconds([300], price.config.msa, pairing=True)
    assert paired > unpaired
    assert workload.searches.sum() > 1000
    assert source.from_sequences(price).targets == 32


def test_a_folder_without_a_plan_is_named(tmp_path):
    with pytest.raises(SnakefoldError, match="cannot be read as a plan"):
        source.from_plan(tmp_path, prices())


#: A plan of a release before 0.3, without kinds, groups and engines of targets.
OLD_BATCHES = """\
batch	engine	gpu	complexes	bucket_edges	targets	residues	shortest	longest	chunks
b0001-l0010	alphafold2	local	False	10	1	10	10	10	m0001
c0002-l0020	alphafold2	local	True		1	20	20	20	
"""
OLD_TARGETS = """\
id	state	reason	duplicate_of	length	chains	key	batch	bucket	seconds	dollars	source	note	header
a	to_do			10	1		b0001-l0010	10	11.9	0.0	a.fasta:1		a
pair	to_do			20	2		c0002-l0020		36.3	0.0	a.fasta:3		pair
"""
OLD_CHAINS = "key\tlength\tmissing\tchunk\tbatch\n" + f"{'0' * 64}\t10\tmsa\tm0001\tb0001-l0010\n"


@pytest.fixture
def old_plan(tmp_path: Path) -> Path:
    """A monomer and a dimer, each in a batch on this machine."""
    folder = tmp_path / "old" / "plan"
    (folder / "batches").mkdir(parents=True)
    (folder / "chunks").mkdir()
    (folder / "batches.tsv").write_text(OLD_BATCHES)
    (folder / "targets.tsv").write_text(OLD_TARGETS)
    (folder / "chains.tsv").write_text(OLD_CHAINS)
    (folder / "weights.json").write_text(json.dumps({"folder": "weights", "rehearsal": True}))
    chunk = {"chunk": "m0001", "recipe": "1" * 16, "chains": [], "pairing": False}
    (folder / "chunks" / "m0001.json").write_text(json.dumps(chunk))
    for batch, chains in (("b0001-l0010", ["GSWTWENGKW"]), ("c0002-l0020", ["GSWTWENGKW", "ACDEFGHIKL"])):
        target = {"id": batch[:1], "key": "0" * 64, "chains": chains, "msa_sha256": None}
        values = {
            "batch": batch,
            "engine": "alphafold2",
            "gpu": "local",
            "recipe": "2" * 16,
            "msa_recipes": {},
            "rehearsal": True,
            "chunks": [],
            "targets": [{"target": target}],
        }
        (folder / "batches" / f"{batch}.json").write_text(json.dumps(values))
    return folder


def change(plan: Path, old: str, new: str) -> None:
    path = plan / "batches.tsv"
    path.write_text(path.read_text().replace(old, new))


def test_a_plan_of_an_older_release_is_simulated(old_plan, monkeypatch, capsys):
    assert main(["simulate", "--plan", str(old_plan)]) == 0
    assert "2 targets (30 residues) in 2 batches" in capsys.readouterr().out
    # It has no groups: the engine tells them.
    kinds, job = [], Prices.job
    monkeypatch.setattr(
        Prices, "job", lambda *args, **named: kinds.append(named["kind"]) or job(*args, **named)
    )
    config = load_config({})
    classes = {gpu.name: gpu for gpu in load_classes(["local"])}
    source.from_plan(old_plan, prices_of(config, CostModel(), classes, rehearsal=True))
    assert kinds == [("alphafold2", "monomer"), ("alphafold2", "complex")]


def test_a_damaged_batch_of_an_older_plan_is_named(old_plan, capsys):
    (old_plan / "batches" / "b0001-l0010.json").write_text("{")
    assert main(["simulate", "--plan", str(old_plan)]) == 2
    assert "b0001-l0010.json: cannot be read as a batch of a plan" in capsys.readouterr().err


def test_the_plan_names_its_engines(old_plan, capsys):
    assert "flashabb" not in load_config({}).wanted_engines
    group = engines.get("flashabb").groups[0]
    change(old_plan, "complexes", "group")
    change(old_plan, "alphafold2\tlocal\tFalse", "alphafold2\tlocal\tmonomer")
    change(old_plan, "alphafold2\tlocal\tTrue", f"flashabb\tlocal\t{group}")
    assert main(["simulate", "--plan", str(old_plan)]) == 0
    assert "in 2 batches" in capsys.readouterr().out
    change(old_plan, f"\t{group}", "\tcrystals")
    assert main(["simulate", "--plan", str(old_plan)]) == 2
    assert "group crystals of engine flashabb" in capsys.readouterr().err


def test_an_engine_of_a_plan_that_is_not_installed_is_named(old_plan, capsys):
    change(old_plan, "alphafold2", "nowhere")
    assert main(["simulate", "--plan", str(old_plan)]) == 2
    said = capsys.readouterr().err
    assert "engine nowhere: is not installed" in said
    assert said.count("\n") == 1


def test_the_plan_names_its_gpu_classes(old_plan, capsys):
    assert "ada_24" not in load_config({}).gpu.classes
    change(old_plan, "\tlocal\t", "\tada_24\t")
    assert main(["simulate", "--plan", str(old_plan)]) == 0
    said = capsys.readouterr().out
    assert "1 x ada_24;" in said
    assert "local" not in said
    change(old_plan, "\tada_24\t", "\tabacus\t")
    assert main(["simulate", "--plan", str(old_plan)]) == 2
    said = capsys.readouterr().err
    assert "has no GPU class abacus" in said
    assert said.count("\n") == 1


def test_lengths_become_batches_of_a_plan():
    lengths = draw_lengths("mixed", 3000, seed=1)
    workload = source.from_lengths(lengths, prices(msa={"chunk_size": 50}), cluster())
    planned = np.concatenate([job.shapes for job in workload.jobs])
    assert len(planned) == 3000
    assert workload.residues == lengths.sum() <= planned.sum()
    assert len(workload.searches) == 60
    # A batch waits for the chunks of its own targets and no others.
    at = 0
    for job in workload.jobs:
        assert job.searches == tuple(range(at // 50, (at + len(job.shapes) - 1) // 50 + 1))
        at += len(job.shapes)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_lengths_are_those_of_their_distribution(name):
    chosen = DISTRIBUTIONS[name]
    lengths = draw_lengths(name, 20_000, seed=3)
    assert chosen.shortest <= lengths.min()
    assert lengths.max() <= chosen.longest
    # The ends are cut off, which moves the median of the widest a little.
    assert np.median(lengths) == pytest.approx(chosen.median, rel=0.05)
    assert (lengths == draw_lengths(name, 20_000, seed=3)).all()
    assert draw_lengths(name, 500, seed=3, longest=300).max() <= 300
    with pytest.raises(SnakefoldError, match="no more than 20"):
        draw_lengths(name, 5, seed=3, longest=20)


def test_the_models_uncertainty_has_its_own_percentiles():
    price = prices()
    drawn = [price.uncertain_factors(seed) for seed in range(2000)]
    for part in PARTS:
        gpu = None if part == "msa" else next(iter(price.classes.values()))
        low, high = price.model.spread(part, gpu)
        values = np.array([factors[part] for factors in drawn])
        assert np.median(values) == pytest.approx(1.0, rel=0.1)
        assert np.percentile(values, 10) == pytest.approx(low, rel=0.15)
        assert np.percentile(values, 90) == pytest.approx(high, rel=0.15)


def test_the_picture_has_a_line_for_every_worker_and_is_the_same_every_time():
    workload = source.from_lengths(draw_lengths("cameo", 60, seed=1), prices(), cluster())
    record = simulate(workload, cluster())
    picture = draw(record, cluster(), title="sixty")
    assert picture == draw(record, cluster(), title="sixty")
    text = picture.decode()
    ElementTree.fromstring(text)  # noqa: S314 (our own)
    slots = {(life.gpu, life.slot) for life in record.lives}
    for gpu, slot in slots:
        assert f"{gpu} {slot + 1}" in text
    for colour in (COLOURS["predict"], COLOURS["start"], COLOURS["idle"]):
        assert colour.lower() in text
    assert len(picture) < 200_000


def test_a_picture_of_nothing_is_a_picture():
    from snakefold.plan.simulate.result import Record

    ElementTree.fromstring(draw(Record(), cluster(), title="nothing"))  # noqa: S314 (our own)


def test_the_command_prints_writes_and_repeats_itself(fasta, tmp_path, capsys):
    arguments = ["simulate", str(fasta), "--workers", "3", "--gpu", "ada_24,ampere_80", "--cores", "4"]
    arguments += ["--preemptions", "0.5", "--runs", "3", "--json", str(tmp_path / "a.json")]
    assert main([*arguments, "--gantt", str(tmp_path / "a.svg")]) == 0
    first = capsys.readouterr().out
    assert "32 targets" in first
    assert "GPU-busy" in first
    assert "if the model is off" in first
    runs = json.loads((tmp_path / "a.json").read_text())["runs"]
    assert len(runs) == 3
    assert runs[0]["targets"] == 32
    assert len({run["wall_seconds"] for run in runs}) == 3
    assert (tmp_path / "a.svg").stat().st_size > 5000
    assert main(arguments) == 0
    assert capsys.readouterr().out == first


def test_this_machine_is_simulated_without_dollars_or_starts(capsys):
    assert main(["simulate", "--lengths", "cameo", "--number", "5", "--cores", "2", "--gpu", "local"]) == 0
    assert "starts $0.00, idle $0.00" in capsys.readouterr().out


def test_without_targets_the_demo_set_is_simulated(capsys):
    assert main(["simulate"]) == 0
    assert "14 targets" in capsys.readouterr().out


def test_the_help_says_what_becomes_of_a_plan(capsys):
    with pytest.raises(SystemExit):
        main(["simulate", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "simulate all its batches, finished or not" in said
    assert "without any, the demo set" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--lengths", "mixed", "--plan", "x"], "Give only one of"),
        (["--plan", "nowhere"], "cannot be read as a plan"),
        (["--lengths", "mixed", "--number", "5", "--workers", "many"], "--workers many"),
        (["--lengths", "mixed", "--number", "5", "--workers", "0"], "--workers 0"),
        (["--lengths", "mixed", "--number", "5", "--gpu", "abacus"], "abacus"),
        (["--lengths", "mixed", "--number", "5", "--failures", "3"], "0 to 1"),
        (["--lengths", "mixed", "--number", "0"], "--number"),
        (["--lengths", "mixed", "--number", "5", "--preemptions=-1"], "--preemptions"),
    ],
)
def test_wrong_options_are_named(arguments, said, capsys):
    assert main(["simulate", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_an_msa_server_answers_one_query_after_the_other(fasta: Path) -> None:
    asking = {"tool": "server", "chunk_size": 8, "server": {"url": "https://msa.lab.example"}}
    asked = source.from_sequences(prices(input=str(fasta), msa=asking))
    # 32 chains, one of which is in two complexes, and one complex of different chains.
    assert asked.asked
    assert float(asked.searches.sum()) == pytest.approx(150 * (32 + 1))
    local = source.from_sequences(prices(input=str(fasta), msa={"chunk_size": 8}))
    assert not local.asked
    record = simulate(asked, cluster())
    times = sorted(record.searches)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(times))
    assert times[-1][1] - times[0][0] == pytest.approx(150 * 33)

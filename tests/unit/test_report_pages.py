"""What the index is made of: rows, profiles, costs, provenance, and which targets' files are made again."""

from __future__ import annotations

import base64
import csv
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.browser.make_many import multiply
from tests.browser.make_results import make_results

from snakefold import cli
from snakefold.kernel.contracts import Confidence
from snakefold.report import build
from snakefold.report.index import index_columns, own_columns, pages
from snakefold.report.origin import read_origin
from snakefold.report.pages import MAX_POINTS, Maker, prepare, profile, write_pages
from snakefold.report.run import read_run
from snakefold.run.benchmarks import read_steps

CSS = Path(__file__).parents[2] / "src/snakefold/report/static/report.css"
#: Machado, Oliveira and Fernandes 2009 (doi:10.1109/TVCG.2009.113), severity 1, on linear RGB.
DEFICIENCIES = {
    "normal": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.3039],
    ],
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("run"), hostile=True)


@pytest.fixture
def results(source: Path, tmp_path: Path) -> Path:
    """A copy that a test may change; its files keep their times."""
    return shutil.copytree(source, tmp_path / "results")


def built(results: Path) -> dict[str, int]:
    """Inode of the file of every target: another one if it was made again."""
    build(results)
    data = results / "report" / "data"
    return {path.relative_to(data).as_posix(): path.stat().st_ino for path in data.rglob("*.js")}


def test_only_targets_that_changed_are_made_again(results: Path) -> None:
    before = built(results)
    assert built(results) == before
    path = results / "structures" / "crambin" / "timings.json"
    path.write_text('{"predict": 1.5}')
    after = built(results)
    assert {name for name in after if after[name] != before[name]} == {"crambin.js", "pae/crambin.js"}
    assert '"predict":1.5' in (results / "report" / "data" / "crambin.js").read_text()


def test_what_a_batch_prepared_is_what_the_report_takes(results: Path) -> None:
    ids = pages(results, read_run(results))
    by_hand = results.parent / "by_hand"
    by_hand.mkdir()
    profiles = write_pages(Maker(results, by_hand), ids, by_hand)
    prepare(results, ids)
    prepared = {path.name: path.stat().st_ino for path in (results / "report" / "data").glob("*.js")}
    prepare(results, ids)
    assert {path.name: path.stat().st_ino for path in (results / "report" / "data").glob("*.js")} == prepared
    after = built(results)
    assert {name: after[name] for name in prepared} == prepared
    for name in ids:
        path = results / "report" / "data" / f"{name}.js"
        assert path.read_bytes() == (by_hand / path.name).read_bytes()
    assert sorted(profiles) == sorted(ids)


def test_many_targets_are_made_by_several_processes_alike(source: Path, tmp_path: Path) -> None:
    results = shutil.copytree(source, tmp_path / "results")
    names = [f"t{number:02}" for number in range(48)]
    for name in names:
        shutil.copytree(results / "structures" / "villin_headpiece", results / "structures" / name)
    (tmp_path / "one").mkdir()
    (tmp_path / "several").mkdir()
    one, several = (Maker(results, tmp_path / folder) for folder in ("one", "several"))
    found = write_pages(several, names, tmp_path / "none")
    assert found == {name: one.write(name) for name in names}
    for path in (tmp_path / "one").rglob("*.js"):
        assert path.read_bytes() == (tmp_path / "several" / path.relative_to(tmp_path / "one")).read_bytes()


def test_a_killed_build_leaves_what_the_next_one_clears(results: Path) -> None:
    command = "import sys; from pathlib import Path; from snakefold.report import page\n"
    command += "page.write_pages = lambda *_: (print('here', flush=True), sys.stdin.read())\n"
    command += "page.build(Path(sys.argv[1]))"
    arguments = [sys.executable, "-c", command, str(results)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.kill()
    assert len(list(results.glob(".report.*.part"))) == 1
    assert build(results).is_file()
    assert not list(results.glob(".report*"))


def test_data_that_are_damaged_are_made_again(results: Path) -> None:
    before = built(results)
    path = results / "report" / "data" / "crambin.js"
    path.write_text("/*[]*/ snakefold.receive(1)")
    assert built(results).keys() == before.keys()
    assert "villin" not in path.read_text() and path.stat().st_size > 1000


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_a_profile_is_the_mean_of_equal_stretches(plddt: list[float]) -> None:
    values = np.frombuffer(base64.b64decode(profile(plddt)), np.uint8) / 2
    assert len(values) == min(len(plddt), MAX_POINTS)
    if len(plddt) <= MAX_POINTS:
        assert np.abs(values - plddt).max() <= 0.25
    assert min(plddt) - 0.25 <= values.min() and values.max() <= max(plddt) + 0.25


def test_rows_say_what_became_of_every_record(source: Path) -> None:
    run = read_run(source)
    columns = index_columns(run, {"crambin": "AAAA"})
    rows = {
        name: dict(zip(columns, values, strict=True))
        for name, values in zip(columns["id"], zip(*columns.values(), strict=True), strict=True)
    }
    assert list(rows) == list(run.planned)
    assert {name: row["state"] for name, row in rows.items() if not name.startswith("hostile")} == {
        **dict.fromkeys(["ubiquitin", "crambin", "villin_headpiece", "gb1_dimer", "crambin_gb1"], "computed"),
        **{"ubiquitin_again": "duplicate", "lost_one": "failed", "not_a_protein": "refused"},
    }
    assert rows["lost_one"]["reason"] == "out_of_memory" and rows["lost_one"]["length"] == 56
    assert rows["ubiquitin_again"]["duplicate_of"] == "ubiquitin"
    assert [name for name, row in rows.items() if row["open"]] == ["crambin"]
    assert max(len(row["header"] or "") for row in rows.values()) <= 161


def test_a_run_that_is_a_rehearsal_in_part_says_of_which_targets(source: Path) -> None:
    run = read_run(source)
    assert run.rehearsal == "REHEARSAL: random parameters, the structures mean nothing"
    assert "rehearsal" not in index_columns(run, {}) and not own_columns(run)
    kernels = [{**row, "kernels": "stock" if row["id"] == "crambin" else "pallas"} for row in run.metrics]
    assert [column["name"] for column in own_columns(replace(run, metrics=kernels))] == ["kernels"]
    real = {"crambin", "villin_headpiece"}
    metrics = [
        {**row, "rehearsal": False, "engine": "other"} if row["id"] in real else row for row in run.metrics
    ]
    mixed = replace(run, metrics=metrics)
    total = len(metrics)
    assert mixed.rehearsal == (
        f"REHEARSAL: random parameters, {total - 2} of {total} structures mean nothing"
    )
    columns = index_columns(mixed, {})
    marked = dict(zip(columns["id"], columns["rehearsal"], strict=True))
    assert {name for name, mark in marked.items() if mark == "REHEARSAL"} == {
        row["id"] for row in metrics if row["id"] not in real
    }
    assert [column["title"] for column in own_columns(mixed)] == ["Engine"]
    assert replace(run, metrics=[{**row, "rehearsal": False} for row in run.metrics]).rehearsal == ""


def test_ten_thousand_rows_take_a_few_bytes_each(source: Path, tmp_path: Path) -> None:
    results = shutil.copytree(source, tmp_path / "results")
    ids = [row["id"] for row in read_run(results).metrics if not row["id"].startswith("hostile")]
    multiply(results, [f"t{number:05}" for number in range(10_000)], ids)
    build(results)
    assert (results / "report" / "assets" / "run.js").stat().st_size < 5_000_000
    assert (results / "report" / "index.html").stat().st_size < 200_000
    assets = (results / "report" / "assets").iterdir()
    assert sum(path.stat().st_size for path in assets if path.name != "run.js") < 15_000_000


def test_costs_add_up_to_the_bill(source: Path) -> None:
    costs = read_run(source).costs
    with (source / "bill.tsv").open(newline="") as stream:
        lines = list(csv.DictReader(stream, delimiter="\t"))
    batches = [line for line in lines if line["level"] == "batch"]
    assert sum(dollars for _, dollars in costs.targets.values()) == pytest.approx(
        sum(float(line["dollars"]) for line in batches), abs=1e-6
    )
    assert sum(part.share for part in costs.parts) == pytest.approx(1)
    assert {row.name for row in costs.compared} >= {"Dollars", "Worker time"}
    assert costs.rented and costs.busy is not None and 0 < costs.busy < 1
    assert all("2 attempts" in text for texts in costs.history.values() for text in texts)


def test_steps_are_added_up(source: Path) -> None:
    steps = {step.name: step for step in read_steps(source)}
    assert steps["plan"].jobs == 1 and steps["plan"].seconds == 3.5
    assert steps["msa"].seconds == 90 * steps["msa"].jobs
    assert read_steps(source)[0].share == 1


def test_fingerprints_are_found_wherever_the_recipe_has_them(source: Path) -> None:
    found = read_origin(read_run(source).provenance)
    kinds = [(item.kind, item.name) for item in found.fingerprints]
    assert ("weights", "REHEARSAL: random parameters") in kinds
    assert sum(kind == "database" for kind, _ in kinds) == 1
    assert "ends_sha256 a38714340b1a14d8fe052bfa53054b4d" in next(
        item.text for item in found.fingerprints if item.kind == "database"
    )
    assert "AlphaFold2" in found.methods and "@" in found.bibtex
    assert read_origin({}).methods == ""


def test_report_from_a_folder_rebuilds_the_page(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build(results)
    page = (results / "report" / "index.html").read_text()
    shutil.rmtree(results / "report")
    assert cli.main(["report", "--from", str(results)]) == 0
    assert str(results / "report" / "index.html") in capsys.readouterr().out
    rebuilt = (results / "report" / "index.html").read_text()
    assert 'data-summary="folded">10<' in rebuilt and 'data-summary="folded">10<' in page
    assert cli.main(["report"]) != 0
    assert "Expected the results folder" in capsys.readouterr().err


def test_a_second_build_waits_for_the_first(results: Path) -> None:
    import fcntl
    import threading

    handle = os.open(results, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    thread = threading.Thread(target=build, args=(results,))
    thread.start()
    assert not (results / "report" / "index.html").exists()
    os.close(handle)
    thread.join(timeout=60)
    assert (results / "report" / "index.html").is_file()


def test_profiles_on_the_index_are_those_of_the_best_models(results: Path) -> None:
    data = results.parent / "data"
    data.mkdir()
    points = write_pages(Maker(results, data), ["crambin"], data)["crambin"]
    scores = Confidence.model_validate_json(
        (results / "structures" / "crambin" / "confidence.json").read_bytes()
    )
    assert points == profile(scores.models[0].plddt)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_other_colours_stay_apart_for_all_eyes_and_in_grey(theme: str) -> None:
    selector = r':root\[data-scheme="safe"\]' + (r'\[data-theme="dark"\]' if theme == "dark" else "")
    rule = re.search(selector + r" \{([^}]*)\}", CSS.read_text())
    assert rule is not None
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", rule[1]))
    assert list(colours) == ["very-high", "confident", "low", "very-low"]
    for name, matrix in DEFICIENCIES.items():
        seen = [lab(np.clip(np.array(matrix) @ linear(colour), 0, 1)) for colour in colours.values()]
        # CIE76: 2.3 is just noticed, 20 is another colour.
        assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 20, name
    lightness = [float(lab(linear(colour))[0]) for colour in colours.values()]
    assert all(b - a > 12 for a, b in pairwise(lightness))


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB (D65)."""
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = (matrix @ rgb) / matrix.sum(axis=1)
    f = [np.cbrt(value) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])

"""The report's parts without a browser: data in scripts, coverage, PAE pictures, tables, the built folder."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.browser.make_results import CRN, GB1, make_results

from snakefold.kernel.errors import SnakefoldError
from snakefold.plan.files import State, TargetRow
from snakefold.report import build
from snakefold.report.coverage import MAX_COLUMNS, MAX_ROWS, coverage
from snakefold.report.libraries import packed, script_call, script_json
from snakefold.report.run import MAX_SHOWN, description, read_run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("run"))


@given(st.recursive(st.text() | st.integers() | st.booleans() | st.none(), st.lists, max_leaves=8))
def test_json_in_a_script_cannot_leave_it(value: object) -> None:
    text = script_json(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not set(text) & set("<>&\n")


def test_json_in_a_script_stops_known_ways_out() -> None:
    text = script_call("f", "</script><!--\u2028\u2029&").decode()
    assert "</" not in text and "<!" not in text and "\u2028" not in text
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json(float("nan"))


def test_packing_is_deterministic() -> None:
    assert packed(b"abc") == packed(b"abc")
    assert gzip.decompress(base64.b64decode(packed(b"abc"))) == b"abc"


def test_coverage_of_one_chain() -> None:
    found = coverage(">q\nACDE\n>half\nAC--\n>insert\nAaaCDF\n>none\nWW--\n", ["ACDE"])
    assert found is not None
    assert found.identity.tolist() == [
        [1, 1, 0, 0],
        [50, 50, 0, 0],
        [75, 75, 75, 75],
        [100, 100, 100, 100],
    ]
    assert (found.depth, found.step, found.counts) == (4, 1, [4, 4, 2, 2])
    assert found.identities == [1, 0, 0, 0, 0, 1, 0, 1, 0, 1]


def test_coverage_of_chains_one_after_another() -> None:
    text = f">a\n{CRN}\n>a1\n{CRN[:10]}{'-' * 36}\n>b\n{GB1}\n"
    found = coverage(text, [CRN, GB1, CRN])
    assert found is not None
    assert found.depth == 3
    assert found.counts == [2] * 10 + [1] * 36 + [1] * 56 + [2] * 10 + [1] * 36


def test_coverage_of_different_chains_of_one_length() -> None:
    found = coverage(">a\nACDE\n>a1\nAC--\n>b\nWYWY\n>b1\nWYW-\n", ["ACDE", "WYWY"])
    assert found is not None
    assert found.counts == [2, 2, 1, 1, 2, 2, 2, 1]


def test_coverage_of_colabfolds_complexes() -> None:
    found = coverage("#4,2\t2,1\n>101\t102\nACDEWY\n>x\nAC----\n", ["ACDE", "ACDE", "WY"])
    assert found is not None
    assert found.counts == [2, 2, 1, 1, 2, 2, 1, 1, 1, 1]


@pytest.mark.parametrize(
    "text", ["", "nothing", ">q\nACD\n", ">q\nACDE\n>r\nAC\n", "#4\t1,1\n>q\nACDE\n", "#9\t1\n>q\nACDE\n"]
)
def test_coverage_that_does_not_fit_is_none(text: str) -> None:
    assert coverage(text, ["ACDE"]) is None


def test_coverage_is_bounded() -> None:
    query = "ACDEFGHIKL" * 250
    found = coverage(f">q\n{query}\n" + f">r\n{'-' * 1250}{query[1250:]}\n" * 999, [query])
    assert found is not None
    rows, columns = found.identity.shape
    assert rows <= MAX_ROWS and columns <= MAX_COLUMNS
    assert found.depth == 1000 and found.step == 3 and len(found.counts) == columns
    assert found.counts[0] == 1 and found.counts[-1] == 1000
    assert found.identity[-1].min() == 100


@given(st.text(alphabet=">ACD-a#1,\t\n", max_size=80))
def test_coverage_survives_any_text(text: str) -> None:
    found = coverage(text, ["ACD", "CC"])
    assert found is None or found.identity.shape[1] == 5


def test_run_tells_failed_from_refused(results: Path) -> None:
    run = read_run(results)
    assert [row["id"] for row in run.failed] == ["lost_one"]
    assert [row["id"] for row in run.refused] == ["not_a_protein"]
    assert run.refused[0]["message"].endswith("is in the sequence.")
    assert run.refused[0]["advice"].startswith("Accepted are")
    assert run.duplicate_of("ubiquitin_again") == "ubiquitin"
    # A duplicate's seconds were spent once.
    once = (76 + 46 + 35 + 112 + 102) / 7
    assert run.summary()["seconds"] == pytest.approx(once, abs=0.1)


def test_a_wrong_value_is_named(results: Path, tmp_path: Path) -> None:
    lines = (results / "metrics.tsv").read_text().splitlines()
    cells = lines[1].split("\t")
    cells[lines[0].split("\t").index("mean_plddt")] = "high"
    (tmp_path / "metrics.tsv").write_text("\n".join([lines[0], "\t".join(cells)]) + "\n")
    with pytest.raises(
        SnakefoldError,
        match=r"line 2 \('ubiquitin'\), column mean_plddt: expected a finite number, found 'high'",
    ):
        read_run(tmp_path)


def test_without_metrics_it_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SnakefoldError, match=r"metrics\.tsv: not found"):
        build(tmp_path)


def test_a_header_is_shown_without_its_id_and_shortened() -> None:
    def record(header: str) -> TargetRow:
        return TargetRow("a", State.TO_DO, header=header)

    assert description(record("a protein of b")) == "protein of b"
    assert description(record("abc")) == "abc"
    assert description(None) == ""
    assert len(description(record("a " + "x" * 10_000))) == MAX_SHOWN + 1


def test_building_twice_gives_the_same_report_and_leaves_nothing_else(results: Path) -> None:
    index = build(results)
    assert index == results / "report" / "index.html"
    first = {path: path.read_bytes() for path in index.parent.rglob("*") if path.is_file()}
    (index.parent / "data" / "gone.js").write_text("stale")
    build(results)
    assert {path: path.read_bytes() for path in index.parent.rglob("*") if path.is_file()} == first
    assert not list(results.glob(".report*"))
    assert {path.name for path in (index.parent / "assets").glob("LICENSE*")} == {
        "LICENSE.itables.txt",
        "LICENSE.molstar-cli.txt",
        "LICENSE.plotly.txt",
    }


def test_the_page_has_no_inline_script_and_says_rehearsal(results: Path) -> None:
    text = build(results).read_text()
    assert text.count("<script") == text.count('<script src="assets/')
    assert "REHEARSAL" in text
    assert "&lt;script&gt;window.hacked=9" in text
    assert "http" not in text.replace("http-equiv", "")


def test_an_edited_id_reaches_no_other_folder(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run" / "results"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("report"))
    shutil.copytree(copy / "structures" / "crambin", tmp_path / "outside")
    table = copy / "metrics.tsv"
    table.write_text(table.read_text().replace("\ncrambin\t", "\n../../../outside\t"))
    build(copy)
    assert not list(tmp_path.rglob("outside.js"))


def test_a_run_that_is_no_rehearsal_has_no_banner(tmp_path: Path) -> None:
    text = build(make_results(tmp_path, rehearsal=False, fasta=f">one\n{CRN}\n")).read_text()
    assert "REHEARSAL" not in text
    assert "1 structure by alphafold2" in " ".join(text.split())

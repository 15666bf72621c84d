"""Routes of aws-do-openfold-inference: what its programs send, and the files that they look for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from snakefold.service.users import User, add_token
from tests.service.served import Served, compiled, environment_of, new_environment, parameters, serving

__all__ = ["compiled", "environment_of", "new_environment", "parameters"]  # fixtures
SEQUENCE = "MKTAYIAKQRQISFVKSHF"
RELATIVE = "MKTAYLAKQRQVSFVKSHY"
SETTINGS = {"num_recycle": 0, "max_msa_clusters": 8, "max_extra_msa": 8}


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, environment_of: Callable[[Path], dict[str, str]]
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("openfold")
    settings = {
        "rehearsal": True,
        "openfold": {
            "output_dir_base": str(folder / "out"),
            "alignment_dir": str(folder / "aligned"),
            "db_preset": "demo",
            "num_models": 2,
            "settings": SETTINGS,
        },
    }
    with serving(folder, environment_of(folder), **settings) as made:
        yield made


def test_a_server_says_that_it_is_healthy(served: Served) -> None:
    assert served.call("/") == (200, {"Status": "Healthy"})


def test_alignments_are_files_of_a_tag(served: Served) -> None:
    path = f"/precompute_alignments/?tag=Cameo_3D_7ELF&seq={SEQUENCE}"
    assert served.call(path) == (200, {"detail": "Alignments for Cameo_3D_7ELF done..."})
    text = (served.folder / "aligned" / "Cameo_3D_7ELF" / "msa.a3m").read_text()
    assert text.splitlines()[1] == SEQUENCE
    assert served.call(path) == (200, {"detail": "Alignments for Cameo_3D_7ELF already computed..."})
    code, answer = served.call("/precompute_alignments/", {"tag": "other", "seq": SEQUENCE})
    assert code == 200 and answer["file"] == "other/msa.a3m" and answer["job"]
    assert (served.folder / "aligned" / "other" / "msa.a3m").read_text() == text


def test_a_tag_is_of_one_sequence(served: Served) -> None:
    body = {"tag": "taken", "seq": SEQUENCE}
    assert served.call("/precompute_alignments/", body)[0] == 200
    file = served.folder / "aligned" / "taken" / "msa.a3m"
    before = file.read_text()
    assert served.call("/precompute_alignments/", {**body, "seq": f" {SEQUENCE.lower()} "})[0] == 200
    for answer in (
        served.call("/precompute_alignments/", {**body, "seq": RELATIVE}),
        served.call(f"/precompute_alignments/?tag=taken&seq={RELATIVE}"),
    ):
        assert answer[0] == 409
        assert "taken/msa.a3m: its first row is not the sequence" in answer[1]["detail"]
    assert file.read_text() == before
    # Whoever put the file there: Stockholm, with gaps in the query's row.
    (file.parent / "hits.sto").write_text(f"# STOCKHOLM 1.0\nq {SEQUENCE[:5]}-{SEQUENCE[5:]}\n//\n")
    assert served.call("/precompute_alignments/", body)[0] == 200
    (file.parent / "hits.sto").write_text(f"# STOCKHOLM 1.0\nq {RELATIVE}\n//\n")
    code, refused = served.call("/precompute_alignments/", body)
    assert code == 409 and "taken/hits.sto" in refused["detail"]
    (file.parent / "hits.sto").write_text("# STOCKHOLM 1.0\n//\n")
    code, refused = served.call("/precompute_alignments/", body)
    assert code == 500 and "taken/hits.sto: cannot be read as sto" in refused["detail"]


def test_no_database_is_no_alignment(
    tmp_path: Path, environment_of: Callable[[Path], dict[str, str]]
) -> None:
    file = tmp_path / "service" / "openfold" / "alignments" / "t" / "msa.a3m"
    body = {"tag": "t", "seq": SEQUENCE}
    with serving(tmp_path, environment_of(tmp_path)) as served:
        for code, answer in (
            served.call("/precompute_alignments/", body),
            served.call(f"/precompute_alignments/?tag=t&seq={SEQUENCE}"),
        ):
            assert code == 400
            assert "no database was searched" in answer["detail"]
            assert "has none of the databases full_dbs" in answer["detail"]
            assert "openfold.db_preset" in answer["detail"]
        assert not file.parent.exists()
    # Asked for, it goes on, and says so.
    alone = tmp_path / "alone"
    given = {"openfold": {"db_preset": "single_sequence"}}
    with serving(alone, environment_of(alone), **given) as served:
        code, answer = served.call("/precompute_alignments/", body)
        assert code == 200
        assert answer["warnings"] == ["Nothing was searched: the service's db_preset is single_sequence."]
        assert answer["detail"] == f"Alignments for t done... {answer['warnings'][0]}"
        text = (alone / file.relative_to(tmp_path)).read_text()
        assert text.splitlines()[1:] == [SEQUENCE]


def test_tags_and_models_that_are_none(served: Served) -> None:
    before = sorted(path.name for path in served.folder.rglob("*") if "service" not in path.parts)
    for tag in ("../x", "..", "/etc/passwd", ".hidden", "a/b", "a b", "", "x" * 101, "a\0b"):
        for path in ("precompute_alignments", "openfold_predictions/model_0"):
            assert served.call(f"/{path}/?tag={quote(tag, safe='')}&seq={SEQUENCE}")[0] == 422, tag
            assert served.call(f"/{path}/", {"tag": tag, "seq": SEQUENCE})[0] == 422, tag
    for model in ("model_2", "model_00", "model_-1", "model_x", "m"):
        code, answer = served.call(f"/openfold_predictions/{model}/?tag=a&seq={SEQUENCE}")
        assert code == 404
        assert answer == {"detail": f"Model {model} does not exist. Try a model name up to model1"}
    code, answer = served.call(f"/openfold_predictions/model_0/?tag=a&seq={SEQUENCE}12")
    assert code == 400 and "The digit '1' is in the sequence" in answer["detail"]
    assert "snakefold-input" not in answer["detail"]  # a folder of the worker
    after = sorted(path.name for path in served.folder.rglob("*") if "service" not in path.parts)
    assert after == before


@pytest.mark.slow
def test_a_prediction_is_a_file_with_the_tag_in_its_name(served: Served) -> None:
    code, answer = served.call(f"/openfold_predictions/model_0/?tag=first&seq={SEQUENCE}")
    assert code == 200
    assert answer["detail"].startswith(
        "Output for model_0 written to predictions/first_model_1_ptm_unrelaxed.pdb"
    )
    assert "REHEARSAL" in answer["detail"]
    pdb = (served.folder / "out" / "predictions" / "first_model_1_ptm_unrelaxed.pdb").read_text()
    assert "\nATOM " in pdb and "REHEARSAL" in pdb and "Predicted by openfold" in pdb

    # With JSON the same structure, from the store, and its scores.
    code, told = served.call("/openfold_predictions/model_1/", {"tag": "second", "seq": SEQUENCE})
    assert code == 200, told
    assert told["pdb"] == pdb and told["rehearsal"] is True
    assert (served.folder / "out" / told["file"]).read_text() == pdb
    assert len(told["plddt"]) == len(SEQUENCE) and 0 <= told["mean_plddt"] <= 100
    assert told["warnings"][0].startswith("REHEARSAL")

    # All names are the same model: nothing is predicted again, and the file is the same.
    code, again = served.call("/openfold_predictions/model_1/", {"tag": "first", "seq": SEQUENCE})
    assert code == 200
    assert again["file"] == "predictions/first_model_1_ptm_unrelaxed.pdb" and again["pdb"] == pdb

    # An alignment in the folder of the tag is what is predicted with.
    folder = served.folder / "aligned" / "third"
    folder.mkdir(parents=True)
    (folder / "uniref90_hits.a3m").write_text(f">q\n{SEQUENCE}\n>r\n{RELATIVE}\n")
    code, other = served.call("/openfold_predictions/model_0/", {"tag": "third", "seq": SEQUENCE})
    assert code == 200 and other["plddt"] != told["plddt"]
    code, refused = served.call("/openfold_predictions/model_0/", {"tag": "third", "seq": SEQUENCE[::-1]})
    assert code == 400 and "uniref90_hits.a3m: its first row is not the sequence" in refused["detail"]
    code, refused = served.call(
        "/openfold_predictions/model_0/", {"tag": "x", "seq": SEQUENCE, "settings": {"modls": 1}}
    )
    assert code == 400 and "unknown key 'modls'" in refused["detail"]


def test_users_have_folders_of_their_own(
    tmp_path: Path, environment_of: Callable[[Path], dict[str, str]]
) -> None:
    token = add_token(tmp_path / "tokens.yaml", User(user="ada"))
    given = {"tokens": str(tmp_path / "tokens.yaml"), "openfold": {"db_preset": "single_sequence"}}
    with serving(tmp_path, environment_of(tmp_path), **given) as served:
        path = "/precompute_alignments/"
        body = {"tag": "t", "seq": SEQUENCE}
        assert served.call("/") == (200, {"Status": "Healthy"})
        assert served.call(path, body)[0] == 401
        served.token = token
        assert served.call(path, body)[0] == 200
        assert (tmp_path / "service" / "openfold" / "alignments" / "ada" / "t" / "msa.a3m").is_file()

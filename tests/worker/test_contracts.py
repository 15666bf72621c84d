"""Contracts: whatever is sent is a valid request or an error that names what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from snakefold.engines import environments
from snakefold.kernel.contracts import FoldRequest
from snakefold.kernel.paths import house
from snakefold.worker.endpoints import (
    BuildRequest,
    ClusterRequest,
    Envelope,
    FlatRequest,
    InvalidInput,
    SearchRequest,
    SequencesRequest,
    checked,
    docs,
    read_input,
)
from snakefold.worker.endpoints.alphafold2 import ALLOWED, read_flags
from snakefold.worker.fold import checked_request
from tests.worker.conftest import envelope, fold_request

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
_KEYS = sorted({key for name in docs.CONTRACTS.values() for key in name.model_fields})
_VALID: list[dict[str, Any]] = [
    {"sequence": "MKTAYIAKQR"},
    {"fasta": ">a\nMKTAY\n", "alphafold_extra_flags": ["--random_seed=3"], "results": [{"path": "a/b"}]},
    {"fasta_url": "https://example.org/a.fasta", "model_preset": "multimer"},
    {"task": "search", "query_fasta": ">a\nMKTAY\n", "target_db": "swissprot"},
    {"task": "build", "target_fasta": ">a\nMKTAY\n", "target_db": "mine", "use_gpu": True},
    envelope(fold_request()),
    {"task": "search", "query_fasta": ">a\nMKTAY\n", "max_seqs": None, "a3m_max_return_bytes": None},
    {"task": "cluster", "sequences_fasta": ">a\nMKTAY\n", "min_seq_id": 0.3, "cov_mode": None},
    {"sequence": "MKTAY", "model_preset": None, "max_template_date": None, "alphafold_extra_flags": None},
    {"sequences": [{"id": "a b", "sequence": "MKTAY"}], "alphafold_extra_flags": "--random_seed=3"},
]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        *zip(
            _VALID,
            [
                *[FlatRequest, FlatRequest, FlatRequest, SearchRequest, BuildRequest, Envelope],
                *[SearchRequest, ClusterRequest, FlatRequest, SequencesRequest],
            ],
            strict=True,
        )
    ],
)
def test_valid_requests_are_told_apart(given: dict[str, Any], kind: type[BaseModel]) -> None:
    assert type(read_input(given)) is kind


@given(_JSON | st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=6))
def test_anything_is_a_request_or_a_named_error(value: object) -> None:
    try:
        read_input(value)
    except InvalidInput as error:
        assert str(error).strip()


@given(st.sampled_from(_VALID), st.data())
def test_a_spoilt_request_is_a_named_error(valid: dict[str, Any], data: st.DataObject) -> None:
    spoilt = json.loads(json.dumps(valid))
    place: Any = spoilt
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not (isinstance(place[key], dict) and place[key]) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(_JSON)
    try:
        request = read_input(spoilt)
        if isinstance(request, Envelope):
            checked(FoldRequest, request.request)
    except InvalidInput as error:
        assert str(error).strip()


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (
            {"sequence": "MK", "model_present": "auto"},
            "unknown key 'model_present'; did you mean 'model_preset'",
        ),
        ({"sequnce": "MK"}, "did you mean 'sequence'"),
        ({"sequence": "MK", "fasta": ">a\nMK\n"}, "exactly one of sequence, fasta and fasta_url"),
        ({"sequence": "MK", "model_preset": "monomer_casp14"}, "model_preset"),
        ({"sequence": "MK", "max_template_date": "2022-02-31"}, "max_template_date"),
        (
            {"sequence": "MK", "results": {"inline": True, "path": "a"}},
            "exactly one of inline, url, path and key",
        ),
        ({"sequence": "MK", "results": {"key": "a/../b"}}, "key: a key may not have . or .. in it"),
        ({"sequence": "MK", "results": {"inline": True, "bucket": "abc"}}, "bucket: expected beside key"),
        ({"sequence": "MK", "callback_url": "ftp://x.example"}, "callback_url: expected an https address"),
        ({"sequence": "MK", "idempotency_prefix": "a b"}, "idempotency_prefix: "),
        ({"fasta_url": "http://example.org/a"}, "only https"),
        ({"task": "serch", "query_fasta": "x", "target_db": "x"}, "one of search, build"),
        ({"task": "search", "query_fasta": "x", "target_db": "../etc/passwd"}, "target_db"),
        ({"task": "search", "query_fasta": "x", "target_db": "a", "max_seq": 3}, "did you mean 'max_seqs'"),
        (
            {"task": "search", "query_fasta": "x", "return_a3m": True, "a3m_format_mode": 3},
            "a3m_format_mode: exp",
        ),
        (
            {"task": "search", "query_fasta": "x", "target_db": "a", "target_fasta": "x"},
            "target_db and target_fasta",
        ),
        (
            {"task": "search", "query_fasta": "x", "version": 1, "include_taxonomy": True},
            "include_taxonomy: needs",
        ),
        ({"task": "cluster", "sequences_fasta": "x", "coverage": -0.1}, "coverage"),
        ({"task": "cluster", "sequences_fasta": "x", "cov_mode": 9}, "cov_mode"),
        ({"task": "cluster", "sequences_fasta": "x", "kmer_per_seq": 0}, "kmer_per_seq"),
        ({"task": "cluster", "sequences_fasta": "x", "cluster_method": "easy"}, "cluster_method"),
        ({"sequence": ">a\nMK\n>b\nMK"}, "send FASTA text as `fasta`"),
        ({"sequence": "MK\n>b"}, "send FASTA text as `fasta`"),
        ({"sequences": []}, "sequences"),
        ({"sequences": [{"id": "a", "sequence": "MK"}] * 2}, "number 1 and number 2 have one id"),
        (
            {"sequences": [{"id": "a", "sequence": "MK"}], "preset": "monomer", "model_preset": "multimer"},
            "contradict each other",
        ),
        ({}, "is no request"),
        ("text", "must be an object"),
    ],
)
def test_what_is_wrong_is_named(wrong: object, expected: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_input(wrong)
    assert expected in str(caught.value)


def test_a_wrong_key_deep_in_the_batch_is_named() -> None:
    body = fold_request().model_dump(mode="json")
    checked_request(body)
    body["settings"]["num_recycles"] = 3
    said = "request: settings of alphafold2: unknown key 'num_recycles'; did you mean 'num_recycle'"
    with pytest.raises(InvalidInput, match=said):
        checked_request(body)
    with pytest.raises(
        InvalidInput, match="request: engine: this worker has no 'rosetta'; it has af3, alphafold2"
    ):
        checked_request({**body, "engine": "rosetta"})


def test_an_image_that_lacks_an_engines_packages_refuses_its_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a wrong request: what is tried again goes to the same image, and is paid again."""
    monkeypatch.setenv(environments.ROOT, str(tmp_path))
    body = {**fold_request().model_dump(mode="json"), "engine": "boltz2", "settings": {}}
    with pytest.raises(InvalidInput, match=r"cannot run boltz2 .*runpod\.endpoints\.boltz2"):
        checked_request(body)


def test_a_request_of_version_1_is_taken_by_a_worker() -> None:
    """Clients that have run against earlier releases go on unchanged."""
    body = fold_request().model_dump(mode="json")
    old = {**body, "version": 1, "alphafold2": body.pop("settings"), "flashabb": {"num_seeds": 1}}
    del old["settings"]
    assert checked_request(old) == fold_request()


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "", "a\\b", "a\0b", "a/", "..", "x" * 2000, "a\nb"],
)
def test_paths_out_of_the_volume_are_refused(path: str) -> None:
    with pytest.raises(InvalidInput):
        read_input(envelope(fold_request(), sink={"path": path}))


def test_signed_addresses_are_in_no_message() -> None:
    secret = "https://bucket.example/x?X-Amz-Signature=5ecre7"  # noqa: S105 (made up)
    given = envelope(fold_request(), sink={"url": secret, "inline": True})
    given["files"]["inputs"] |= {"url": secret}
    given["digest"] = secret
    with pytest.raises(InvalidInput) as caught:
        read_input(given)
    assert "5ecre7" not in str(caught.value)
    assert "5ecre7" not in repr(read_input(envelope(fold_request(), sink={"url": secret})))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], {}),
        (["--models_to_relax=all"], {"models_to_relax": "all"}),
        (["--random_seed", "7", "--use_gpu_relax"], {"random_seed": 7, "use_gpu_relax": True}),
        (["--nouse_gpu_relax", "-random_seed=1"], {"use_gpu_relax": False, "random_seed": 1}),
        (["--random_seed=1", "--random_seed=2"], {"random_seed": 2}),
        (["--use_gpu_relax=False"], {"use_gpu_relax": False}),
    ],
)
def test_flags_of_alphafold(flags: list[str], expected: dict[str, Any]) -> None:
    assert read_flags(flags) == expected


def test_flags_are_a_list_a_text_or_null() -> None:
    def flags(value: object) -> object:
        return checked(FlatRequest, {"sequence": "MK", "alphafold_extra_flags": value}).alphafold_extra_flags

    assert flags("--models_to_relax=none  --random_seed '7'") == [
        "--models_to_relax=none",
        "--random_seed",
        "7",
    ]
    assert flags(None) == flags("") == flags([]) == []
    with pytest.raises(InvalidInput, match=r"alphafold_extra_flags: cannot be split as a shell does"):
        flags("--random_seed='7")


def test_header_lines_separate_the_chains_of_a_sequence() -> None:
    """As programs send a complex: its first chain has no header."""
    sent = checked(FlatRequest, {"sequence": "MKTAY\n>B\nGSHM\nGS\n>chain_3\nMK\n"})
    assert sent.sequence == "MKTAY:GSHM\nGS:MK"
    named = checked(SequencesRequest, {"sequences": [{"id": ">x|protein", "sequence": "MK\n>B\nGS"}]})
    assert named.flat.fasta == ">1\nMK:GS\n"


@pytest.mark.parametrize(
    "flags",
    [
        ["--data_dir=/etc"],
        ["--output_dir", "/srv"],
        ["--flagfile=/etc/passwd"],
        ["--models_to_relax=some"],
        ["--random_seed"],
        ["--random_seed=-1"],
        ["--random_seed=1e3"],
        ["--random_seed=٣"],
        ["--num_multimer_predictions_per_model=0"],
        ["random_seed=1"],
        ["--"],
        ["--norandom_seed"],
        ["; rm -rf /"],
        "--data_dir=/etc",
        "--random_seed=1; rm -rf /",
    ],
)
def test_flags_not_allowed_are_refused_by_name(flags: list[str] | str) -> None:
    with pytest.raises(InvalidInput, match="alphafold_extra_flags"):
        read_input({"sequence": "MK", "alphafold_extra_flags": flags})


@given(st.lists(st.text(max_size=30) | st.sampled_from([f"--{name}" for name in ALLOWED]), max_size=4))
def test_no_flags_but_allowed_ones_come_through(flags: list[str]) -> None:
    try:
        assert set(read_flags(flags)) <= set(ALLOWED)
    except ValueError as error:
        assert str(error)


def test_the_schema_accepts_what_the_contracts_accept() -> None:
    import jsonschema

    schema = docs.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for valid in _VALID:
        validator.validate(valid)
    for wrong in ({}, {"sequence": 3}, {"task": "search"}, {**_VALID[0], "extra": 1}):
        assert not validator.is_valid(wrong)


def test_the_documentation_is_that_of_the_contracts() -> None:
    page = house() / "docs" / "endpoints.md"
    text = page.read_text(encoding="utf-8")
    assert docs.filled(text) == text, "run: snakefold contracts docs docs/endpoints.md"
    assert all(f"<!-- made: {name} -->" in text for name in docs.CONTRACTS)


def test_examples_of_the_documentation_are_valid() -> None:
    text = Path(house() / "docs" / "endpoints.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in text.split("```json\n")[1:]]
    inputs = [json.loads(block)["input"] for block in blocks if block.startswith('{"input"')]
    assert len(inputs) >= 4
    for value in inputs:
        if "request" not in value:  # that one is cut short
            read_input(value)

"""Digests name what a result depends on: all of it, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakefold.kernel.recipes import digest, file_fingerprint, sequence_key

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), values, max_size=5))
def test_order_does_not_count(recipe: dict[str, object]) -> None:
    assert digest(recipe) == digest(dict(reversed(recipe.items())))
    assert len(digest(recipe)) == 16
    assert digest({**recipe, "one more": 1}) != digest(recipe) or "one more" in recipe


def test_digest_is_that_of_canonical_json() -> None:
    text = b'{"a":"\\u00e9","b":[1,2.5,null]}'
    assert digest({"b": [1, 2.5, None], "a": "é"}) == hashlib.sha256(text).hexdigest()[:16]


def test_values_that_are_no_json_are_refused() -> None:
    for value in (float("nan"), float("inf"), Path("x"), {1}):
        with pytest.raises((TypeError, ValueError)):
            digest({"value": value})


def test_key_is_colabfolds_text_hashed() -> None:
    assert sequence_key(["MKT"]) == hashlib.sha256(b"MKT").hexdigest()
    assert sequence_key(["MKT", "AC"]) == hashlib.sha256(b"MKT:AC").hexdigest()
    assert len({sequence_key(chains) for chains in (["A", "C"], ["C", "A"], ["AC"], ["A", "C", "C"])}) == 4


MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 3 * MIB])
def test_fingerprint_sees_both_ends(size: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0" * size)
    before = file_fingerprint(path)
    assert before["size"] == size
    assert before == file_fingerprint(path)
    for place in {0, size // 4, size - 1} if 0 < size <= 2 * MIB else {0, MIB - 1, 2 * MIB, size - 1}:
        if 0 <= place < size:
            path.write_bytes(b"\0" * place + b"\1" + b"\0" * (size - place - 1))
            assert file_fingerprint(path) != before
    path.write_bytes(b"\0" * (size + 1))
    assert file_fingerprint(path) != before

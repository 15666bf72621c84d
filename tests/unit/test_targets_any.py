"""Whatever the input holds, Targets and named refusals come of it, and nothing else."""

from __future__ import annotations

import gzip
import hashlib
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.names import safe_id, shown, unique_ids
from snakefold.molecules.sequences import BadSequence, clean_chains
from snakefold.molecules.targets import msa_text, read_targets

SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)

# Bytes that look like the formats, so that the readers get further than the first line.
signs = [bytes([sign]) for sign in b'>\n\r:*-#\t,";1 \0\xff.']
words = [
    b"id,sequence\n",
    b"id,fasta\n",
    b"#3,4\t1,2\n",
    b">a b\n",
    b">a\n",
    b"ACDEFGHIKL",
    b"acdu",
    b"BJOUXZ",
]
marks = [b"\xc3\xa9", b"\xef\xbb\xbf", b"\xff\xfe", b"../x", b"x.csv"]
pieces = st.sampled_from([*signs, *words, *marks])
contents = st.one_of(st.binary(max_size=300), st.lists(pieces, max_size=30).map(b"".join))
names = st.sampled_from(["x.fasta", "x.csv", "x.tsv", "x.a3m", "x.txt", "x.fasta.gz", "x.csv.gz"])


@settings(max_examples=1000, deadline=None)
@given(name=names, content=contents, packed=st.booleans())
@example(name="x.csv", content=b"id,fasta\na,x.csv\n", packed=False)
@example(name="x.csv", content=b"id,fasta\na,.\n", packed=False)
@example(name="x.csv", content=b'id,sequence\na,"' + b"A" * 200_000 + b'"\n', packed=False)
def test_no_bytes_make_anything_else(name: str, content: bytes, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(gzip.compress(content) if packed else content)
        targets, refusals = read_targets([path], min_length=1, max_length=1000)
    assert targets or refusals
    for target in targets:
        # The contract checks letters, ids and keys.
        accepted = TargetInput(
            id=target.id, key=target.key, chains=list(target.chains), msa_sha256=target.msa_sha256
        )
        assert accepted.length == target.length
        assert target.line >= 1
    assert len({target.id.lower() for target in targets}) == len(targets)
    for refusal in refusals:
        assert refusal.code
        assert refusal.message
        assert refusal.advice
        assert refusal.file == str(path)
        assert str(refusal).isprintable()


rows = st.text("ACDUX-ac", min_size=4, max_size=6)
headers = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=8)
firsts = st.sampled_from(["", "#4\t1\n", "#4\t2\n", "#2,2\t1,1\n", "#1,3\t2,1\n", "#note\n", "#a\tb\n", "\n"])
ends = st.sampled_from(["\n", "\r\n", "\n\n", "\n;note\n", " \n"])
alignments = st.builds(
    lambda first, query, more, end: (
        first + "".join(f">{header}\n{row}{end}" for header, row in [query, *more])
    ),
    firsts,
    st.tuples(headers, st.text("ACDU", min_size=4, max_size=4)),
    st.lists(st.tuples(headers, rows), max_size=4),
    ends,
)


@settings(max_examples=300, deadline=None)
@given(alignments)
def test_colabfold_reads_the_same_target_from_any_alignment_that_is_taken(text: str) -> None:
    from colabfold.batch import unserialize_msa

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.a3m")
        path.write_text(text, newline="")
        targets, refusals = read_targets([path], min_length=1, max_length=1000)
        assert len(targets) + len(refusals) == 1
        if refusals:
            return
        normal = msa_text(path)
        assert targets[0].msa_sha256 == hashlib.sha256(normal.encode()).hexdigest()
        path.write_text(normal)
        assert msa_text(path) == normal
    unpaired, _, unique, copies, _ = unserialize_msa([normal], targets[0].chains[0])
    chains = [sequence for sequence, count in zip(unique, copies, strict=True) for _ in range(count)]
    assert tuple(chains) == targets[0].chains
    for sequence, alignment in zip(unique, unpaired, strict=True):
        for row in alignment.split("\n"):
            assert row.startswith(">") or len(re.sub("[a-z]", "", row)) in {0, len(sequence)}


@given(st.text(max_size=300))
def test_ids_are_safe(text: str) -> None:
    name = safe_id(text, "record-1")
    assert SAFE.fullmatch(name)
    assert ".." not in name
    assert not name.endswith(".")
    assert not RESERVED.fullmatch(name)
    assert safe_id(name, "record-1") == name


@given(st.lists(st.sampled_from(["a", "A", "a-2", "A-3", "b", "x" * 100, "X" * 100, "x" * 98 + "-2"])))
def test_ids_are_made_unique(ids: list[str]) -> None:
    unique = unique_ids(ids)
    assert len({name.lower() for name in unique}) == len(ids)
    assert all(SAFE.fullmatch(name) for name in unique)
    for place, (before, after) in enumerate(zip(ids, unique, strict=True)):
        first = before.lower() not in [name.lower() for name in ids[:place]]
        assert (before == after) == first


@given(st.text(max_size=30), st.integers(1, 20))
def test_what_is_shown_is_one_printable_bounded_line(text: str, limit: int) -> None:
    assert shown(text, limit).isprintable()
    assert len(shown(text, limit)) <= limit
    assert shown(text, None).isprintable()


@given(st.text(alphabet="ACDEFGHIKLMNPQRSTVWYX", min_size=1, max_size=60))
def test_standard_letters_stay(text: str) -> None:
    try:
        chains, note = clean_chains(text)
        assert chains == (text,)
        assert not note or not set(text) - set("ACGTN")
    except BadSequence as problem:
        assert problem.code in {"all_unknown", "nucleotides"}


@given(st.text(max_size=60))
def test_any_text_is_cleaned_or_refused(text: str) -> None:
    try:
        chains, _ = clean_chains(text)
    except BadSequence as problem:
        assert problem.position is None or 0 <= problem.position < len(text)
    else:
        assert all(re.fullmatch("[ACDEFGHIKLMNPQRSTVWYX]+", chain) for chain in chains)
        assert ":".join(chains).count(":") == text.count(":")


@pytest.mark.parametrize("count", [3000])
def test_many_equal_ids_stay_fast(count: int) -> None:
    assert unique_ids(["a"] * count)[-1] == f"a-{count}"

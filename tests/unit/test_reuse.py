"""Collections of structures: what is found in them, and what is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import reuse_files as make
from hypothesis import given, settings
from hypothesis import strategies as st
from reuse_files import OTHER, PROTEIN, Look

from snakefold.cli import main
from snakefold.engines.reuse.found import expand, read_place
from snakefold.engines.reuse.lookup import lookup
from snakefold.engines.reuse.predicted import read_predicted
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.recipes import sequence_key


def test_every_form_of_a_file_is_found(tmp_path: Path, look: Look) -> None:
    forms = ["a.cif", "b/b.cif.gz", "c.mmcif", "d.pdb", "b/c/e.pdb.gz", "AF-P12345-F1-model_v4.cif.gz"]
    chains = {form: PROTEIN[: 8 + number] for number, form in enumerate(forms)}
    files = {
        form: make.pdb([sequence]) if ".pdb" in form else make.cif([sequence])
        for form, sequence in chains.items()
    }
    for place in (make.folder(tmp_path / "folder", files), make.tar(tmp_path / "some.tar", files)):
        found = look(place, wanted=[[sequence] for sequence in chains.values()])
        for form, sequence in chains.items():
            one = found[sequence]
            assert (one.member or one.file).endswith(form)
            data = read_place(one.structure)
            assert one.sha256 == hashlib.sha256(data).hexdigest()
            assert expand(data) == files[form]
            assert one.collection == str(place)


def test_chains_are_found_in_their_order_only(tmp_path: Path, look: Look) -> None:
    folder = make.folder(
        tmp_path / "c",
        {"hetero.cif": make.cif([PROTEIN, OTHER]), "homo.pdb": make.pdb([OTHER, OTHER], seqres=False)},
    )
    found = look(
        folder,
        wanted=[[PROTEIN, OTHER], [OTHER, PROTEIN], [PROTEIN], [OTHER], [OTHER, OTHER], [PROTEIN + OTHER]],
    )
    assert {key: Path(one.file).name for key, one in found.items()} == {
        f"{PROTEIN}:{OTHER}": "hetero.cif",
        f"{OTHER}:{OTHER}": "homo.pdb",
    }


def test_rehearsals_are_found_only_if_asked_for(tmp_path: Path, look: Look) -> None:
    marked = make.pdb([PROTEIN], title="A\nREMARK   6 REHEARSAL: random parameters. B column: pLDDT")
    first = make.folder(tmp_path / "c", {"a.pdb": marked})
    assert look(first, wanted=[[PROTEIN]]) == {}
    assert look(first, wanted=[[PROTEIN]], rehearsal=True)[PROTEIN].rehearsal
    make.folder(first, {"b.pdb": make.pdb([PROTEIN])})
    for rehearsal in (False, True):
        one = look(first, wanted=[[PROTEIN]], rehearsal=rehearsal)[PROTEIN]
        assert (Path(one.file).name, one.rehearsal) == ("b.pdb", False)


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing", "no such folder"), ("a.tar.gz", "random access"), ("a.cif", "expected a folder")],
)
def test_what_is_no_collection(tmp_path: Path, look: Look, name: str, words: str) -> None:
    if name != "missing":
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(SnakefoldError, match=words) as caught:
        look(tmp_path / name, wanted=[[PROTEIN]])
    assert name in str(caught.value)


def test_command_says_what_cannot_be_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make.folder(tmp_path / "c", {"a.cif": make.cif([PROTEIN]), "b.cif": b"?"})
    assert main(["reuse", str(folder), "--list", "--cache", str(tmp_path / "cache")]) == 0
    printed = capsys.readouterr().out
    assert "b.cif\tit is no valid PDB" in printed
    assert "2 structures, 1 can be looked up, 1 cannot be taken" in printed


sequences = st.lists(st.text("ACDEFGHIKLMNPQRSTVWY", min_size=3, max_size=12), min_size=1, max_size=3)


@settings(max_examples=25)
@given(
    held=st.lists(st.tuples(sequences, st.sampled_from([".cif", ".cif.gz", ".pdb", ".pdb.gz"])), max_size=6),
    others=st.lists(sequences, max_size=4),
    is_tar=st.booleans(),
)
def test_exactly_what_is_held_is_found(
    tmp_path_factory: pytest.TempPathFactory,
    held: list[tuple[list[str], str]],
    others: list[list[str]],
    is_tar: bool,
) -> None:
    place = tmp_path_factory.mktemp("collection")
    files = {
        f"m{number}{ending}": make.pdb(chains) if ".pdb" in ending else make.cif(chains)
        for number, (chains, ending) in enumerate(held)
    }
    collection = (
        make.tar(place / "c.tar", files) if is_tar else make.folder(place / "c", {**files, "n.txt": b""})
    )
    wanted = {sequence_key(chains): chains for chains in [*(chains for chains, _ in held), *others]}
    for _ in range(2):
        found = lookup([str(collection)], wanted, log=lambda _: None, cache=place / "cache")
        assert set(found) == {sequence_key(chains) for chains, _ in held}
        for key, one in found.items():
            data = read_place(one.structure)
            assert hashlib.sha256(data).hexdigest() == one.sha256
            predicted = read_predicted(data)
            assert list(predicted.chains) == wanted[key]
            again = read_predicted(f"TITLE     pLDDT\n{predicted.pdb()}".encode())
            assert again.chains == predicted.chains
            assert again.plddt.tolist() == predicted.plddt.tolist()

"""Collections of structures: what is found in them, what is not, and the index in between."""

from __future__ import annotations

import gzip
import hashlib
import io
import multiprocessing
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import gemmi
import pytest
import reuse_files as make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snakefold.cli import main
from snakefold.errors import SnakefoldError
from snakefold.recipes import sequence_key
from snakefold.reuse import found as found_module
from snakefold.reuse.found import Found, UnusableError, expand, read_place
from snakefold.reuse.index import open_index
from snakefold.reuse.lookup import lookup
from snakefold.reuse.predicted import read_predicted

PROTEIN, OTHER = "MKTAYIAKQRQISFVKSH", "GSHMWWACDEFGHIKLMN"
Look = Callable[..., dict[str, Found]]
quiet = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """`lookup` of targets given by their chains; the result is keyed by the chains joined by ':'."""

    def find(*collections: Path, wanted: Sequence[Sequence[str]], **more: bool) -> dict[str, Found]:
        keys = {":".join(chains): chains for chains in wanted}
        return lookup(
            [str(path) for path in collections], keys, log=lambda _: None, cache=tmp_path / "cache", **more
        )

    return find


def problems(collection: Path, cache: Path) -> dict[str, str]:
    with open_index(str(collection), lambda _: None, cache / "cache") as index:
        return {Path(place.split(": ")[-1]).name: problem for place, problem in index.problems()}


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


def test_alphafold_db_tar(tmp_path: Path, look: Look) -> None:
    """Fragments are no proteins, PAE comes along, a newer version is preferred, mmCIF to PDB."""
    tar = make.tar(
        tmp_path / "UP000000625_83333_ECOLI_v4.tar",
        {
            "AF-P12345-F1-model_v3.cif.gz": make.cif([PROTEIN], 50.0),
            "AF-P12345-F1-model_v4.pdb.gz": make.pdb([PROTEIN]),
            "AF-P12345-F1-model_v4.cif.gz": make.cif([PROTEIN]),
            "AF-P12345-F1-predicted_aligned_error_v4.json.gz": make.pae(len(PROTEIN)),
            "AF-P12345-F1-predicted_aligned_error_v3.json.gz": make.pae(1),
            "AF-Q9XXX1-F2-model_v4.cif.gz": make.cif([OTHER]),
            "AF-Q9XXX1-F12-model_v4.cif.gz": make.cif([OTHER]),
            "AF-P12345-F1-confidence_v4.json.gz": b"{}",
        },
    )
    found = look(tar, wanted=[[PROTEIN], [OTHER]])
    assert list(found) == [PROTEIN]
    one = found[PROTEIN]
    assert one.member == "AF-P12345-F1-model_v4.cif.gz"
    assert one.pae is not None
    assert one.pae.member == "AF-P12345-F1-predicted_aligned_error_v4.json.gz"
    assert expand(read_place(one.pae)) == make.pae(len(PROTEIN))


@pytest.mark.parametrize("where", ["in the folder", "in the tar", "beside the tar"])
def test_index_fasta_spares_opening_files(tmp_path: Path, look: Look, where: str) -> None:
    """A file that is broken shows that it was not opened: only once it is wanted is it found out."""
    fasta = f">AFDB:AF-P1-F1 One UA=P1\n{PROTEIN[:9]}\n{PROTEIN[9:]}\n"
    fasta += f">AFDB:AF-P2-F1\n{OTHER}\n>AF-P9-F1\nA\n>\nG\n"
    files = {
        "x/AF-P1-F1-model_v4.cif.gz": make.cif([PROTEIN]),
        "AF-P2-F1-model_v4.cif": b"broken",
        "AF-P3-F1-model_v4.cif": make.cif([PROTEIN[:8]]),
    }
    if where == "in the folder":
        place = make.folder(tmp_path / "c", {**files, "sequences.fasta.gz": fasta.encode()})
    elif where == "in the tar":
        place = make.tar(tmp_path / "c.tar", {**files, "sequences.fasta": fasta.encode()})
    else:
        place = make.tar(tmp_path / "c.tar", files)
        make.folder(tmp_path, {"c.fasta": fasta.encode()})
    found = look(place, wanted=[[PROTEIN], [PROTEIN[:8]], ["A"]])
    assert list(found) == [PROTEIN, PROTEIN[:8]]
    assert problems(place, tmp_path) == {}
    assert look(place, wanted=[[OTHER]]) == {}
    assert "no valid PDB" in " ".join(problems(place, tmp_path).values())


def test_index_fasta_is_not_believed(tmp_path: Path, look: Look) -> None:
    place = make.folder(
        tmp_path / "c", {"a.cif": make.cif([PROTEIN]), "sequences.fasta": f">a.cif\n{OTHER}\n".encode()}
    )
    assert look(place, wanted=[[OTHER]]) == {}
    assert "index FASTA" in problems(place, tmp_path)["a.cif"]
    (place / "sequences.fasta").write_text(f">a\n{PROTEIN}\n")
    assert list(look(place, wanted=[[PROTEIN], [OTHER]])) == [PROTEIN]
    (place / "sequences.fasta").unlink()
    assert list(look(place, wanted=[[PROTEIN], [OTHER]])) == [PROTEIN]


def _edited(change: Callable[[gemmi.Structure], object]) -> bytes:
    structure = make.model([PROTEIN])
    change(structure)
    return make.cif([], structure=structure)


def _rename(structure: gemmi.Structure) -> None:
    structure[0][0][4].name = "MSE"
    structure.entities[0].full_sequence = [residue.name for residue in structure[0][0]]


def _add_water(structure: gemmi.Structure) -> None:
    water = structure[0][0][0].clone()
    water.name, water.entity_type, water.subchain = "HOH", gemmi.EntityType.Water, "W"
    water.seqid = gemmi.SeqId(99, " ")
    structure[0][0].add_residue(water)


def _far(structure: gemmi.Structure) -> None:
    structure[0][0][3][1].pos = gemmi.Position(float("nan"), 1e9, 0)


def _without_ca(structure: gemmi.Structure) -> None:
    structure[0][0][3].remove_atom("CA", "\0")


def _gap(sequence: str) -> bytes:
    """PDB without SEQRES that lacks residue 5."""
    lines = make.pdb([sequence], seqres=False).decode().splitlines(keepends=True)
    return "".join(line for line in lines if line[22:26] != "   5").encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (make.cif([PROTEIN], method="X-RAY DIFFRACTION"), "experimental"),
        (make.cif([PROTEIN], has_metric=False), "does not say"),
        (make.pdb([PROTEIN], title="A MODEL"), "does not say"),
        (
            make.pdb([PROTEIN], title="A MODEL\nREMARK   2 B column: pLDDT\nEXPDTA    X-RAY DIFFRACTION"),
            "experim",
        ),
        (_edited(lambda model: model[0][0].__delitem__(7)), "do not cover"),
        (_gap(PROTEIN), "gaps"),
        (_edited(_rename), "MSE"),
        (_edited(_add_water), "nothing else"),
        (_edited(_far), "coordinates"),
        (_edited(_without_ca), "backbone"),
        (make.cif([PROTEIN], 0.9), "scale"),
        (make.cif([PROTEIN], 120.0), "from 0 to 100"),
        (make.cif([PROTEIN])[:700], "no valid mmCIF"),
        (b"data_x\n", "no atoms"),
        (make.cif([PROTEIN])[:-40] + b"\nloop_\n_x", "no valid mmCIF"),
        (b"", "no valid PDB"),
        (b"\xff\xfe\x00", "no text"),
        (gzip.compress(make.cif([PROTEIN]))[:200], "gzip"),
    ],
)
def test_what_is_not_taken(tmp_path: Path, look: Look, data: bytes, reason: str) -> None:
    folder = make.folder(tmp_path / "c", {"bad.cif": data, "good.cif": make.cif([OTHER])})
    assert list(look(folder, wanted=[[PROTEIN], [OTHER]])) == [OTHER]
    assert reason in problems(folder, tmp_path)["bad.cif"]


def test_first_of_several_models_counts() -> None:
    structure = make.model([PROTEIN])
    second = make.model([PROTEIN], 20.0)[0].clone()
    structure.add_model(second)
    structure.renumber_models()
    predicted = read_predicted(make.cif([], structure=structure))
    assert predicted.chains == (PROTEIN,)
    assert predicted.plddt[0] == 90.0
    assert predicted.pdb().count(" CA ") == len(PROTEIN)


def test_sequence_of_entity_poly_alone_must_be_covered() -> None:
    document = gemmi.cif.read_string(make.cif([PROTEIN]).decode())
    block = document.sole_block()
    block.find_mmcif_category("_entity_poly_seq.").erase()
    assert read_predicted(document.as_string().encode()).chains == (PROTEIN,)
    block.find("_entity_poly.", ["pdbx_seq_one_letter_code"])[0][0] = PROTEIN + "WW"
    with pytest.raises(UnusableError, match="do not cover"):
        read_predicted(document.as_string().encode())


@pytest.mark.parametrize("data", [make.cif(["REHEARSAL"]), make.pdb(["REHEARSAL"])])
def test_rehearsal_is_a_peptide_too(data: bytes) -> None:
    assert not read_predicted(data).rehearsal


def test_rehearsals_are_found_only_if_asked_for(tmp_path: Path, look: Look) -> None:
    marked = make.pdb([PROTEIN], title="A\nREMARK   6 REHEARSAL: random parameters. B column: pLDDT")
    first = make.folder(tmp_path / "c", {"a.pdb": marked})
    assert look(first, wanted=[[PROTEIN]]) == {}
    assert look(first, wanted=[[PROTEIN]], rehearsal=True)[PROTEIN].rehearsal
    make.folder(first, {"b.pdb": make.pdb([PROTEIN])})
    for rehearsal in (False, True):
        one = look(first, wanted=[[PROTEIN]], rehearsal=rehearsal)[PROTEIN]
        assert (Path(one.file).name, one.rehearsal) == ("b.pdb", False)


def test_index_follows_the_folder(tmp_path: Path, look: Look) -> None:
    folder = make.folder(tmp_path / "c", {"a.cif": make.cif([PROTEIN]), "b.cif": make.cif([OTHER])})
    make.tar(folder / "t.tar", {"t.cif": make.cif([PROTEIN[:9]])})
    wanted = [[PROTEIN], [OTHER], [PROTEIN[:9]], [OTHER[:9]]]
    assert list(look(folder, wanted=wanted)) == [PROTEIN, OTHER, PROTEIN[:9]]
    (folder / "a.cif").unlink()
    (folder / "b.cif").write_bytes(make.cif([OTHER[:9]]))
    os.utime(folder / "b.cif", ns=(1, 1))
    assert list(look(folder, wanted=wanted)) == [PROTEIN[:9], OTHER[:9]]
    make.tar(folder / "t.tar", {"t.cif": make.cif([PROTEIN])})
    os.utime(folder / "t.tar", ns=(2, 2))
    assert list(look(folder, wanted=wanted)) == [PROTEIN, OTHER[:9]]


def test_unchanged_files_are_not_opened_again(tmp_path: Path, look: Look) -> None:
    """Same size and time, other bytes: nobody looks, which is what makes a second run quick."""
    folder = make.folder(tmp_path / "c", {"a.cif": make.cif([PROTEIN])})
    times = (folder / "a.cif").stat().st_mtime_ns
    assert look(folder, wanted=[[PROTEIN]])
    size = (folder / "a.cif").stat().st_size
    (folder / "a.cif").write_bytes(b"x" * size)
    os.utime(folder / "a.cif", ns=(times, times))
    assert look(folder, wanted=[[PROTEIN]])


def test_damaged_index_is_made_again(tmp_path: Path, look: Look) -> None:
    folder = make.folder(tmp_path / "c", {"a.cif": make.cif([PROTEIN])})
    assert look(folder, wanted=[[PROTEIN]])
    index = next((tmp_path / "cache").glob("*.sqlite"))
    for damage in (b"no database", b"", index.read_bytes()[:5000]):
        index.write_bytes(damage)
        assert look(folder, wanted=[[PROTEIN]])


def _look_up(folder: str, cache: str) -> int:
    return len(lookup([folder], {"x": [PROTEIN]}, log=lambda _: None, cache=Path(cache)))


def test_several_processes_share_an_index(tmp_path: Path) -> None:
    files = {f"{n}.cif": make.cif([PROTEIN[: n % 10 + 6]]) for n in range(60)} | {
        "p.cif": make.cif([PROTEIN])
    }
    folder = make.folder(tmp_path / "c", files)
    with multiprocessing.get_context("fork").Pool(4) as pool:
        jobs = [pool.apply_async(_look_up, (str(folder), str(tmp_path / "cache"))) for _ in range(4)]
        assert [job.get(timeout=60) for job in jobs] == [1] * 4
    with open_index(str(folder), lambda _: None, tmp_path / "cache") as index:
        assert index.contents().indexed == 61


def test_hostile_tar(tmp_path: Path, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links, devices, paths that climb, bombs, giants: read as bytes or passed over; nothing is written."""
    monkeypatch.setattr(found_module, "MAX_BYTES", 1 << 20)
    secret = tmp_path / "secret.cif"
    secret.write_bytes(make.cif([OTHER]))
    path = tmp_path / "in" / "bad.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        for name, kind, target in (
            ("link.cif", tarfile.SYMTYPE, str(secret)),
            ("hard.cif", tarfile.LNKTYPE, "../secret.cif"),
            ("fifo.cif", tarfile.FIFOTYPE, ""),
            ("device.cif", tarfile.CHRTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        bomb = gzip.compress(bytes(50 << 20))
        for name, data in (
            ("../../climbs.cif", make.cif([PROTEIN])),
            ("/absolute.cif", make.cif([PROTEIN[:9]])),
            ("bomb.cif.gz", bomb),
            ("giant.cif", bytes(2 << 20)),
            ("new\nline.cif", make.cif([PROTEIN[:8]])),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    found = look(path, wanted=[[PROTEIN], [PROTEIN[:9]], [PROTEIN[:8]], [OTHER]])
    assert {one.member for one in found.values()} == {"../../climbs.cif", "/absolute.cif"}
    assert not Path("/absolute.cif").exists()
    assert sorted(item.name for item in tmp_path.rglob("*.cif")) == ["secret.cif"]
    reasons = problems(path, tmp_path)
    assert "unpacks to more" in reasons["bomb.cif.gz"]
    assert "at most" in reasons["giant.cif"]


@pytest.mark.parametrize("cut", [300, 1500, 4000])
def test_tar_cut_short_gives_what_is_whole(tmp_path: Path, look: Look, cut: int) -> None:
    whole = make.tar(tmp_path / "w.tar", {"a.cif": make.cif([PROTEIN]), "b.cif": make.cif([OTHER])})
    size = len(make.cif([PROTEIN]))
    path = tmp_path / "c.tar"
    path.write_bytes(whole.read_bytes()[: 512 + -(-size // 512) * 512 + cut])
    assert list(look(path, wanted=[[PROTEIN], [OTHER]])) == [PROTEIN]
    assert any("tar" in reason or "cut short" in reason for reason in problems(path, tmp_path).values())


def test_tar_header_with_a_negative_size_ends_the_listing(tmp_path: Path, look: Look) -> None:
    path = make.tar(tmp_path / "c.tar", {"a.cif": make.cif([PROTEIN]), "b.cif": make.cif([OTHER])})
    data = bytearray(path.read_bytes())
    start = data.index(b"b.cif")
    data[start + 124 : start + 136] = b"\xff" * 10 + b"\xf0\x00"
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 155] = b"%06o\0" % sum(data[start : start + 512])
    path.write_bytes(data)
    assert list(look(path, wanted=[[PROTEIN], [OTHER]])) == [PROTEIN]
    assert "tar" in problems(path, tmp_path)["c.tar"]


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


def test_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = make.folder(tmp_path / "c", {"a.cif": make.cif([PROTEIN])})
    (tmp_path / "file").write_text("")
    with pytest.raises(SnakefoldError, match="file"):
        lookup([str(folder)], {"x": [PROTEIN]}, cache=tmp_path / "file")


def test_command_says_what_cannot_be_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make.folder(tmp_path / "c", {"a.cif": make.cif([PROTEIN]), "b.cif": b"?"})
    assert main(["reuse", str(folder), "--list", "--cache", str(tmp_path / "cache")]) == 0
    printed = capsys.readouterr().out
    assert "b.cif\tit is no valid PDB" in printed
    assert "2 structures, 1 can be looked up, 1 cannot be taken" in printed


sequences = st.lists(st.text("ACDEFGHIKLMNPQRSTVWY", min_size=3, max_size=12), min_size=1, max_size=3)


@quiet
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


@quiet
@given(data=st.binary(max_size=600), cut=st.integers(0, 4000), byte=st.integers(0, 255))
def test_damage_is_refused_or_read_never_a_crash(data: bytes, cut: int, byte: int) -> None:
    text = bytearray(make.cif([PROTEIN]))
    text[cut % len(text)] = byte
    for content in (data, bytes(text), make.pdb([PROTEIN])[:cut], gzip.compress(data)[: cut % 100]):
        try:
            read_predicted(content)
        except UnusableError as error:
            assert str(error)

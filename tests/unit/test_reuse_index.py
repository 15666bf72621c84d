"""The index of a collection: it follows the files, is shared, and spares opening them."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
import reuse_files as make
from reuse_files import OTHER, PROTEIN, Look

from snakefold.engines.reuse.index import open_index
from snakefold.engines.reuse.lookup import lookup
from snakefold.kernel.errors import SnakefoldError


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
    assert make.problems(place, tmp_path) == {}
    assert look(place, wanted=[[OTHER]]) == {}
    assert "no valid PDB" in " ".join(make.problems(place, tmp_path).values())


def test_index_fasta_is_not_believed(tmp_path: Path, look: Look) -> None:
    place = make.folder(
        tmp_path / "c", {"a.cif": make.cif([PROTEIN]), "sequences.fasta": f">a.cif\n{OTHER}\n".encode()}
    )
    assert look(place, wanted=[[OTHER]]) == {}
    assert "index FASTA" in make.problems(place, tmp_path)["a.cif"]
    (place / "sequences.fasta").write_text(f">a\n{PROTEIN}\n")
    assert list(look(place, wanted=[[PROTEIN], [OTHER]])) == [PROTEIN]
    (place / "sequences.fasta").unlink()
    assert list(look(place, wanted=[[PROTEIN], [OTHER]])) == [PROTEIN]


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
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        jobs = [pool.apply_async(_look_up, (str(folder), str(tmp_path / "cache"))) for _ in range(3)]
        assert [job.get(timeout=600) for job in jobs] == [1] * 3
    with open_index(str(folder), lambda _: None, tmp_path / "cache") as index:
        assert index.contents().indexed == 61


def test_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    folder = make.folder(tmp_path / "c", {"a.cif": make.cif([PROTEIN])})
    (tmp_path / "file").write_text("")
    with pytest.raises(SnakefoldError, match="file"):
        lookup([str(folder)], {"x": [PROTEIN]}, cache=tmp_path / "file")

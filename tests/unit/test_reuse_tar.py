"""Collections that are tar files: as AlphaFold DB has them, hostile, and cut short."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import reuse_files as make
from reuse_files import OTHER, PROTEIN, Look

from snakefold.engines.reuse import found as found_module
from snakefold.engines.reuse.found import expand, read_place


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
    reasons = make.problems(path, tmp_path)
    assert "unpacks to more" in reasons["bomb.cif.gz"]
    assert "at most" in reasons["giant.cif"]


@pytest.mark.parametrize("cut", [300, 1500, 4000])
def test_tar_cut_short_gives_what_is_whole(tmp_path: Path, look: Look, cut: int) -> None:
    whole = make.tar(tmp_path / "w.tar", {"a.cif": make.cif([PROTEIN]), "b.cif": make.cif([OTHER])})
    size = len(make.cif([PROTEIN]))
    path = tmp_path / "c.tar"
    path.write_bytes(whole.read_bytes()[: 512 + -(-size // 512) * 512 + cut])
    assert list(look(path, wanted=[[PROTEIN], [OTHER]])) == [PROTEIN]
    assert any("tar" in reason or "cut short" in reason for reason in make.problems(path, tmp_path).values())


def test_tar_header_with_a_negative_size_ends_the_listing(tmp_path: Path, look: Look) -> None:
    path = make.tar(tmp_path / "c.tar", {"a.cif": make.cif([PROTEIN]), "b.cif": make.cif([OTHER])})
    data = bytearray(path.read_bytes())
    start = data.index(b"b.cif")
    data[start + 124 : start + 136] = b"\xff" * 10 + b"\xf0\x00"
    data[start + 148 : start + 156] = b" " * 8
    data[start + 148 : start + 155] = b"%06o\0" % sum(data[start : start + 512])
    path.write_bytes(data)
    assert list(look(path, wanted=[[PROTEIN], [OTHER]])) == [PROTEIN]
    assert "tar" in make.problems(path, tmp_path)["c.tar"]

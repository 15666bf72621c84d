"""What a target's page is made of, without a browser: atoms, PAE, sizes, other results."""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from Bio.PDB import PDBParser
from numpy.typing import NDArray
from PIL import Image
from tests.browser.make_noisy import LENGTH, MODELS, make_noisy, rough_pae, stored_bytes
from tests.browser.make_results import CRN, GB1, make_results

from snakefold.kernel.errors import SnakefoldError
from snakefold.report import pae
from snakefold.report.comparison import compared, read_others
from snakefold.report.coordinates import STEP, read_atoms
from snakefold.report.target import read_target, target_scripts
from snakefold.structures.confidence import quantise_pae
from snakefold.structures.fit import overlay, rmsd

#: What a page of 400 residues and five models may take.
MOST = 150_000


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_noisy(tmp_path_factory.mktemp("noisy") / "target")


def content(folder: Path, **more: Any) -> dict[str, Any]:
    script = target_scripts("x", folder, "../structures/x", **more)["x.js"].decode()
    name, data = json.loads(f"[{script.removeprefix('snakefold.receive(').removesuffix(');' + chr(10))}]")
    assert name == "x"
    return dict(data)


def unpacked(text: str) -> bytes:
    return gzip.decompress(base64.b64decode(text))


def atoms_of(
    molecule: dict[str, Any], kinds: list[Any]
) -> list[tuple[str, int, str, str, tuple[float, ...]]]:
    """Chain, number, residue, atom and place of every atom, read as the page reads them."""
    data = unpacked(molecule["atoms"])
    chains = [name for name, count, *_ in molecule["chains"] for _ in range(count)]
    kind = [kinds[at] for at in np.frombuffer(data, "<u2", len(chains))]
    numbers = np.cumsum(np.frombuffer(data, "<i2", len(chains), 2 * len(chains)))
    total = sum(len(names) for _, names, *_ in kind)
    low, high = np.frombuffer(data[4 * len(chains) :], np.uint8).reshape(2, 3, total).astype(int)
    folded = low + 256 * high
    change = np.where(folded % 2, -(folded + 1) // 2, folded // 2).T
    places, found, anchor = np.zeros((total, 3), int), [], None
    for chain, number, (residue, names, parents, *_) in zip(chains, numbers, kind, strict=True):
        start = len(found)
        for at, name in enumerate(names):
            parent = start + parents[at] if at else anchor
            places[start + at] = change[start + at] + (0 if parent is None else places[parent])
            found.append((chain, int(number), residue, name, tuple(places[start + at] * molecule["step"])))
        anchor = start + (names.index("C") if "C" in names else len(names) - 1)
    return found


def biopython(path: Path) -> list[tuple[str, int, str, str, tuple[float, ...]]]:
    model = PDBParser(QUIET=True).get_structure("x", str(path))[0]
    return [
        (chain.id, residue.id[1], residue.resname, atom.id, tuple(map(float, atom.coord)))
        for chain in model
        for residue in chain
        for atom in residue
    ]


def test_a_page_of_400_residues_and_five_models_is_small(noisy: Path) -> None:
    stored = stored_bytes(noisy)
    bits = 8 * len(zlib.compress(stored.tobytes(), 9)) / stored.size
    assert 4.9 < bits < 6, "the target is to be as rough as a real one"
    shown = content(noisy)
    assert len(shown["models"]) == MODELS and len(shown["sequence"]) == LENGTH
    assert all(model["pae"]["size"] == LENGTH for model in shown["models"])
    assert all(model["pae"]["rms"] < 0.6 for model in shown["models"])
    assert len(target_scripts("x", noisy, "../structures/x")["x.js"]) <= MOST


def test_atoms_are_those_of_the_file(noisy: Path, results: Path) -> None:
    for folder in (noisy, results / "structures" / "crambin_gb1"):
        shown = content(folder)
        ours, theirs = atoms_of(shown["models"][0], shown["kinds"]), biopython(folder / "ranked_0.pdb")
        assert [atom[:4] for atom in ours] == [atom[:4] for atom in theirs]
        apart = np.abs(np.array([atom[4] for atom in ours]) - np.array([atom[4] for atom in theirs]))
        assert apart.max() <= STEP / 2 + 1e-3


def test_every_model_lies_on_the_best(noisy: Path) -> None:
    shown = content(noisy)
    best, other = (
        np.array([atom[4] for atom in atoms_of(shown["models"][rank], shown["kinds"])]) for rank in (0, 1)
    )
    alone = np.array([atom[4] for atom in biopython(noisy / "ranked_1.pdb")])
    # Only moved: distances stay.
    some = slice(0, 400)
    inner = [np.linalg.norm(each[some, None] - each[None, some], axis=2) for each in (other, alone)]
    assert np.abs(inner[0] - inner[1]).max() < 2 * STEP
    assert (
        np.linalg.norm(best.mean(axis=0) - other.mean(axis=0))
        < np.linalg.norm(best - best.mean(axis=0), axis=1).max()
    )


def test_plddt_and_scores_are_those_of_the_file(noisy: Path) -> None:
    shown, stored = content(noisy), json.loads((noisy / "confidence.json").read_text())
    for ours, theirs in zip(shown["models"], stored["models"], strict=True):
        values = np.frombuffer(unpacked(ours["plddt"]), "<u2") / 100
        assert values.tolist() == theirs["plddt"]
        assert {name: ours[name] for name in theirs if name != "plddt"} == {
            name: value for name, value in theirs.items() if name != "plddt"
        }


def test_the_picture_of_a_pae_is_as_good_as_it_says(noisy: Path) -> None:
    stored = stored_bytes(noisy)
    shown = content(noisy)["models"][0]["pae"]
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["image"]))).convert("L")).astype(float)
    lost = np.abs(seen - stored) / 8
    assert (shown["size"], shown["step"]) == (LENGTH, 1)
    assert np.sqrt((lost**2).mean()) == pytest.approx(shown["rms"], abs=0.02)
    assert lost.max() == pytest.approx(shown["most"], abs=0.2)
    assert seen.mean() / 8 == pytest.approx(shown["mean"], abs=0.02)


def test_the_pae_to_download_is_exact(noisy: Path) -> None:
    script = target_scripts("x", noisy, "")["pae/x.js"].decode()
    exact = json.loads(f"[{script.removeprefix('snakefold.receive(').removesuffix(');' + chr(10))}]")
    assert exact[0] == "pae/x" and len(exact[1]) == MODELS
    whole = np.frombuffer(unpacked(exact[1][0]), np.uint8).reshape(LENGTH, LENGTH)
    assert np.array_equal(whole, np.rint(stored_bytes(noisy) / 8))


def test_large_and_noisy_matrices_are_averaged() -> None:
    random = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(1201) % 100, np.arange(1201) % 50).astype(np.uint8)
    noise = random.integers(0, 254, (400, 400)).astype(np.uint8)
    for matrix, size, step in ((smooth, 401, 3), (noise, None, None)):
        shown = pae.picture(matrix)
        assert shown is not None
        assert (shown["size"], shown["step"]) == (size or shown["size"], step or shown["step"])
        assert shown["step"] * shown["size"] >= len(matrix) > shown["step"] * (shown["size"] - 1)
        assert len(shown["image"]) <= 0.5 / 8 * 4 / 3 * min(len(matrix), pae.MAX_PAE) ** 2 + 4
    assert shown["step"] > 1


def test_a_small_matrix_is_drawn_as_it_is() -> None:
    small = quantise_pae(rough_pae(140, np.random.default_rng(5)))
    shown = pae.picture(small)
    assert shown is not None
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["image"]))).convert("RGB"))[:, :, 1]
    assert np.array_equal(seen, small)
    assert (shown["size"], shown["step"], shown["rms"], shown["most"]) == (140, 1, 0, 0)


def test_a_model_without_pae_has_no_picture(results: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(results / "structures" / "crambin", tmp_path / "crambin")
    (folder / "pae.npz").unlink()
    assert [model["pae"] for model in content(folder)["models"]] == [None] * 3
    assert set(target_scripts("x", folder, "")) == {"x.js"}


def test_results_without_scores_show_what_they_have(results: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(results / "structures" / "crambin_gb1", tmp_path / "old")
    (folder / "scores.json").unlink()
    shown = content(folder)
    assert shown["scores"] is None and shown["sequence"] == CRN + GB1


@pytest.mark.parametrize(
    ("name", "text"),
    [("confidence.json", "{}"), ("ranked_1.cif", "data_x\n"), ("ranked_0.cif", "ATOM"), ("msa.json", "[")],
)
def test_a_damaged_file_is_named(results: Path, tmp_path: Path, name: str, text: str) -> None:
    folder = shutil.copytree(results / "structures" / "crambin", tmp_path / "crambin")
    (folder / name).write_text(text)
    with pytest.raises(SnakefoldError, match=rf"crambin/{name.replace('.', '[.]')}"):
        content(folder)


def rotation(random: np.random.Generator) -> NDArray[np.float64]:
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    return np.asarray(turn * np.sign(np.linalg.det(turn)))


def test_overlay_finds_the_rotation_and_lets_a_tail_go() -> None:
    random = np.random.default_rng(1)
    points = 10 * random.normal(size=(60, 3))
    turned = points @ rotation(random).T + [5, -3, 30]
    turn, shift = overlay(turned, points)
    assert np.abs(turned @ turn.T + shift - points).max() < 1e-9
    assert rmsd(turned, points) == pytest.approx(0, abs=1e-9)
    tail = turned.copy()
    tail[50:] += 40
    tail[3] = np.nan
    turn, shift = overlay(tail, points)
    assert np.nanmax(np.abs(tail[:50] @ turn.T + shift - points[:50])) < 0.05


def test_hydrogens_and_other_locations_are_left_out() -> None:
    line = "ATOM  {:5d} {:<4}{:1}ALA A   1    {:8.3f}   0.000   0.000  1.00 90.00"
    names = [(" N", ""), (" CA", "A"), (" CA", "B"), ("1HB", ""), (" HA", ""), (" CB", "")]
    text = "\n".join(line.format(at, name, other, at) for at, (name, other) in enumerate(names))
    (atoms,) = read_atoms(text)
    assert atoms.name.tolist() == [b"N", b"CA", b"CB"]
    assert atoms.xyz[:, 0].tolist() == [0, 1, 5]


def test_other_results_are_found_by_sequence(results: Path, tmp_path: Path) -> None:
    other = shutil.copytree(results, tmp_path / "boltz" / "results")
    (other / "structures" / "crambin").rename(other / "structures" / "renamed")
    table = (other / "metrics.tsv").read_text().replace("\ncrambin\t", "\nrenamed\t")
    (other / "metrics.tsv").write_text(table)
    target = read_target(results / "structures" / "crambin")
    found = compared(target, "crambin", read_others([f"{other}=Boltz 2"]), results / "report")
    assert [(item["label"], item["id"]) for item in found] == [("Boltz 2", "renamed")]
    assert found[0]["tm"] == pytest.approx(1) and found[0]["rmsd"] == pytest.approx(0, abs=1e-6)
    assert (results / "report" / found[0]["link"] / "ranked_0.pdb").resolve().is_file()
    assert read_others([str(other)])[0].label == "boltz"
    missing = read_target(results / "structures" / "gb1_dimer")
    (other / "structures" / "gb1_dimer" / "confidence.json").unlink()
    assert compared(missing, "gb1_dimer", read_others([str(other)]), results / "report") == []


def test_wrong_places_to_compare_with_are_named(results: Path, tmp_path: Path) -> None:
    with pytest.raises(SnakefoldError, match=r"metrics\.tsv: cannot be read .* Expected the results folder"):
        read_others([str(tmp_path)])
    with pytest.raises(SnakefoldError, match="expected a label of its own"):
        read_others([f"{results}=a", f"{results}=a"])

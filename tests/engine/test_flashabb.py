"""Engine flashabb on the real network, and what it refuses before the network is loaded."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alphafold.common import residue_constants
from Bio import SeqIO

from snakefold.engines import checkpoint, get
from snakefold.engines.flashabb import ENGINE, IMPLEMENTATION, domains, network, weights
from snakefold.engines.spec import Session, TargetMsas, as_result
from snakefold.kernel import recipes
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.kernel.errors import MissingProgramError, Reason, TargetError, WeightsMissingError
from snakefold.kernel.recipes import sequence_key
from snakefold.run.outputs import Relaxation, target_files
from snakefold.structures import files as structures
from snakefold.structures import superposition
from snakefold.structures.prediction import Prediction

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "resources" / "demo"


def records(name: str) -> dict[str, list[str]]:
    lines = (DEMO / name).read_text().split(">")[1:]
    split = {record.split()[0]: "".join(record.splitlines()[1:]) for record in lines}
    return {name: sequence.split(":") for name, sequence in split.items()}


ANTIBODIES = records("antibodies.fasta")
HEAVY, LIGHT = ANTIBODIES["EDE1-C10"]
NANOBODY = ANTIBODIES["Nb35"][0]
UBIQUITIN = ANTIBODIES["ubiquitin"][0]
# Human IgG1 CH1, and the V domains of CD8A, PD-1 and a T-cell receptor alpha chain (PDB 1AO7).
CH1 = "ASTKGPSVFPLAPSSKSTSGGTAALGCLVKDYFPEPVTVSWNSGALTSGVHTFPAVLQSSGLYSLSSVVTVPSSSLGTQTYICNVNHKPSNTKVDKKV"
CD8A = (
    "SQFRVSPLDRTWNLGETVELKCQVLLSNPTSGCSWLFQPRGAAASPTFLLYLSQNKPKAAEGLDTQRFSGKRLGDTFVLTLSDFRRENE"
    "GYYFCSALSNSIMYFSHFVPVFLPA"
)
PD1 = (
    "PPTFSPALLVVTEGDNATFTCSFSNTSESFVLNWYRMSPSNQTDKLAAFPEDRSQPGQDCRFRVTQLPNGRDFHMSVVRARRNDSGTYL"
    "CGAISLAPKAQIKESLRAELRVTERRAE"
)
TCR_ALPHA = (
    "KEVEQNSGPLSVPEGAIASLNCTYSDRGSQSFFWYRQYSGKSPELIMSIYSNGDKEDGRFTAQLNKASQYVSLLIRDSQPSDSATYLCA"
    "VTTDSWGKLQFGAGTQVVVTPD"
)
LINKER = "GGGGSGGGGSGGGGS"


def target(*chains: str) -> TargetInput:
    return TargetInput(id="t", key=sequence_key(chains), chains=list(chains))


def request(one: TargetInput) -> FoldRequest:
    return FoldRequest(batch="b", engine="flashabb", recipe="0" * 16, targets=[one])


@pytest.fixture(scope="module")
def session(flashabb_weights: Path) -> Session:
    return ENGINE.start(request(target(HEAVY)), {}, flashabb_weights, None)


def fold(session: Session, *chains: str) -> Prediction:
    (prediction,) = session.predict(target(*chains), TargetMsas())
    return prediction


def test_the_known_fv_is_folded_as_it_is(session: Session) -> None:
    prediction = fold(session, HEAVY, LIGHT)
    found = superposition.superpose(prediction.pdb, (DEMO / "references" / "7CTH-HL.pdb").read_text())
    assert found.chains == [("A", "H"), ("B", "L")]
    assert found.tm_score > 0.95
    assert found.rmsd < 1.2


def test_a_scrambled_antibody_is_refused_before_it_is_folded(session: Session) -> None:
    random = np.random.default_rng(0)
    heavy, light = ("".join(random.permutation(list(chain))) for chain in (HEAVY, LIGHT))
    with pytest.raises(TargetError, match="no antibody variable domain"):
        fold(session, heavy, light)


def test_model_holds_the_chains_in_the_targets_order(session: Session) -> None:
    forth, back = fold(session, HEAVY, LIGHT), fold(session, LIGHT, HEAVY)
    for prediction, chains in ((forth, (HEAVY, LIGHT)), (back, (LIGHT, HEAVY))):
        traces = structures.ca_traces(prediction.pdb)
        assert [(trace.name, trace.sequence) for trace in traces] == list(zip("AB", chains, strict=True))
    ours = [trace.coordinates for trace in structures.ca_traces(forth.pdb)]
    assert np.concatenate(ours[::-1]) == pytest.approx(structures.ca_coordinates(back.pdb))
    assert np.roll(forth.plddt, len(LIGHT)) == pytest.approx(back.plddt)


def test_prediction_is_deterministic(session: Session) -> None:
    first, second = fold(session, NANOBODY), fold(session, NANOBODY)
    assert first.pdb == second.pdb
    assert first.plddt.tolist() == second.plddt.tolist()


@pytest.mark.parametrize("chains", [[HEAVY], [LIGHT], [NANOBODY], [HEAVY.replace("K", "X", 2), LIGHT]])
def test_plddt_of_every_residue_is_in_the_b_column(session: Session, chains: list[str]) -> None:
    prediction = fold(session, *chains)
    assert prediction.plddt.shape == (sum(map(len, chains)),)
    assert prediction.plddt.min() > 0
    assert prediction.plddt.mean() > 80
    assert prediction.plddt.max() <= 100
    assert prediction.ranking_confidence == pytest.approx(prediction.plddt.mean())
    assert (prediction.pae, prediction.ptm, prediction.iptm) == (None, None, None)
    residues = [residue for chain in structures.read(prediction.pdb)[0] for residue in chain]
    for residue, plddt in zip(residues, prediction.plddt, strict=True):
        assert [atom.b_iso for atom in residue] == pytest.approx([plddt] * len(residue), abs=0.006)
    assert "".join(trace.sequence for trace in structures.ca_traces(prediction.pdb)) == "".join(chains)


def test_backbone_is_that_of_a_protein(session: Session) -> None:
    for chain in structures.ca_traces(fold(session, *ANTIBODIES["trastuzumab"]).pdb):
        steps = np.linalg.norm(np.diff(chain.coordinates, axis=0), axis=1)
        assert np.median(steps) == pytest.approx(3.8, abs=0.1)
        assert steps.max() < 4.5


def test_files_of_a_target_say_what_they_are(session: Session) -> None:
    one = target(HEAVY, LIGHT)
    files = target_files(
        request(one),
        one,
        TargetMsas(),
        result=as_result(session.predict(one, TargetMsas())),
        relaxation=Relaxation(),
        seconds={},
        software="flashabb 0.0.5",
    )
    assert {"ranked_0.pdb", "ranked_0.cif", "confidence.json", "ranking_debug.json"} <= set(files)
    assert "pae.npz" not in files
    assert b"REHEARSAL" not in files["ranked_0.pdb"] + files["ranked_0.cif"]


@pytest.mark.parametrize("name", sorted(set(ANTIBODIES) - {"ubiquitin"}))
def test_the_demo_is_accepted(name: str) -> None:
    ENGINE.check(target(*ANTIBODIES[name]), ENGINE.Settings())
    expected = {"Nb35": ["heavy"], "rituximab": ["light", "heavy"]}.get(name, ["heavy", "light"])
    assert domains.roles(ANTIBODIES[name]) == expected


@pytest.mark.parametrize(
    ("chains", "message", "advice"),
    [
        ([UBIQUITIN], "Chain 1 is no antibody variable domain", "engine: alphafold2"),
        ([HEAVY, UBIQUITIN], "Chain 2 is no antibody variable domain", "engine: alphafold2"),
        ([CH1], "no antibody variable domain", "engine: alphafold2"),
        ([CD8A], "no antibody variable domain: its best match has", "engine: alphafold2"),
        ([PD1], "no antibody variable domain: its best match has", "engine: alphafold2"),
        ([TCR_ALPHA], r"T-cell receptor domain \((human|mouse)_A", "engine: alphafold2"),
        (
            [HEAVY + LINKER + LIGHT],
            r"2 variable domains \(residues 1-128 and 144-253\)",
            "VH:VL, without the linker",
        ),
        ([LIGHT + LINKER + HEAVY], "2 variable domains", "VH:VL, without the linker"),
        ([HEAVY + CH1, LIGHT], "0 residues before and 98 after", "Give residues 1 to 128"),
        (["M" + "K" * 18 + NANOBODY], "19 residues before", "Give residues 20 to 147"),
        ([NANOBODY + "HHHHHH"], "0 residues before and 6 after", "tag"),
        ([NANOBODY[:90]], "a part of a variable domain", "from framework 1 to framework 4"),
        ([NANOBODY[40:]], "a part of a variable domain", "from framework 1 to framework 4"),
        ([HEAVY, NANOBODY], "Both chains are heavy chains", "VH:VL"),
        ([LIGHT, LIGHT], "Both chains are light chains", "VH:VL"),
        ([HEAVY, LIGHT, UBIQUITIN], "3 chains", "VH:VL"),
        (["X" * 120], "no profile matches", "engine: alphafold2"),
    ],
)
def test_what_is_no_fv_is_refused_with_the_reason(chains: list[str], message: str, advice: str) -> None:
    with pytest.raises(TargetError, match=message) as error:
        ENGINE.check(target(*chains), ENGINE.Settings())
    assert error.value.reason is Reason.INVALID_INPUT
    assert advice in error.value.advice


def test_no_natural_protein_of_the_demo_passes_for_an_antibody() -> None:
    proteins = [chain for chains in records("proteins.fasta").values() for chain in chains]
    database = next((DEMO / "database").glob("*.fasta*"))
    proteins += [str(record.seq) for record in SeqIO.parse(database, "fasta")][:500]
    letters = set("ACDEFGHIKLMNPQRSTVWXY")
    natural = [sequence for sequence in proteins if set(sequence) <= letters]
    assert len(natural) > 100
    assert [sequence for sequence in natural if _accepted(sequence)] == []


def _accepted(sequence: str) -> bool:
    try:
        domains.roles([sequence])
    except TargetError:
        return False
    return True


def test_a_few_more_residues_are_folded_with_the_domain(session: Session) -> None:
    longer = f"GS{NANOBODY}AAA"
    ENGINE.check(target(longer), ENGINE.Settings())
    assert fold(session, longer).plddt.shape == (len(longer),)


def test_distances_and_plddt_are_those_of_flash_abb_itself(session: Session) -> None:
    """Recorded by benchmarks/flashabb_parity.py --record, to 0.001 Å and 0.01 of pLDDT."""
    recorded = json.loads((HERE / "flashabb_reference.json").read_text())
    assert recorded["flash-abb"] == ENGINE.version
    assert len(recorded["antibodies"]) == 2
    for antibody in recorded["antibodies"].values():
        prediction = fold(session, antibody["heavy"], antibody["light"])
        residues = [residue for chain in structures.read(prediction.pdb)[0] for residue in chain]
        ca = [residue["CA"][0].pos for residue in residues]
        last = [residue[ATOMS[residue.name]][0].pos for residue in residues]
        found = [[end.dist(ca[anchor]) for anchor in antibody["anchors"]] for end in last]
        assert np.abs(np.subtract(found, antibody["distances"])).max() < 0.003
        assert np.abs(prediction.plddt - antibody["plddt"]).max() < 0.02


#: The last atom of each residue in the order of AlphaFold's 14.
ATOMS = {
    name: next(atom for atom in reversed(atoms) if atom)
    for name, atoms in residue_constants.restype_name_to_atom14_names.items()
    if any(atoms)
}


def test_padding_changes_nothing(flashabb_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = weights.parameters_file(flashabb_weights)
    own = network.Network(checkpoint.read_tensors(weights.read(path), str(path)))
    atoms, logits = own(NANOBODY, "")
    monkeypatch.setattr(network, "LENGTHS", (200,))
    padded, padded_logits = own(NANOBODY, "")
    assert atoms.shape == padded.shape == (128, 14, 3)
    assert np.abs(atoms - padded).max() < 1e-3
    assert np.abs(logits - padded_logits).max() < 1e-3


@pytest.mark.parametrize(
    ("length", "padded"), [(1, 144), (128, 144), (144, 144), (145, 256), (256, 256), (257, 384), (385, 512)]
)
def test_two_lengths_serve_variable_domains_and_fvs(length: int, padded: int) -> None:
    assert network.padded_length(length) == padded


_CHILD = """
import hashlib, json, sys
from pathlib import Path
from snakefold.engines import compilation
from snakefold.engines.flashabb import ENGINE
from snakefold.engines.spec import TargetMsas
from snakefold.kernel.contracts import FoldRequest
request = FoldRequest.model_validate_json(sys.argv[1])
session = ENGINE.start(request, {}, Path(sys.argv[2]), Path(sys.argv[3]))
atoms = [session._network(*[*target.chains, ""][:2])[0].tobytes() for target in request.targets]
pdbs = [session.predict(target, TargetMsas())[0].pdb for target in request.targets]
counts = compilation.counts()
print(json.dumps({
    "atoms": [hashlib.sha256(each).hexdigest() for each in atoms],
    "pdbs": pdbs,
    "compiled": counts.compiled,
    "from_cache": counts.from_cache,
    "imported": sorted({"torch", "flash_abb", "haiku"} & set(sys.modules)),
}))
"""


def child(targets: list[TargetInput], folder: Path, cache: Path, **variables: str) -> dict[str, Any]:
    """Predictions of a process of its own."""
    batch = FoldRequest(batch="b", engine="flashabb", recipe="0" * 16, targets=targets)
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, batch.model_dump_json(), str(folder), str(cache)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_equal_inputs_give_equal_bytes_in_another_process(flashabb_weights: Path, tmp_path: Path) -> None:
    """The second reads its programs from the cache, hashes otherwise, and has another order of targets."""
    targets = [target(HEAVY, LIGHT), target(NANOBODY), target(*ANTIBODIES["trastuzumab"])]
    first = child(targets, flashabb_weights, tmp_path / "cache", PYTHONHASHSEED="1")
    second = child(targets[::-1], flashabb_weights, tmp_path / "cache", PYTHONHASHSEED="2")
    assert (first["compiled"], first["from_cache"]) == (2, 0)
    assert (second["compiled"], second["from_cache"]) == (0, 2)
    assert first["atoms"] == second["atoms"][::-1]
    assert first["pdbs"] == second["pdbs"][::-1]
    assert first["imported"] == second["imported"] == []


def test_check_and_recipe_import_nothing_heavy(flashabb_weights: Path) -> None:
    code = (
        "import sys; from snakefold.engines import get; from snakefold.kernel.contracts import TargetInput\n"
        "from pathlib import Path\n"
        "engine = get('flashabb')\n"
        f"engine.check(TargetInput(id='t', key='0' * 64, chains=[{HEAVY!r}, {LIGHT!r}]), engine.Settings())\n"
        f"engine.recipe('antibody', engine.Settings(), Path({str(flashabb_weights)!r}))\n"
        "print(sorted({'torch', 'jax', 'flash_abb', 'alphafold'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_profiles_that_are_missing_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "anarci" else found(name))
    domains._profiles.cache_clear()
    with pytest.raises(MissingProgramError, match=r"needs the package anarci.*pip install anarci"):
        ENGINE.check(target(HEAVY), ENGINE.Settings())
    domains._profiles.cache_clear()


def test_recipe_names_what_results_depend_on(flashabb_weights: Path) -> None:
    found = get("flashabb").recipe("antibody", ENGINE.Settings(), flashabb_weights)
    assert found["version"] == ENGINE.version == "0.0.5"
    assert found["weights"]["size"] == 28_869_531
    # What PyTorch computed in releases up to 0.2.0 had no implementation, and is called otherwise.
    assert found["implementation"] == IMPLEMENTATION
    assert recipes.digest(found) != recipes.digest(
        {name: value for name, value in found.items() if name != "implementation"}
    )


def test_a_session_without_parameters_names_the_command(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(WeightsMissingError, match="snakefold weights fetch flashabb"):
            ENGINE.start(request(target(HEAVY)), {}, folder, None)

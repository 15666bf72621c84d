"""Engine flashabb on the real network, and what it refuses before the network is loaded."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from Bio import SeqIO

from snakefold.engines import get
from snakefold.engines.flashabb import ENGINE, domains
from snakefold.engines.spec import Session, TargetMsas, as_result
from snakefold.kernel.contracts import FoldRequest, TargetInput
from snakefold.kernel.errors import MissingProgramError, Reason, TargetError, WeightsMissingError
from snakefold.kernel.recipes import sequence_key
from snakefold.run.outputs import Relaxation, target_files
from snakefold.structures import files as structures
from snakefold.structures import superposition
from snakefold.structures.prediction import Prediction

pytestmark = pytest.mark.needs("flash_abb", "anarci")

DEMO = Path(__file__).parents[2] / "resources" / "demo"


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
def session() -> Iterator[Session]:
    return ENGINE.start(request(target(HEAVY)), {}, None, None)


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


def test_check_and_recipe_need_no_torch() -> None:
    code = (
        "import sys; from snakefold.engines import get; from snakefold.kernel.contracts import TargetInput\n"
        "engine = get('flashabb')\n"
        f"engine.check(TargetInput(id='t', key='0' * 64, chains=[{HEAVY!r}, {LIGHT!r}]), engine.Settings())\n"
        "engine.recipe('antibody', engine.Settings(), None)\n"
        "print(sorted({'torch', 'jax', 'flash_abb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("missing", ["anarci", "flash_abb", "torch"])
def test_a_missing_extra_names_the_command(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else found(name))
    domains._profiles.cache_clear()
    act = {
        # Planned all the same, and refused before anything is computed.
        "anarci": lambda: ENGINE.parameters("auto", ENGINE.Settings(), ENGINE.groups),
        "flash_abb": lambda: ENGINE.recipe("antibody", ENGINE.Settings(), None),
        "torch": lambda: ENGINE.start(request(target(HEAVY)), {}, None, None),
    }[missing]
    ENGINE.check(target(HEAVY), ENGINE.Settings())
    with pytest.raises(
        (MissingProgramError, WeightsMissingError),
        match=rf"needs the package {missing}.*snakefold\[antibody\]",
    ):
        act()
    domains._profiles.cache_clear()


def test_recipe_names_what_results_depend_on() -> None:
    found = get("flashabb").recipe("antibody", ENGINE.Settings(), None)
    assert found["version"] == ENGINE.version == "0.0.5"
    assert found["weights"]["size"] == 28_869_531

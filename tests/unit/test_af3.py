"""Engine af3 without its environment: what it accepts, writes for the network, takes and names."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from snakefold import engines
from snakefold.engines.af3 import ENGINE, components, msa, rehearsal, templates, weights
from snakefold.engines.af3.cost import Af3Work
from snakefold.engines.af3.inputs import chains_of, document, letters
from snakefold.engines.af3.models import NETWORKS, OWN_TERMS
from snakefold.engines.af3.settings import BUCKETS, Af3Settings
from snakefold.engines.environments import lock_for
from snakefold.engines.spec import ChainMsa, Engine, Hardware, TargetMsas, locked
from snakefold.kernel.citations import load
from snakefold.kernel.contracts import RelaxSettings, TargetInput
from snakefold.kernel.errors import ConfigError, SnakefoldError, TargetError, WeightsMissingError
from snakefold.kernel.recipes import sequence_key
from snakefold.molecules.accepts import why_not
from snakefold.molecules.entities import Assembly
from snakefold.run.metrics import METRICS_COLUMNS

PROTEIN = {"kind": "protein", "sequence": "MKTAYIAKQR"}
OTHER = {"kind": "protein", "sequence": "GSHMWW"}
ATP = {"kind": "ligand", "ccd": ["ATP"]}
ASPIRIN = {"kind": "ligand", "smiles": "CC(=O)OC1=CC=CC=C1C(=O)O"}
SETTINGS = Af3Settings()
OPENFOLD3 = NETWORKS["openfold3"]


def target(*entities: dict[str, Any], **more: Any) -> TargetInput:
    assembly = Assembly.model_validate({"entities": entities, **more})
    return TargetInput(id="t", key=assembly.key, chains=[], assembly=assembly.model_dump(mode="json"))


def plain(*chains: str) -> TargetInput:
    return TargetInput(id="t", key=sequence_key(chains), chains=list(chains))


def a3m(*named: tuple[str, str]) -> str:
    return "".join(f">{name}\n{row}\n" for name, row in named)


def bond(*ends: tuple[str, int, str]) -> dict[str, Any]:
    atoms = [{"chain": chain, "residue": at, "atom": atom} for chain, at, atom in ends]
    return {"kind": "bond", "atoms": atoms}


# ---- the specification -----------------------------------------------------------------------------------
def test_it_follows_the_protocol() -> None:
    assert isinstance(ENGINE, Engine)
    assert "af3" in engines.names()


def test_its_module_imports_nothing_heavy() -> None:
    code = (
        "import sys, snakefold.engines.af3\n"
        "print(sorted({'jax', 'haiku', 'rdkit', 'alphafold3', 'numpy', 'gemmi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_both_locks_have_the_same_versions_of_what_both_have() -> None:
    gpu, cpu = (locked(lock_for(ENGINE.environment, gpu=gpu)) for gpu in (True, False))
    assert {name: found for name, found in cpu.items() if found != gpu[name]} == {}
    assert not any(name.startswith("nvidia") or "cuda" in name for name in cpu)
    assert all(each in cpu for each in ENGINE.packages)
    assert [locked(lock)["biotite"] for lock in (ENGINE.environment.lock,)] == [[components.DICTIONARY]]


def test_no_column_hides_one_of_every_engine() -> None:
    assert not set(ENGINE.columns) & set(METRICS_COLUMNS)


def test_everything_that_alphafold3_has_is_accepted() -> None:
    found = target(
        {**PROTEIN, "modifications": [{"position": 3, "ccd": "TPO"}], "msa": "empty"},
        {"kind": "dna", "sequence": "ACGT"},
        {"kind": "rna", "sequence": "ACGU"},
        ASPIRIN,
        {**ATP, "chains": ["L"]},
        constraints=[bond(("L", 1, "PG"), ("A", 4, "CB"))],
    )
    assert why_not(Assembly.model_validate(found.assembly), "af3", ENGINE.accepts) is None
    ENGINE.check(found, SETTINGS)
    ENGINE.check(plain("MKTAYIAKQR"), SETTINGS)


@pytest.mark.parametrize(
    ("entities", "more", "says"),
    [
        (
            [{"kind": "rna", "sequence": "ACGU", "msa": "sha256:" + "0" * 64}],
            {},
            "Chain A: an alignment of RNA",
        ),
        ([PROTEIN, {**PROTEIN, "msa": "empty"}], {}, "Chains A and B have one protein sequence"),
        ([PROTEIN, {"kind": "ligand", "ccd": ["HOH"]}], {}, "water"),
        ([PROTEIN, {"kind": "ligand", "smiles": "C" * 129}], {}, "Chain B: a ligand of 129 heavy atoms"),
        (
            [PROTEIN, {**ATP, "chains": ["L"]}],
            {"constraints": [{"kind": "pocket", "binder": "L", "contacts": [{"chain": "A", "residue": 1}]}]},
            "A pocket: AlphaFold 3's models read covalent bonds",
        ),
    ],
)
def test_what_would_be_computed_as_something_else_is_refused(
    entities: list[dict[str, Any]], more: dict[str, Any], says: str
) -> None:
    with pytest.raises(TargetError) as error:
        ENGINE.check(target(*entities, **more), SETTINGS)
    assert says in error.value.message
    assert error.value.advice


def test_what_no_bucket_holds_is_refused() -> None:
    settings = Af3Settings(buckets=(8, 12))
    ENGINE.check(plain("A" * 12), settings)
    with pytest.raises(TargetError, match=r"13 tokens, and the largest of af3\.buckets is 12"):
        ENGINE.check(plain("A" * 13), settings)
    with pytest.raises(ValidationError, match="ascending"):
        Af3Settings(buckets=(512, 256))


def test_the_size_counts_atoms_of_ligands_and_of_modified_residues() -> None:
    modified = {**PROTEIN, "modifications": [{"position": 2, "ccd": "SEP"}], "copies": 2}
    assert ENGINE.size(target(modified, {**ASPIRIN, "copies": 3}, ATP)) == 2 * (10 + 10) + 3 * 13 + 31
    assert ENGINE.size(plain("MKT", "GS")) == 5


def test_a_model_that_lacks_a_part_says_so() -> None:
    assert ENGINE.notes(plain("MKT"), SETTINGS) == []
    (said,) = ENGINE.notes(plain("MKT"), Af3Settings(model="chai1"))
    assert said.startswith("no_language_model: Chai-1 was trained with ESM-2")
    glycan = {"kind": "ligand", "ccd": ["NAG", "NAG"], "chains": ["G"]}
    (said,) = ENGINE.notes(target(PROTEIN, glycan), SETTINGS)
    assert said.startswith("several_molecules: ligand NAG-NAG: 2 molecules")
    assert (
        ENGINE.notes(target(PROTEIN, glycan, constraints=[bond(("G", 1, "O4"), ("G", 2, "C1"))]), SETTINGS)
        == []
    )


def test_different_proteins_are_paired() -> None:
    found = [
        ENGINE.group(each, SETTINGS)
        for each in (plain("MKT", "MKT"), plain("MKT", "GS"), target(PROTEIN, OTHER))
    ]
    assert found == ["structure", "complex", "complex"]
    assert [ENGINE.needs(each, SETTINGS).pairing for each in ENGINE.groups] == [False, True]
    assert not ENGINE.needs("structure", Af3Settings(use_templates=False)).templates


@pytest.mark.parametrize(
    ("hardware", "wanted"),
    [
        (Hardware("cpu"), ("cpu", "float32", "xla")),
        (Hardware("gpu", {"a": 80, "b": 90}), ("gpu", "bfloat16", "triton")),
        (Hardware("gpu", {"a": 80, "b": 75}), ("gpu", "mixed", "xla")),
        (Hardware("gpu", {"a": None}), ("gpu", "mixed", "xla")),
        (Hardware(""), ("auto", "auto", "auto")),
    ],
)
def test_auto_becomes_what_predicts(hardware: Hardware, wanted: tuple[str, str, str]) -> None:
    found = ENGINE.settled(SETTINGS, hardware)
    assert (found.accelerator, found.precision, found.attention) == wanted
    assert bool(ENGINE.caveats(SETTINGS, hardware)) == (hardware.device == "gpu" and wanted[1] == "mixed")


def test_kernels_of_a_gpu_are_refused_on_a_cpu() -> None:
    with pytest.raises(ConfigError, match="triton needs a GPU"):
        ENGINE.caveats(Af3Settings(attention="triton"), Hardware("cpu"))


def test_every_word_that_is_cited_is_known() -> None:
    words = {word for entry in load().values() for word in entry.when}
    assert {word for network in NETWORKS.values() for word in network.cites} | {"af3"} <= words


# ---- the input -------------------------------------------------------------------------------------------
def test_letters_of_chains() -> None:
    assert [letters(place) for place in (0, 25, 26, 51, 52, 701, 702)] == [
        "A",
        "Z",
        "AA",
        "AZ",
        "BA",
        "ZZ",
        "AAA",
    ]


def test_the_network_gets_what_was_asked_for() -> None:
    found = target(
        {**PROTEIN, "modifications": [{"position": 2, "ccd": "SEP"}], "copies": 2},
        {"kind": "rna", "sequence": "ACGU", "modifications": [{"position": 1, "ccd": "6MZ"}]},
        {"kind": "dna", "sequence": "ACGT"},
        ASPIRIN,
        {"kind": "ligand", "ccd": ["NAG", "NAG"], "chains": ["G"]},
        constraints=[bond(("G", 1, "O4"), ("G", 2, "C1"))],
    )
    made = document(
        chains_of(found),
        {"MKTAYIAKQR": msa.Alignment(">q\nMKTAYIAKQR\n", "")},
        {0: [{"mmcif": "x"}], 1: [{"mmcif": "x"}]},
        7,
    )
    assert (made["dialect"], made["modelSeeds"]) == ("alphafold3", [7])
    assert made["sequences"] == [
        {
            "protein": {
                "id": ["A", "B"],
                "sequence": "MKTAYIAKQR",
                "modifications": [{"ptmType": "SEP", "ptmPosition": 2}],
                "unpairedMsa": ">q\nMKTAYIAKQR\n",
                "pairedMsa": "",
                "templates": [{"mmcif": "x"}],
            }
        },
        {
            "rna": {
                "id": ["C"],
                "sequence": "ACGU",
                "modifications": [{"modificationType": "6MZ", "basePosition": 1}],
                "unpairedMsa": "",
            }
        },
        {"dna": {"id": ["D"], "sequence": "ACGT"}},
        {"ligand": {"id": ["E"], "smiles": ASPIRIN["smiles"]}},
        {"ligand": {"id": ["F"], "ccdCodes": ["NAG", "NAG"]}},
    ]
    assert made["bondedAtomPairs"] == [[["F", 2, "C1"], ["F", 1, "O4"]]]


def test_equal_keys_give_equal_inputs() -> None:
    """Names of chains and the order of bonds are no part of the key."""
    bonds = [bond(("X", 1, "N"), ("Y", 1, "N")), bond(("Y", 2, "CA"), ("X", 2, "CB"))]

    def made(names: tuple[str, str], order: int) -> TargetInput:
        renamed = json.loads(json.dumps(bonds[::order]).replace("X", names[0]).replace("Y", names[1]))
        first, second = (
            {**each, "chains": [name]} for each, name in zip((PROTEIN, OTHER), names, strict=True)
        )
        return target(first, second, constraints=renamed)

    one, other = made(("A", "B"), 1), made(("Q", "R"), -1)
    assert one.key == other.key
    assert document(chains_of(one), {}, {}, 1) == document(chains_of(other), {}, {}, 1)


# ---- templates -------------------------------------------------------------------------------------------
def structure(chains: dict[str, str], form: str) -> bytes:
    """Chains of CA atoms on a line."""
    model = gemmi.Model(1)
    for name, sequence in chains.items():
        chain = gemmi.Chain(name)
        for number, code in enumerate(gemmi.expand_one_letter_sequence(sequence, gemmi.ResidueKind.AA), 5):
            residue = gemmi.Residue()
            residue.name, residue.seqid = code, gemmi.SeqId(number, " ")
            atom = gemmi.Atom()
            atom.name, atom.element, atom.pos = "CA", gemmi.Element("C"), gemmi.Position(3.8 * number, 0, 0)
            residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    found = gemmi.Structure()
    found.add_model(model)
    found.setup_entities()
    text = found.make_pdb_string() if form == "pdb" else found.make_mmcif_document().as_string()
    return str(text).encode()


def with_template(form: str, **more: Any) -> tuple[TargetInput, dict[str, bytes]]:
    data = structure({"X": "GSHMWW", "Y": "AYIAKQGG"}, form)
    digest = hashlib.sha256(data).hexdigest()
    template = {"form": form, "file": f"sha256:{digest}", **more}
    found = target({**PROTEIN, "chains": ["A", "B"]}, {**OTHER, "chains": ["C"]}, templates=[template])
    return found, {f"templates/{digest}.{form}": data}


@pytest.mark.parametrize("form", ["cif", "pdb"])
def test_a_template_of_ones_own_is_aligned_to_the_chains(form: str) -> None:
    found = templates.brought(*with_template(form))
    assert sorted(found) == [0, 1, 2]
    # MKTAYIAKQR and AYIAKQGG: AYIAKQ, and one G on R.
    (first,), (second,), (other,) = (found[place] for place in range(3))
    assert first == second
    assert first["queryIndices"][:6] == [3, 4, 5, 6, 7, 8]
    assert first["templateIndices"] == list(range(len(first["queryIndices"])))
    assert other["queryIndices"] == list(range(6))
    read = gemmi.make_structure_from_block(gemmi.cif.read_string(other["mmcif"]).sole_block())
    assert [residue.name for residue in read[0][0]] == ["GLY", "SER", "HIS", "MET", "TRP", "TRP"]
    assert [residue.seqid.num for residue in read[0][0]] == [1, 2, 3, 4, 5, 6]
    assert "1971-01-01" in other["mmcif"]


def test_a_template_is_of_the_chains_that_it_names() -> None:
    found = templates.brought(*with_template("cif", chains=["B"], template_chains=["Y"]))
    assert sorted(found) == [1]
    with pytest.raises(TargetError, match="no chain of it has residues of chain B"):
        templates.brought(*with_template("cif", chains=["B"], template_chains=["X"]))
    one, files = with_template("cif", chains=["B"])
    made = document(chains_of(one), {}, templates.brought(one, files), 1)
    told = [(each["protein"]["id"], len(each["protein"]["templates"])) for each in made["sequences"]]
    assert told == [(["A"], 0), (["B"], 1), (["C"], 0)]


def test_the_order_of_templates_does_not_count() -> None:
    """A key does not know it. Of six the four with most residues of the chain are read."""
    parts = [PROTEIN["sequence"][:size] for size in (4, 9, 6, 9, 7, 5)]
    data = [structure({"X": part + "G" * number}, "cif") for number, part in enumerate(parts)]
    named = [{"form": "cif", "file": f"sha256:{hashlib.sha256(each).hexdigest()}"} for each in data]
    files = {f"templates/{each['file'][7:]}.cif": text for each, text in zip(named, data, strict=True)}
    one, other = (target(PROTEIN, templates=each) for each in (named, named[::-1]))
    assert one.key == other.key
    found = templates.brought(one, files)
    assert found == templates.brought(other, files)
    sizes = [len(each["queryIndices"]) for each in found[0]]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == templates.MOST


def test_a_template_that_is_none_is_refused() -> None:
    found, files = with_template("cif")
    with pytest.raises(TargetError, match="cannot be read"):
        templates.brought(found, dict.fromkeys(files, b"no structure"))
    forced, _ = with_template("cif", force=True, threshold=2.0)
    with pytest.raises(TargetError, match="A template that is forced"):
        ENGINE.check(forced, SETTINGS)


# ---- alignments ------------------------------------------------------------------------------------------
A, B = "MKTAY", "GSHM"
OF_A, OF_B = a3m(("q", A), ("hit1", "MKT-Y"), ("hit2", "MKaTAY")), a3m(("q", B), ("hit3", "G-HM"))
#: What AlphaFold 3 reads the species of.
UNIPROT = r"tr\|[A-Z0-9]{6,10}\|[A-Z0-9]+_([A-Z0-9]{1,5})"


def test_rows_for_pairing_go_as_they_are() -> None:
    pairing = {A: a3m(("q", A), ("tr|A0A1|X_HUMAN", "MKTA-")), B: a3m(("q", B), ("tr|A0A2|Y_HUMAN", "GS-M"))}
    chains = [ChainMsa(OF_A, pairing[A]), ChainMsa(OF_B, pairing[B]), ChainMsa(OF_A, pairing[A])]
    found = msa.alignments([A, B, A], TargetMsas(chains=chains), most=2)
    assert {sequence: each.paired for sequence, each in found.items()} == pairing
    assert found[A].unpaired == a3m(("q", A), ("hit1", "MKT-Y"))
    alone = msa.alignments([A, A], TargetMsas(chains=[chains[0], chains[0]]), most=100)
    assert alone[A].paired == ""


def species(text: str) -> list[str]:
    import re

    names = [line.removeprefix(">") for line in text.splitlines() if line.startswith(">")][1:]
    return [found[1] for name in names if (found := re.fullmatch(UNIPROT, name))]


def test_what_a_server_paired_has_one_species_a_row() -> None:
    together = [
        a3m(("101", A), ("1", "-----"), ("2", "MKTA-")),
        a3m(("101", B), ("1", "GSH-"), ("2", "-SHM")),
    ]
    msas = TargetMsas(chains=[ChainMsa(OF_A), ChainMsa(OF_B)], paired=together)
    found = msa.alignments([A, B], msas, most=100)
    assert [species(found[each].paired) for each in (A, B)] == [["00002"], ["00001", "00002"]]


def test_keys_pair_rows() -> None:
    chains = [ChainMsa(OF_A, keys=(None, 5, None)), ChainMsa(OF_B, keys=(None, 5))]
    found = msa.alignments([A, B], TargetMsas(chains=chains), most=100)
    assert [species(found[each].paired) for each in (A, B)] == [["00005"], ["00005"]]


def test_a_complexs_own_a3m_is_split() -> None:
    own = f"#5,4\t1,1\n>101\t102\n{A}{B}\n>both\nMKT--G-HM\n>one\nMK-------\n"
    found = msa.alignments([A, B], TargetMsas(own_a3m=own), most=100)
    assert species(found[A].paired) == species(found[B].paired) != []
    assert found[A].unpaired.count(">") == 2
    assert found[B].unpaired.count(">") == 1


@given(st.lists(st.integers(0, 36**5 - 1), min_size=2, max_size=40, unique=True))
def test_keys_have_different_species(keys: list[int]) -> None:
    assert len({msa._species(key) for key in keys}) == len(keys)


def test_an_alignment_of_another_sequence_is_refused() -> None:
    with pytest.raises(TargetError, match="the first row is not the protein's sequence"):
        msa.alignments([B], TargetMsas(chains=[ChainMsa(OF_A)]), most=10)
    with pytest.raises(TargetError, match="row 2 has 3 aligned columns, expected 4"):
        msa.alignments([B], TargetMsas(chains=[ChainMsa(a3m(("q", B), ("x", "GS-")))]), most=10)
    with pytest.raises(TargetError, match="alignments of 0"):
        msa.alignments([A], TargetMsas(), most=10)
    assert msa.alignments([A], TargetMsas(chains=[None]), {A}, most=10) == {}


def test_a_modified_residue_has_the_letter_of_its_parent() -> None:
    assert msa.with_query(OF_B, "GSXM") == a3m(("q", "GSXM"), ("hit3", "G-HM"))
    assert msa.with_query("", "GSXM") == ""


# ---- what it takes ---------------------------------------------------------------------------------------
WORKS = st.builds(
    Af3Work,
    buckets=st.just(BUCKETS),
    samples=st.integers(1, 30),
    seeds=st.integers(1, 5),
    recycles=st.integers(0, 20),
    steps=st.integers(1, 400),
    rows=st.integers(1, 16_384),
    float32=st.booleans(),
    rehearsal=st.booleans(),
)


def everything(work: Af3Work, sizes: list[int], device: str) -> list[Any]:
    return [
        work.network_seconds(sizes, device, 1.0),
        work.features_seconds(sizes, device),
        work.compile_seconds(sizes, device),
        work.memory_gb(sizes),
        *work.result_bytes(sizes),
    ]


@given(
    work=WORKS,
    sizes=st.lists(st.integers(1, 6000), min_size=2, max_size=30).map(sorted),
    device=st.sampled_from(["cpu", "gpu"]),
)
def test_nothing_falls_with_the_size(work: Af3Work, sizes: list[int], device: str) -> None:
    for values in everything(work, sizes, device):
        assert values.shape == (len(sizes),)
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (np.diff(values) >= 0).all()


def test_published_seconds_come_out() -> None:
    """A100 and H100 of 80 GB, 10 recycles, 200 steps, 5 samples."""
    work = Af3Work(buckets=BUCKETS)
    for tokens, published in ((1024, 62), (2048, 275), (5120, 2547)):
        found = float(work.network_seconds([tokens], "gpu", 1.0)[0])
        assert found == pytest.approx(published, rel=0.03), tokens
    for tokens, published in ((1024, 34), (2048, 144), (5120, 1416)):
        found = float(work.network_seconds([tokens], "gpu", 1.8)[0])
        assert found == pytest.approx(published, rel=0.12), tokens
    assert 70 < float(work.memory_gb([5120])[0]) <= 80


def test_targets_of_a_bucket_take_the_same() -> None:
    work = Af3Work(buckets=BUCKETS)
    one, other, next_bucket = work.network_seconds([257, 512, 513], "gpu", 1.0)
    assert one == other < next_bucket


def test_a_card_of_24_gb_holds_no_4000_tokens() -> None:
    from snakefold.config import load_config

    work = ENGINE.work("structure", SETTINGS, RelaxSettings())
    config = load_config({"engine": "af3", "gpu": {"classes": ["ampere_24"]}})
    assert config.settings_of("af3").precision == "bfloat16"
    assert float(work.memory_gb([4000])[0]) > 24 > float(work.memory_gb([2000])[0])


# ---- parameters ------------------------------------------------------------------------------------------
def test_random_parameters_are_declared_and_named_without_a_file(tmp_path: Path) -> None:
    found = weights.find("rehearsal", SETTINGS, draw=True, blocks=2, cache=tmp_path)
    assert found is not None
    assert found.folder is not None
    assert (found.rehearsal, found.blocks) == (True, 2)
    assert weights.identity(found.folder, OPENFOLD3) == {"rehearsal": True, **rehearsal.mark("openfold3")}
    again = weights.find(str(found.folder), SETTINGS, draw=False, blocks=2)
    assert again == found
    assert weights.find("rehearsal", SETTINGS, draw=False) is None
    other = weights.find("rehearsal", Af3Settings(model="protenix2"), draw=True, cache=tmp_path)
    assert other is not None
    assert other.folder != found.folder


def test_random_ones_never_replace_others(tmp_path: Path) -> None:
    path = weights.path_of(tmp_path, OPENFOLD3)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"official")
    with pytest.raises(WeightsMissingError, match="are not overwritten"):
        rehearsal.declare(tmp_path, OPENFOLD3)
    found = weights.find(str(tmp_path), SETTINGS, draw=False)
    assert found is not None
    assert not found.rehearsal
    assert ENGINE.parameter_files(tmp_path) == [path]
    recipe = ENGINE.recipe("structure", SETTINGS, tmp_path)
    assert recipe["weights"]["licence"] == "Apache-2.0"
    assert recipe["settings"]["buckets"] == list(BUCKETS)
    (path.parent / "openfold3.int8.bin.zst").write_bytes(b"two blobs, one slot")
    with pytest.raises(WeightsMissingError, match="has one file of"):
        weights.find(str(tmp_path), SETTINGS, draw=False)


def test_missing_parameters_name_the_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="snakefold weights fetch protenix2"):
        weights.find(str(tmp_path), Af3Settings(model="protenix2"), draw=False)
    with pytest.raises(WeightsMissingError, match="Ask DeepMind"):
        weights.find(str(tmp_path), Af3Settings(model="alphafold3"), draw=False)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server of files, its address and its folder."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


@pytest.fixture(autouse=True)
def no_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chemical components are made elsewhere (tests/engine/test_af3_session.py)."""
    monkeypatch.setattr("snakefold.engines.af3.dictionary.make", lambda log: True)


def test_the_first_download_is_recorded_and_holds(mirror: tuple[str, Path], tmp_path: Path) -> None:
    address, served = mirror
    (served / "openfold3.bin.zst").write_bytes(b"parameters")
    said: list[str] = []
    part = ENGINE.weights.parts["openfold3"]
    part.fetch(tmp_path, address, said.append)
    path = weights.path_of(tmp_path, OPENFOLD3)
    digest = hashlib.sha256(b"parameters").hexdigest()
    assert path.read_bytes() == b"parameters"
    assert weights.recorded(path) == digest
    assert any("under Apache-2.0" in line for line in said[:1])
    assert any("states no checksum" in line and digest in line for line in said)
    source = json.loads((path.parent / weights.SOURCE).read_text())
    assert (source["sha256"], source["licence"], source["address"]) == (
        digest,
        "Apache-2.0",
        f"{address}/openfold3.bin.zst",
    )
    assert part.check(tmp_path, said.append)
    part.fetch(tmp_path, address, said.append)
    assert "not fetched again" in said[-1]
    path.write_bytes(b"damaged")
    assert not part.check(tmp_path, said.append)
    (served / "openfold3.bin.zst").write_bytes(b"another release")
    with pytest.raises(SnakefoldError):
        part.fetch(tmp_path, address, said.append)
    assert path.read_bytes() == b"damaged"


def test_alphafold3s_own_parameters_are_never_downloaded(tmp_path: Path) -> None:
    with pytest.raises(SnakefoldError, match="from nobody else") as error:
        ENGINE.weights.parts["alphafold3"].fetch(tmp_path, None, print)
    assert OWN_TERMS in str(error.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SnakefoldError, match="name one"):
        ENGINE.weights.fetch(tmp_path, None, print)
    assert not ENGINE.weights.check(tmp_path, print)


def test_every_model_has_an_address_a_licence_and_a_name_of_its_own() -> None:
    parts = ENGINE.weights.parts
    assert list(parts) == [weights.part_name(network) for network in NETWORKS.values()]
    assert not set(parts) & set(engines.names())
    assert [name for name, network in NETWORKS.items() if network.own] == ["alphafold3"]
    for network in NETWORKS.values():
        assert network.licence
        assert network.own or network.address.startswith(
            "https://huggingface.co/sokrypton/af3-any-model/resolve/"
        )
    assert set(Af3Settings.model_fields["model"].annotation.__args__) == set(NETWORKS)


def test_the_command_fetches_a_model_by_its_name(
    mirror: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from snakefold.cli import main

    address, served = mirror
    (served / "protenix2.bin.zst").write_bytes(b"parameters")
    assert main(["weights", "fetch", "protenix2", str(tmp_path / "w"), "--mirror", address]) == 0
    assert weights.path_of(tmp_path / "w", NETWORKS["protenix2"]).is_file()
    assert "Protenix 2: parameters under Apache-2.0" in capsys.readouterr().out
    assert main(["weights", "check", "protenix2", str(tmp_path / "w")]) == 0


# ---- methods ---------------------------------------------------------------------------------------------
class Told:
    run, rehearsal = "snakefold", False

    def __init__(self, **settings: Any) -> None:
        values = ENGINE.settled(Af3Settings(**settings), Hardware("gpu", {"a": 80}))
        self.recipes = {"structure": {"settings": values.model_dump(mode="json")}}

    def package(self, name: str) -> str:
        return name

    def cite(self, *words: str) -> str:
        return f" <{', '.join(words)}>" if words else ""


def test_methods_name_model_code_and_licence() -> None:
    text = " ".join(ENGINE.describe(Told(model="protenix2")))
    assert "Structures were predicted with Protenix 2 <af3-protenix>, by code of AlphaFold 3 <af3>" in text
    assert (
        "5 models per seed, 1 seed (the first is 1), 9 recycles and 200 diffusion steps in bfloat16" in text
    )
    assert "are under Apache-2.0" in text
    assert ENGINE.cites(Told(model="protenix2")) == {"af3", "af3-protenix"}
    own = " ".join(ENGINE.describe(Told(model="alphafold3")))
    assert "OUTPUT_TERMS_OF_USE" in own
    assert "ran without ESM-2" in " ".join(ENGINE.describe(Told(model="chai1")))


def test_an_incomplete_dictionary_is_none(tmp_path: Path) -> None:
    place = tmp_path / "all"
    place.mkdir()
    for name in (components.INDEX, components.SETS, components.FOR_DSSP):
        (place / name).touch()
    noted = {"biotite": components.DICTIONARY, "making": components.MAKING}
    assert not components.there(place)
    (place / components.MARKER).write_text(json.dumps(noted))
    assert components.there(place)
    assert components.ready([], tmp_path) == place
    (place / components.FOR_DSSP).unlink()
    assert not components.there(place)


def test_what_no_card_holds_is_refused_before_it_is_paid_for(tmp_path: Path) -> None:
    (tmp_path / "two.fasta").write_text(f">big\n{'MKTAYIAKQR' * 400}\n>small\n{'MKTAYIAKQR' * 20}\n")
    settings = ["engine=af3", "weights=rehearsal", "msa.tool=single_sequence", "gpu.classes=[ampere_24]"]
    words = [word for each in settings for word in ("--set", each)]
    command = [str(Path(sys.executable).with_name("snakefold")), "plan", "two.fasta", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 target (200 tokens), 0 duplicates, 1 refused" in done.stdout
    (refusals,) = tmp_path.rglob("refusals.json")
    assert "46.6 GB" in refusals.read_text() or "GB" in refusals.read_text()

"""Engine boltz2 without its environment: what it accepts, what it writes for Boltz, what its recipes name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from snakefold import engines
from snakefold.config import load_config
from snakefold.engines import environments
from snakefold.engines.boltz2 import ENGINE, components, msa, results
from snakefold.engines.boltz2.inputs import chains_of, yaml_text
from snakefold.engines.boltz2.settings import Boltz2Settings
from snakefold.engines.environments import lock_for
from snakefold.engines.spec import ChainMsa, Engine, TargetMsas, locked
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.molecules.accepts import why_not
from snakefold.molecules.entities import Assembly
from snakefold.structures.tokens import Tokens

PROTEIN = {"kind": "protein", "sequence": "MKTAYIAKQR"}
OTHER = {"kind": "protein", "sequence": "GSHMWW"}
ATP = {"kind": "ligand", "ccd": ["ATP"]}
ASPIRIN = {"kind": "ligand", "smiles": "CC(=O)OC1=CC=CC=C1C(=O)O"}
SETTINGS = Boltz2Settings()


def target(*entities: dict[str, Any], **more: Any) -> TargetInput:
    assembly = Assembly.model_validate({"entities": entities, **more})
    return TargetInput(id="t", key=assembly.key, chains=[], assembly=assembly.model_dump(mode="json"))


def plain(*chains: str) -> TargetInput:
    return TargetInput(id="t", key=sequence_key(chains), chains=list(chains))


def a3m(*named: tuple[str, str]) -> str:
    return "".join(f">{name}\n{row}\n" for name, row in named)


def table(text: str) -> list[tuple[int, str]]:
    first, *lines = text.splitlines()
    assert first == "key,sequence"
    return [(int(key), row) for key, row in (line.split(",") for line in lines)]


# ---- the specification -----------------------------------------------------------------------------------
def test_it_follows_the_protocol() -> None:
    assert isinstance(ENGINE, Engine)
    assert "boltz2" in engines.names()


def test_its_module_imports_nothing_heavy() -> None:
    code = (
        "import sys, snakefold.engines.boltz2\n"
        "print(sorted({'torch', 'rdkit', 'boltz', 'numpy', 'gemmi', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_both_locks_have_the_same_versions_of_what_both_have() -> None:
    environment = ENGINE.environment
    gpu, cpu = (locked(lock_for(environment, gpu=gpu)) for gpu in (True, False))
    assert {name: found for name, (found,) in cpu.items() if found.partition("+")[0] != gpu[name][0]} == {}
    assert cpu["torch"] == [f"{gpu['torch'][0]}+cpu"]
    assert not any(name.startswith("nvidia") for name in cpu)
    assert all(each in gpu for each in (*ENGINE.packages, "cuequivariance-torch"))


def test_a_rehearsal_takes_the_dictionary_of_the_locks() -> None:
    """Random parameters are named by it, so that all machines draw equal ones."""
    locks = [lock_for(ENGINE.environment, gpu=gpu) for gpu in (True, False)]
    assert [locked(lock)["biotite"] for lock in locks] == [[components.DICTIONARY]] * 2


def test_everything_of_an_assembly_is_accepted() -> None:
    found = target(
        {**PROTEIN, "modifications": [{"position": 2, "ccd": "SEP"}], "cyclic": True, "msa": "empty"},
        {"kind": "dna", "sequence": "ACGT"},
        {"kind": "rna", "sequence": "ACGU"},
        {**ASPIRIN, "chains": ["L"]},
        constraints=[{"kind": "pocket", "binder": "L", "contacts": [{"chain": "A", "residue": 1}]}],
        affinity="L",
    )
    assert why_not(Assembly.model_validate(found.assembly), "boltz2", ENGINE.accepts) is None
    ENGINE.check(found, SETTINGS)
    ENGINE.check(plain("MKTAYIAKQR"), SETTINGS)


@pytest.mark.parametrize(
    ("entities", "more", "says"),
    [
        (
            [PROTEIN, {**PROTEIN, "modifications": [{"position": 2, "ccd": "SEP"}]}],
            {},
            "Chains A and B have one protein sequence and differ",
        ),
        ([PROTEIN, {**PROTEIN, "cyclic": True}], {}, "Chains A and B have one protein sequence and differ"),
        (
            [{"kind": "rna", "sequence": "ACGU", "msa": "sha256:" + "0" * 64}],
            {},
            "Chain A: an alignment of RNA",
        ),
        (
            [PROTEIN, {"kind": "ligand", "ccd": ["NAG", "NAG"], "chains": ["L"]}],
            {"affinity": "L"},
            "a ligand of 2 components (NAG-NAG)",
        ),
        (
            [PROTEIN, {"kind": "ligand", "smiles": "C" * 129, "chains": ["L"]}],
            {"affinity": "L"},
            "a ligand of 129 heavy atoms",
        ),
    ],
)
def test_what_boltz_would_compute_as_something_else_is_refused(
    entities: list[dict[str, Any]], more: dict[str, Any], says: str
) -> None:
    with pytest.raises(TargetError) as error:
        ENGINE.check(target(*entities, **more), SETTINGS)
    assert says in error.value.message
    assert error.value.advice


def test_components_that_no_bond_joins_are_said() -> None:
    glycan = {"kind": "ligand", "ccd": ["NAG", "NAG", "BMA"], "chains": ["G"]}

    def bond(*ends: tuple[int, str]) -> dict[str, Any]:
        return {"kind": "bond", "atoms": [{"chain": "G", "residue": at, "atom": atom} for at, atom in ends]}

    first, second = bond((1, "O4"), (2, "C1")), bond((3, "C1"), (2, "O4"))
    said = "several_molecules: ligand NAG-NAG-BMA: {} molecules, for no bond joins its components"
    found = [
        ENGINE.notes(target(PROTEIN, glycan, constraints=bonds), SETTINGS)
        for bonds in ([], [second], [second, first])
    ]
    assert found == [[said.format(3)], [said.format(2)], []]


def test_a_salt_counts_by_its_larger_part() -> None:
    ligand = {"kind": "ligand", "smiles": "C" * 128 + ".[Na+]", "chains": ["L"]}
    ENGINE.check(target(PROTEIN, ligand, affinity="L"), SETTINGS)


def test_groups_and_what_they_need() -> None:
    ligand = {**ASPIRIN, "chains": ["L"]}
    found = [
        ENGINE.group(each, SETTINGS)
        for each in (
            plain("MKT", "MKT"),
            plain("MKT", "GSH"),
            target(PROTEIN, ligand),
            target(PROTEIN, OTHER, ligand),
            target(PROTEIN, ligand, affinity="L"),
            target(PROTEIN, OTHER, ligand, affinity="L"),
            target(PROTEIN, {**OTHER, "msa": "empty"}, ligand),
        )
    ]
    wanted = ["structure", "complex", "structure", "complex", "affinity", "complex_affinity", "structure"]
    assert found == wanted
    assert set(found) == set(ENGINE.groups)
    assert [ENGINE.needs(each, SETTINGS).pairing for each in ENGINE.groups] == [False, True, False, True]
    assert all(ENGINE.needs(each, SETTINGS).alignment for each in ENGINE.groups)


def test_the_size_is_the_number_of_tokens() -> None:
    assert ENGINE.size(target({**PROTEIN, "copies": 2}, {**ASPIRIN, "copies": 3}, ATP)) == 20 + 3 * 13 + 31


def test_auto_becomes_what_predicts() -> None:
    def accelerator(classes: Sequence[str], **more: Any) -> str:
        config = load_config({"gpu": {"classes": list(classes)}, **more})
        return str(config.settings_of("boltz2").accelerator)

    assert accelerator(["ampere_80", "ada_24"]) == "gpu"
    assert accelerator(["ampere_80"], boltz2={"accelerator": "cpu"}) == "cpu"
    assert accelerator(["local", "ampere_80"]) in ("auto", "gpu")


def test_this_machine_is_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, wanted in ((True, "gpu"), (False, "cpu")):
        monkeypatch.setattr("snakefold.config.has_gpu", lambda there=there: there)
        assert load_config({}).settings_of("boltz2").accelerator == wanted


def test_no_column_hides_one_of_every_engine() -> None:
    from snakefold.run.metrics import METRICS_COLUMNS

    assert not set(ENGINE.columns) & set(METRICS_COLUMNS)
    assert set(ENGINE.columns) == {*results.SUMMARY, *results.AFFINITY}
    assert ENGINE.columns["affinity_pred_value"].unit == "log10(IC50 in µM)"


# ---- the input of Boltz ----------------------------------------------------------------------------------
def test_boltz_gets_what_was_asked_for() -> None:
    found = target(
        {**PROTEIN, "modifications": [{"position": 2, "ccd": "SEP"}], "cyclic": True},
        {**ASPIRIN, "chains": ["LIG"]},
        {"kind": "ligand", "ccd": ["NAG", "NAG"]},
        {"kind": "dna", "sequence": "ACGT"},
        constraints=[
            {"kind": "pocket", "binder": "LIG", "contacts": [{"chain": "A", "residue": 3}], "force": True},
            {"kind": "contact", "tokens": [{"chain": "A", "residue": 1}, {"chain": "LIG", "atom": "C1"}]},
            {
                "kind": "bond",
                "atoms": [
                    {"chain": "A", "residue": 1, "atom": "N"},
                    {"chain": "B", "residue": 2, "atom": "C1"},
                ],
            },
        ],
        affinity="LIG",
    )
    document = yaml.safe_load(yaml_text(chains_of(found), {"MKTAYIAKQR": "1.csv"}))
    assert document["sequences"] == [
        {
            "protein": {
                "id": "A",
                "sequence": "MKTAYIAKQR",
                "modifications": [{"position": 2, "ccd": "SEP"}],
                "cyclic": True,
                "msa": "1.csv",
            }
        },
        {"ligand": {"id": "B", "smiles": ASPIRIN["smiles"]}},
        {"ligand": {"id": "C", "ccd": ["NAG", "NAG"]}},
        {"dna": {"id": "D", "sequence": "ACGT"}},
    ]
    assert document["properties"] == [{"affinity": {"binder": "B"}}]
    told = {name: each[name] for each in document["constraints"] for name in each}
    assert told == {
        "bond": {"atom1": ["C", 2, "C1"], "atom2": ["A", 1, "N"]},
        "contact": {"token1": ["B", "C1"], "token2": ["A", 1], "max_distance": 6.0, "force": False},
        "pocket": {"binder": "B", "contacts": [["A", 3]], "max_distance": 6.0, "force": True},
    }


def test_plain_chains_are_proteins() -> None:
    document = yaml.safe_load(yaml_text(chains_of(plain("MKT", "GSH", "MKT")), {"MKT": "1.csv"}))
    assert [(each["protein"]["id"], each["protein"]["msa"]) for each in document["sequences"]] == [
        ("A", "1.csv"),
        ("B", "empty"),
        ("C", "1.csv"),
    ]


@given(
    st.permutations(range(3)),
    st.lists(st.sampled_from(["N", "no", "1", "B2", "x"]), min_size=3, max_size=3, unique=True),
)
def test_equal_keys_give_equal_texts(order: list[int], names: list[str]) -> None:
    """Names of chains and the order of constraints are no part of the key."""

    def made(named: Sequence[str], places: Sequence[int]) -> TargetInput:
        contacts = [
            {
                "kind": "contact",
                "tokens": [{"chain": named[0], "residue": 1 + place}, {"chain": named[1], "residue": 2}],
            }
            for place in range(3)
        ]
        return target(
            {**PROTEIN, "chains": [named[0]]},
            {**OTHER, "chains": [named[1]]},
            {**ASPIRIN, "chains": [named[2]]},
            constraints=[contacts[place] for place in places],
            affinity=named[2],
        )

    one, other = made(["A", "B", "C"], [0, 1, 2]), made(names, order)
    assert one.key == other.key
    assert yaml_text(chains_of(one), {}) == yaml_text(chains_of(other), {})


# ---- alignments ------------------------------------------------------------------------------------------
A, B = "MKTAY", "GSHM"
OF_A = a3m(("query", A), ("hit1", "MKT-Y"), ("hit2", "MKaTAY"))
OF_B = a3m(("query", B), ("hit3", "G-HM"))


def uniprot(species: str, number: int) -> str:
    return f"tr|A0A{number:06d}|A0A{number:06d}_{species}/1-5"


def test_a_monomer_has_no_keys() -> None:
    found = msa.alignments([A], TargetMsas(chains=[ChainMsa(OF_A)]), most=100)
    assert table(found[A]) == [(-1, A), (-1, "MKT-Y"), (-1, "MKaTAY")]


def test_rows_of_a_species_are_paired() -> None:
    pairing_a = a3m(
        ("query", A),
        (uniprot("HUMAN", 1), "MKTA-"),
        (uniprot("YEAST", 2), "M-TAY"),
        (uniprot("MOUSE", 3), "--TAY"),
    )
    pairing_b = a3m(("query", B), (uniprot("MOUSE", 4), "GS-M"), (uniprot("HUMAN", 5), "-SHM"))
    msas = TargetMsas(
        chains=[ChainMsa(OF_A, pairing_a), ChainMsa(OF_B, pairing_b), ChainMsa(OF_A, pairing_a)]
    )
    found = {name: table(text) for name, text in msa.alignments([A, B, A], msas, most=100).items()}
    assert found[A] == [(-1, A), (0, "MKTA-"), (1, "--TAY"), (-1, "MKT-Y"), (-1, "MKaTAY")]
    assert found[B] == [(-1, B), (1, "GS-M"), (0, "-SHM"), (-1, "G-HM")]


@pytest.mark.parametrize(
    ("name", "species"),
    [
        ("sp|P69905|HBA_HUMAN/2-142", "HUMAN"),
        ("tr|A0A146SKV9|A0A146SKV9_FUNHE", "FUNHE"),
        ("tr|A0A146SKV9_1|A0A146SKV9_FUNHE/1-2 some text", "FUNHE"),
        ("UniRef100_A0A146SKV9", ""),
        ("", ""),
    ],
)
def test_species_are_read_as_alphafold_reads_them(name: str, species: str) -> None:
    from alphafold.data import msa_identifiers

    assert msa.species(name) == species
    assert msa_identifiers.get_identifiers(name).species_id == species


def test_rows_that_a_server_paired_keep_their_numbers() -> None:
    together = [a3m(("q", A), ("x", "MKTA-"), ("y", "-----")), a3m(("q", B), ("x", "GS-M"), ("y", "GSHM"))]
    msas = TargetMsas(chains=[ChainMsa(OF_A), ChainMsa(OF_B)], paired=together)
    found = msa.alignments([A, B], msas, most=100)
    assert table(found[A])[:2] == [(-1, A), (1, "MKTA-")]
    assert table(found[B])[:3] == [(-1, B), (1, "GS-M"), (2, "GSHM")]


def test_an_a3m_of_a_complex_is_taken_apart() -> None:
    text = "#5,4\t2,1\n" + a3m(
        ("q", A + B), ("both", "MKT-YG-HM"), ("one", "MaKTAY----"), ("two", "-----GSH-")
    )
    found = msa.alignments([A, B, A], TargetMsas(own_a3m=text), most=100)
    assert table(found[A]) == [(-1, A), (1, "MKT-Y"), (-1, "MaKTAY")]
    assert table(found[B]) == [(-1, B), (1, "G-HM"), (-1, "GSH-")]


def test_a_limit_keeps_the_query_and_the_first_rows() -> None:
    found = msa.alignments([A], TargetMsas(chains=[ChainMsa(OF_A)]), most=2)
    assert table(found[A]) == [(-1, A), (-1, "MKT-Y")]


def test_a_chain_without_an_alignment_has_no_file() -> None:
    assert msa.alignments([A, B], TargetMsas(chains=[None, ChainMsa(OF_B)]), {A}, most=9).keys() == {B}  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("msas", "says"),
    [
        (TargetMsas(), "2 proteins, but alignments of 0"),
        (TargetMsas(chains=[ChainMsa(OF_A)]), "2 proteins, but alignments of 1"),
        (TargetMsas(chains=[ChainMsa(OF_B), ChainMsa(OF_B)]), "the first row is not the protein's sequence"),
        (
            TargetMsas(chains=[ChainMsa(a3m(("q", A), ("x", "MK"))), ChainMsa(OF_B)]),
            "row 2 has 2 aligned columns",
        ),
        (TargetMsas(own_a3m=a3m(("q", A))), "is of chains of [5] residues"),
        (TargetMsas(own_a3m="#5,4\t1,1\n" + a3m(("q", A))), "row 1 has 5 aligned columns, expected 9"),
    ],
)
def test_a_wrong_alignment_is_named(msas: TargetMsas, says: str) -> None:
    with pytest.raises(TargetError) as error:
        msa.alignments([A, B], msas, most=100)
    assert says in error.value.message


def test_templates_are_refused_alone() -> None:
    template = {"form": "cif", "file": "sha256:" + "0" * 64}
    assembly = Assembly.model_validate({"entities": [PROTEIN, ATP], "templates": [template]})
    verdict = why_not(assembly, "boltz2", ENGINE.accepts, {"boltz2": ENGINE.accepts})
    assert verdict is not None
    assert verdict.templates
    assert "engine boltz2 takes no templates" in verdict.message
    assert verdict.advice == "Remove `templates` from the record: the rest of it is taken."


# ---- results ---------------------------------------------------------------------------------------------
def test_scores_that_mean_nothing_are_absent() -> None:
    summary = dict.fromkeys(results.SUMMARY, 0.5) | {"protein_iptm": 0.0}
    alone = results.scores_of(summary, {}, chains_of(plain("MKT")))
    assert set(alone) == {"confidence_score", "complex_plddt", "complex_pde", "structure_checks_passed"}
    both = results.scores_of(summary, {"affinity_pred_value": -1.5}, chains_of(target(PROTEIN, ASPIRIN)))
    assert both["affinity_pred_value"] == -1.5
    assert "ligand_iptm" in both
    assert "protein_iptm" not in both


def test_a_mean_over_nothing_is_absent(tmp_path: Path) -> None:
    """Boltz writes 0 or NaN for a lone residue, whose tokens have no frame and no pair."""
    (tmp_path / "confidence.json").write_text(
        '{"ptm": 0.0, "iptm": 0.0, "ligand_iptm": 0.0, "complex_pde": NaN, "confidence_score": 0.0}'
    )
    summary = results.read_summary(tmp_path / "confidence.json")
    assert [results.defined(summary, name) for name in ("ptm", "iptm", "complex_pde")] == [None] * 3
    found = results.scores_of(summary, {}, chains_of(target(PROTEIN, ASPIRIN)))
    assert found == {"confidence_score": 0.0}


def test_tokens_are_put_into_the_targets_order() -> None:
    """Boltz computes equal sequences side by side: A, C, then the ligand B."""

    class Structure:
        chains = np.array(
            [("A", 0, 2), ("C", 2, 2), ("B", 4, 1)],
            dtype=[("name", "U5"), ("res_idx", int), ("res_num", int)],
        )
        residues = np.array(
            [(True, 0, 4), (False, 4, 9), (True, 13, 4), (False, 17, 9), (False, 26, 2)],
            dtype=[("is_standard", bool), ("atom_idx", int), ("atom_num", int)],
        )
        atoms = np.array([(f"X{number}",) for number in range(28)], dtype=[("name", "U4")])

    modified = {"kind": "protein", "sequence": "GS", "modifications": [{"position": 2, "ccd": "SEP"}]}
    chains = chains_of(target(modified, {"kind": "ligand", "smiles": "CO"}, modified))
    tokens, places = results.tokens_of(Structure, chains)
    assert tokens == Tokens([0, 0, 1, 1, 2, 2], [1, 2, 1, 1, 1, 2], ["", "", "X26", "X27", "", ""])
    assert places.tolist() == [0, 1, 4, 5, 2, 3]
    assert tokens.by_chain(3) == [2, 2, 2]


@given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 100)), min_size=1, max_size=20))
def test_a_residues_value_is_the_mean_of_its_tokens(residues: list[tuple[int, float]]) -> None:
    numbers = [number for number, (size, _) in enumerate(residues, 1) for _ in range(size)]
    values = np.array([value for size, value in residues for _ in range(size)])
    tokens = Tokens([0] * len(numbers), numbers, [""] * len(numbers))
    assert tokens.mean_by_residue(values).tolist() == pytest.approx([value for _, value in residues])


def test_recipes_name_what_changes_results(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("snakefold.engines.boltz2.weights.identity", lambda folder, affinity: {"a": affinity})

    def recipe(group: str = "structure", **values: Any) -> str:
        settings = Boltz2Settings.model_validate({"accelerator": "cpu", **values})
        return json.dumps(ENGINE.recipe(group, settings, tmp_path), sort_keys=True)

    assert recipe(seed=1) != recipe()
    assert recipe(cpu_threads=2) != recipe()
    assert recipe(accelerator="gpu") != recipe()
    assert recipe(accelerator="gpu", cpu_threads=2) == recipe(accelerator="gpu")
    assert recipe(sampling_steps_affinity=7) == recipe()
    assert recipe("affinity", sampling_steps_affinity=7) != recipe("affinity")
    assert '"torch": "2.13.0"' in recipe()


@pytest.mark.parametrize("gpu", [True, False])
def test_a_process_takes_the_environment_of_its_machine_and_else_the_other(
    gpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(environments.ROOT, str(tmp_path))
    monkeypatch.setattr(environments, "has_gpu", lambda: gpu)
    monkeypatch.setattr(environments, "_installed", lambda package: None)
    own, other = (
        environments.prefix_of(ENGINE, ENGINE.environment, lock_for(ENGINE.environment, gpu=each))
        for each in (gpu, not gpu)
    )
    assert environments.prefix_of(ENGINE, ENGINE.environment) == own != other
    assert "snakefold engines install boltz2" in environments.place_of(ENGINE).missing
    for prefix in (other, own):
        environments.interpreter(prefix).parent.mkdir(parents=True)
        environments.interpreter(prefix).touch()
        (prefix / environments.MARKER).write_text("{}")
        assert environments.place_of(ENGINE).prefix == prefix


def test_an_image_with_a_build_for_cpus_runs_it_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(environments.ROOT, str(tmp_path))
    versions = {name: ENGINE.environment.version(name) for name in ENGINE.packages}
    monkeypatch.setattr(environments, "_installed", {**versions, "torch": f"{versions['torch']}+cpu"}.get)
    assert environments.place_of(ENGINE) == environments.Place()


@pytest.mark.parametrize(
    ("ligand", "says"),
    [
        ({"smiles": "[H][H]"}, "without heavy atoms"),
        ({"smiles": "C" * 129}, "129 heavy atoms by SMILES"),
        ({"ccd": ["UNX"]}, "ligand UNX: an unknown molecule"),
        ({"ccd": ["HOH"]}, "ligand HOH: water"),
    ],
)
def test_a_ligand_that_nobody_can_predict_is_refused(ligand: dict[str, Any], says: str) -> None:
    entities = [{"kind": "protein", "sequence": "MKTAYIAK"}, {"kind": "ligand", **ligand}]
    assembly = Assembly.model_validate({"entities": entities})
    content = assembly.model_dump(mode="json")
    asked = TargetInput(id="t", key=assembly.key, chains=[], assembly=content)
    with pytest.raises(TargetError, match=says):
        ENGINE.check(asked, ENGINE.Settings())

"""AlphaFold2 gets from an MSA server what `colabfold_batch` gets from it: equal features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snakefold.engines.alphafold2 import features
from snakefold.engines.alphafold2.settings import AlphaFold2Settings, ModelPreset
from snakefold.engines.alphafold2.shapes import MAX_TEMPLATES, MsaShape, multimer_depth
from snakefold.engines.alphafold2.shortfalls import shortfalls
from snakefold.engines.spec import ChainMsa, TargetMsas
from snakefold.kernel.contracts import TargetInput
from snakefold.kernel.errors import TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.msa.planned import PlannedChain, PlannedComplex
from snakefold.msa.server.client import Pace, open_client
from snakefold.msa.server.facts import paired_texts
from snakefold.msa.server.search import pair, search
from snakefold.msa.server.settings import ServerSettings
from tests.engine.toys import make_target, templates_npz
from tests.servers.msa_server import MsaServer, msa_server

FIRST, SECOND, THIRD = "MKTAYIAKQRQISFVKSHFSRQ", "GSWTWENGKWTWKGSW", "LSDEDFKAVFGMTRSAF"
SETTINGS = AlphaFold2Settings.model_validate({})
#: Rows that ColabFold pads the MSA of a complex to.
MAX_SEQ = 508


@pytest.fixture(scope="module")
def server() -> Iterator[MsaServer]:
    with msa_server() as running:
        yield running


def ours(target: TargetInput, server: MsaServer, templates: bytes | None = None) -> TargetMsas:
    """What the MSA step and the request make of the server's answers."""
    chains = list(dict.fromkeys(target.chains))
    planned = [PlannedChain(key=sequence_key([each]), sequence=each) for each in chains]
    with open_client(ServerSettings(url=server.url), print) as client:
        client.pace = Pace(look=0.05)
        found = dict(search(planned, client, print))
        paired = None
        if len(chains) > 1:
            whole = PlannedComplex(key=sequence_key(chains), chains=chains)
            [(_, files)] = pair([whole], client, print)
            assert isinstance(files, dict)
            paired = paired_texts(files)
    msas = {}
    for each in planned:
        result = found[each.key]
        assert not isinstance(result, TargetError)
        msas[each.sequence] = ChainMsa("".join(raw.text for raw in result[0]), templates=templates)
    return TargetMsas(chains=[msas[chain] for chain in target.chains], paired=paired)


def theirs(target: TargetInput, server: MsaServer, folder: Path, preset: ModelPreset) -> dict[str, Any]:
    """What `colabfold_batch` makes of them: its defaults, on the same tickets."""
    from colabfold.batch import generate_input_feature, get_msa_and_templates

    unpaired, paired, sequences, copies, templates = get_msa_and_templates(
        "job",
        list(target.chains),
        None,
        folder,
        "mmseqs2_uniref_env",
        use_templates=False,
        custom_template_path=None,
        pair_mode="unpaired_paired",
        host_url=server.url,
        user_agent="test/1 me@lab.example",
    )
    multimer = preset is ModelPreset.MULTIMER
    found, _ = generate_input_feature(
        sequences,
        copies,
        unpaired,
        paired,
        templates,
        is_complex=multimer,
        model_type="alphafold2_multimer_v3" if multimer else "alphafold2_ptm",
        max_seq=MAX_SEQ,
    )
    return dict(found)


@pytest.mark.parametrize(
    "chains",
    [(FIRST,), (FIRST, SECOND), (FIRST, SECOND, FIRST), (FIRST, FIRST), (SECOND, THIRD, FIRST)],
    ids=["monomer", "heterodimer", "A2B", "homodimer", "heterotrimer"],
)
def test_features_equal_colabfolds(server: MsaServer, tmp_path: Path, chains: tuple[str, ...]) -> None:
    target = make_target("x", *chains)
    preset = ModelPreset.MULTIMER if len(chains) > 1 else ModelPreset.MONOMER_PTM
    shape = MsaShape(MAX_SEQ, 2048, MAX_SEQ + MAX_TEMPLATES)
    msas = ours(target, server)
    found = features.raw_features(target, msas, preset, SETTINGS, shape)
    expected = theirs(target, server, tmp_path, preset)
    assert "msa" in expected
    names = set(found) & set(expected)
    # Names of the rows, of species and of the target are no input of the network.
    assert {name for name in {*found, *expected} - names if "msa" in name} <= {"msa_species_identifiers"}
    for name in names - {"domain_name", "msa_species_identifiers"}:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    # Nothing was searched twice: ColabFold's client found the tickets of ours.
    assert len({each.form["q"] for each in server.submitted("msa")}) < len(server.submitted("msa"))
    assert features.depth(target, msas, preset) >= int(np.ravel(found["num_alignments"])[0])


def test_a_paired_complex_may_have_templates(server: MsaServer) -> None:
    target = make_target("x", FIRST, SECOND)
    msas = ours(target, server, templates=templates_npz(FIRST))
    second = ChainMsa(msas.chains[1].a3m)
    msas = TargetMsas(chains=[msas.chains[0], second], paired=msas.paired)
    settings = AlphaFold2Settings.model_validate({"use_templates": True})
    shape = MsaShape(16, 16, 20)
    found = features.raw_features(target, msas, ModelPreset.MULTIMER, settings, shape)
    seen = found["template_all_atom_mask"][0].any(axis=-1).tolist()
    assert seen == [True] * len(FIRST) + [False] * len(SECOND)
    without = features.raw_features(target, msas, ModelPreset.MULTIMER, SETTINGS, shape)
    assert not without["template_all_atom_mask"].any()
    notes = shortfalls(target, msas, found, preset=ModelPreset.MULTIMER, settings=settings, shape=shape)
    assert not any(note.startswith("unpaired_msa") for note in notes)
    assert any(note.startswith("no_templates") for note in notes)


def test_rows_that_pair_nothing_are_told(server: MsaServer) -> None:
    target = make_target("x", FIRST, SECOND)
    msas = ours(target, server)
    # Two databases, each with its copy of the query.
    alone = [f">101\n{each}\n>101\n{each}\n" for each in (FIRST, SECOND)]
    msas = TargetMsas(chains=msas.chains, paired=alone)
    shape = MsaShape(16, 16, 20)
    found = features.raw_features(target, msas, ModelPreset.MULTIMER, SETTINGS, shape)
    notes = shortfalls(target, msas, found, preset=ModelPreset.MULTIMER, settings=SETTINGS, shape=shape)
    assert any("no rows to pair with for chain A, B" in note for note in notes)


def test_paired_rows_of_other_chains_are_refused(server: MsaServer) -> None:
    target = make_target("x", FIRST, SECOND)
    msas = ours(target, server)
    shape = MsaShape(16, 16, 20)
    for paired in ([f">101\n{FIRST}\n"], [f">101\n{SECOND}\n", f">102\n{FIRST}\n"]):
        wrong = TargetMsas(chains=msas.chains, paired=paired)
        with pytest.raises(TargetError, match=r"Run the MSA step again|belongs to another sequence"):
            features.raw_features(target, wrong, ModelPreset.MULTIMER, SETTINGS, shape)


def test_the_bound_of_a_multimers_depth_holds_for_paired_rows() -> None:
    assert multimer_depth([10, 10], [300, 300]) >= 20 + 300
    assert multimer_depth([10, 10, 10], [3000] * 3) >= 30 + 1024

"""The flat form before anything is folded: where sequences come from, and what its flags become."""

from __future__ import annotations

from pathlib import Path

import pytest

from snakefold.config import Config
from snakefold.engines.alphafold2.settings import ModelPreset
from snakefold.kernel.contracts import RelaxChoice
from snakefold.msa.settings import MsaSettings
from snakefold.worker import flat
from snakefold.worker.endpoints import FlatRequest, InvalidInput
from snakefold.worker.fetch import Refused
from snakefold.worker.flat import Searched
from snakefold.worker.settings import read_settings
from snakefold.worker.tasks import Context, new_context
from tests.worker.public_web import HOST, Net

TWO = "MKTAYIAKQRQISFVKSHF:GSHMFVKSHFSRQLEEMKT"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return new_context(
        read_settings({"SNAKEFOLD_STORE": str(tmp_path / "store"), "SNAKEFOLD_REHEARSAL_BLOCKS": "3"})
    )


def configured(context: Context, *flags: str, multimer: bool = False, **given: str) -> Config:
    request = FlatRequest.model_validate(
        {"sequence": TWO if multimer else TWO[:19], "alphafold_extra_flags": list(flags), **given}
    )
    searched = Searched("single_sequence", MsaSettings(tool="single_sequence"), [])
    return flat._configuration(request, searched, context, multimer=multimer)


def test_an_address_is_fetched_and_read(net: Net) -> None:
    request = FlatRequest(fasta_url=f"https://{HOST}/ok")
    text = flat._fasta(request, net.network())
    assert [(target.id, target.chains) for target in flat.targets_of(text)] == [("a", ("MKTAYIAK",))]


def test_an_address_of_the_callers_is_trusted_nowhere(net: Net) -> None:
    """Hosts that results may go to, the lab's own S3, are not for callers to read from."""
    net.names["s3.lab"] = [["10.0.0.5"]]
    trusting = net.network(frozenset({"s3.lab", HOST}))
    for url in ("https://s3.lab/ok", f"https://{HOST}/redirect/https%3A%2F%2Fs3.lab%2Fok"):
        with pytest.raises(Refused, match="private or reserved"):
            flat._fasta(FlatRequest(fasta_url=url), trusting)


def test_an_address_with_too_much_behind_it(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat, "_LARGEST_FASTA", 1000)
    with pytest.raises(Refused, match="more than 1000 bytes"):
        flat._fasta(FlatRequest(fasta_url=f"https://{HOST}/big"), net.network())


def test_defaults_are_alphafolds(context: Context) -> None:
    alone, together = configured(context), configured(context, multimer=True)
    assert alone.alphafold2.model_preset is ModelPreset.MONOMER_PTM
    assert (alone.alphafold2.num_seeds, alone.alphafold2.num_recycle) == (1, 3)
    assert together.alphafold2.model_preset is ModelPreset.MULTIMER
    assert (together.alphafold2.num_seeds, together.alphafold2.num_recycle) == (5, 20)
    assert together.alphafold2.recycle_early_stop_tolerance == 0.5
    assert alone.relax.models_to_relax is RelaxChoice.BEST
    assert alone.rehearsal.blocks == 3


def test_flags_reach_the_settings(context: Context) -> None:
    config = configured(
        context,
        "--random_seed=7",
        "--models_to_relax=all",
        "--use_gpu_relax",
        "--num_multimer_predictions_per_model=2",
        multimer=True,
    )
    assert (config.alphafold2.random_seed, config.alphafold2.num_seeds) == (7, 2)
    assert (config.relax.models_to_relax, config.relax.use_gpu_relax) == (RelaxChoice.ALL, True)
    # AlphaFold has this one for complexes only.
    assert configured(context, "--num_multimer_predictions_per_model=2").alphafold2.num_seeds == 1


def test_presets_and_chains_must_fit(context: Context) -> None:
    assert configured(context, model_preset="monomer").alphafold2.model_preset is ModelPreset.MONOMER
    with pytest.raises(InvalidInput, match="cannot fold several chains"):
        configured(context, multimer=True, model_preset="monomer_ptm")


def test_no_more_targets_than_a_worker_takes() -> None:
    with pytest.raises(InvalidInput, match="expected 1 to 1000"):
        flat.targets_of("".join(f">t{n}\nMKTAYIAKQRQISFVKSHF{'A' * n}\n" for n in range(1001)))

"""One backbone in, sequences out: the contract of the first seed's programs."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from snakefold.engines.proteinmpnn.settings import ProteinMpnnSettings
from snakefold.kernel.contracts import Model
from snakefold.kernel.envelope import Response, Result
from snakefold.molecules.backbone_inputs import unpacked

#: Characters of a structure as base64, and of names.
_LONGEST, _LONGEST_NAME = 32 << 20, 100
_DEFAULTS = ProteinMpnnSettings()


def _is_base64(encoded: str) -> str:
    structure_of(encoded)
    return encoded


def structure_of(encoded: str) -> bytes:
    """The file of a `pdb_base64`, unpacked if it is gzip's; line breaks in the text do not count.

    Raises:
        ValueError: it is no base64, or damaged.
    """
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("expected base64 of a file in PDB or mmCIF format") from error
    return unpacked(io.BytesIO(data))


def _one_line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("expected a name in one line")
    return text


#: From 1 along the chain, gaps included; as text: the author's residue number, with its insertion code.
PositionOf = Annotated[int, Field(strict=True)] | Annotated[str, Field(max_length=12)]
Chain = Annotated[str, Field(min_length=1, max_length=20)]


class ResidueBias(Model):
    """What is added to the logits of amino acids at one position."""

    chain: Chain = Field(description="Name of the chain.")
    position: PositionOf = Field(description="As in `fixed_positions`.")
    bias: dict[str, float] = Field(description="By amino acid, as {W: -2.0}; divided by the temperature.")


class DesignRequest(Model):
    """Sequences for one backbone. Names are those of ProteinMPNN's own program."""

    task: Literal["design"] = Field("design", description="What to do; may be left out.")
    pdb_base64: Annotated[str, Field(min_length=1, max_length=_LONGEST), AfterValidator(_is_base64)] = Field(
        description="The backbone: a file in PDB or mmCIF format, in base64.", repr=False
    )
    pdb_name: Annotated[str, Field(max_length=_LONGEST_NAME), AfterValidator(_one_line)] = Field(
        "input", description="What the answer calls the backbone."
    )
    pdb_path_chains: list[Chain] | str | None = Field(
        None, description='Chains to design: a list, or a text such as "A B". Empty: all.'
    )
    fixed_positions: dict[str, list[PositionOf]] | None = Field(
        None,
        description="By chain the positions that keep their residue: numbers count from 1 along the chain, "
        'gaps in its numbering included; a text such as "52A" is the residue number of the file.',
    )
    tied_positions: list[dict[str, list[PositionOf]]] = Field(
        [], description="Groups of positions that get the same residue, each as {A: [1], B: [1]}."
    )
    homooligomer: bool = Field(
        False, description="Designed chains are copies: their n-th positions get the same residue."
    )
    use_soluble_model: bool = Field(
        False, description="Parameters that were trained on soluble proteins only."
    )
    model_name: str = Field(_DEFAULTS.model_name, description="v_48_002, v_48_010, v_48_020 or v_48_030.")
    num_seq_per_target: int = Field(
        1, ge=1, le=1_000, description="Sequences for each temperature: exactly so many are drawn."
    )
    batch_size: int = Field(
        1, ge=1, description="Accepted; how many are drawn at once changes no result, and the worker knows."
    )
    sampling_temp: float | str | list[float] = Field(
        0.1, description='Temperatures: a number, a list, or a text such as "0.1 0.2".'
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Equal seeds give equal sequences. 0 is a seed.")
    backbone_noise: float = Field(0.0, ge=0, le=5, description="Å of noise on the atoms.")
    omit_AAs: str = Field("", description="Amino acids that are never drawn, as CM.")
    bias_AA: dict[str, float] = Field(
        {}, description="Added to the logits of amino acids, as {W: -2.0}; divided by the temperature."
    )
    bias_by_res: list[ResidueBias] = Field([], description="The same for single positions.")
    cleanup: bool = Field(True, description="Accepted; a worker leaves no file behind.")

    @model_validator(mode="before")
    @classmethod
    def _null_is_nothing(cls, values: object) -> object:
        """Programs send null for what they leave open."""
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if value is not None}

    @model_validator(mode="after")
    def _settings(self) -> DesignRequest:
        self.settings  # noqa: B018
        return self

    @property
    def settings(self) -> ProteinMpnnSettings:
        """The engine's settings that the request amounts to."""
        return ProteinMpnnSettings.model_validate(
            {name: getattr(self, name) for name in ProteinMpnnSettings.model_fields}
        )


class DesignResponse(Response):
    """Sequences of one backbone. Scores are mean negative log-probabilities: lower is better."""

    pdb_name: str = Field("", description="As it was sent.")
    native: dict[str, Any] = Field(
        description="The backbone's own sequence: name, header, sequence, chains, score, global_score."
    )
    samples: list[dict[str, Any]] | Result = Field(
        description="Designs: name, sample, header, sequence (designed chains joined by /), chains, "
        "temperature, seed, score, global_score, recovery. Or where they went, if they are too large."
    )
    fasta: str | Result = Field(description="All of them in ProteinMPNN's FASTA, the native one first.")
    designed_chains: list[str] = Field([], description="Chains that were designed.")
    fixed_chains: list[str] = Field([], description="Other protein chains of the file.")
    fixed_positions: dict[str, list[int]] = Field({}, description="As counted from 1, gaps included.")
    numbering: dict[str, list[str]] = Field(
        {},
        description="By chain the file's residue number of each position, with its insertion code; empty in "
        "gaps, whose letter is X.",
    )
    model_name: str = Field("", description="The parameters.")
    use_soluble_model: bool = Field(False, description="Those of soluble proteins.")
    seed: int = Field(0, description="As it was sent.")

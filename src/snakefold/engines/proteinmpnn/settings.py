"""Settings of the engine `proteinmpnn`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from snakefold.engines.proteinmpnn.weights import ModelName
from snakefold.kernel.contracts import Model
from snakefold.molecules.designs import AMINO_ACIDS, MOST_BIAS


def _temperatures(given: Any) -> Any:
    """One number, several, or a text with blanks between them, as ProteinMPNN takes it."""
    if isinstance(given, str):
        given = given.replace(",", " ").split()
    elif isinstance(given, int | float) and not isinstance(given, bool):
        given = [given]
    if not isinstance(given, Sequence):
        return given
    try:
        numbers = [float(each) for each in given]
    except (TypeError, ValueError) as error:
        raise ValueError("expected temperatures: numbers such as 0.1, or a text such as 0.1 0.2") from error
    return list(dict.fromkeys(numbers))


def _letters(given: Any) -> Any:
    """Amino acids of a text, sorted, each once; X is never drawn and need not be named."""
    if not isinstance(given, str):
        return given
    letters = set(given.upper()) - {"X"}
    if wrong := sorted(letters - set(AMINO_ACIDS)):
        raise ValueError(f"{wrong[0]!r} is no amino acid; letters are {AMINO_ACIDS}")
    if len(letters) == len(AMINO_ACIDS):
        raise ValueError("all amino acids are left out, and none is left to draw")
    return "".join(sorted(letters))


def _biases(given: Any) -> Any:
    if isinstance(given, dict):
        for letter, value in given.items():
            if not isinstance(letter, str) or letter not in AMINO_ACIDS or len(letter) != 1:
                raise ValueError(f"{letter!r} is no amino acid; letters are {AMINO_ACIDS}")
            if isinstance(value, int | float) and not abs(value) <= MOST_BIAS:
                raise ValueError(f"the bias of {letter} is not between -{MOST_BIAS} and {MOST_BIAS}")
        return dict(sorted(given.items()))
    return given


Temperature = Annotated[float, Field(gt=0, le=10)]


class ProteinMpnnSettings(Model):
    """Settings of the engine `proteinmpnn`. Names and defaults are ProteinMPNN's."""

    model_name: ModelName = Field(
        "v_48_020", description="Parameters: 48 neighbours, trained with noise of 0.02 to 0.30 Å."
    )
    use_soluble_model: bool = Field(
        False, description="Parameters that were trained on soluble proteins only."
    )
    num_seq_per_target: int = Field(8, ge=1, le=10_000, description="Sequences per backbone and temperature.")
    sampling_temp: Annotated[
        list[Temperature], BeforeValidator(_temperatures), Field(min_length=1, max_length=20)
    ] = Field([0.1], description="Temperatures, 0.1 to 0.3 as a rule: higher ones give more variety.")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Equal seeds give equal sequences. 0 is a seed.")
    backbone_noise: float = Field(
        0.0, ge=0, le=5, description="Å: standard deviation of noise on the atoms, drawn for each sequence."
    )
    omit_AAs: Annotated[str, BeforeValidator(_letters)] = Field(
        "", description="Amino acids that are never drawn, as CM."
    )
    bias_AA: Annotated[dict[str, float], BeforeValidator(_biases)] = Field(
        {}, description="Added to the logits of amino acids, as {W: -2.0}; divided by the temperature."
    )

    @property
    def kind(self) -> str:
        """Which of the two kinds of parameters."""
        return "soluble" if self.use_soluble_model else "vanilla"

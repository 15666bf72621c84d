"""What a prediction keeps on request besides its models: representations, and every recycle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snakefold.engines.alphafold2 import representations
from snakefold.engines.alphafold2.recycles import Recycles

if TYPE_CHECKING:
    from snakefold.engines.alphafold2.features import Features
    from snakefold.engines.alphafold2.settings import ModelPreset, NetworkSettings
    from snakefold.kernel.contracts import TargetInput


class Saved:
    """That of one target."""

    def __init__(self, target: TargetInput, settings: NetworkSettings, *, rehearsal: bool) -> None:
        self._target, self._settings = target, settings
        self._representations = representations.Representations(settings, rehearsal=rehearsal)
        self._recycles = Recycles(target, settings.section, rehearsal=rehearsal)

    def asked(self, name: str, preset: ModelPreset, inputs: Features) -> dict[str, Any]:
        """What RunModel.predict is asked for besides, by its names, for the model `name`."""
        asked: dict[str, Any] = {}
        if representations.wanted(self._settings):
            asked["return_representations"] = True
        if self._settings.save_recycles:
            asked["callback"] = self._recycles.watch(name, preset, inputs)
        return asked

    def add(self, name: str, result: Features) -> None:
        """Take what is kept out of a model's result."""
        self._representations.add(name, result, self._target.chains)

    @property
    def files(self) -> dict[str, bytes]:
        """By name; {} if nothing is wanted."""
        return {**self._representations.files, **self._recycles.files}

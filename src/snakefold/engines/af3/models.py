"""The models of AlphaFold 3's family that one code runs: what they are, whose they are, and what they take.

Sizes, licences and addresses are those of the registry in alphafold3-colabfold 3.1.18. Licences are its word;
the publisher's page (`source`) has the last one. Of the family's other models one is under terms that forbid
commercial use (helixfold3), one has none of the confidences that results are ranked by (bioemu2), and one has
a licence that its own page leaves open (opendde): they are not offered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Converted parameters, one file a model, by the author of the wheel. There are no releases: files change.
REPOSITORY = "https://huggingface.co/sokrypton/af3-any-model"
REVISION = "main"


@dataclass(frozen=True)
class Network:
    """A model.

    Attributes:
        name: of the setting `model`, and in the wheel's registry.
        title: as a sentence calls it.
        licence: of its parameters; what it predicts is under no other terms unless `terms` says so.
        source: the page of who trained it.
        folder: where the repository has its file; empty: it may not be published there.
        gigabytes: of the file.
        recycles, steps: what it runs if the settings leave it open.
        paper: what to cite, by address.
        cites: its words of resources/citations.yaml.
        terms: of what it predicts, by address; empty: none but those of `licence`.
        language_model: what it was trained with besides, and runs without here; empty: nothing.
        tokens_by_residue: a modified residue is one token, not one for each atom.
    """

    name: str
    title: str
    licence: str
    source: str
    folder: str
    gigabytes: float
    recycles: int = 10
    steps: int = 200
    paper: str = ""
    cites: tuple[str, ...] = ()
    terms: str = ""
    language_model: str = ""
    tokens_by_residue: bool = False

    @property
    def file(self) -> str:
        """Name of its parameters' file."""
        return "af3.bin.zst" if self.name == "alphafold3" else f"{self.name}.bin.zst"

    @property
    def address(self) -> str:
        """Folder of the file; empty: nobody may publish it."""
        return f"{REPOSITORY}/resolve/{REVISION}/{self.folder}" if self.folder else ""

    @property
    def own(self) -> bool:
        """The user has to ask for the parameters, and brings them."""
        return not self.folder


_APACHE, _MIT, _BSD = "Apache-2.0", "MIT", "BSD-3-Clause"

NETWORKS: Mapping[str, Network] = {
    each.name: each
    for each in (
        Network(
            "openfold3",
            "OpenFold3",
            _APACHE,
            "https://github.com/aqlaboratory/openfold-3",
            "openfold3",
            1.37,
            recycles=3,
        ),
        Network(
            "openbind0",
            "OpenBind 0",
            _APACHE,
            "https://github.com/aqlaboratory/openfold-3",
            "openfold3",
            1.31,
            recycles=3,
        ),
        Network(
            "protenix1",
            "Protenix 1",
            _APACHE,
            "https://github.com/bytedance/Protenix",
            "protenix",
            0.99,
            recycles=9,
            cites=("af3-protenix",),
            paper="https://doi.org/10.1101/2025.01.08.631967",
        ),
        Network(
            "protenix2",
            "Protenix 2",
            _APACHE,
            "https://github.com/bytedance/Protenix",
            "protenix",
            1.33,
            recycles=9,
            cites=("af3-protenix",),
            paper="https://doi.org/10.1101/2025.01.08.631967",
        ),
        Network(
            "intellifold2",
            "IntelliFold 2",
            _APACHE,
            "https://huggingface.co/intelligenAI/intellifold",
            "intellifold2",
            1.77,
            cites=("af3-intellifold2",),
            paper="https://arxiv.org/abs/2507.02025",
        ),
        Network(
            "rosettafold3",
            "RosettaFold3",
            _BSD,
            "https://github.com/RosettaCommons/foundry",
            "rosettafold3",
            1.36,
            recycles=9,
            steps=49,
            cites=("af3-rosettafold3",),
            paper="https://doi.org/10.1101/2025.08.14.670328",
        ),
        Network(
            "boltz2",
            "Boltz-2",
            _MIT,
            "https://github.com/jwohlwend/boltz",
            "boltz2",
            1.88,
            recycles=3,
            cites=("af3-boltz2",),
            tokens_by_residue=True,
            paper="https://doi.org/10.1101/2025.06.14.659707",
        ),
        Network(
            "chai1",
            "Chai-1",
            _APACHE,
            "https://github.com/chaidiscovery/chai-lab",
            "chai1",
            1.20,
            recycles=2,
            cites=("af3-chai1",),
            language_model="ESM-2",
            paper="https://doi.org/10.1101/2024.10.10.615955",
        ),
        Network(
            "esmfold2",
            "ESMFold2",
            _MIT,
            "https://huggingface.co/biohub/ESMFold2",
            "esmfold2",
            0.87,
            recycles=19,
            steps=14,
            language_model="ESM-C",
        ),
        Network(
            "alphafold3",
            "AlphaFold 3",
            "AlphaFold 3 Model Parameters Terms of Use",
            "https://github.com/google-deepmind/alphafold3",
            "",
            1.1,
            terms="https://github.com/google-deepmind/alphafold3/blob/main/OUTPUT_TERMS_OF_USE.md",
            paper="https://doi.org/10.1038/s41586-024-07487-w",
        ),
    )
}
#: Where AlphaFold 3's own parameters are asked for, and the terms that come with them.
REQUEST = "https://github.com/google-deepmind/alphafold3#obtaining-model-parameters"
OWN_TERMS = "https://github.com/google-deepmind/alphafold3/blob/main/WEIGHTS_TERMS_OF_USE.md"

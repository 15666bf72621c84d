"""What engine af3 says of the wheel, asked of it: for test_af3_session.py, in the engine's environment.

    python af3_wheel.py COMPONENTS < JSON

Compiles nothing. Reads documents of AlphaFold 3's JSON by name; prints an object of what was found.
"""

import json
import os
import sys
from pathlib import Path

os.environ["AF3_NO_CCD_UNK"] = "1"  # a default of the wheel's that somebody changed

from snakefold.engines.af3 import components, dssp, network
from snakefold.engines.af3.features import featurised
from snakefold.engines.af3.models import NETWORKS
from snakefold.engines.af3.settings import Af3Settings
from snakefold.kernel.errors import SnakefoldError, TargetError

SETTINGS = Af3Settings(model="openfold3", accelerator="cpu", buckets=(32, 64))
GIVEN = json.load(sys.stdin)
FOLDER = components.ready(["ATP", "NAG", "SEP"], Path(sys.argv[1]))

network._prepare(SETTINGS, FOLDER, None)

from alphafold3.constants import decoded_ccd  # noqa: E402
from alphafold3.cpp import cif_dict  # noqa: E402
from alphafold3.model import model_registry  # noqa: E402


def registered() -> dict[str, list[object]]:
    """Of each model: recycles, steps, its file, whether a modified residue is one token."""
    found = {}
    for name in NETWORKS:
        spec = model_registry.get(name)
        path = "" if spec.weights_repo is None else spec.weights_path_for()
        whole = bool(spec.featurise.get("modified_as_one_token"))
        found[name] = [spec.default_num_recycles, spec.sampler.get("steps", 200), path, whole]
    return found


def dictionary() -> dict[str, bool]:
    """Whether entries are what the wheel's own parser reads of the same CIF text."""
    return {
        code: all(
            list(values) == list(components_of[code][name])
            for name, values in cif_dict.parse_multi_data_cif(components.cif_text(code, components_of[code]))[
                code
            ]
            .to_dict()
            .items()
        )
        for code in ("ALA", "ATP", "SEP")
    }


def features(document: dict[str, object]) -> dict[str, object]:
    try:
        _, batch = featurised(document, spec, SETTINGS.buckets, None)
    except TargetError as error:
        return {"refused": error.message}
    length = int(batch["seq_length"])
    return {
        "tokens": length,
        "bucket": len(batch["seq_mask"]),
        "rows": int(batch["num_alignments"]),
        "msa": batch["msa"][:3, :length].tolist(),
        "templates": int(batch["template_atom_mask"].any(axis=(1, 2)).sum()),
        "modelled": int(batch["template_atom_mask"][0].any(axis=-1).sum()),
        "bonds": int(batch["tokens_to_polymer_ligand_bonds:gather_mask"].all(axis=-1).sum()),
    }


def refused(action: object) -> str:
    try:
        action()  # type: ignore[operator]
    except SnakefoldError as error:
        return str(error)
    return ""


components_of = components.Dictionary(["ALA", "ATP", "SEP"])
spec = model_registry.get("openfold3")
dssp.see_that_it_works()
told = {
    "registered": registered(),
    "dictionary": dictionary(),
    "primes": decoded_ccd.get_ccd()["ATP"]["_chem_comp_atom.atom_id"][:12],
    "variables": [name for name in os.environ if name.startswith(network.VARIABLES)],
    "features": {name: features(document) for name, document in GIVEN.items()},
    "another_model": refused(
        lambda: network._prepare(SETTINGS.model_copy(update={"model": "protenix2"}), FOLDER, None)
    ),
}
del os.environ["LIBCIFPP_DATA_DIR"]
told["without_dssp"] = refused(dssp.see_that_it_works)
print(json.dumps(told))

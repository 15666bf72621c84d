"""`boltz predict` with pinned random numbers, in the engine's environment: the session must reproduce it.

    python reference.py SEED predict INPUT --cache FOLDER …

Boltz seeds once, before it builds a network; so one file of a folder depends on all others. Here the three
places that draw are seeded where they draw: RDKit's conformers, a dataset's item, and a step of prediction.
Everything else is Boltz's command line, with Lightning's trainer.
"""

import functools
import sys

from boltz.data.module.inferencev2 import PredictionDataset
from boltz.data.parse import schema
from boltz.main import cli
from boltz.model.models.boltz2 import Boltz2
from pytorch_lightning import seed_everything
from rdkit.Chem import AllChem

SEED = int(sys.argv.pop(1))
#: What RDKit's generator starts from.
CONFORMER_SEED = 42


def seeded(function):
    @functools.wraps(function)
    def call(*arguments, **named):
        seed_everything(SEED, verbose=False)
        return function(*arguments, **named)

    return call


def embed(molecule, options):
    options.randomSeed = CONFORMER_SEED
    return EMBED(molecule, options)


EMBED = AllChem.EmbedMolecule
schema.AllChem.EmbedMolecule = embed
PredictionDataset.__getitem__ = seeded(PredictionDataset.__getitem__)
Boltz2.predict_step = seeded(Boltz2.predict_step)
cli()

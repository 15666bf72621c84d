"""Templates that a target brings, as AlphaFold's features: hhsearch over the chains of its own files.

As ColabFold does with --custom-template-path (`mk_hhsearch_db` and `mk_template` of colabfold 1.6.3): the
sequences of the files' chains are the database, hhsearch aligns the target's chain to them, AlphaFold's
featuriser reads the coordinates. No date is asked for.

AlphaFold is given files that are written here, with the protein chains of a file and nothing else, so that
any PDB or mmCIF serves: with residues that are not modelled, insertion codes, ligands, without the tables
that the featuriser wants.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import gemmi
import numpy as np

from snakefold.kernel.errors import Reason, TargetError
from snakefold.kernel.recipes import sequence_key
from snakefold.molecules.known_chains import KnownChain, entry_name, read_chains
from snakefold.msa import a3m, programs, templates
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings
from snakefold.msa.template_files import Templates
from snakefold.structures.chains import chain_names

#: Files of one target: AlphaFold's code takes names of four letters.
MOST = 999
_PROGRAMS = ("hhsearch", "kalign")
#: hhsearch aligns so many chains at a time; what it finds is the same with any number.
_THREADS = 4
#: A date that nothing is younger than, and one for files without (ColabFold's).
_LAST, _RELEASED = "2100-01-01", "1971-01-01"


@dataclass(frozen=True)
class Structure:
    """A file of templates.

    Attributes:
        data: it has at least one protein chain.
        form: cif or pdb.
        digest: sha256 of the data.
        chains: those that are searched, by their names in the file; None: all.
    """

    data: bytes
    form: str
    digest: str
    chains: frozenset[str] | None = None


def versions() -> dict[str, str]:
    """Of the programs that features depend on. Raises MissingProgramError."""
    return {name: programs.version(name) for name in _PROGRAMS}


def find(sequence: str, alignment: str, structures: Collection[Structure], log: programs.Log) -> Templates:
    """Templates of one chain; their names are `<what the file calls itself>_<chain>`.

    Args:
        alignment: an A3M of the chain, with which it is searched.
        structures: in any order.

    Raises:
        TargetError: a program failed.
        MissingProgramError: hhsearch or kalign is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="snakefold-templates-") as name:
        work = Path(name).resolve()
        folder = work / "files"
        folder.mkdir()
        names = _write_database(folder, sorted(structures, key=lambda each: each.digest))
        if not names:
            return Templates(npz=None)
        settings = MsaSettings(
            templates="hhsearch",
            max_template_date=_LAST,
            max_template_hits=templates.MAX_HITS,
            threads=min(os.cpu_count() or 1, _THREADS),
        )
        search = templates.searcher(templates.sources_in(folder), settings, work=work, log=log)
        chain = PlannedChain(key=sequence_key([sequence]), sequence=sequence)
        found = search(chain, a3m.parse_a3m(alignment))
    if isinstance(found, TargetError):
        raise TargetError(
            Reason.MSA_FAILED, f"Its own templates: {found.message}", "Take them out of the record."
        )
    return _renamed(found, names)


def _write_database(folder: Path, structures: Sequence[Structure]) -> dict[str, str]:
    """Write an mmCIF file of each structure and one database of all chains; names by those in it."""
    names: dict[str, str] = {}
    data = bytearray()
    index: list[str] = []
    for number, structure in enumerate(structures):
        code = f"t{number:03d}"
        chains = [
            chain
            for chain in read_chains(structure.data, structure.form)
            if structure.chains is None or structure.chains & {chain.name, *chain.labels}
        ]
        letters = dict(zip(chain_names(len(chains)), chains, strict=True))
        (folder / f"{code}.cif").write_text("\n".join(_mmcif(code, letters)) + "\n")
        called = entry_name(structure.data, structure.form) or structure.digest[:8]
        for letter, chain in letters.items():
            names[f"{code}_{letter}"] = f"{called}_{chain.name}"
            row = f">{code}_{letter}\n{chain.sequence}\n\0".encode()
            index.append(f"{len(index) + 1}\t{len(data)}\t{len(row)}\n")
            data += row
    (folder / "pdb70_a3m.ffdata").write_bytes(bytes(data))
    (folder / "pdb70_a3m.ffindex").write_text("".join(index))
    return names


def _mmcif(code: str, chains: dict[str, KnownChain]) -> Iterator[str]:
    """What `alphafold.data.mmcif_parsing` reads: each chain an entity, numbered from 1."""
    yield f"data_{code}\n_entry.id {code}"
    yield from _loop("_pdbx_audit_revision_history", ["revision_date"], [[_RELEASED]])
    kinds = sorted({name for chain in chains.values() for name in _residues(chain)})
    yield from _loop("_chem_comp", ["id", "type"], [[name, "'L-peptide linking'"] for name in kinds])
    asyms = [[name, str(entity)] for entity, name in enumerate(chains, 1)]
    yield from _loop("_struct_asym", ["id", "entity_id"], asyms)
    polymers = [
        [str(entity), str(number), name]
        for entity, chain in enumerate(chains.values(), 1)
        for number, name in enumerate(_residues(chain), 1)
    ]
    yield from _loop("_entity_poly_seq", ["entity_id", "num", "mon_id"], polymers)
    items = ["group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id"]
    items += ["label_asym_id", "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code"]
    items += ["Cartn_x", "Cartn_y", "Cartn_z", "occupancy", "B_iso_or_equiv"]
    items += ["auth_seq_id", "auth_comp_id", "auth_asym_id", "auth_atom_id", "pdbx_PDB_model_num"]
    yield from _loop("_atom_site", items, _atoms(chains))


def _atoms(chains: dict[str, KnownChain]) -> Iterator[list[str]]:
    serial = 0
    for entity, (letter, chain) in enumerate(chains.items(), 1):
        names = _residues(chain)
        for place, atoms in zip(chain.places, chain.atoms, strict=True):
            for atom, (x, y, z) in atoms.items():
                serial += 1
                quoted = f'"{atom}"'
                yield [
                    *("ATOM", str(serial), "?", quoted, ".", names[place]),
                    *(letter, str(entity), str(place + 1), "?"),
                    *(f"{value:.9g}" for value in (x, y, z)),
                    *("1", "0", str(place + 1), names[place], letter, quoted, "1"),
                ]


def _residues(chain: KnownChain) -> list[str]:
    return gemmi.expand_one_letter_sequence(chain.sequence, gemmi.ResidueKind.AA)


def _loop(category: str, items: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "loop_"
    for item in items:
        yield f"{category}.{item}"
    for row in rows:
        yield " ".join(row)
    yield "#"


def _renamed(found: Templates, names: dict[str, str]) -> Templates:
    """With the names of the files' own chains in place of those in the database."""

    def told(text: str) -> str:
        return re.sub(r"t\d{3}_\w+", lambda match: names.get(match.group(), match.group()), text)

    npz = None
    if found.npz is not None:
        features = templates.load(found.npz)
        domains = [names[name.decode()].encode() for name in features["template_domain_names"]]
        npz = templates.dump(features | {"template_domain_names": np.array(domains)})
    return replace(
        found,
        npz=npz,
        names=[names[name] for name in found.names],
        warnings=[told(text) for text in found.warnings],
    )

"""The Chemical Component Dictionary as the family's code reads it, made of the one that biotite brings.

The wheel has no dictionary. Its code looks for two files beside itself: an index of components, and the codes
of ions and glycans. Its DSSP reads a third, CIF text. All three are made here, into a folder of the user's;
nothing among the installed packages is touched. DSSP sees proteins alone, so that its file has the components
that peptides are made of.

Runs in the engine's environment: python -m snakefold.engines.af3.components [FOLDER]
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import pickle
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from snakefold.kernel.errors import MissingProgramError, SnakefoldError

#: The release of biotite whose dictionary is taken: the one in the engine's environment.
DICTIONARY = "2.0.0"
#: Raised when the files are made in another way.
MAKING = 1
#: What a prediction looks up, whatever its input.
ALWAYS = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE", "LEU", "LYS", "MET", "PHE"),
    *("PRO", "SER", "THR", "TRP", "TYR", "VAL", "UNK", "MSE", "SEC", "PYL"),
    *("A", "C", "G", "U", "N", "DA", "DC", "DG", "DT", "DN", "HOH"),
)
#: Names of files: those that the family's code asks for, its DSSP's, and what says that all are there.
INDEX, SETS, FOR_DSSP = "ccd.pickle.index", "chemical_component_sets.pickle", "components.cif"
MARKER = "components.json"

#: Columns that are read, by category. Digits of a number, where the dictionary's text has a fixed number.
_COMPONENT = (
    *("id", "name", "type", "formula", "formula_weight", "mon_nstd_parent_comp_id", "one_letter_code"),
    *("three_letter_code", "pdbx_synonyms", "pdbx_formal_charge", "pdbx_initial_date", "pdbx_modified_date"),
    *("pdbx_release_status",),
)
_IDEAL = tuple(f"pdbx_model_Cartn_{axis}_ideal" for axis in "xyz")
_MODEL = tuple(f"model_Cartn_{axis}" for axis in "xyz")
_ATOM = (
    *("comp_id", "atom_id", "alt_atom_id", "type_symbol", "charge", "pdbx_align", "pdbx_aromatic_flag"),
    *("pdbx_leaving_atom_flag", "pdbx_stereo_config", "pdbx_ordinal", *_IDEAL, *_MODEL),
)
_BOND = (
    *("comp_id", "atom_id_1", "atom_id_2", "value_order", "pdbx_aromatic_flag", "pdbx_stereo_config"),
    "pdbx_ordinal",
)
_TABLES = {"chem_comp": _COMPONENT, "chem_comp_atom": _ATOM, "chem_comp_bond": _BOND}
_DIGITS = {"formula_weight": 3, **dict.fromkeys((*_IDEAL, *_MODEL), 3)}
#: BinaryCIF's mask: a value, one that does not apply, one that nobody knows.
_MASKED = {1: ".", 2: "?"}

Entry = dict[str, list[str]]
Log = Callable[[str], object]


def root() -> Path:
    """Folder of all dictionaries of this release: in the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("snakefold", appauthor=False) / "af3" / f"components-{DICTIONARY}-{MAKING}"


def whole(folder: Path | None = None) -> Path:
    """Where the whole dictionary is, once it is made."""
    return (folder or root()) / "all"


def there(folder: Path) -> bool:
    """Whether a folder has a dictionary that is complete."""
    try:
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    wanted = (INDEX, SETS, FOR_DSSP)
    return (
        isinstance(found, dict)
        and found.get("biotite") == DICTIONARY
        and found.get("making") == MAKING
        and all((folder / name).is_file() for name in wanted)
    )


def ready(codes: Iterable[str], folder: Path | None = None) -> Path:
    """A dictionary that has these codes: the whole one if it was made, else one of them, made if missing.

    A component does not depend on which others there are, and so no result does.

    Args:
        codes: of ligands and modified residues; unknown ones are left out: `check` refuses their targets.
        folder: of dictionaries; None: that of the user's data, or a temporary one if it cannot be written.

    Raises:
        SnakefoldError: it cannot be made: biotite is not installed, or in another release.
    """
    if there(whole(folder)):
        return whole(folder)
    wanted = sorted({*ALWAYS, *codes})
    name = hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:16]
    place = (folder or root()) / name
    if there(place):
        return place
    try:
        return _made(place, wanted)
    except OSError:
        if folder is not None:
            raise
        # A worker's home may be read-only: its dictionary lasts as long as the machine's temporary files.
        return _made(Path(tempfile.mkdtemp(prefix="snakefold-af3-")) / name, wanted)


def _made(place: Path, codes: Sequence[str]) -> Path:
    """As `write`, in another process: the family's code must not be imported before it knows its dictionary.

    Raises:
        OSError: the folder cannot be written. SnakefoldError: anything else is wrong.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=place.parent).close()  # says, as an OSError, that it cannot be written
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__, str(place), *codes],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        told = done.stderr.strip().rpartition("\n")[2][:300]
        raise SnakefoldError(f"engine af3: {place}: the chemical components cannot be made ({told}).")
    return place


def write(folder: Path, codes: Iterable[str] | None = None) -> Path:
    """Write a dictionary under another name until it is complete; an incomplete one is replaced.

    Args:
        codes: None: all.

    Returns:
        The folder.

    Raises:
        MissingProgramError: biotite is not installed, or in another release.
        OSError: the folder cannot be written.
    """
    _see_that_it_is_here()
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        number = _fill(making, codes)
        noted = {"biotite": DICTIONARY, "making": MAKING, "components": number}
        (making / MARKER).write_text(json.dumps(noted) + "\n", encoding="utf-8")
        making.chmod(0o755)
        if folder.exists() and not there(folder):
            shutil.rmtree(folder)
        try:
            making.rename(folder)
        except OSError:
            if not there(folder):  # another process may have made it
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder


def _fill(folder: Path, codes: Iterable[str] | None) -> int:
    from alphafold3.constants import chemical_components
    from alphafold3.constants.converters import chemical_component_sets_gen

    dictionary = Dictionary(codes)
    chemical_components.write_ccd_index(dictionary, str(folder / INDEX.removesuffix(".index")))
    sets = chemical_component_sets_gen.find_ions_and_glycans_in_ccd(dictionary.named())
    (folder / SETS).write_bytes(pickle.dumps(sets))
    with (folder / FOR_DSSP).open("w", encoding="utf-8") as stream:
        for code, kind in dictionary.kinds():
            if "peptide" in kind.lower():
                stream.write(cif_text(code, dictionary[code]))
    return len(dictionary)


def _see_that_it_is_here() -> None:
    try:
        found = importlib.metadata.version("biotite")
    except importlib.metadata.PackageNotFoundError:
        found = "none"
    if found != DICTIONARY:
        raise MissingProgramError(
            f"The engine af3 needs biotite {DICTIONARY}, whose dictionary has the chemical components; here "
            f"is {found}. Make the engine's environment again: snakefold engines install af3."
        )


class Dictionary(Mapping[str, Entry]):
    """Biotite's dictionary by component: columns of CIF text, `_<category>.<name>` -> values.

    An entry is made when it is asked for: all of them would be gigabytes.
    """

    def __init__(self, codes: Iterable[str] | None = None) -> None:
        from biotite.structure.info.ccd import get_ccd

        block = get_ccd()
        self._tables = {
            name: _Table(block[name], "id" if name == "chem_comp" else "comp_id", columns)
            for name, columns in _TABLES.items()
        }
        known = self._tables["chem_comp"].places
        self._codes = list(known) if codes is None else [code for code in codes if code in known]

    def __len__(self) -> int:
        return len(self._codes)

    def __iter__(self) -> Iterator[str]:
        return iter(self._codes)

    def __getitem__(self, code: str) -> Entry:
        entry: Entry = {"data_": [code]}
        for name, table in self._tables.items():
            entry |= {f"_{name}.{column}": values for column, values in table.rows(code).items()}
        return entry

    def named(self) -> dict[str, Entry]:
        """Entries with name and type alone."""
        table = self._tables["chem_comp"]
        return {
            code: {f"_chem_comp.{name}": table.rows(code, (name,))[name] for name in ("name", "type")}
            for code in self._codes
        }

    def kinds(self) -> Iterator[tuple[str, str]]:
        """Codes, each with its type (L-peptide linking, non-polymer …)."""
        table = self._tables["chem_comp"]
        for code in self._codes:
            yield code, table.rows(code, ("type",))["type"][0]


class _Table:
    """A category. Its columns are decoded whole, as numbers where they are numbers, and cut by component."""

    def __init__(self, category: Any, owner: str, columns: Sequence[str]) -> None:
        import numpy as np

        self._category, self._names = category, [name for name in columns if name in category]
        self._columns: dict[str, tuple[Any, Any]] = {}
        owners = category[owner].as_array()
        edges = (np.flatnonzero(owners[1:] != owners[:-1]) + 1).tolist()
        #: Rows of a component lie together.
        self.places = {
            str(owners[start]): slice(start, stop)
            for start, stop in zip([0, *edges], [*edges, len(owners)], strict=True)
        }

    def rows(self, code: str, names: Sequence[str] | None = None) -> dict[str, list[str]]:
        """Values as CIF text has them, by column; nothing of a component without rows."""
        place = self.places.get(code)
        if place is None:
            return {}
        return {name: self._values(name, place) for name in names or self._names}

    def _values(self, name: str, place: slice) -> list[str]:
        if name not in self._columns:
            column = self._category[name]
            self._columns[name] = (
                column.data.array,
                None if column.mask is None else column.mask.array,
            )
        data, mask = self._columns[name]
        digits = _DIGITS.get(name)
        values = data[place].tolist()
        texts = [str(value) if digits is None else f"{value:.{digits}f}" for value in values]
        if mask is None:
            return [text or "?" for text in texts]
        return [
            _MASKED.get(hidden, text or "?") for text, hidden in zip(texts, mask[place].tolist(), strict=True)
        ]


def cif_text(code: str, entry: Entry) -> str:
    """A component as a block of CIF text."""
    from gemmi import cif

    document = cif.Document()
    block = document.add_new_block(code)
    for category in _TABLES:
        prefix = f"_{category}."
        names = [name.removeprefix(prefix) for name in entry if name.startswith(prefix)]
        if not names:
            continue
        loop = block.init_loop(prefix, names)
        columns = [[_quoted(value) for value in entry[prefix + name]] for name in names]
        loop.set_all_values(columns)
    return str(document.as_string())


def _quoted(value: str) -> str:
    from gemmi import cif

    return value if value in (".", "?") else cif.quote(value)


def main(arguments: Sequence[str]) -> None:
    """Make a dictionary, unless it is there; say where it is. Without words: the whole one.

    Args:
        arguments: a folder, and the codes that it is to have.
    """
    place = Path(arguments[0]) if arguments else whole()
    if there(place):
        print(f"{place}: complete")
        return
    start = time.process_time()
    write(place, arguments[1:] or None)
    number = json.loads((place / MARKER).read_text(encoding="utf-8"))["components"]
    print(f"{place}: {number} components, {time.process_time() - start:.0f} CPU seconds")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SnakefoldError as error:
        sys.exit(f"snakefold: {error}")

"""How chains, components, atoms and files are named in an assembly."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from snakefold.kernel.names import shown
from snakefold.molecules.lines import BadFile

_CHAIN = re.compile(r"[A-Za-z0-9]{1,5}", re.ASCII)
_CCD = re.compile(r"[A-Z0-9]{1,5}", re.ASCII)
_ATOM = re.compile(r"[A-Za-z0-9'\"*_+-]{1,8}", re.ASCII)
_FILE = re.compile(r"sha256:[0-9a-f]{64}|file:[^\x00-\x1f]{1,1000}")
_ALIGNMENT = re.compile(r"empty|sha256:[0-9a-f]{64}|file:[^\x00-\x1f]{1,1000}")


def _chain_id(text: str) -> str:
    if not _CHAIN.fullmatch(text):
        raise ValueError(f"{shown(text, 20)!r} is no chain id: one to five letters or digits, for example A.")
    return text


def _ccd_code(text: str) -> str:
    code = text.strip().upper()
    if not _CCD.fullmatch(code):
        raise ValueError(
            f"{shown(text, 20)!r} is no code of the Chemical Component Dictionary: one to five letters or "
            "digits, for example ATP."
        )
    return code


def _atom_name(text: str) -> str:
    if not _ATOM.fullmatch(text):
        raise ValueError(f"{shown(text, 20)!r} is no name of an atom, for example CA.")
    return text


def _alignment(text: str) -> str:
    if not _ALIGNMENT.fullmatch(text):
        raise ValueError(f"{shown(text, 40)!r} is no alignment: empty, sha256:<digest> or file:<path>.")
    return text


def _file(text: str) -> str:
    if not _FILE.fullmatch(text):
        raise ValueError(f"{shown(text, 40)!r} is no file: sha256:<digest> or file:<path>.")
    return text


ChainId = Annotated[str, AfterValidator(_chain_id)]
Ccd = Annotated[str, AfterValidator(_ccd_code)]
AtomName = Annotated[str, AfterValidator(_atom_name)]
#: `empty`, `sha256:<digest of the A3M>`, or `file:<path>` until somebody has read the file.
Alignment = Annotated[str, AfterValidator(_alignment)]
#: `sha256:<digest of the file>`, or `file:<path>` until somebody has read it.
File = Annotated[str, AfterValidator(_file)]
#: Format of a structure by the end of its name.
FORMS = {".cif": "cif", ".mmcif": "cif", ".pdb": "pdb", ".ent": "pdb"}


def form_of(name: str) -> str:
    """cif or pdb, by the end of a file's name; a .gz after it does not count.

    Raises:
        BadFile: it has another end.
    """
    plain = name.lower().removesuffix(".gz")
    found = FORMS.get(plain[plain.rfind(".") :])
    if found is None:
        known = " ".join(FORMS)
        raise BadFile(
            "templates",
            f"{shown(name, 60)!r} has no ending of a structure.",
            f"Expected is a PDB or mmCIF file, called *{known} (or these with .gz).",
        )
    return found

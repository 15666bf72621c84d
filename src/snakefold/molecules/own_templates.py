"""Templates that an assembly brings: structure files, checked to have the chains that are named."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from snakefold.kernel.names import shown
from snakefold.molecules.entities import Assembly, Template
from snakefold.molecules.lines import BadFile
from snakefold.molecules.own_msa import Named, place_of

#: Bytes of a structure file: the largest of the PDB have some hundred megabytes.
_MOST = 1 << 29
_REMEMBERED = 1024


def resolve_templates(assembly: Assembly, named: Named) -> tuple[Assembly, tuple[tuple[str, Path], ...]]:
    """An assembly whose templates are named by their content, and the files.

    Raises:
        BadFile: a file cannot be read, or lacks a chain that is named.
    """
    if not assembly.templates:
        return assembly, ()
    templates, files = [], {}
    for number, template in enumerate(assembly.templates):
        name = template.file.removeprefix("file:")
        try:
            path = place_of(name, named)
            stat = path.stat()
            digest, chains = _read(path, template.form, (stat.st_size, stat.st_mtime_ns))
            _check_chains(template, chains)
        except (BadFile, OSError) as problem:
            if isinstance(problem, OSError):
                problem = BadFile("unreadable", f"It cannot be read ({problem.strerror}).", "Check the path.")
            said = f"template {shown(name, 60)!r}: {problem.message}"
            line = named.template_lines[number] if number < len(named.template_lines) else 0
            raise BadFile("templates", said, problem.advice, line) from problem
        files[digest] = path
        templates.append(template.model_copy(update={"file": f"sha256:{digest}"}))
    return assembly.model_copy(update={"templates": tuple(templates)}), tuple(sorted(files.items()))


def template_bytes(path: Path, wanted: str) -> bytes | None:
    """The file of a template; None if it is not what it was. Raises OSError."""
    data = path.read_bytes()
    return data if hashlib.sha256(data).hexdigest() == wanted else None


def _check_chains(template: Template, chains: frozenset[str]) -> None:
    lacking = [name for name in template.template_chains if name not in chains]
    if lacking:
        raise BadFile(
            "templates",
            f"It has no chain {shown(lacking[0], 20)}; it has {shown(', '.join(sorted(chains)), 60)}.",
            "Correct template_id.",
        )


@lru_cache(maxsize=_REMEMBERED)
def _read(path: Path, form: str, state: tuple[int, int]) -> tuple[str, frozenset[str]]:
    """The digest of a file, and its chains by both of their names; `state` tells one that has changed."""
    size, _ = state
    if size > _MOST:
        raise BadFile("too_large", f"It has more than {_MOST >> 20} MB.", "Take a part of it.")
    import gemmi

    data = path.read_bytes()
    try:
        text = data.decode("utf-8", "replace")
        if form == "cif":
            structure = gemmi.make_structure_from_block(gemmi.cif.read_string(text)[0])
        else:
            structure = gemmi.read_pdb_string(text)
    except (ValueError, RuntimeError, IndexError) as error:
        raise BadFile("templates", f"It is no {form} file ({shown(str(error), 80)}).", "Check it.") from error
    if not len(structure) or not len(structure[0]):
        raise BadFile("templates", f"It is no {form} file with a structure.", "Check it.")
    names = {chain.name for chain in structure[0]}
    names |= {residue.subchain for chain in structure[0] for residue in chain if residue.subchain}
    return hashlib.sha256(data).hexdigest(), frozenset(names)

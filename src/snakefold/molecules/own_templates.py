"""Structures that an assembly brings: templates, and the coordinates that its prediction begins with.

Files are checked when the input is read: a template has the chains that are named, an initial guess has every
residue of the assembly's proteins. Their sha256 names them in keys, plans and requests.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakefold.kernel.names import shown
from snakefold.molecules.entities import Assembly, InitialGuess, Kind, Template
from snakefold.molecules.lines import BadFile
from snakefold.molecules.own_msa import Named, place_of

if TYPE_CHECKING:
    from snakefold.molecules.known_chains import KnownChain

#: Bytes of a structure file: the largest of the PDB have some hundred megabytes.
_MOST = 1 << 29
_REMEMBERED = 1024

Files = tuple[tuple[str, Path], ...]


def resolve_templates(assembly: Assembly, named: Named) -> tuple[Assembly, Files]:
    """An assembly whose templates and initial guess are named by their content, and the files.

    Raises:
        BadFile: a file cannot be read, lacks a chain that is named, or is no guess for the assembly.
    """
    assembly, files = _templates(assembly, named)
    assembly, guess = _initial_guess(assembly, named)
    return assembly, tuple(sorted({**dict(files), **dict(guess)}.items()))


def carried(assembly: Mapping[str, Any] | None) -> dict[str, str]:
    """Names in a request of the structures that an assembly brings, as contracts have it, with their digests.

    A template is `templates/<sha256>.<form>`, the initial guess `initial_guess/<sha256>.<form>`.
    """
    if assembly is None:
        return {}
    found = [("templates", each) for each in assembly.get("templates", ())]
    if (guess := assembly.get("initial_guess")) is not None:
        found.append(("initial_guess", guess))
    digests = ((folder, each["file"].removeprefix("sha256:"), each["form"]) for folder, each in found)
    return {f"{folder}/{digest}.{form}": digest for folder, digest, form in digests}


def template_bytes(path: Path, wanted: str) -> bytes | None:
    """A structure, unpacked; None if it is not what it was. Raises OSError, ValueError."""
    data = _bytes_of(path)
    return data if hashlib.sha256(data).hexdigest() == wanted else None


def _templates(assembly: Assembly, named: Named) -> tuple[Assembly, Files]:
    if not assembly.templates:
        return assembly, ()
    templates, files = [], {}
    for number, template in enumerate(assembly.templates):
        line = named.template_lines[number] if number < len(named.template_lines) else 0
        digest, chains, path = _found(template, named, "template", line)
        try:
            _check_chains(template, chains)
        except BadFile as problem:
            raise _about(template, problem, "template", line) from problem
        files[digest] = path
        content = template.model_copy(update={"file": f"sha256:{digest}"})
        if content not in templates:  # given twice, it is read once
            templates.append(content)
    return assembly.model_copy(update={"templates": tuple(templates)}), tuple(files.items())


def _initial_guess(assembly: Assembly, named: Named) -> tuple[Assembly, Files]:
    guess = assembly.initial_guess
    if guess is None:
        return assembly, ()
    from snakefold.molecules.known_chains import BadStructureError, matched, whole

    digest, chains, path = _found(guess, named, "initial guess", 0)
    proteins = [entity.sequence for _, entity in assembly.chains() if entity.kind is Kind.PROTEIN]
    try:
        whole(matched(chains, proteins))
    except BadStructureError as error:
        advice = (
            "Every residue of the target must be in it, with CB (glycine: CA), which is what AlphaFold reads "
            "of it; chains are found by their sequence."
        )
        raise _about(guess, BadFile("templates", str(error), advice), "initial guess", 0) from error
    guess = guess.model_copy(update={"file": f"sha256:{digest}"})
    return assembly.model_copy(update={"initial_guess": guess}), ((digest, path),)


def _found(
    structure: Template | InitialGuess, named: Named, called: str, line: int
) -> tuple[str, tuple[KnownChain, ...], Path]:
    """Digest, protein chains and place of a file."""
    try:
        path = place_of(structure.file.removeprefix("file:"), named, otherwise="")
        stat = path.stat()
        return *_read(path, structure.form, (stat.st_size, stat.st_mtime_ns)), path
    except OSError as error:
        problem = BadFile("unreadable", f"It cannot be read ({error.strerror}).", "Check the path.")
        raise _about(structure, problem, called, line) from error
    except BadFile as problem:
        raise _about(structure, problem, called, line) from problem


def _about(structure: Template | InitialGuess, problem: BadFile, called: str, line: int) -> BadFile:
    name = shown(structure.file.removeprefix("file:"), 60)
    code = "templates" if isinstance(structure, Template) else "initial_guess"
    return BadFile(code, f"{called} {name!r}: {problem.message}", problem.advice, line)


def _check_chains(template: Template, chains: tuple[KnownChain, ...]) -> None:
    names = {name for chain in chains for name in (chain.name, *chain.labels)}
    lacking = [name for name in template.template_chains if name not in names]
    if lacking:
        raise BadFile(
            "templates",
            f"It has no protein chain {shown(lacking[0], 20)}; it has {shown(', '.join(sorted(names)), 60)}.",
            "Correct template_id.",
        )


def _bytes_of(path: Path) -> bytes:
    """Raises OSError, and ValueError for a damaged or too large file."""
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        if not packed:
            data = stream.read(_MOST + 1)
        else:
            try:
                with gzip.open(stream) as inside:
                    data = inside.read(_MOST + 1)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise ValueError(f"The gzip file is damaged ({error}).") from error
    if len(data) > _MOST:
        raise ValueError(f"It has more than {_MOST >> 20} MB.")
    return data


@lru_cache(maxsize=_REMEMBERED)
def _read(path: Path, form: str, state: tuple[int, int]) -> tuple[str, tuple[KnownChain, ...]]:
    """The digest of a file, and its protein chains; `state` tells one that has changed."""
    del state
    from snakefold.molecules.known_chains import read_chains

    try:
        data = _bytes_of(path)
        chains = tuple(read_chains(data, form))
    except ValueError as error:
        raise BadFile("templates", str(error), "Check the file.") from error
    # Coordinates are read again where they are needed: a run may name thousands of files.
    return hashlib.sha256(data).hexdigest(), tuple(replace(chain, atoms=()) for chain in chains)

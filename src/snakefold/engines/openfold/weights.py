"""OpenFold's parameters: where converted files are, what they lack, what identifies them.

A weights folder has them in `openfold/params_<name>.npz`, in AlphaFold2's layout. Random ones carry the mark
of AlphaFold2's.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from snakefold.engines.alphafold2 import rehearsal
from snakefold.engines.alphafold2.parameters import count_blocks, read_rehearsal_mark
from snakefold.engines.alphafold2.weights_whole import ensure_whole_file, problem
from snakefold.engines.openfold.kinds import Kind, kind_of_file, kind_of_name
from snakefold.engines.spec import Log, Parameters
from snakefold.engines.weights_folder import meant_folder
from snakefold.kernel.errors import SnakefoldError, WeightsMissingError
from snakefold.kernel.names import safe_id
from snakefold.kernel.recipes import file_fingerprint
from snakefold.kernel.store import write_atomically

#: Where OpenFold's authors publish the files (CC BY 4.0). They publish no checksums.
ADDRESS = "https://huggingface.co/nz/OpenFold"
GET = (
    f"OpenFold's files (finetuning_ptm_2.pt and others) are at {ADDRESS}. Download one, then run: snakefold "
    "weights convert FILE.pt"
)
_WHAT = "OpenFold's parameters (npz)"
_README = """REHEARSAL

The parameters in this folder are random numbers in the format of OpenFold's converted files
({blocks} Evoformer blocks). They were not trained on anything. Structures made with them mean nothing.
"""


def parameters_file(weights: Path, name: str) -> Path:
    """The converted file of these parameters in a weights folder."""
    return weights / "openfold" / f"params_{name}.npz"


def find(place: str, names: Sequence[str], *, whole: bool) -> Parameters | None:
    """The parameters that the setting `weights` means; None: random ones.

    Args:
        names: as in the settings.
        whole: see that the files have what their kind of network needs; who loads them at once sees it.

    Raises:
        WeightsMissingError: the folder that is meant lacks some, or one is damaged.
    """

    def some(folder: Path) -> bool:
        return any(parameters_file(folder, name).is_file() for name in names)

    meant = meant_folder(place, some)
    if meant is None:
        return None
    folder, source = meant
    missing = [path.name for name in names if not (path := parameters_file(folder, name)).is_file()]
    if missing:
        raise WeightsMissingError(
            f"{parameters_file(folder, '').parent} (from {source}) lacks {', '.join(missing)}. {GET}"
        )
    if whole:
        for name in names:
            path = parameters_file(folder, name)
            ensure_whole_file(path, kind(path).layout, GET)
    found = identity(folder, names)
    if found.get("rehearsal") is True:
        return Parameters(folder, rehearsal=True, blocks=found["blocks"])
    return Parameters(folder)


def draw(folder: Path, names: Iterable[str], blocks: int) -> Parameters:
    """Random parameters of these names in a weights folder; kinds as OpenFold names its files.

    Raises:
        WeightsMissingError: the folder has others, which are never replaced.
    """
    for name in names:
        path = parameters_file(folder, name)
        rehearsal.draw_file(path, name, kind_of_name(name).layout, blocks)
        write_atomically(path.with_name("REHEARSAL.txt"), _README.format(blocks=blocks).encode())
    return Parameters(folder, rehearsal=True, blocks=blocks)


def identity(folder: Path, names: Iterable[str]) -> dict[str, Any]:
    """What identifies the parameters in a recipe: size and both ends of each file.

    Random ones are named by what they are drawn from, so that every machine that draws them agrees.

    Raises:
        WeightsMissingError: a file is missing or damaged, or random and other files are mixed.
    """
    files = {name: parameters_file(folder, name) for name in names}
    for path in files.values():
        if not path.is_file():
            raise WeightsMissingError(f"{path}: missing. {GET}")
    marks = [read_rehearsal_mark(path, _WHAT, GET) for path in files.values()]
    random = [mark for mark in marks if mark is not None]
    if not random:
        return {name: file_fingerprint(path) for name, path in files.items()}
    if any(mark != random[0] for mark in marks):
        raise WeightsMissingError(
            f"{next(iter(files.values())).parent}: mixes random and other parameters. Keep them in separate "
            "folders."
        )
    return {"rehearsal": True, **random[0]}


def kind(path: Path) -> Kind:
    """What the network of a converted file reads and gives.

    Raises:
        WeightsMissingError: it is none.
    """
    try:
        return kind_of_file(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise WeightsMissingError(
            f"{path}: expected {_WHAT}, found a damaged file ({error}). {GET}"
        ) from error


def fetch(folder: Path, mirror: str | None, log: Log) -> None:
    """There is nothing that could be compared with what is downloaded: the user does it.

    Raises:
        SnakefoldError: always; the text says where the files are, and what to do with them.
    """
    del folder, mirror, log
    raise SnakefoldError(f"OpenFold's parameters have no published checksums, so they are not fetched. {GET}")


def check(folder: Path, log: Log) -> bool:
    """Read every converted file through; a line for each."""
    paths = sorted(parameters_file(folder, "").parent.glob("params_*.npz"))
    if not paths:
        log(f"{parameters_file(folder, '').parent}: no parameters. {GET}")
    usable = bool(paths)
    for path in paths:
        try:
            found = kind(path)
            fault = problem(path, found.layout)
            mark = None if fault else read_rehearsal_mark(path, _WHAT, GET)
        except WeightsMissingError as error:
            log(f"damaged   {error}")
            usable = False
            continue
        if fault:
            log(f"damaged   {path.name} {path}: {fault}. {GET}")
            usable = False
        elif mark is not None:
            log(f"rehearsal {path.name} random parameters, {count_blocks(path)} Evoformer blocks")
        else:
            log(f"whole     {path.name} {_gives(found)}")
    return usable


def convert(source: Path, folder: Path, out: Path | None, log: Log) -> Path:
    """Write a checkpoint of OpenFold's as AlphaFold2's npz: `out`, or its place in a weights folder.

    Raises:
        WeightsMissingError: it is none, or a file with other parameters is there.
    """
    from snakefold.engines.openfold import convert as checkpoints

    name = source.name.removesuffix(".pt").removesuffix(".ckpt")
    path = out or parameters_file(folder, safe_id(name, "parameters"))
    found = checkpoints.read(source)
    checkpoints.write(found, path, log)
    log(_gives(found.kind))
    if found.mark is not None:
        log("REHEARSAL: these are random parameters")
    return path


def _gives(kind: Kind) -> str:
    reads = "reads templates" if kind.templates else "reads no templates"
    return f"{reads}, {'gives PAE and pTM' if kind.pae else 'has no pTM head: gives no PAE and no pTM'}"

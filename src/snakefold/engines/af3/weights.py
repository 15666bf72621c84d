"""The models' parameters: which folder is meant, what it lacks, what identifies it, and how to get them.

A converted file is published under a moving name, without a checksum: that of the first download is recorded
beside it, said, and holds from then on. AlphaFold 3's own parameters are nobody's to hand on: the user asks
DeepMind for them and copies the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakefold.engines.af3 import rehearsal
from snakefold.engines.af3.models import NETWORKS, OWN_TERMS, REQUEST, REVISION, Network
from snakefold.engines.af3.rehearsal import folder_of
from snakefold.engines.af3.settings import Af3Settings
from snakefold.engines.spec import Log, Parameters, Weights
from snakefold.engines.weights_folder import meant_folder
from snakefold.kernel.download import Expected, download, lines
from snakefold.kernel.errors import SnakefoldError, WeightsMissingError
from snakefold.kernel.recipes import digest, file_fingerprint
from snakefold.kernel.store import write_atomically

#: What was downloaded, and under which licence.
SOURCE = "SOURCE.json"


def command(network: Network) -> str:
    """What fetches a model's parameters."""
    return f"snakefold weights fetch {part_name(network)}"


def part_name(network: Network) -> str:
    """The name by which parameters are fetched: that of the model, unless an engine is called so."""
    return "af3-boltz2" if network.name == "boltz2" else network.name


def path_of(weights: Path, network: Network) -> Path:
    """Where a model's file is in a weights folder."""
    return folder_of(weights, network) / network.file


def find(
    place: str,
    settings: Af3Settings,
    *,
    draw: bool,
    blocks: int | None = None,
    whole: bool = True,
    cache: Path | None = None,
) -> Parameters | None:
    """The parameters that the setting `weights` means.

    Args:
        place: a folder; `auto` for $SNAKEFOLD_WEIGHTS, then the user's data folder, then random ones;
            `rehearsal` for random ones whatever is there.
        draw: declare random ones where they are meant; otherwise None is returned for them.
        blocks: of a rehearsal, as it was asked for: a random network has one of each stack.
        whole: see that the file is what was downloaded; who loads it at once sees it.
        cache: random ones are kept in a folder of this one.

    Raises:
        WeightsMissingError: the folder that is meant lacks the model, or its file is damaged.
    """
    network = NETWORKS[settings.model]
    meant = meant_folder(place, lambda folder: path_of(folder, network).is_file())
    if meant is not None:
        folder, _ = meant
        random = rehearsal.declared(folder, network) is not None
        if not random:
            _see_that_it_is_there(folder, network)
        if whole:
            identity(folder, network)
        return Parameters(folder, rehearsal=random, blocks=blocks if random else None)
    if not draw:
        return None
    made = (cache or Path(".snakefold")) / f"rehearsal-af3-{digest(rehearsal.mark(network.name))[:8]}"
    rehearsal.declare(made, network)
    return Parameters(made, rehearsal=True, blocks=blocks)


def ready(weights: Path | None, settings: Af3Settings, components: Path) -> tuple[Path, bool]:
    """The folder of a model's file, which is there, and whether its numbers are random. They are drawn here.

    Runs in the engine's environment.

    Raises:
        WeightsMissingError: the file is missing; or as `rehearsal.draw`.
    """
    network = NETWORKS[settings.model]
    if weights is None:
        raise WeightsMissingError(f"{network.title} needs parameters. {_advice(network)}")
    random = rehearsal.declared(weights, network) is not None
    if random:
        rehearsal.draw(weights, settings, components)
    else:
        _see_that_it_is_there(weights, network)
    return folder_of(weights, network), random


def identity(weights: Path | None, network: Network) -> dict[str, Any]:
    """What identifies a model's parameters in a recipe.

    Random ones are named by what they are drawn from, whether they are drawn yet or not.

    Raises:
        WeightsMissingError: the file is missing.
    """
    if weights is None:
        raise WeightsMissingError(f"{network.title} needs parameters. {_advice(network)}")
    random = rehearsal.declared(weights, network)
    if random is not None:
        return {"rehearsal": True, **random}
    _see_that_it_is_there(weights, network)
    path = path_of(weights, network)
    return {path.name: file_fingerprint(path), "licence": network.licence}


def recorded(path: Path) -> str | None:
    """The checksum of the first download, as `sha256sum --check` reads it; None: none was recorded."""
    try:
        return path.with_name(f"{path.name}.sha256").read_text("ascii").split()[0]
    except (OSError, ValueError, IndexError):
        return None


def _see_that_it_is_there(weights: Path, network: Network) -> None:
    path = path_of(weights, network)
    if not path.is_file():
        raise WeightsMissingError(
            f"{path}: the parameters of {network.title} are not there. {_advice(network)}"
        )
    others = [
        each.name
        for each in path.parent.glob("*.bin*")
        if each.name not in (path.name, f"{path.name}.sha256")
    ]
    if others:
        raise WeightsMissingError(
            f"{path.parent}: has {', '.join(others)} beside {path.name}. A model's folder has one file of "
            "parameters: move the others away."
        )


def _advice(network: Network) -> str:
    if network.own:
        return (
            f"Ask DeepMind for them ({REQUEST}; terms: {OWN_TERMS}), and copy {network.file} to "
            f"af3/{network.name}/ of your weights folder."
        )
    return f"Fetch them with: {command(network)}"


# ---- how they get there ----------------------------------------------------------------------------------
def entry(network: Network) -> Weights:
    """How one model's parameters are fetched and checked."""

    def fetch(folder: Path, mirror: str | None, log: Log) -> None:
        _fetch(network, folder, mirror, log)

    def check(folder: Path, log: Log) -> bool:
        return _check(network, folder, log)

    return Weights(fetch=fetch, check=check)


def parts() -> Mapping[str, Weights]:
    """An entry for each model, by the name that fetches it."""
    return {part_name(network): entry(network) for network in NETWORKS.values()}


def fetch_any(folder: Path, mirror: str | None, log: Log) -> None:
    """Raises SnakefoldError: a dozen models of a gigabyte each are not fetched at once."""
    del folder, mirror, log
    names = ", ".join(part_name(network) for network in NETWORKS.values())
    raise SnakefoldError(
        f"engine af3 has several models: name one, as snakefold weights fetch openfold3 ({names})."
    )


def check_all(folder: Path, log: Log) -> bool:
    """Check the models that are there; false if there is none, or one is damaged."""
    there = [network for network in NETWORKS.values() if folder_of(folder, network).is_dir()]
    if not there:
        log(f"{folder / 'af3'}: no model is there. Fetch one: {command(NETWORKS['openfold3'])}")
    sound = [_check(network, folder, log) for network in there]
    return bool(sound) and all(sound)


def _fetch(network: Network, folder: Path, mirror: str | None, log: Log) -> None:
    """Download a model's file, unless it is there and whole. Safe to interrupt and to run again.

    Args:
        mirror: address of a folder with a copy of the file; None takes the publisher's.

    Raises:
        DownloadError: see `snakefold.kernel.download.download`.
        WeightsMissingError: the folder has random parameters.
        SnakefoldError: the parameters may not be published.
    """
    from snakefold.engines.af3.dictionary import make

    if network.own and mirror is None:
        raise SnakefoldError(
            f"{network.title}: its parameters come from DeepMind to whoever asks, and from nobody else. "
            f"Terms: {OWN_TERMS}. {_advice(network)}"
        )
    if rehearsal.declared(folder, network) is not None:
        raise WeightsMissingError(
            f"{folder_of(folder, network)}: random parameters (REHEARSAL), which official ones never join or "
            "replace. Name another folder."
        )
    path = path_of(folder, network)
    for line in licence_lines(network):
        log(line)
    if path.is_file() and recorded(path) in (None, _sha256(path)):
        log(f"{path}: complete, not fetched again")
        make(log)
        return
    if path.is_file():
        log(f"{path}: damaged. It is fetched again, and replaced when the new one is whole.")
    url = f"{(mirror or network.address).rstrip('/')}/{network.file}"
    part = path.with_name(f".new-{path.name}")
    expected = recorded(path)
    download(url, part, Expected(sha256=expected), lines(url, log), log=log)
    found = _sha256(part)
    source = {
        "model": network.name,
        "address": url,
        "revision": REVISION if mirror is None else None,
        "sha256": found,
        "bytes": part.stat().st_size,
        "licence": network.licence,
        "source": network.source,
    }
    if expected is None:
        write_atomically(path.with_name(f"{path.name}.sha256"), f"{found}  {path.name}\n".encode())
        log(f"{url}: the publisher states no checksum. SHA-256 {found} is recorded in {path.name}.sha256")
    write_atomically(path.with_name(SOURCE), (json.dumps(source, indent=1) + "\n").encode())
    part.replace(path)
    log(f"{path}: {path.stat().st_size / 1e9:.2f} GB, complete")
    make(log)


def licence_lines(network: Network) -> list[str]:
    """What is said before a download: whose parameters, and under which licence."""
    told = [f"{network.title}: parameters under {network.licence}, by {network.source}"]
    if network.terms:
        told.append(f"{network.title}: what it predicts is under terms of its own: {network.terms}")
    return told


def _check(network: Network, folder: Path, log: Log) -> bool:
    """Read a model's file through, log a line, and say whether a prediction can use it."""
    try:
        random = rehearsal.declared(folder, network)
        if random is not None:
            log(f"{folder_of(folder, network)}: random parameters (REHEARSAL), one block of each stack")
            return True
        _see_that_it_is_there(folder, network)
    except WeightsMissingError as error:
        log(str(error))
        return False
    path = path_of(folder, network)
    expected, found = recorded(path), _sha256(path)
    if expected not in (None, found):
        log(
            f"{path}: it is another file than was downloaded (SHA-256 {found}, recorded {expected}). "
            f"Remove it, then: {command(network)}"
        )
        return False
    known = "as downloaded" if recorded(path) else "no checksum is recorded"
    log(f"{path}: complete ({network.title}, {network.licence}; {known})")
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""`snakefold profiles`: put this workflow's profiles where `snakemake --profile` finds them."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from snakefold.cli._command import Commands, command
from snakefold.kernel.errors import SnakefoldError
from snakefold.kernel.paths import house


def add(commands: Commands) -> None:
    """Add the command and its actions."""
    top = commands.add_parser(
        "profiles",
        help="install the profiles for `snakemake --profile`",
        description="Install the profiles for `snakemake --profile`.",
        epilog="Example: snakefold profiles install runpod",
    )
    actions = top.add_subparsers(title="actions", metavar="ACTION", required=True)
    install = command(
        actions,
        "install",
        _install,
        summary="link profiles of the checkout into Snakemake's configuration folder",
        example="snakefold profiles install runpod && snakemake --profile runpod",
    )
    install.add_argument(
        "names", nargs="*", metavar="NAME", help="profiles; if none is given, all but default"
    )
    install.add_argument(
        "--copy",
        action="store_true",
        help="copy the profiles so that you can change them; a copy does not see a later `snakefold deploy`",
    )
    install.add_argument(
        "--folder", type=Path, default=None, help="folder to install into; if not given, Snakemake's"
    )


def _install(options: argparse.Namespace) -> int:
    from platformdirs import user_config_path

    offered = sorted(path.name for path in (house() / "profiles").iterdir() if path.is_dir())
    # That of the service has no settings of Snakemake: it is copied if it is named.
    own = [name for name in offered if (house() / "profiles" / name / "config.v9+.yaml").is_file()]
    names = options.names or [name for name in own if name != "default"]
    if unknown := [name for name in names if name not in offered]:
        raise SnakefoldError(f"no profile {', '.join(unknown)}; there are: {', '.join(offered)}.")
    folder = options.folder or user_config_path("snakemake")
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        _put(house() / "profiles" / name, folder / name, copy=options.copy)
    return 0


def _put(source: Path, place: Path, *, copy: bool) -> None:
    """Nothing that somebody else put there is overwritten; a link of an earlier checkout is replaced."""
    if place.is_symlink():
        if not copy and place.resolve() == source.resolve():
            print(f"{place}: is there")
            return
        place.unlink()
    elif place.exists():
        raise SnakefoldError(f"{place}: exists, and is no link of ours. Move it away, or give --folder.")
    if copy:
        shutil.copytree(source, place)
    else:
        place.symlink_to(source.resolve(), target_is_directory=True)
    print(f"{place}: {'copied' if copy else 'linked'}; snakemake --profile {place.name}")

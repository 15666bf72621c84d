"""Every path that the file system allows and Snakemake can hold works; the others are refused by name."""

from __future__ import annotations

import argparse
import getpass
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from snakemake.common.configfile import load_configfile
from snakemake.utils import format as snakemakes_format

from snakefold import cli
from snakefold.cli._settings import settings_given
from snakefold.cli.run import write_settings
from snakefold.config import Config, inputs_of, load_config, read_config
from snakefold.kernel.errors import ConfigError, SnakefoldError
from snakefold.kernel.paths import have_home, house
from snakefold.molecules.targets import read_targets
from snakefold.msa.databases.presets import load_preset
from snakefold.plan.configure import configure, hand_on
from snakefold.plan.contents import contents_of, name_of

FASTA = ">a\nMKTAYIAKQRQISFVKSHFS\n"
AWKWARD = [
    "é.fasta",
    "in's.fasta",
    'a "b" $c;d',
    "-x",
    "null",
    "~",
    "a: b",
    "#",
    "[x]",
    "\udce9",
    "a{b}",
    "a\nb",
    "'",
]

#: Names as the kernel takes them: bytes, UTF-8 or not.
names = st.sampled_from(AWKWARD) | st.one_of(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.binary(min_size=1, max_size=20).map(os.fsdecode),
).filter(lambda name: name not in (".", "..") and not {"/", "\0"} & set(name))


def options(*words: str) -> argparse.Namespace:
    return cli.parse(["run", *words])


@given(name=names)
def test_any_input_is_read_or_refused_by_name(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The way of a path: command line, file of settings, Snakemake, the step it hands them to, the plan."""
    folder = tmp_path_factory.mktemp("in")
    path = folder / name
    path.write_text(FASTA)
    given_values = settings_given(argparse.Namespace(**{**vars(options()), "input": [str(path)]}))
    try:
        load_config(given_values)
    except ConfigError as error:
        assert "input: " in str(error)
        assert not name.isprintable() or set("{}") & set(name)
        return
    assert name.isprintable()
    assert not set("{}") & set(name)
    write_settings(folder / "settings" / "given.yaml", given_values)
    config = load_config(load_configfile(folder / "settings" / "given.yaml"))
    hand_on([(config.model_copy(update={"results": str(folder)}), contents_of(config))])
    configure(folder / "settings" / "a.yaml", folder / "config.yaml")
    found = inputs_of(read_config(folder / "config.yaml"))
    assert found == [path]
    targets, refused = read_targets(found, min_length=1, max_length=100)
    assert not refused
    assert [target.length for target in targets] == [20]


@given(name=names)
def test_any_results_folder_reaches_a_command_as_it_is(name: str) -> None:
    """As rules name it, quoted by Snakemake."""
    try:
        results = load_config({"results": name}).results
    except ConfigError as error:
        assert "  results: " in str(error)
        assume(name.isprintable() and not set("{}") & set(name))
        assert not name.strip("/. ") or name in ("null", "Null", "NULL", "None")
        return
    command = snakemakes_format("printf '%s\\0' {path:q}", path=f"{results}/config.yaml")
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert done.stdout == os.fsencode(f"{results}/config.yaml\0")
    assert not results.startswith("-")


def test_no_home_is_not_a_folder_called_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id of a container without an entry in passwd."""

    def unknown(_: int) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ConfigError, match="this user has no home folder"):
        load_config({"weights": "~/w"})
    have_home()
    home = tmp_path / f"snakefold-{os.getuid()}"
    assert Path.home() == home
    assert getpass.getuser() == str(os.getuid())
    assert home.stat().st_mode & 0o777 == 0o700
    monkeypatch.delenv("HOME")
    home.rmdir()
    home.symlink_to(tmp_path)
    with pytest.raises(SnakefoldError, match="is not yours"):
        have_home()


def test_files_that_come_with_snakefold_are_not_shadowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a `resources` folder of the user's own, which is there for something else."""
    for name in ("databases.yaml", "gpus.yaml", "demo/proteins.fasta", "demo/database/swissprot.fasta"):
        (tmp_path / "resources" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "resources" / name).write_text("mine\n")
    monkeypatch.chdir(tmp_path)
    assert load_preset("demo").root == house() / "resources" / "demo" / "database"
    assert inputs_of(Config()) == [house() / "resources" / "demo" / "proteins.fasta"]
    given_values = settings_given(options("resources/demo/proteins.fasta"))
    assert inputs_of(load_config(given_values)) == [tmp_path / "resources" / "demo" / "proteins.fasta"]
    assert name_of(contents_of(load_config(given_values))) != name_of(contents_of(Config()))


def test_a_name_that_no_file_can_have_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a" * 300
    assert cli.main(["run", name]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="weights: a name in the path is longer than 255"):
        load_config({"weights": f"a/{name}"})


def test_settings_behind_the_dashes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--", "--configfile", "x.yaml"]) == 2
    assert "--configfile: give it before the `--`" in capsys.readouterr().err

"""A small HH-suite database of families, built with the same programs as the real ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from families import mmseqs, write_fasta

#: Debian's `cstranslate` is a broken link; the variants are whole.
_CSTRANSLATE = (
    "cstranslate",
    "cstranslate-avx2",
    "cstranslate-sse4.1",
    "cstranslate-sse3",
    "cstranslate-plain",
)
_FOLDERS = ("/usr/libexec/hhsuite", "/usr/bin", "/usr/lib/hhsuite/bin")


def data_folder() -> Path:
    """Context data of HH-suite."""
    return Path(os.environ.get("HHLIB", "/usr/share/hhsuite")) / "data"


def cstranslate() -> str:
    for name in _CSTRANSLATE:
        for path in (shutil.which(name), *(f"{folder}/{name}" for folder in _FOLDERS)):
            if not path or not Path(path).exists():
                continue
            done = subprocess.run([path], capture_output=True, text=True, check=False)
            if "abstract state" in done.stdout + done.stderr:
                return path
    raise FileNotFoundError("cstranslate of HH-suite")


def database(folder: Path, name: str, records: dict[str, str]) -> Path:
    """Cluster `records`, and write `name`_{a3m,hhm,cs219}.ff{data,index}. Returns the prefix."""
    write_fasta(records, folder / "all.fasta")
    mmseqs(folder, "createdb", "all.fasta", "all")
    mmseqs(folder, "cluster", "all", "clusters", "tmp", "--min-seq-id", "0.3", "--threads", "2")
    mmseqs(folder, "align", "all", "all", "clusters", "alignments", "-a", "-e", "inf", "--threads", "2")
    mmseqs(folder, "result2msa", "all", "all", "alignments", "msas", "--msa-format-mode", "5")
    (folder / "a3m").mkdir()
    mmseqs(folder, "unpackdb", "msas", "a3m", "--unpack-name-mode", "0", "--unpack-suffix", ".a3m")

    def run(*arguments: str | Path) -> None:
        environment = {**os.environ, "HHLIB": str(data_folder().parent)}
        subprocess.run(
            [str(part) for part in arguments], cwd=folder, check=True, capture_output=True, env=environment
        )

    run("ffindex_build", "-s", f"{name}_a3m.ffdata", f"{name}_a3m.ffindex", "a3m")
    source = (f"{name}_a3m.ffdata", f"{name}_a3m.ffindex")
    target = ("-d", f"{name}_hhm.ffdata", "-i", f"{name}_hhm.ffindex")
    run("ffindex_apply", *source, *target, "--", "hhmake", "-i", "stdin", "-o", "stdout", "-v", "0")
    context = ("-A", data_folder() / "cs219.lib", "-D", data_folder() / "context_data.lib")
    weights = ("-x", "0.3", "-c", "4", "-f", "-I", "a3m", "-b")
    run(cstranslate(), "-i", f"{name}_a3m", "-o", f"{name}_cs219", *context, *weights)
    return folder / name

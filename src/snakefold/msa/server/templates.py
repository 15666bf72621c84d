"""Templates from an MSA server: its hits in PDB70, their alignments and structures, then hhsearch.

As ColabFold does (`run_mmseqs2` and `mk_template` of colabfold 1.6.3): the server gives the entries that it
found and their structures, hhsearch aligns the chain to these with the whole alignment.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from snakefold.kernel.errors import Reason, TargetError
from snakefold.msa import templates
from snakefold.msa.bundle import Log
from snakefold.msa.planned import PlannedChain
from snakefold.msa.server import answers
from snakefold.msa.server.client import Client, QueryError
from snakefold.msa.server.facts import TEMPLATE_HITS
from snakefold.msa.settings import MsaSettings
from snakefold.msa.template_files import Templates

_FILE = re.compile(r"pdb70_(a3m|hhm)\.ff(data|index)|[0-9a-z]{4,12}\.cif")
_ALIGNMENTS = ("pdb70_a3m.ffdata", "pdb70_a3m.ffindex")
#: Bytes that the structures of one chain's templates may have together.
_MOST = 2 << 30


def search(
    chains: Iterable[tuple[PlannedChain, Mapping[str, bytes]]],
    settings: MsaSettings,
    client: Client,
    *,
    work: Path,
    log: Log,
) -> Iterator[tuple[str, Templates | TargetError]]:
    """Key and templates of one chain after the other.

    Args:
        chains: each with the files of its entry in the store.

    Yields:
        In place of templates a TargetError for a chain whose templates cannot be had; the others go on.

    Raises:
        MissingProgramError: hhsearch or kalign is missing. ServerError: nobody can be asked any more.
    """
    work.mkdir(parents=True, exist_ok=True)
    for chain, files in chains:
        names = files.get(TEMPLATE_HITS, b"").decode().split()
        if not names:
            log(f"{chain.key[:12]}: {client.settings.url} found no template")
            yield chain.key, Templates(npz=None)
            continue
        folder = Path(tempfile.mkdtemp(prefix="pdb70.", dir=work)).resolve()
        try:
            missing = _fetch(names, client, folder)
            find = templates.searcher(templates.sources_in(folder), settings, work=work, log=log)
            found = find(chain, templates.query(files))
            if missing and isinstance(found, Templates):
                found = replace(found, warnings=[*missing, *found.warnings])
            yield chain.key, found
        except (QueryError, answers.BrokenAnswerError) as error:
            yield (
                chain.key,
                TargetError(
                    Reason.MSA_FAILED,
                    f"{client.settings.url}: templates {', '.join(names[:3])}, …: {error}.",
                    "Run again later, or set `msa.templates: none`.",
                ),
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _fetch(names: list[str], client: Client, folder: Path) -> list[str]:
    """Write a database of these entries into a folder; what is said of entries without a structure."""
    data = client.templates(names)
    files = answers.read_archive(data, lambda name: _FILE.fullmatch(name) is not None, _MOST)
    answers.require(files, _ALIGNMENTS)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    there = {name.removesuffix(".cif") for name in files if name.endswith(".cif")}
    return [
        f"template {name}: the server sent no structure"
        for name in names
        if name.partition("_")[0].lower() not in there
    ]

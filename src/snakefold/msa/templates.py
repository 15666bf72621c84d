"""Templates: hhsearch on a PDB70-like database or hmmsearch on pdb_seqres, then AlphaFold's featurisers.

The searches are those of `alphafold.data.pipeline`: the query's first alignment (UniRef90), duplicate rows
and empty columns dropped, with the flags of `alphafold/data/tools/{hhsearch,hmmsearch,hmmbuild}.py`. A stored
MSA begins with just these rows, so that templates are searched, stored and named apart from MSAs.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from snakefold.kernel import recipes
from snakefold.kernel.contracts import MsaMeta
from snakefold.kernel.errors import ConfigError, DatabaseMissingError, Reason, TargetError
from snakefold.kernel.names import shown
from snakefold.kernel.wording import count
from snakefold.msa import a3m, programs
from snakefold.msa.bundle import Log
from snakefold.msa.databases import presets as databases
from snakefold.msa.databases.inside import explained
from snakefold.msa.databases.presets import Database, Preset
from snakefold.msa.names import text_of
from snakefold.msa.planned import PlannedChain
from snakefold.msa.settings import MsaSettings
from snakefold.msa.template_files import Templates

#: AlphaFold's MAX_TEMPLATE_HITS.
MAX_HITS = 20
_HMMSEARCH_FLAGS = ["--F1", "0.1", "--F2", "0.1", "--F3", "0.1", "--incE", "100", "-E", "100"]
_HMMSEARCH_FLAGS += ["--domE", "100", "--incdomE", "100"]
#: Of a message about one hit, characters.
_LONGEST = 300
_TEXTS = ("template_domain_names", "template_sequence")

Features = dict[str, NDArray[Any]]


def recipe(settings: MsaSettings, preset: Preset, msa: Mapping[str, Any]) -> dict[str, Any]:
    """What a chain's templates depend on besides its sequence.

    Args:
        msa: recipe of the MSA without rows for pairing: those are no part of what is searched with.
    """
    names = {"none": (), "hhsearch": ("hhsearch", "kalign"), "hmmsearch": ("hmmbuild", "hmmsearch", "kalign")}
    return {
        "tool": settings.templates,
        "versions": {name: programs.version(name) for name in names[settings.templates]},
        "max_template_date": settings.max_template_date,
        "max_hits": settings.max_template_hits,
        "databases": databases.fingerprint(preset, databases.only(settings, "templates")),
        "msa": recipes.digest(msa),
    }


def query(msa: Mapping[str, bytes]) -> a3m.Msa:
    """What templates are searched with, from the files of a chain's MSA: the rows of the first database."""
    meta = MsaMeta.model_validate_json(msa["meta.json"])
    return a3m.parse_a3m(msa["msa.a3m"].decode()).truncated(meta.first_depth)


def search(
    chains: Iterable[tuple[PlannedChain, a3m.Msa]],
    preset: Preset,
    settings: MsaSettings,
    *,
    work: Path,
    log: Log,
) -> Iterator[tuple[str, Templates | TargetError]]:
    """Key and templates of one chain after the other.

    Args:
        chains: each with the alignment to search with (`query`).
        settings: `templates` chooses hhsearch or hmmsearch; `max_template_date` is the last release date.

    Yields:
        In place of templates a TargetError for a chain that failed; the others go on.

    Raises:
        ConfigError: `templates` is none, or the preset has no database for it.
        DatabaseMissingError, MissingProgramError: nothing was searched.
    """
    databases.check(preset, databases.only(settings, "templates"), pairing=False)
    work.mkdir(parents=True, exist_ok=True)
    sources = _sources(preset, settings, work)
    found_in = searcher(sources, settings, work=work, log=log)
    for chain, msa in chains:
        yield chain.key, found_in(chain, msa)


def searcher(
    sources: Sources, settings: MsaSettings, *, work: Path, log: Log
) -> Callable[[PlannedChain, a3m.Msa], Templates | TargetError]:
    """What finds templates of one chain after the other in the same databases."""
    featuriser = _featuriser(sources, settings)

    def found_in(chain: PlannedChain, msa: a3m.Msa) -> Templates | TargetError:
        scratch = Path(tempfile.mkdtemp(prefix="templates.", dir=work)).resolve()
        searching = _Searching(chain, scratch, settings, sources, log, [])
        try:
            return searching.templates(msa, featuriser)
        except programs.ProgramError as error:
            told = explained(error, [sources.searched])
            return TargetError(Reason.MSA_FAILED, str(told), "Or set `msa.templates: none`.")
        except (LookupError, ValueError, OSError) as error:
            # AlphaFold's parsers raise these for reports that are not as they expect.
            return TargetError(
                Reason.MSA_FAILED,
                f"templates of {settings.templates} could not be read: {_told(error)}.",
                f"Look at {sources.searched.path} and at the newest files in {sources.structures}, or set "
                "`msa.templates: none`.",
            )
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    return found_in


def dump(features: Mapping[str, Any]) -> bytes:
    """AlphaFold's template_* features as a compressed npz without pickles: texts as fixed-width bytes."""
    arrays = {
        name: np.asarray(value, dtype=np.bytes_ if name in _TEXTS else np.float32)
        for name, value in features.items()
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def load(data: bytes) -> Features:
    """Features of T templates over L residues, of AlphaFold's names and types.

    `template_aatype` float32 [T, L, 22] (one-hot, HHblits order), `template_all_atom_masks` [T, L, 37],
    `template_all_atom_positions` [T, L, 37, 3] in Å, `template_sum_probs` [T, 1], and `template_domain_names`
    and `template_sequence`, objects (bytes) [T].
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        return {
            name: stored[name].astype(object) if name in _TEXTS else stored[name] for name in stored.files
        }


@dataclass(frozen=True)
class Sources:
    """Databases of a template search: what is searched, the mmCIF folder, the list of obsolete entries."""

    searched: Database
    structures: Path
    obsolete: Path | None


def sources_in(folder: Path) -> Sources:
    """A folder with a small database called pdb70, and the mmCIF files of its entries.

    hhsearch reads the alignments; it only wants to see names in what its prefilter would search.
    """
    (folder / "pdb70_cs219.ffindex").write_bytes((folder / "pdb70_a3m.ffindex").read_bytes())
    (folder / "pdb70_cs219.ffdata").write_bytes(b"")
    searched = Database(
        name="pdb70",
        tools=frozenset({"hhsearch"}),
        format="hhsuite",
        path=folder / "pdb70",
        files=(folder / "pdb70_a3m.ffdata",),
        limit=None,
        pairing=False,
        optional=False,
        gigabytes=0.0,
        get="",
    )
    return Sources(searched, folder, None)


def _readable(obsolete: Path, work: Path) -> Path:
    """The list of obsolete entries, or a copy of it: AlphaFold reads UTF-8 alone."""
    data = obsolete.read_bytes()
    if data.isascii():
        return obsolete
    copy = work / obsolete.name
    copy.write_text(text_of(data), encoding="utf-8")
    return copy


def _sources(preset: Preset, settings: MsaSettings, work: Path) -> Sources:
    if settings.templates == "none":
        raise ConfigError("msa.templates is none: no template search was asked for.")
    read = preset.select(settings.templates)
    wanted = "hhsuite" if settings.templates == "hhsearch" else "fasta"
    searched = next((each for each in read if each.format == wanted), None)
    folder = next((each for each in read if each.format == "mmcif"), None)
    if searched is None or folder is None:
        raise ConfigError(
            f"db_preset {preset.name!r} lacks what {settings.templates} needs: a database in {wanted} format "
            "and a folder of mmCIF files. Choose another db_preset, or set `msa.templates: none`."
        )
    if not any(folder.path.glob("*.cif")):
        raise DatabaseMissingError(f"{folder.path}: no *.cif files there. {folder.get}")
    obsolete = next((each.path for each in read if each.format == "text"), None)
    if obsolete is not None:
        obsolete = _readable(obsolete, work)
    return Sources(searched, folder.path, obsolete)


def _featuriser(sources: Sources, settings: MsaSettings) -> Any:
    from alphafold.data import templates

    kinds = {"hhsearch": templates.HhsearchHitFeaturizer, "hmmsearch": templates.HmmsearchHitFeaturizer}
    return kinds[settings.templates](
        mmcif_dir=str(sources.structures),
        max_template_date=settings.max_template_date,
        max_hits=settings.max_template_hits,
        kalign_binary_path=str(programs.find("kalign")),
        release_dates_path=None,
        obsolete_pdbs_path=str(sources.obsolete) if sources.obsolete else None,
    )


@dataclass(frozen=True)
class _Searching:
    """The search of one chain."""

    chain: PlannedChain
    scratch: Path
    settings: MsaSettings
    sources: Sources
    log: Log
    ran: list[programs.Ran]

    def templates(self, msa: a3m.Msa, featuriser: Any) -> Templates:
        search = self._hhsearch if self.settings.templates == "hhsearch" else self._hmmsearch
        hits, warnings = self._readable(search(msa))
        result, dropped = _get_templates(featuriser, self.chain.sequence, hits)
        warnings += [*dropped, *(shown(text, _LONGEST) for text in (*result.warnings, *result.errors))]
        # Without a template AlphaFold's hmmsearch featuriser makes up an empty one, the other none at all.
        names = [name.decode() for name in result.features["template_domain_names"] if name]
        found = f"{count(len(hits), 'hit')}, {count(len(names), 'template')}"
        self.log(f"{self.settings.templates}: {self.chain.key[:12]}: {found}")
        return Templates(
            npz=dump(result.features) if names else None,
            names=names,
            commands=[ran.command for ran in self.ran],
            seconds=sum(ran.seconds for ran in self.ran),
            warnings=warnings,
        )

    def _run(self, program: str, *arguments: str | Path) -> None:
        self.ran.append(programs.run([programs.find(program), *arguments], self.scratch, self.log))

    def _hhsearch(self, msa: a3m.Msa) -> Sequence[Any]:
        from alphafold.data import parsers

        query, report = self.scratch / "query.a3m", self.scratch / "hits.hhr"
        query.write_text(msa.to_a3m())
        database = self.sources.searched.path.resolve()
        threads = str(self.settings.threads)
        self._run(
            "hhsearch", "-i", query, "-o", report, "-maxseq", "1000000", "-cpu", threads, "-d", database
        )
        return parsers.parse_hhr(text_of(report.read_bytes()))

    def _hmmsearch(self, msa: a3m.Msa) -> Sequence[Any]:
        from alphafold.data import parsers

        query, profile, hits = (self.scratch / name for name in ("query.sto", "query.hmm", "hits.sto"))
        query.write_text(msa.to_stockholm())
        self._run("hmmbuild", "--hand", "--amino", profile, query)
        flags = ["--noali", "--cpu", str(self.settings.threads), *_HMMSEARCH_FLAGS]
        self._run("hmmsearch", *flags, "-A", hits, profile, self.sources.searched.path.resolve())
        text = text_of(hits.read_bytes())
        if not text.strip():
            return []
        a3m = parsers.convert_stockholm_to_a3m(text, remove_first_row_gaps=False)
        return parsers.parse_hmmsearch_a3m(self.chain.sequence, a3m, skip_first=False)

    def _readable(self, hits: Sequence[Any]) -> tuple[list[Any], list[str]]:
        """Hits whose mmCIF file is there, and warnings of the others, at which AlphaFold would stop."""
        replaced = _replacements(self.sources.obsolete)
        kept, warnings = [], []
        for hit in hits:
            entry = hit.name.partition("_")[0].lower()
            entry = replaced.get(entry, entry)
            if entry is None or (self.sources.structures / f"{entry}.cif").is_file():
                kept.append(hit)
            else:
                warnings.append(
                    f"template {hit.name.split()[0]}: no {entry}.cif in {self.sources.structures.name}"
                )
        return kept, warnings


def _get_templates(featuriser: Any, sequence: str, hits: Sequence[Any]) -> tuple[Any, list[str]]:
    """AlphaFold's templates, and what is said of hits whose structure its parsers cannot take.

    AlphaFold stops at the first of them: a file that is no UTF-8, or one without a release date.
    """
    errors = (LookupError, ValueError, OSError)
    try:
        return featuriser.get_templates(query_sequence=sequence, hits=hits), []
    except errors:
        kept, dropped = [], []
    for hit in hits:
        try:
            featuriser.get_templates(query_sequence=sequence, hits=[hit])
        except errors as error:
            dropped.append(
                f"template {shown(hit.name.split()[0], 60)}: its mmCIF file cannot be used: {_told(error)}"
            )
        else:
            kept.append(hit)
    return featuriser.get_templates(query_sequence=sequence, hits=kept), dropped


def _told(error: Exception) -> str:
    """An error of AlphaFold's parsers in bounded words: some hold the whole file."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is not UTF-8"
    if isinstance(error, KeyError) and error.args == ("release_date",):
        return "it has no release date (_pdbx_audit_revision_history.revision_date)"
    return shown(f"{type(error).__name__}: {error}", _LONGEST)


def _replacements(obsolete: Path | None) -> Mapping[str, str | None]:
    """PDB entries by the obsolete entry they replace; None for one that was withdrawn."""
    from alphafold.data import templates

    return templates._parse_obsolete(str(obsolete)) if obsolete else {}

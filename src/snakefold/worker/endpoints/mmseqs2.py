"""The MMseqs2 endpoint: search a database, build one from a FASTA text, or cluster sequences.

Programs older than this package read texts (`tsv`, `a3m_gz_b64`, `cluster_tsv`), others parts with size and
sha256. An answer has both, as far as both are of use: see `SearchRequest.version`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from snakefold.kernel.contracts import Model
from snakefold.kernel.envelope import Response, Result

_LONGEST_TEXT = 8 << 20
Text = Annotated[str, Field(min_length=1, max_length=_LONGEST_TEXT)]
#: A name and never a path; `_pad` is what the padded copy of a database is called.
DatabaseName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Threads = Annotated[int, Field(ge=1, le=1024)]
Share = Annotated[float, Field(ge=0, le=1)]

COLUMNS = ("query", "target", "evalue", "pident", "alnlen")
TAXONOMY = ("taxid", "taxname", "taxlineage")
DEFAULT_DATABASE = "uniref90"
_HITS, _A3M_BYTES = 300, 5 << 20
#: Values of a3m_format_mode: what programs send for A3M, MMseqs2's own number for it, and A3M with scores.
SCORED_A3M = 6
_A3M_MODES = (0, 5, SCORED_A3M)
_CA3M = 1
#: Keys of programs that read texts: no part is sent besides.
_OF_TEXTS = frozenset({"target_fasta", "include_taxonomy", "a3m_max_return_bytes", "a3m_format_mode"})

_Hits = Annotated[int, Field(ge=1, le=1_000_000)]
_Bytes = Annotated[int, Field(ge=0)]


def _or(default: int, kind: object) -> BeforeValidator:
    """Null means the default."""
    return BeforeValidator(
        lambda value: default if value is None else value,
        json_schema_input_type=kind | None,  # type: ignore[operator]
    )


class SearchRequest(Model):
    """Search the queries in a database, or in sequences of the request."""

    task: Literal["search"] = Field(description="What to do.")
    query_fasta: Text = Field(description="FASTA text, one chain a record.")
    target_db: DatabaseName | None = Field(
        None, description=f"Name of a database that the worker has; empty: {DEFAULT_DATABASE}."
    )
    target_fasta: Text | None = Field(
        None, description="FASTA text that is searched in place of a database. Texts only."
    )
    threads: Threads | None = Field(None, description="CPU threads; empty takes all.")
    use_gpu: bool = Field(
        False,
        description="Search the padded database (`<name>_pad`) on the GPU. A worker without a GPU searches "
        "on its CPU, and `warnings` says so; with `version` 1 it fails.",
    )
    max_seqs: Annotated[_Hits, _or(_HITS, _Hits)] = Field(_HITS, description="Maximum hits per query.")
    include_taxonomy: bool = Field(
        False,
        description=f"Add the columns {', '.join(TAXONOMY)}, if the database has a taxonomy; else `warnings` "
        "says that it has none. Texts only.",
    )
    return_a3m: bool = Field(False, description="Return the alignments too.")
    a3m_max_return_bytes: Annotated[_Bytes, _or(_A3M_BYTES, _Bytes)] = Field(
        _A3M_BYTES, description="Bytes of the gzip of the A3M that are inline at the most. Texts only."
    )
    a3m_format_mode: Annotated[int, _or(0, int)] = Field(
        0,
        description="0 or 5: A3M; 6: A3M with scores beside the names. Others are refused: MMseqs2 cannot "
        "write 1 (ca3m) for an indexed database. Texts only.",
    )
    version: Literal[1, 2] | None = Field(
        None,
        description="Form of the answer: 1 has parts, 2 has texts. Empty: texts, and parts if there is room; "
        "no parts if a key is sent that is for texts only.",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> SearchRequest:
        if self.target_fasta is not None and self.target_db is not None:
            raise ValueError("expected one of target_db and target_fasta, not both")
        if self.version == 1 and (wrong := sorted(_OF_TEXTS & self.model_fields_set)):
            raise ValueError(f"{wrong[0]}: needs an answer with texts; leave version out, or send 2")
        if self.return_a3m and self.a3m_format_mode not in _A3M_MODES:
            why = "1 is ca3m, which MMseqs2 cannot write for an indexed database; "
            raise ValueError(
                f"a3m_format_mode: {why if self.a3m_format_mode == _CA3M else ''}"
                "expected 0 or 5 (A3M), or 6 (A3M with scores)"
            )
        return self

    @property
    def database(self) -> str | None:
        """Name of the database; None if the targets are in the request."""
        return None if self.target_fasta is not None else self.target_db or DEFAULT_DATABASE

    @property
    def wants_parts(self) -> bool:
        """Whether parts besides the texts are of use to whoever has sent it."""
        return self.version is None and not _OF_TEXTS & self.model_fields_set


class BuildRequest(Model):
    """Make a database of an inline FASTA text; one that is there with equal content is left alone."""

    task: Literal["build"] = Field(description="What to do.")
    target_fasta: Text = Field(description="FASTA text, a sequence a record.")
    target_db: DatabaseName = Field(description="Name of the new database.")
    threads: Threads | None = Field(None, description="CPU threads; empty takes all.")
    use_gpu: bool = Field(False, description="Also make the padded copy that GPU searches need.")


class ClusterRequest(Model):
    """Cluster sequences by similarity."""

    task: Literal["cluster"] = Field(description="What to do.")
    sequences_fasta: Text = Field(description="FASTA text, one chain a record.")
    threads: Threads | None = Field(None, description="CPU threads; empty takes all.")
    cluster_method: Literal["linclust", "cluster"] = Field(
        "linclust", description="Module of MMseqs2: linclust is fast, cluster more sensitive."
    )
    return_representatives: bool = Field(False, description="Return the representatives' sequences too.")
    min_seq_id: Share | None = Field(None, description="--min-seq-id; MMseqs2's default if empty.")
    coverage: Share | None = Field(None, description="-c; MMseqs2's default if empty.")
    cov_mode: Annotated[int, Field(ge=0, le=5)] | None = Field(
        None, description="--cov-mode; MMseqs2's default if empty."
    )
    kmer_per_seq: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="--kmer-per-seq; MMseqs2's default if empty."
    )


class SearchResponse(Response):
    """Answer to a search, with parts (`version` 1)."""

    task: Literal["search"] = Field("search", description="What was done.")
    columns: list[str] = Field(list(COLUMNS), description="Columns of the TSV.")
    tsv: Result = Field(description="One row per hit, tab-separated, with a header line.")
    a3m: dict[str, Result] | None = Field(None, description="Alignment of each query, query first.")
    queries: int = Field(0, description="Number of queries searched.")
    hits: int = Field(0, description="Rows of the TSV.")
    database: str = Field("", description="Path of the database.")
    commands: list[str] = Field([], description="Command lines that ran, in order.")


class SearchTexts(Response):
    """Answer to a search, with texts."""

    version: Literal[2] = Field(2, description="Version of the answer.")  # type: ignore[assignment]
    task: Literal["search"] = Field("search", description="What was done.")
    columns: list[str] = Field(list(COLUMNS), description="Columns of the TSV.")
    tsv: str = Field(
        description="One row per hit, tab-separated, without a header line. Names are as in the FASTA."
    )
    a3m_gz_b64: str | Result | None = Field(
        None,
        description="The alignments, one query after the other, as A3M: base64 of the gzip; or, if that is "
        "too large, size, sha256 and where it is.",
    )
    a3m: dict[str, Result] | None = Field(None, description="The same by query, as parts.")
    files: dict[str, Result] = Field({}, description="`tsv` as a part, with a header line.")
    queries: int = Field(0, description="Number of queries searched.")
    hits: int = Field(0, description="Rows of the TSV.")
    database: str = Field("", description="Path of the database; empty for target_fasta.")
    warnings: list[str] = Field(
        [], description="What could not be given; names and letters that were changed."
    )
    commands: list[str] = Field([], description="Command lines that ran, in order.")


class ClusterResponse(Response):
    """Answer to a clustering."""

    task: Literal["cluster"] = Field("cluster", description="What was done.")
    cluster_tsv: str = Field(
        description="A row per sequence: its representative, a tab, its own name. Names are as in the FASTA."
    )
    representatives_fasta: str | None = Field(None, description="FASTA text of the representatives.")
    sequences: int = Field(0, description="Number of sequences.")
    clusters: int = Field(0, description="Number of clusters.")
    warnings: list[str] = Field([], description="Names and letters that were changed.")
    commands: list[str] = Field([], description="Command lines that ran, in order.")


class BuildResponse(Response):
    """Answer to a build."""

    task: Literal["build"] = Field("build", description="What was done.")
    database: str = Field("", description="Path of the database.")
    built: bool = Field(description="False: it already existed with the same content.")
    sequences: int = Field(0, description="Number of sequences.")
    padded: bool = Field(False, description="The padded copy exists too.")
    sha256: str = Field("", description="sha256 of the FASTA text.")
    commands: list[str] = Field([], description="Command lines that ran, in order.")

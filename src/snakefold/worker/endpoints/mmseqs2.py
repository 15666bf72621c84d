"""The MMseqs2 endpoint: search a persistent database, or build one from a FASTA text."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from snakefold.kernel.contracts import Model
from snakefold.kernel.envelope import Response, Result

_LONGEST_TEXT = 8 << 20
Text = Annotated[str, Field(min_length=1, max_length=_LONGEST_TEXT)]
#: A name and never a path; `_pad` is what the padded copy of a database is called.
DatabaseName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
Threads = Annotated[int, Field(ge=1, le=1024)]

COLUMNS = ("query", "target", "evalue", "pident", "alnlen")


class SearchRequest(Model):
    """Search the queries in a database."""

    task: Literal["search"] = Field(description="What to do.")
    query_fasta: Text = Field(description="FASTA text, one chain a record.")
    target_db: DatabaseName = Field(description="Name of a database that the worker has.")
    threads: Threads | None = Field(None, description="CPU threads; empty takes all.")
    use_gpu: bool = Field(False, description="Search the padded database (`<name>_pad`) on the GPU.")
    max_seqs: int = Field(300, ge=1, le=1_000_000, description="Maximum hits per query.")
    return_a3m: bool = Field(False, description="Return each query's alignment too.")


class BuildRequest(Model):
    """Make a database of an inline FASTA text; one that is there with equal content is left alone."""

    task: Literal["build"] = Field(description="What to do.")
    target_fasta: Text = Field(description="FASTA text, a sequence a record.")
    target_db: DatabaseName = Field(description="Name of the new database.")
    threads: Threads | None = Field(None, description="CPU threads; empty takes all.")
    use_gpu: bool = Field(False, description="Also make the padded copy that GPU searches need.")


class SearchResponse(Response):
    """Answer to a search."""

    task: Literal["search"] = Field("search", description="What was done.")
    columns: list[str] = Field(list(COLUMNS), description="Columns of the TSV.")
    tsv: Result = Field(description="One row per hit, tab-separated, with a header line.")
    a3m: dict[str, Result] | None = Field(None, description="Alignment of each query, query first.")
    queries: int = Field(0, description="Number of queries searched.")
    hits: int = Field(0, description="Rows of the TSV.")
    database: str = Field("", description="Path of the database.")
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

"""How the multiple sequence alignments are made: the section `msa` of the configuration."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import Field, field_validator

from snakefold.kernel.contracts import Model
from snakefold.kernel.setting_paths import SettingPath

MsaTool = Literal["jackhmmer", "hhblits", "mmseqs", "precomputed", "single_sequence"]


class MsaSettings(Model):
    """How the multiple sequence alignments are made."""

    tool: MsaTool = Field("jackhmmer", description="Search program, or where the MSAs come from.")
    mmseqs_recipe: Literal["colabfold", "simple"] = Field(
        "colabfold",
        description="colabfold: its profile search and filters; simple: one plain search.",
    )
    db_preset: str = Field("demo", description="Databases: an entry of resources/databases.yaml.")
    db_root: SettingPath | None = Field(
        None, description="Folder that holds the preset's files; empty takes the preset's own."
    )
    allow_demo_database: bool = Field(
        False,
        # Folders of results from before this setting have none: a default that is written plans them again.
        exclude_if=lambda value: not value,
        description="Search proteins other than the demo set in the demo database also where jobs leave this "
        "machine: to try things out.",
    )
    chunk_size: int = Field(64, ge=1, description="Chains searched by one MSA job at the most.")
    chunk_cpu_hours: float = Field(
        8.0,
        gt=0,
        description="Expected CPU hours of one MSA job at the most; a chain that needs more goes alone.",
    )
    threads: int = Field(2, ge=1, description="Threads of one MSA job.")
    mem_mb: int = Field(4000, ge=500, description="Memory of one MSA job, MB; each retry has as much more.")
    templates: Literal["none", "hhsearch", "hmmsearch"] = Field(
        "none", description="Template search: hhsearch on pdb70, hmmsearch on pdb_seqres."
    )
    max_template_date: str = Field(
        "2100-01-01",
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="Templates released after this date are not used.",
    )
    keep_raw: bool = Field(False, description="Keep each database's own alignment beside the merged MSA.")
    retries: int = Field(
        1, ge=0, description="How often an MSA job that died is started again; what is in the store stays."
    )

    @field_validator("max_template_date", mode="before")
    @classmethod
    def _date(cls, value: object) -> object:
        # YAML makes a date of 2020-05-14 unless it is quoted.
        if isinstance(value, datetime.date):
            return value.isoformat()
        if isinstance(value, str):
            datetime.date.fromisoformat(value)
        return value

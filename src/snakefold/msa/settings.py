"""How the multiple sequence alignments are made: the section `msa` of the configuration."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import Field, field_validator, model_validator

from snakefold.kernel.contracts import Model
from snakefold.kernel.setting_paths import SettingPath
from snakefold.kernel.wording import listed
from snakefold.msa.server.settings import ServerSettings


class MmseqsSettings(Model):
    """How MMseqs2 searches local databases."""

    gpu: bool = Field(
        False,
        description="Search on an NVIDIA GPU. Needs padded databases (`snakefold db pad`) and an MMseqs2 "
        "that was built with CUDA; finds other rows than a CPU does (docs/databases.md).",
    )
    gpu_class: str | None = Field(
        None,
        description="GPU class of the MSA jobs (resources/gpus.yaml), as SLURM and Kubernetes are asked for "
        "it. Empty: the first of gpu.classes.",
    )
    max_seqs: int = Field(
        10_000,
        ge=1,
        description="Candidates that each step's prefilter may pass on per chain (`--max-seqs`). If a search "
        "reaches it with homologs left, a note says so (limited_search).",
    )


MsaTool = Literal["jackhmmer", "hhblits", "mmseqs", "server", "precomputed", "single_sequence"]
#: Settings of local databases; an MSA server has its own.
_OF_DATABASES = ("db_preset", "db_root", "mmseqs_recipe", "mmseqs", "allow_demo_database")


class MsaSettings(Model):
    """How the multiple sequence alignments are made."""

    tool: MsaTool = Field(
        "jackhmmer",
        description="Search program. server: an MSA server is asked, and gets your sequences "
        "(docs/msa-server.md); precomputed: the input brings the MSAs; single_sequence: no MSAs.",
    )
    mmseqs_recipe: Literal["colabfold", "colabfold_unfiltered", "simple"] = Field(
        "colabfold",
        description="colabfold: ColabFold's profile search and filters; colabfold_unfiltered: without its "
        "filters; simple: one plain search.",
    )
    db_preset: str = Field("demo", description="Databases: an entry of resources/databases.yaml.")
    db_root: SettingPath | None = Field(
        None, description="Folder with the preset's files. Empty: the folder that the preset names."
    )
    allow_demo_database: bool = Field(
        False,
        # Folders of results from before this setting have none: a default that is written plans them again.
        exclude_if=lambda value: not value,
        description="Allow your own proteins with the demo database when jobs leave this machine. For tests "
        "only: the demo database has few sequences.",
    )
    chunk_size: int = Field(64, ge=1, description="Maximum chains per MSA job.")
    chunk_cpu_hours: float = Field(
        8.0,
        gt=0,
        description="Maximum expected CPU hours per MSA job. A chain that needs more runs alone.",
    )
    threads: int = Field(2, ge=1, description="Threads per MSA job.")
    mem_mb: int = Field(
        4000, ge=500, description="Memory per MSA job, MB. Each retry adds the same amount again."
    )
    templates: Literal["none", "hhsearch", "hmmsearch"] = Field(
        "none",
        description="Template search: hhsearch on pdb70, hmmsearch on pdb_seqres. With tool server: "
        "hhsearch, on templates that the server gives.",
    )
    max_template_date: str = Field(
        "2100-01-01",
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="Templates released after this date are not used.",
    )
    max_template_hits: int = Field(
        20,
        ge=1,
        le=1000,
        description="Templates of a chain that are kept, the best first; the network reads four. An MSA "
        "server gives 20 at the most.",
        exclude_if=lambda value: value == 20,
    )
    keep_raw: bool = Field(False, description="Keep each database's own alignment beside the merged MSA.")
    retries: int = Field(
        1, ge=0, description="Maximum retries of an MSA job. Chains already in the store are kept."
    )

    # Folders of results from before these settings have none: defaults that are written plan them again.
    mmseqs: MmseqsSettings = Field(MmseqsSettings(), exclude_if=lambda value: value == MmseqsSettings())
    server: ServerSettings = Field(ServerSettings(), exclude_if=lambda value: value == ServerSettings())

    @property
    def asks_server(self) -> bool:
        """Whether an MSA server is asked, and no local database read."""
        return self.tool == "server"

    @property
    def on_gpu(self) -> bool:
        """Whether MMseqs2 searches on a GPU."""
        return self.tool == "mmseqs" and self.mmseqs.gpu

    @field_validator("max_template_date", mode="before")
    @classmethod
    def _date(cls, value: object) -> object:
        # YAML makes a date of 2020-05-14 unless it is quoted.
        if isinstance(value, datetime.date):
            return value.isoformat()
        if isinstance(value, str):
            datetime.date.fromisoformat(value)
        return value

    @model_validator(mode="after")
    def _gpu_of_mmseqs(self) -> MsaSettings:
        if self.mmseqs.gpu and self.tool in ("jackhmmer", "hhblits"):
            raise ValueError(
                f"msa.mmseqs.gpu is true, and msa.tool is {self.tool}, which searches on CPUs. Set msa.tool: "
                "mmseqs, or leave msa.mmseqs.gpu out"
            )
        return self

    @model_validator(mode="after")
    def _one_source(self) -> MsaSettings:
        if not self.asks_server:
            return self
        default = type(self).model_fields
        wrong = [name for name in _OF_DATABASES if getattr(self, name) != default[name].default]
        if wrong:
            names = listed([f"msa.{name}" for name in wrong])
            defaults = {name: default[name].default for name in wrong}
            unset = " ".join(f"--set msa.{name}={_written(value)}" for name, value in defaults.items())
            raise ValueError(
                f"msa.tool is server, which reads no local database, and {names} "
                f"{'says' if len(wrong) == 1 else 'say'} how local databases are searched. Leave them out "
                f"({unset}), or choose another msa.tool"
            )
        if self.templates == "hmmsearch":
            raise ValueError(
                "msa.tool is server, which gives templates for hhsearch. Set msa.templates: hhsearch, or none"
            )
        return self


def _written(value: object) -> str:
    """A default as `--set` takes it."""
    return "null" if value is None else str(value)

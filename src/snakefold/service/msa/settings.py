"""What an MSA server searches, and what it takes."""

from __future__ import annotations

from pydantic import Field, model_validator

from snakefold.kernel.contracts import Model
from snakefold.msa.databases.presets import TOOLS
from snakefold.msa.settings import MsaSettings
from snakefold.msa.templates import MAX_HITS


class ServedMsa(Model):
    """What an MSA server searches, and what it takes."""

    msa: MsaSettings = Field(
        MsaSettings(), description="How alignments are made: the section msa of config.yaml."
    )
    max_queries: int = Field(64, ge=1, le=1000, description="Maximum sequences per ticket.")
    max_length: int = Field(10_000, ge=1, le=65_535, description="Maximum residues per sequence.")
    max_residues: int = Field(50_000, ge=1, description="Maximum residues per ticket.")
    retry_after: int = Field(
        10, ge=1, description="Seconds after which a user who asked too often may ask again (Retry-After)."
    )

    @model_validator(mode="after")
    def _searches_here(self) -> ServedMsa:
        if not TOOLS[self.msa.tool]:
            tools = ", ".join(tool for tool, programs in TOOLS.items() if programs)
            raise ValueError(
                f"msa.tool is {self.msa.tool}, which searches no database on this machine. An MSA server "
                f"needs one of {tools}"
            )
        if self.msa.templates == "hmmsearch":
            raise ValueError(
                "msa.templates is hmmsearch, and clients of an MSA server get entries of pdb70. Set "
                "msa.templates: hhsearch, or none"
            )
        return self

    @property
    def unfiltered(self) -> MsaSettings:
        """The same search without a filter; only ColabFold's recipe has one."""
        if self.msa.tool != "mmseqs" or self.msa.mmseqs_recipe != "colabfold":
            return self.msa
        return self.msa.model_copy(update={"mmseqs_recipe": "colabfold_unfiltered"})

    @property
    def max_bytes(self) -> int:
        """Bytes that the form of a ticket may have: sequences, their names, and what encoding adds."""
        return 3 * (self.max_residues + 100 * self.max_queries) + 4096

    @property
    def max_templates(self) -> int:
        """Entries of pdb70 that are given at once."""
        return 2 * MAX_HITS

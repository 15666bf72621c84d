"""Which MSA server is asked, and how: the section `msa.server` of the configuration."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from snakefold.kernel.contracts import Model

#: ColabFold's own: "a limited shared resource only capable of processing a few thousand MSAs per day".
PUBLIC = "https://api.colabfold.com"

Mode = Literal["env", "all", "env-nofilter", "nofilter"]
PairMode = Literal["pairgreedy", "paircomplete", "pairgreedy-env", "paircomplete-env"]


class ServerSettings(Model):
    """Which MSA server is asked, and how."""

    url: str = Field(PUBLIC, description="Address of the MSA server (docs/msa-server.md).")
    contact: str = Field(
        "",
        pattern=r"^(|[!-~]+@[!-~]+|https?://[!-~]+)$",
        max_length=200,
        description="Your e-mail address or web page. The server's operator gets it with every request, to "
        "write to you if your queries cause trouble. ColabFold's server is not asked without it.",
    )
    mode: Mode = Field(
        "env",
        description="The API's mode of a search. env: UniRef30 and environmental sequences; all: UniRef30 "
        "alone; nofilter: all rows.",
    )
    pairing: PairMode = Field(
        "pairgreedy",
        description="The API's mode of pairing. pairgreedy: species of two chains or more; paircomplete: of "
        "all chains; -env: environmental sequences too.",
    )
    databases: str = Field(
        "",
        pattern=r"^[ -~]*$",
        max_length=200,
        description="What you know of the server's databases, for example their release. The server does not "
        "say it. Another text asks the server again for everything.",
    )
    max_queries: int = Field(
        200,
        ge=1,
        description="Maximum queries per run: chains to align and complexes to pair. A run that needs more "
        "is not started.",
    )
    chains_per_query: int = Field(
        16, ge=1, le=64, description="Maximum chains that are sent to the server at once, to be aligned."
    )
    wait_minutes: int = Field(
        60, ge=1, le=24 * 60, description="Maximum minutes to wait for one answer of the server."
    )

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            usable = False
        if not usable or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("an address that starts with https:// or http:// is expected")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("the address may have no user, password, query or fragment")
        return value.rstrip("/")

    @property
    def host(self) -> str:
        """Name of the server."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_public(self) -> bool:
        """Whether it is ColabFold's server, which everybody shares."""
        return self.host == urlsplit(PUBLIC).hostname

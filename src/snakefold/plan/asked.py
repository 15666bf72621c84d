"""An MSA server gets the sequences of a run: what is said of that, and when it is not asked."""

from __future__ import annotations

from urllib.parse import urlsplit

from snakefold.config import Config
from snakefold.kernel.errors import ConfigError
from snakefold.kernel.wording import count, listed
from snakefold.plan.draft import Draft

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def leaving(draft: Draft, config: Config) -> list[str]:
    """What the quote says of sequences that leave this machine; nothing if none does."""
    server = config.msa.server
    if not config.msa.asks_server or not draft.alignments.missing:
        return []
    chains = {chain for searched in draft.alignments.missing for chain in searched.split(":")}
    text = (
        f"{_sequences(len(chains))} sent to {server.url}, whose operator can read "
        "them. Set another msa.tool if they must not leave your machines."
    )
    found = [text]
    if urlsplit(server.url).scheme == "http" and server.host not in _LOOPBACK:
        found.append(f"{server.url} is not encrypted: others on the way can read the sequences too.")
    return found


def _sequences(chains: int) -> str:
    return "The sequence of 1 chain is" if chains == 1 else f"The sequences of {chains:,} chains are"


def may_ask(draft: Draft, config: Config) -> None:
    """See that a server may be asked for what a run needs, before it is.

    Raises:
        ConfigError: it is more than the settings allow, or ColabFold's server would not be told who asks.
    """
    server = config.msa.server
    if not config.msa.asks_server or not draft.alignments.missing:
        return
    if server.is_public and not server.contact:
        raise ConfigError(
            f"msa.server.contact is empty: {server.url} is run by its authors for everybody, and they want "
            "to be able to write to whoever asks it. Set your e-mail address (--set "
            "msa.server.contact=you@example.org). It is sent to this server only."
        )
    chains, complexes = draft.alignments.count("msa"), draft.alignments.count("pairs")
    if chains + complexes <= server.max_queries:
        return
    parts = [count(chains, "chain") + " to align"] if chains else []
    parts += [count(complexes, "complex", "complexes") + " to pair"] if complexes else []
    instead = (
        "ColabFold's server makes a few thousand alignments a day for all who use it. For many sequences, "
        "search databases of your own (docs/databases.md) or set up a server of your own. If you must, raise "
        if server.is_public
        else "Ask its operator, and raise "
    )
    raise ConfigError(
        f"msa.server.max_queries is {server.max_queries:,}, and the run needs {chains + complexes:,} queries "
        f"of {server.url}: {listed(parts)}. {instead}msa.server.max_queries."
    )

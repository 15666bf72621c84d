"""API keys and what they open."""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Mapping

API_KEY = "rpa_EMULATOR"
READ_ONLY_KEY = "rpa_EMULATOR_READ_ONLY"
NO_ACCESS_KEY = "rpa_EMULATOR_NO_ACCESS"


@dataclasses.dataclass(frozen=True)
class Scope:
    """What a key may do. `endpoints`: ids it opens; None: all."""

    read: bool = True
    write: bool = True
    endpoints: frozenset[str] | None = None


DEFAULT_KEYS: Mapping[str, Scope] = {
    API_KEY: Scope(),
    READ_ONLY_KEY: Scope(write=False),
    NO_ACCESS_KEY: Scope(read=False, write=False),
}


def refusal(
    keys: Mapping[str, Scope], header: str | None, *, write: bool, endpoint: str | None = None
) -> int | None:
    """401 for a key that is missing or unknown, 403 for one that does not reach so far, None where it opens.

    The header is `Bearer KEY`, or the bare key, as RunPod's own examples send it.
    """
    given = (header or "").strip()
    if given[:7].lower() == "bearer ":
        given = given[7:].strip()
    scope = next(
        (scope for key, scope in keys.items() if hmac.compare_digest(key.encode(), given.encode())), None
    )
    if scope is None:
        return 401
    if not (scope.write if write else scope.read):
        return 403
    if endpoint is not None and scope.endpoints is not None and endpoint not in scope.endpoints:
        return 403
    return None

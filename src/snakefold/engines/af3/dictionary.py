"""The chemical components, made from snakefold's own interpreter by what the engine's environment has."""

from __future__ import annotations

import subprocess
import sys

from snakefold.engines.af3 import components
from snakefold.engines.spec import Log
from snakefold.kernel.errors import SnakefoldError


def make(log: Log) -> bool:
    """Make the whole dictionary in the user's data folder, unless it is there.

    Returns:
        Whether it is there. Without the engine's environment it cannot be made, and that is said.

    Raises:
        SnakefoldError: it cannot be made there.
    """
    from snakefold import engines
    from snakefold.engines import environments

    place = components.whole()
    if components.there(place):
        log(f"{place}: chemical components, complete")
        return True
    engine = engines.get("af3")
    where = environments.place_of(engine)
    if where.missing:
        log(f"{place}: chemical components are made once the environment is there: {where.missing}")
        return False
    python, variables = sys.executable, None
    if where.prefix is not None and not environments.is_here(where.prefix):
        python = str(environments.interpreter(where.prefix))
        variables = environments.variables(engine, where.prefix)
    log(f"{place}: the chemical components are made, half a minute")
    done = subprocess.run(
        [python, "-P", "-m", components.__name__],
        env=variables,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        told = done.stderr.strip().rpartition("\n")[2][:300]
        raise SnakefoldError(
            f"{place}: the chemical components cannot be made ({told}). "
            "Make room or correct the folder's permissions, then run the command again."
        )
    log(done.stdout.strip())
    return True

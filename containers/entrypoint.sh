#!/usr/bin/env bash
# Without arguments the worker of an endpoint; with arguments, what they say.
set -euo pipefail
if [ $# -gt 0 ]; then
  exec "$@"
fi
exec python -m snakefold.worker.handler

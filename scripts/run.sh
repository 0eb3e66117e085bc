#!/usr/bin/env bash
# Start the hub: http://127.0.0.1:8400, its data under var/ in this folder.
# Arguments go to `aether serve`, for example: scripts/run.sh --port 8500
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/bootstrap.sh
exec .venv/bin/aether serve "$@"

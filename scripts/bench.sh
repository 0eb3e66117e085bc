#!/usr/bin/env bash
# Measure the hub on this machine. Arguments go to `python -m benchmarks`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/bootstrap.sh --dev
exec .venv/bin/python -m benchmarks "$@"

#!/usr/bin/env bash
# Check style, types, the ladder of the house and the generated documents. Runs every step, then names what failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/bootstrap.sh --dev

failed=()
step() { # NAME COMMAND…
    local name=$1
    shift
    echo "== $name"
    "$@" || failed+=("$name")
}

# Whatever of the house is there; only folders with Python files, because mypy refuses an empty one.
typed=()
for room in hub channels handlers storage packs clients/python/aether_client tests benchmarks examples scripts; do
    if [ -n "$(find "$room" -name '*.py' -print -quit 2>/dev/null)" ]; then typed+=("$room"); fi
done

step "ruff check" .venv/bin/ruff check .
step "ruff format" .venv/bin/ruff format --check .
step "mypy --strict" .venv/bin/mypy --strict "${typed[@]}"
step "house" .venv/bin/python -m pytest -q tests/house
step "migrations" .venv/bin/python scripts/drift.py
if [ -e scripts/docs.py ]; then step "generated documents" .venv/bin/python scripts/docs.py --check; fi
step "no internal key leaves" .venv/bin/aether audit ids

if [ ${#failed[@]} -gt 0 ]; then
    printf 'check: failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
echo "check: all good"

#!/usr/bin/env bash
# Run the tests. Arguments go to pytest, for example: scripts/test.sh tests/house -k ladder
# The page's tests drive Debian's chromium. Without it they fail, they are never skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/bootstrap.sh --dev

if ! command -v chromium >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "test: installing chromium" >&2
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends chromium >/dev/null
    else
        echo "test: chromium is missing. Install it: sudo apt-get update && sudo apt-get install -y chromium" >&2
        # A chosen part of the suite may not need it; the whole suite does.
        [ $# -gt 0 ] || exit 1
    fi
fi

# Settings of somebody's shell must not reach the hubs under test.
for name in ${!AETHER_@}; do
    [ "$name" = AETHER_PROOF ] || unset "$name"
done

exec .venv/bin/python -m pytest -q "$@"

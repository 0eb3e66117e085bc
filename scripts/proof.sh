#!/usr/bin/env bash
# Run the tests at 100 times their size and keep the log under var/proof/. This takes hours.
# AETHER_PROOF sets another factor; arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export AETHER_PROOF="${AETHER_PROOF:-100}"

mkdir -p var/proof
log="var/proof/$(date -u +%Y%m%dT%H%M%SZ).log"
{
    echo "commit   $(git rev-parse HEAD 2>/dev/null || echo unknown)$(git diff --quiet HEAD 2>/dev/null || echo ' with changes')"
    echo "scale    $AETHER_PROOF"
    echo "machine  $(uname -srm), $(getconf _NPROCESSORS_ONLN) processors"
    echo "started  $(date -u +%Y-%m-%dT%H:%M:%SZ)"
} | tee "$log"

# The guards against a hung test allow for the size: six hours for one test, a week for all (0 would mean none left).
code=0
scripts/test.sh -v -o timeout=21600 -o session_timeout=604800 "$@" 2>&1 | tee -a "$log" || code=$?
echo "ended    $(date -u +%Y-%m-%dT%H:%M:%SZ), exit status $code" | tee -a "$log"
echo "proof: the log is $log"
exit "$code"

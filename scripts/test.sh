#!/usr/bin/env bash
# Run the tests. Arguments go to pytest, for example: scripts/test.sh tests/house -k ladder
# The page's tests drive Debian's chromium through playwright, whose driver is a Node that needs libatomic; the
# proof that answers wait for the disk runs a hub under strace; the MariaDB keeper and the Redis bus are tested on servers of the
# tests' own; npm installs the OpenID provider that people sign in with there.
# Without them these tests fail, they are never skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scripts/bootstrap.sh --dev

missing=()
command -v chromium >/dev/null || missing+=(chromium)
command -v strace >/dev/null || missing+=(strace)
PATH=$PATH:/usr/sbin:/usr/local/sbin command -v mariadbd >/dev/null || missing+=(mariadb-server)
PATH=$PATH:/usr/sbin:/usr/local/sbin command -v redis-server >/dev/null || missing+=(redis-server)
command -v npm >/dev/null || missing+=(npm)
driver=$(.venv/bin/python -c 'from playwright._impl._driver import compute_driver_executable as d; print(d()[0])')
"$driver" --version >/dev/null 2>&1 || missing+=(libatomic1)

if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "test: installing ${missing[*]}" >&2
        export DEBIAN_FRONTEND=noninteractive
        apt-get -o DPkg::Lock::Timeout=120 update -qq
        apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    else
        echo "test: missing: ${missing[*]}. On Debian or Ubuntu:" >&2
        echo "test:     sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
        # A chosen part of the suite may not need it; the whole suite does.
        [ $# -gt 0 ] || exit 1
    fi
fi

# Settings of somebody's shell must not reach the hubs under test.
for name in ${!AETHER_@}; do
    [ "$name" = AETHER_PROOF ] || unset "$name"
done

# Hundreds of processes are started: each reads what the first one compiled, and does not compile the hub again.
unset PYTHONDONTWRITEBYTECODE

# The whole suite: a file never divided, the longest first (tests/conftest.py). Four processes for two cores, because
# each waits for the disk, a browser or a clock a third of the time. A chosen part runs in one process.
[ $# -gt 0 ] || set -- -n 4 --dist loadfile --no-loadscope-reorder
exec .venv/bin/python -m pytest -q "$@"

#!/usr/bin/env bash
# Run Autobahn's websocket fuzzing client against the hub's fast edge: an echo behind the same door, protocol class and
# socket (tests/wire/echo.py), with the bounds of the hub, with these lifted, and with compression. Not part of `make test`.
#
# Expected: no case fails but 7.1.5, a close in the middle of a fragmented message, which `websockets` answers with
# 1002. The bounds of the hub leave out 9.* (messages of up to 16 MiB, thousands of fragments). 12.* and 13.* ask for
# compression, which is accepted only where a hub has it on; those of 13.* that ask us for a smaller window go without.
#
# The suite is a program for Python 2.7: PYTHON27 names it, or it is found on PATH or under pyenv. It is installed into
# var/autobahn, from hashes (scripts/autobahn.txt), and the report of every case is left there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$PWD/var/autobahn
mkdir -p "$folder"

python=
for candidate in "${PYTHON27:-}" python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python2.7; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "autobahn: Python 2.7 is needed (pyenv install 2.7.18), or name one: PYTHON27=/where/python2.7 $0" >&2
    exit 1
fi
if [ ! -x "$folder/env/bin/wstest" ]; then
    "$python" -W ignore -m pip install -q -q --disable-pip-version-check --target "$folder/virtualenv" virtualenv==20.15.1
    PYTHONPATH="$folder/virtualenv" "$python" -m virtualenv -q "$folder/env"
    "$folder/env/bin/pip" install -q -q --disable-pip-version-check --require-hashes -r scripts/autobahn.txt
fi

scripts/bootstrap.sh --dev
exec .venv/bin/python scripts/autobahn.py "$folder"

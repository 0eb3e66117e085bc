#!/usr/bin/env bash
# Make or refresh the virtual environment .venv from the hash-locked requirements.
# Usage: scripts/bootstrap.sh [--dev]     --dev adds what check, test and bench need.
# PYTHON names the interpreter to use (default: python3). Returns at once when nothing changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kind=run
case "${1:-}" in
    "") ;;
    --dev) kind=dev ;;
    *)
        echo "bootstrap: unknown option $1 (only --dev is known)" >&2
        exit 2
        ;;
esac

say() { echo "bootstrap: $*" >&2; }

# What the environment was made from: the locks, both distributions and this script.
want=$(cat requirements/run.txt requirements/build.txt requirements/dev.txt pyproject.toml \
    clients/python/pyproject.toml scripts/bootstrap.sh | cksum | tr -d ' ')
made() { # KIND: is the environment already this, at the place where it was made?
    [ -x .venv/bin/python ] && [ "$(cat ".venv/.aether-$1" 2>/dev/null)" = "$want $PWD" ]
}
enough() { made dev || { [ "$kind" = run ] && made run; }; }

enough && exit 0

# Two bootstraps at once would write the same files: the second waits, then finds the work done.
mkdir -p var
if command -v flock >/dev/null; then
    exec 9>var/bootstrap.lock
    flock 9
    enough && exit 0
fi

python=${PYTHON:-python3}
if ! command -v "$python" >/dev/null; then
    say "Python is missing. On Debian or Ubuntu: sudo apt-get install python3 python3-venv"
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "Python >= 3.11 is needed, $python is $("$python" -V 2>&1). Name another one: PYTHON=python3.12 $0"
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "$python cannot make virtual environments. Install the package that can, then run this again:"
    say "    sudo apt-get update && sudo apt-get install -y python$version-venv"
    exit 1
fi

# An environment is bound to its folder and interpreter: one that was copied, moved or lost its Python is made anew.
if [ -e .venv ] && { ! .venv/bin/python -c '' 2>/dev/null || [ "$(cat .venv/.aether-home 2>/dev/null)" != "$PWD" ]; }; then
    say "replacing .venv, which does not belong to this folder or lost its Python"
    rm -rf .venv
fi
if [ ! -e .venv ]; then
    say "making .venv with $("$python" -V)"
    "$python" -m venv .venv
    echo "$PWD" >.venv/.aether-home
fi
rm -f .venv/.aether-run .venv/.aether-dev

pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }
say "installing from requirements/$kind.txt"
pip install --require-hashes -r requirements/build.txt
# Without build isolation nothing unhashed is fetched to build a source distribution.
if [ "$kind" = dev ]; then
    pip install --require-hashes --no-build-isolation --use-pep517 -r requirements/dev.txt
else
    pip install --require-hashes --no-build-isolation -r requirements/run.txt
fi
pip install --no-deps --no-build-isolation -e clients/python -e .

echo "$want $PWD" >".venv/.aether-$kind"
say "ready"

#!/usr/bin/env bash
# Resolve requirements/*.in again and write the hash-locked requirements/*.txt.
# One lock serves every Python >= 3.11 on Linux and macOS. No address of an index or of a file is written.
# Usage: scripts/lock.sh [--upgrade | --upgrade-package NAME]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

uv=.venv/bin/uv
[ -x "$uv" ] || uv=$(command -v uv) || {
    echo "lock: uv is missing. Run scripts/bootstrap.sh --dev first, or install uv." >&2
    exit 1
}

resolve() { # NAME [further options]
    local name=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --custom-compile-command scripts/lock.sh \
        --output-file "requirements/$name.txt" "$@" "requirements/$name.in"
}

resolve run "$@"
resolve build --constraint requirements/run.txt "$@"
resolve dev --constraint requirements/run.txt --constraint requirements/build.txt "$@"
echo "lock: wrote requirements/run.txt, build.txt and dev.txt"

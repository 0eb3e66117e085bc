#!/usr/bin/env bash
# Run the steps of the Dockerfile without a container engine, then start what they made and ask its HEALTHCHECK.
#
# Needs root on Linux with overlayfs (a virtual machine or a privileged container). Each stage is an empty layer
# over this machine's own system, entered with chroot, so the steps run word for word under their own paths.
#
# Proven: every RUN, COPY (with .dockerignore), WORKDIR, ENV and USER in order; installation from the locks and
#   from wheels; that the second stage needs nothing of the first but what it copies; start as the image's user
#   through ENTRYPOINT and CMD; the page from within the wheel; HEALTHCHECK, green while it runs and red after;
#   a clean end on STOPSIGNAL.
# Not proven: the base image (this machine's Debian and Python stand in for it), the size of the image, BuildKit's
#   own parser and cache (a cache mount is a plain folder here), port publishing, volumes, isolation.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
    echo "prove-dockerfile: root with the right to mount is needed (for example: sudo $0)" >&2
    exit 1
fi

# All mounts live in a namespace of their own and vanish with it; only an empty folder is left to remove.
stage=$(mktemp -d)
trap 'rmdir "$stage"' EXIT
PATH=/usr/bin:/bin:/usr/sbin:/sbin unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
    python3 -P scripts/prove_dockerfile.py "$stage"

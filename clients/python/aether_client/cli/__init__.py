"""The command `aether`: files, sync, and what other distributions bring under the entry point group `aether.commands`.

This module stays small, so that Ctrl-C is quiet from the first moment on.
"""

from __future__ import annotations

import sys


def app() -> None:
    """Run the command; never returns."""
    try:
        from aether_client.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.exit(130)

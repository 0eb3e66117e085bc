"""`python -m aether_client` is the command `aether`."""

from __future__ import annotations

from aether_client.cli import app

if __name__ == "__main__":
    app()

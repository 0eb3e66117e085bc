"""The command that follows, in a process whose hub never looks again at what its sessions may: a negative control.

`python -m tests.proofs.unreviewed aether serve …`
"""

from __future__ import annotations

import sys
from typing import Any

from aether_client.cli import app
from channels.reviews import Reviews


def _deaf(self: Reviews, *given: Any) -> None:
    """Hear of nothing."""


if __name__ == "__main__":
    setattr(Reviews, "heard", _deaf)  # noqa: B010  # the negative control
    sys.argv = sys.argv[1:]
    app()

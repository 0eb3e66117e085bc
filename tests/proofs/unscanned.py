"""The command that follows, in a process whose hub never reads the log for what it has missed: a negative control.

`python -m tests.proofs.unscanned aether serve …`
"""

from __future__ import annotations

import sys

from aether_client.cli import app
from channels.live import Live

if __name__ == "__main__":
    options = Live.__init__.__kwdefaults__
    assert options is not None
    assert options["read_gaps"] is True
    options["read_gaps"] = False
    sys.argv = sys.argv[1:]
    app()

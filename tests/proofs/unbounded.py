"""The command that follows, in a process whose hub has no bounds at its door and waits for its clients: a control.

`python -m tests.proofs.unbounded aether serve …`
"""

from __future__ import annotations

import sys
import time
from typing import Any, Final

import channels.outlet
import hub.edge.connection
import hub.edge.door
import hub.edge.exchange
import hub.edge.fast
import hub.session
from aether_client.cli import app

NEVER: Final = 10**6
ENDLESS: Final = 10**12
UNBOUNDED: Final = (sys.executable, "-m", "tests.proofs.unbounded")


def lift() -> None:
    """Take the bounds away."""
    for module, name, value in (
        (hub.edge.fast, "TURN", ENDLESS),
        (hub.edge.fast, "PINGS", ENDLESS),
        (hub.edge.fast, "PIECES", ENDLESS),
        (hub.edge.fast, "FRAGMENTS", ENDLESS),
        (hub.edge.fast, "LATE_BYTES", ENDLESS),
        (hub.edge.connection, "STALL_SECONDS", NEVER),
        (hub.edge.door, "REQUEST_SECONDS", NEVER),
        (hub.edge.exchange, "BODY_SECONDS", NEVER),
        (hub.session, "HELLO_SECONDS", NEVER),
        (hub.session, "BAD_FRAMES", ENDLESS),
    ):
        assert isinstance(getattr(module, name), int | float), name
        setattr(module, name, value)
    bound = channels.outlet.Outlet.__init__.__defaults__
    assert bound == (channels.outlet.MAX_BYTES,)
    channels.outlet.Outlet.__init__.__defaults__ = (ENDLESS,)
    write = hub.edge.fast.FastSocket.write

    def waiting(self: Any, frames: list[bytes]) -> bool:
        if not self._writable:
            time.sleep(0.02)  # whoever else is served meanwhile waits as well
        return write(self, frames)

    hub.edge.fast.FastSocket.write = waiting  # type: ignore[method-assign]


if __name__ == "__main__":
    lift()
    sys.argv = sys.argv[1:]
    app()

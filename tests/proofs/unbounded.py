"""The command that follows, in a process whose hub has no bounds at its door, or waits for its clients: a control.

`python -m tests.proofs.unbounded aether serve …`, `python -m tests.proofs.unbounded waiting aether serve …`
"""

from __future__ import annotations

import sys
import time
from collections.abc import Hashable
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
MUCH: Final = 3
"""From how many pushes on that a client did not take, this hub waits for it."""
UNBOUNDED: Final = (sys.executable, "-m", "tests.proofs.unbounded")
WAITING: Final = (*UNBOUNDED, "waiting")


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


def wait() -> None:
    """Let the hub wait for a socket that does not take its pushes, as one does that awaits each write."""
    put = channels.outlet.Outlet._put

    def waiting(self: channels.outlet.Outlet, item: Any, owner: Hashable, size: int) -> None:
        if len(self) >= MUCH:
            time.sleep(0.2)
        put(self, item, owner, size)

    channels.outlet.Outlet._put = waiting  # type: ignore[method-assign]


if __name__ == "__main__":
    lift()
    words = sys.argv[1:]
    if words[0] == "waiting":
        wait()
        del words[0]
    sys.argv = words
    app()

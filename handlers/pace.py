"""How fast devices may ask to be paired at one instance: codes per address, and how many may wait for an answer."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from hub.wire.errors import HubError

SECONDS: Final = 600
"""How long a device shows a code."""
PER_ADDRESS: Final = 10
"""How many codes one address may ask for within the time of one."""
ADDRESSES: Final = 10_000
"""How many addresses are counted; the one unused for longest is forgotten."""


class Pace:
    """How many codes each address asked for lately."""

    def __init__(self) -> None:
        # How many devices wait for an answer at this moment.
        self.waiting = 0
        self._asked: OrderedDict[str, deque[float]] = OrderedDict()

    def refuse(self, address: str | None, now: float) -> None:
        """Count one more code for an address; raise `rate.limited` where it had enough.

        `now` is in seconds, of a clock that only goes on. An address of None (DIR/hub.sock) is not counted.
        """
        if address is None:
            return
        asked = self._asked.setdefault(address, deque(maxlen=PER_ADDRESS))
        self._asked.move_to_end(address)
        if len(self._asked) > ADDRESSES:
            self._asked.popitem(last=False)
        if len(asked) == PER_ADDRESS and now - asked[0] < SECONDS:
            text = "Too many devices here show a code; wait until some were confirmed or gave up."
            raise HubError("rate.limited", text, retry_after=max(1.0, round(SECONDS - (now - asked[0]))))
        asked.append(now)

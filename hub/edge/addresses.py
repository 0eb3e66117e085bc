"""How many sockets may come from one address: a bucket of admissions for each, so that one crowd keeps out no other.

Pure: the clock is passed in.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from starlette.types import Scope

from hub.edge.admission import Admission
from hub.edge.guard import is_operator

ADDRESSES: Final = 10_000
"""How many addresses are remembered; more, and the one unused for longest is forgotten, which lets it in again."""
BURST_SECONDS: Final = 10
"""How many seconds' worth of sockets may come at once, after a rest."""


_HOST: Final = re.compile(r"([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)\.?(?::[0-9]{1,5})?\Z")


def place(address: str) -> str:
    """Return what counts as one address: an address of IPv4, or 64 bits of IPv6, which is what one connection has."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return found.exploded[:19]


def address_of(scope: Scope) -> str | None:
    """Return where a request comes from, as one counts it; None for what came over DIR/hub.sock."""
    client = scope.get("client")
    return place(client[0]) if client and client[0] and not is_operator(scope) else None


def host_of(scope: Scope) -> str | None:
    """Return the host name that a request names, without its port; None where it names none, or several."""
    named = [value for name, value in scope.get("headers", ()) if name == b"host"]
    if len(named) != 1 or is_operator(scope):
        return None
    found = _HOST.match(named[0].decode("latin-1").lower())
    return found[1] if found is not None else None


class Addresses:
    """Admits `per_second` sockets of each address on average; 0: all that come."""

    def __init__(self, per_second: float = 0) -> None:
        self._per_second = per_second
        self._known: dict[str, Admission] = {}
        """By place, the one unused for longest first."""

    def admit(self, address: str | None, now: float) -> float | None:
        """Admit one socket: return None, or else in how many seconds it should come back."""
        if not self._per_second or address is None:
            return None
        where = place(address)
        admission = self._known.pop(where, None)
        if admission is None:
            if len(self._known) >= ADDRESSES:
                del self._known[next(iter(self._known))]
            admission = Admission(self._per_second, max(1, int(self._per_second * BURST_SECONDS)))
        self._known[where] = admission
        return admission.admit(now)

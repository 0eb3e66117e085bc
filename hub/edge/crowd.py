"""How many sockets are of one address, and of one user or key: bounds beyond which the next one is closed with 4506.

Counts for this hub alone. Those that are there stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from handlers.base import Peer


class Crowd:
    """Counts the sockets of this hub; a bound of 0 is none."""

    def __init__(self, per_address: int = 0, per_identity: int = 0) -> None:
        self._bounds = {"address": per_address, "identity": per_identity}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._of: dict[Hashable, list[tuple[str, str]]] = {}
        """What each socket is counted as."""

    def __len__(self) -> int:
        return len(self._counts)

    def came(self, socket: Hashable, peer: Peer) -> bool:
        """Count a new socket; return False, and do not, where there are too many of its address."""
        return peer.operator or self._count(socket, "address", peer.address)

    def greeted(self, socket: Hashable, peer: Peer) -> bool:
        """Count a socket as of whom it is now; return False, and do not, where they have too many."""
        who = peer.identity.user or peer.identity.credential
        if peer.operator or who is None or not self._bounds["identity"]:
            return True
        counted = self._of.get(socket, [])
        if ("identity", who) in counted:
            return True
        for was in [one for one in counted if one[0] == "identity"]:
            counted.remove(was)
            self._less(was)
        return self._count(socket, "identity", who)

    def left(self, socket: Hashable) -> None:
        """A socket is gone."""
        for one in self._of.pop(socket, ()):
            self._less(one)

    def _count(self, socket: Hashable, what: str, name: str | None) -> bool:
        bound = self._bounds[what]
        if not bound or name is None:
            return True
        if self._counts[(what, name)] >= bound:
            return False
        self._counts[(what, name)] += 1
        self._of.setdefault(socket, []).append((what, name))
        return True

    def _less(self, one: tuple[str, str]) -> None:
        self._counts[one] -= 1
        if not self._counts[one]:
            del self._counts[one]

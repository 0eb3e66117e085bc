"""Telling what became of locks: who is in the channel of the record, and who lost one.

    Locks -> Change -> a `message` push with the event `$lock`, which no client can send

It is told to whoever is told who is there, and to a session that a lock was taken from, wherever that is. It has no
offset and is not kept: who joins learns the present holder from the answer. A lock that changes hands more often than
people can see is told of once a second, as what became of it since: so nobody can flood a room with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from channels.messages import Messages
from channels.outlet import Encoded, Outlet
from hub.wire import frames
from storage.locks import Change, Lock, LockKey

EVENT: Final = "$lock"
AT_ONCE: Final = 10
"""How many changes of one lock in a second are told each by itself."""
SECOND: Final = 1.0


@dataclass(slots=True)
class _Second:
    """What was told of a lock in this second, and the first and the last change that are still to be told."""

    told: int = 0
    first: Change | None = None
    last: Change | None = None


class LockNews:
    """Tells of every change; `outlet_of` returns the socket that a session has here in an account."""

    def __init__(self, messages: Messages, outlet_of: Callable[[str, str], Outlet | None]) -> None:
        self._messages = messages
        self._outlet_of = outlet_of
        self._seconds: dict[LockKey, _Second] = {}

    def told(self, change: Change) -> None:
        """Tell who is concerned here, now or at the end of the second."""
        second = self._seconds.get(change.key)
        if second is None:
            second = self._begin(change.key)
        if second.told >= AT_ONCE:
            second.first, second.last = second.first or change, change
            self._tell_loser(change, Encoded(_message(change)), set())
            return
        second.told += 1
        self._tell(change)

    def _begin(self, key: LockKey) -> _Second:
        second = self._seconds[key] = _Second()
        asyncio.get_running_loop().call_later(SECOND, self._over, key)
        return second

    def _over(self, key: LockKey) -> None:
        second = self._seconds.pop(key)
        if second.first is not None and second.last is not None:
            self._begin(key).told = AT_ONCE
            self._tell(replace(second.last, was=second.first.was))

    def _tell(self, change: Change) -> None:
        account, kind, rec = change.key
        message = Encoded(_message(change))
        self._tell_loser(change, message, self._messages.beside((account, f"{kind}:{rec}"), message))

    def _tell_loser(self, change: Change, message: Encoded, heard: set[Outlet]) -> None:
        was = change.was
        if was is None or change.why == "released" or (change.holder and change.holder.session == was.session):
            return
        loser = self._outlet_of(change.key[0], was.session)
        if loser is not None and loser not in heard:
            # Where too much waits for it, it learns of its loss when it keeps the lock the next time.
            loser.push(message.frame(loser.codec), None)


def _message(change: Change) -> frames.Message:
    _, kind, rec = change.key
    holder = None if change.holder is None else change.holder.wire()
    was = None if change.was is None else change.was.wire()
    actor = {"taken": holder, "stolen": holder, "released": was}.get(change.why)
    data = {"type": kind, "rec": rec, "why": change.why, "number": change.number, "holder": holder, "was": was}
    return frames.message(f"{kind}:{rec}", 0, {"event": EVENT, "data": data, "from": actor})


def shown(lock: Lock) -> dict[str, Any]:
    """Return a lock as answers show it."""
    return {"holder": lock.holder.wire(), "number": lock.number}

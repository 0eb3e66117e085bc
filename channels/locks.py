"""Telling what became of locks: who is in the channel of the record, and who lost one.

    Locks -> Change -> a `message` push with the event `$lock`, which no client can send

It is told to whoever is told who is there, and to a session that a lock was taken from, wherever that is. It has no
offset and is not kept: who joins learns the present holder from the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from channels.messages import Messages
from channels.outlet import Encoded, Outlet
from hub.wire import frames
from storage.locks import Change, Lock

EVENT: Final = "$lock"


class LockNews:
    """Tells of every change; `outlet_of` returns the socket that a session has here in an account."""

    def __init__(self, messages: Messages, outlet_of: Callable[[str, str], Outlet | None]) -> None:
        self._messages = messages
        self._outlet_of = outlet_of

    def told(self, change: Change) -> None:
        """Tell who is concerned here."""
        account, kind, rec = change.key
        message = Encoded(_message(change))
        heard = self._messages.beside((account, f"{kind}:{rec}"), message)
        was = change.was
        if was is None or change.why == "released" or (change.holder and change.holder.session == was.session):
            return
        loser = self._outlet_of(account, was.session)
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

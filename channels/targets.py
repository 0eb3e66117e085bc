"""The clients of this instance as those who are asked to do something: who is here, and what they were told.

A session can be told something from the answer of its hello until its socket is gone. What it was told it may answer
for as long as the session lives, so also on the next socket; a session that ends or leaves its account answers nothing
any more, and who asked is told so at once. Time is the loop's; knows nothing of other instances.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from channels.letters import Address, Order, Outcome
from channels.rosters import Who
from hub.wire import frames
from storage.queues import QueueKey

if TYPE_CHECKING:
    from channels.live import SessionState

COMMANDS_PER_TARGET: Final = 1000
"""How many commands one session may be working on."""
_ACTIVITY: Final = ("active", "idle", "away")

OnOutcome = Callable[[Order, Outcome, Any, "dict[str, Any] | None"], None]
"""Told what became of a command: its data, and the member that answered."""


class Best(NamedTuple):
    """The session to tell: the lower `rank`, then the later `since` (seconds since 1970), is the better."""

    rank: int
    since: float
    session: str


@dataclass(slots=True, eq=False)
class _Open:
    """A command that waits for its answer."""

    order: Order
    timer: asyncio.TimerHandle


@dataclass(slots=True, eq=False)
class _Target:
    """A session and what it was told. `since`: when it came, in seconds since 1970; `here`: whether it can be told."""

    session: SessionState
    account: str
    who: Who
    since: float
    here: bool = True
    open: dict[int, _Open] = field(default_factory=dict)

    @property
    def member(self) -> dict[str, Any]:
        """Who answers, as others see it."""
        who = self.who
        return {"kind": who.kind, "rec": who.rec, "name": who.name, "session": self.session.id}


class Targets:
    """The sessions of this instance that can be asked to do something."""

    def __init__(self, on_outcome: OnOutcome, clock: Callable[[], float]) -> None:
        """`on_outcome` is told once of each command that was told to a session; `clock` is seconds since 1970."""
        self._on_outcome = on_outcome
        self._clock = clock
        self._targets: dict[str, _Target] = {}
        self._by_who: dict[tuple[str, str, str], dict[str, _Target]] = {}
        """The sessions that are here, by account, kind and id."""

    def arrive(self, session: SessionState, who: Who | None) -> QueueKey | None:
        """The hello of a session was answered: it can be told something. Return (account, kind, id) of who it is."""
        if session.account is None or who is None or session.outlet is None:
            return None
        target = self._targets.get(session.id)
        if target is None:
            # No number of this session is given twice, whatever its account is and wherever it was before.
            session.told = max(session.told, session.move << 32)
            target = self._targets[session.id] = _Target(session, session.account, who, self._clock())
        elif not target.here:
            target.since, target.here = self._clock(), True
        key = (target.account, who.kind, who.rec)
        self._by_who.setdefault(key, {})[session.id] = target
        return key

    def depart(self, session: str) -> None:
        """The socket of a session is gone: it is told nothing more, and may still answer when it comes back."""
        target = self._targets.get(session)
        if target is None or not target.here:
            return
        target.here = False
        key = (target.account, target.who.kind, target.who.rec)
        found = self._by_who[key]
        del found[session]
        if not found:
            del self._by_who[key]

    def end(self, session: str) -> None:
        """A session is over, or leaves its account: it answers nothing any more."""
        self.depart(session)
        target = self._targets.pop(session, None)
        if target is None:
            return
        for number in list(target.open):
            self._close(target, number, "gone", None)

    def close(self) -> None:
        """End all of them."""
        for session in list(self._targets):
            self.end(session)

    def best(self, to: Address) -> Best | None:
        """Return the session here that should be told something, None where there is none."""
        if to.kind == "session":
            target = self._targets.get(to.rec)
            found = [] if target is None or not target.here or target.account != to.account else [target]
        else:
            found = list(self._by_who.get((to.account, to.kind, to.rec), {}).values())
        allowed = [target for target in found if target.who.kind in to.allowed]
        if not allowed:
            return None
        best = min(allowed, key=lambda target: (_ACTIVITY.index(target.session.status), -target.since))
        return Best(_ACTIVITY.index(best.session.status), best.since, best.session.id)

    def tell(self, session: str, order: Order) -> Literal["absent", "busy"] | None:
        """Tell a session a command; None where that was done. What becomes of it is told to `on_outcome`, in time."""
        target, to = self._targets.get(session), order.to
        if target is None or not target.here or target.account != to.account or target.who.kind not in to.allowed:
            return "absent"
        mine = session if to.kind == "session" else target.who.rec if to.kind == target.who.kind else None
        outlet = target.session.outlet
        if mine != to.rec or outlet is None or outlet.closed:
            return "absent"
        if len(target.open) >= COMMANDS_PER_TARGET:
            return "busy"
        number = target.session.told + 1
        frame = outlet.codec.encode(frames.command(number, order.name, order.data, order.sender))
        if not outlet.push(frame, None):
            return "busy"
        target.session.told = number
        timer = asyncio.get_running_loop().call_later(order.seconds, self._late, target, number)
        target.open[number] = _Open(order, timer)
        return None

    def reply(self, session: str, number: int, outcome: Literal["answer", "failed"], data: Any) -> bool:
        """Take the answer of a session to a command; say whether it was one of its own that is still waited for."""
        target = self._targets.get(session)
        if target is None or number not in target.open:
            return False
        self._close(target, number, outcome, data)
        return True

    @property
    def open(self) -> int:
        """How many commands wait for their answer."""
        return sum(len(target.open) for target in self._targets.values())

    def _late(self, target: _Target, number: int) -> None:
        """Nobody waits any more, and who asked knows that itself."""
        target.open.pop(number, None)

    def _close(self, target: _Target, number: int, outcome: Outcome, data: Any) -> None:
        found = target.open.pop(number)
        found.timer.cancel()
        self._on_outcome(found.order, outcome, data, target.member)

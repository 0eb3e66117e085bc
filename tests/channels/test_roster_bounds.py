"""What a channel is told stays small whoever is in it: sockets that join in one turn, and members of many sessions."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from channels.rooms import MEMBER_BYTES, MEMBER_SESSIONS, SOME, Entry, Member, Room, Who, check_member
from channels.rosters import PUSHES_A_TURN, STATE_BYTES, Rosters
from hub.wire.codec import JSON, MSGPACK
from hub.wire.errors import HubError
from tests.channels.scene import ACCOUNT, NOW, Listener

CHANNEL = (ACCOUNT, "event:one")
ADA = Who("user", "ada", "Ada")
STATE: Final = {"a": "x" * (STATE_BYTES - 8)}
TURN: Final = 200
"""How many join in one turn."""


def test_what_those_are_told_who_joined_in_one_turn_is_not_held_for_all_of_them_at_once() -> None:
    later: list[Callable[[], None]] = []
    rosters = Rosters("here", later.append)
    # Each begins to hear at another event. None of them keeps more than one push.
    sockets = [Listener(max_bytes=1) for _ in range(TURN)]
    for n, socket in enumerate(sockets):
        rosters.join(CHANNEL, socket.outlet, f"s{n}", Who("user", f"u{n}", "U"), STATE, NOW)
    tracemalloc.start()
    for flush in later:
        flush()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < TURN * TURN * STATE_BYTES / 4, "of the sum over all of them, a quarter"
    assert [e["member"]["rec"] for p in sockets[-2].heard() for e in p["events"]] == [f"u{TURN - 1}"]


def _turn(later: list[Callable[[], None]]) -> None:
    now, later[:] = list(later), []
    for flush in now:
        flush()


@pytest.mark.parametrize("last", ["of another codec", "told of some"])
def test_who_leaves_while_many_are_told_of_them_is_told_of_as_they_were(last: str) -> None:
    later: list[Callable[[], None]] = []
    rosters = Rosters("here", later.append)
    for n in range(PUSHES_A_TURN + SOME):
        rosters.join(CHANNEL, Listener().outlet, f"w{n}", None, None, NOW)
    slow = Listener(MSGPACK if last == "of another codec" else JSON)
    only = frozenset({ADA.key}) if last == "told of some" else None
    rosters.join(CHANNEL, slow.outlet, "slow", None, None, NOW, only=only)
    ada = Listener()
    rosters.join(CHANNEL, ada.outlet, "ada", ADA, {}, NOW)
    _turn(later)
    assert slow.heard() == [], "it is told in a later turn"
    rosters.leave(CHANNEL, ada.outlet, "ada")
    for _ in range(4):
        _turn(later)
    told = [(e["kind"], len(e["member"]["sessions"])) for push in slow.heard() for e in push["events"]]
    assert told == [("join", 1), ("leave", 1)]


def test_a_fault_in_one_room_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    later: list[Callable[[], None]] = []
    rosters = Rosters("here", later.append)
    other = Listener()
    broken, well = (ACCOUNT, "event:broken"), (ACCOUNT, "event:well")
    telling = Room.telling

    def fails(room: Room) -> Iterator[int]:
        if room.name == "event:broken":
            raise RuntimeError("a fault")
        return telling(room)

    monkeypatch.setattr(Room, "telling", lambda room: (yield from fails(room)))
    for channel in (broken, well):
        rosters.join(channel, other.outlet, "other", None, None, NOW)
        rosters.join(channel, Listener().outlet, "ada", ADA, {}, NOW)
    with pytest.raises(RuntimeError):
        _turn(later)
    _turn(later)
    rosters.update(well, "ada", {"n": 1})
    _turn(later)
    assert [(push["channel"], push["events"][0]["kind"]) for push in other.heard()] == [
        ("event:well", "join"),
        ("event:well", "update"),
    ]


def _of(count: int, size: int) -> Member:
    sessions = {f"s{n}": Entry({"a": "x" * (size - 8)}, "active", NOW, NOW) for n in range(count)}
    return Member(ADA, NOW, sessions)


def test_a_member_shows_so_many_sessions() -> None:
    check_member(None, "new", {}, "state")
    check_member(_of(MEMBER_SESSIONS - 1, 10), "new", {}, "state")
    check_member(_of(MEMBER_SESSIONS, 10), "s0", {}, "state")
    with pytest.raises(HubError) as refusal:
        check_member(_of(MEMBER_SESSIONS, 10), "new", {}, "presence.state")
    assert (refusal.value.code, refusal.value.path) == ("state.too_large", "presence.state")


def test_a_member_shows_so_much_in_all_its_sessions() -> None:
    count = MEMBER_BYTES // STATE_BYTES
    check_member(_of(count, STATE_BYTES), "s0", STATE, "state")
    check_member(_of(count - 1, STATE_BYTES), "new", STATE, "state")
    with pytest.raises(HubError) as refusal:
        check_member(_of(count, STATE_BYTES), "new", {}, "state")
    assert refusal.value.code == "state.too_large"

"""The roster of a channel, and how a channel of the Python client reads a long one; the hub is of straw."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

import pytest

from aether_client.channel import Channels
from aether_client.errors import HubError
from aether_client.requests import Answer
from aether_client.roster import Hole, Roster


def _member(rec: str, status: str = "active") -> dict[str, Any]:
    return {"kind": "user", "rec": rec, "status": status}


def test_a_roster_follows_its_pushes_and_notices_a_hole() -> None:
    roster = Roster()
    assert [m["rec"] for m in roster.open([_member("a")], 3).joined] == ["a"]
    assert not roster.push(3, [{"kind": "join", "member": _member("b")}])
    change = roster.push(4, [{"kind": "join", "member": _member("b")}, {"kind": "leave", "member": _member("a")}])
    assert ([m["rec"] for m in change.joined], [m["rec"] for m in change.left]) == (["b"], ["a"])
    with pytest.raises(Hole):
        roster.push(6, [])
    roster.lost()
    change = roster.open([_member("b", "away"), _member("c")], 0)
    assert ([m["rec"] for m in change.joined], [m["rec"] for m in change.updated]) == (["c"], ["b"])


def _names(members: Iterable[dict[str, Any]]) -> list[str]:
    return [member["rec"] for member in members]


def _paged_again() -> Roster:
    """A roster that knows four, and has the first page of two or more after a rejoin."""
    roster = Roster()
    roster.open([_member(rec) for rec in "abcd"], 0)
    roster.lost()
    assert not roster.open([_member("a")], 0, None, "h.1"), "nobody has left yet"
    return roster


def test_a_roster_is_whole_behind_its_last_page_and_only_then_tells_who_left() -> None:
    roster = _paged_again()
    assert not roster.page([_member("b")], "h.2")
    assert _names(roster.members.values()) == ["a", "b", "c", "d"], "no flicker"
    change = roster.page([_member("d", "away")], None)
    assert (_names(change.left), _names(change.updated), change.joined) == (["c"], ["d"], ())
    assert _names(roster.members.values()) == ["a", "b", "d"]


def test_a_page_does_not_undo_what_pushes_told_meanwhile() -> None:
    roster = _paged_again()
    events = [("leave", "b"), ("update", "c"), ("join", "e"), ("update", "f"), ("leave", "a")]
    change = roster.push(1, [{"kind": kind, "member": _member(rec, "new")} for kind, rec in events])
    assert (_names(change.left), _names(change.updated), _names(change.joined)) == (["b", "a"], ["c"], ["e", "f"])
    assert not roster.page([_member(rec, "old") for rec in "abcf"], "h.2")
    assert not roster.page([_member("d"), _member("e", "old")], None)
    assert [(m["rec"], m["status"]) for m in roster.members.values()] == [
        ("c", "new"), ("f", "new"), ("d", "active"), ("e", "new"),
    ]  # fmt: skip


def test_a_list_that_begins_again_forgets_what_was_listed_and_pushed_before() -> None:
    roster = _paged_again()
    roster.push(1, [{"kind": "update", "member": _member("b", "new")}])
    roster.open([_member("a")], 0, None, "h.1")
    change = roster.page([_member("b", "newer")], None)
    assert (_names(change.updated), _names(change.left)) == (["b"], ["c", "d"])


def test_a_roster_counts_what_it_does_not_list() -> None:
    roster = Roster()
    assert roster.open([_member("a")], 0, 3, "h.1").count == 3
    assert roster.count == 3
    roster.page([_member("b")], None)
    assert roster.count == 2, "as many as were listed"
    assert roster.open([], 0, 5).count == 5
    change = roster.push(1, [], 6)
    assert change, "how many there are is a change"
    assert (change.count, roster.count) == (6, 6)


class _Straw:
    """A connection whose other end is the test."""

    def __init__(self) -> None:
        self.state, self.sockets, self.error = "online", 1, None
        self.listeners: list[Any] = []
        self.asked: list[tuple[str, Any, Any, Any]] = []

    def ask(self, op: str, fields: Any, ok: Any, fail: Any, repeat: str | None = None) -> None:
        assert (op == "presence.roster") == (repeat == "socket")
        self.asked.append((op, fields, ok, fail))

    def take(self, op: str) -> tuple[Any, Any, Any]:
        found, *rest = self.asked.pop(0)
        assert found == op
        return rest[0], rest[1], rest[2]


_FIRST: Final = {"version": 0, "epoch": "e", "offset": 0, "recovered": False, "count": 3, "next": "h.1"}


async def test_a_channel_reads_on_where_its_join_ended_and_begins_again_at_a_hole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("aether_client.channel.AGAIN_SECONDS", 0.001)
    straw = _Straw()
    channel = Channels(straw).join("event:e", None)  # type: ignore[arg-type]  # it has what is used
    first = Answer({**_FIRST, "members": [_member("a")]})
    straw.take("channel.join")[1](first)
    asked, late, _ = straw.take("presence.roster")
    assert (asked, channel.count, _names(channel.members)) == ({"channel": "event:e", "after": "h.1"}, 3, ["a"])
    channel.presence({"version": 2, "events": []})  # a hole
    late(Answer({"members": [_member("x")], "next": "h.9"}))  # says nothing any more
    straw.take("channel.join")[1](first)
    straw.take("presence.roster")[2](HubError("cursor.invalid", "No."))
    assert straw.asked == []
    async with asyncio.timeout(5):
        while not straw.asked:
            await asyncio.sleep(0.001)
    straw.take("channel.join")[1](first)
    straw.take("presence.roster")[1](Answer({"members": [_member("b")], "next": "h.2"}))
    asked, ok, _ = straw.take("presence.roster")
    assert asked["after"] == "h.2"
    ok(Answer({"members": [_member("c")]}))
    assert (_names(channel.members), channel.count, straw.asked) == (["a", "b", "c"], 3, [])
    channel.lost()
    channel.join()
    straw.take("channel.join")[1](first)
    _, ok, _ = straw.take("presence.roster")
    channel.leave()
    straw.take("channel.leave")
    ok(Answer({"members": [_member("b")], "next": "h.2"}))
    assert straw.asked == [], "who left reads no further"


def test_a_join_may_ask_for_less_than_everybody() -> None:
    straw = _Straw()
    channel = Channels(straw).join("event:e", None, "count")  # type: ignore[arg-type]  # as above
    fields, ok, _ = straw.take("channel.join")
    assert fields["roster"] == "count"
    ok(Answer({**_FIRST, "members": [], "count": 5000, "next": None}))
    assert (channel.count, channel.members) == (5000, [])
    channel.presence({"version": 1, "count": 5001})
    assert channel.count == 5001

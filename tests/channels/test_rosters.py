"""Who is here: members, their sessions, what each socket is told, and what a full socket is told instead."""

from __future__ import annotations

import pytest

from channels.rosters import LEAVES, MEMBERS, STATE_BYTES, Rosters, Who, check_state
from hub.wire.errors import HubError
from tests.channels.scene import ACCOUNT, NOW, Listener, Message

CHANNEL = (ACCOUNT, "event:one")
ADA, BOB = Who("user", "ada", "Ada"), Who("user", "bob", "Bob")
DEVICE = Who("device", "ada", "a device of the same id")


class Room:
    """A roster and the sockets in it, by the id of their session."""

    def __init__(self) -> None:
        self.rosters = Rosters()
        self.sockets: dict[str, Listener] = {}

    def join(
        self, session: str, who: Who | None, state: Message | None = None, now: str = NOW, status: str = "active"
    ) -> list[Message]:
        """Let a session join; return the members."""
        socket = self.sockets.setdefault(session, Listener())
        members, version = self.rosters.join(CHANNEL, socket.outlet, session, who, state, now, status)
        assert version == 0
        return members

    def heard(self, session: str) -> list[tuple[str, str, str, int]]:
        """Take what a socket was told: kind, who, status and number of sessions; versions must follow each other."""
        return [
            (e["kind"], e["member"]["rec"], e["member"]["status"], len(e["member"]["sessions"]))
            for push in self.sockets[session].heard()
            for e in push["events"]
        ]


@pytest.fixture
def room() -> Room:
    return Room()


def test_the_first_session_joins_and_the_last_one_leaves(room: Room) -> None:
    room.join("watcher", BOB)
    room.join("a1", ADA, {})
    room.join("a2", ADA, {})
    for session in ("a1", "a2"):
        room.rosters.leave(CHANNEL, room.sockets[session].outlet, session)
    assert room.heard("watcher") == [
        ("join", "ada", "active", 1),
        ("update", "ada", "active", 2),
        ("update", "ada", "active", 1),
        ("leave", "ada", "active", 1),
    ]
    assert room.rosters.members(CHANNEL) == []


def test_a_user_and_a_device_of_one_id_are_two_members(room: Room) -> None:
    room.join("a1", ADA, {})
    assert [(m["kind"], m["rec"]) for m in room.join("d1", DEVICE, {})] == [("user", "ada"), ("device", "ada")]


def test_versions_count_what_one_socket_was_told_since_it_joined(room: Room) -> None:
    room.join("watcher", BOB)
    room.join("a1", ADA, {})
    room.join("late", BOB)
    for n in range(3):
        room.rosters.update(CHANNEL, "a1", {"n": n})
    versions = {s: [push["version"] for push in room.sockets[s].heard()] for s in ("watcher", "late", "a1")}
    assert versions == {"watcher": [1, 2, 3, 4], "late": [1, 2, 3], "a1": [1, 2, 3]}
    room.join("watcher", BOB)
    room.rosters.update(CHANNEL, "a1", {})
    assert [push["version"] for push in room.sockets["watcher"].heard()] == [1]


def test_a_join_is_told_to_the_others_only(room: Room) -> None:
    assert room.join("a1", ADA, {"x": 1})[0]["sessions"] == [
        {"session": "a1", "state": {"x": 1}, "status": "active", "since": NOW}
    ]
    assert room.heard("a1") == []


def test_joining_again_with_the_same_is_no_news_and_with_another_state_is_an_update(room: Room) -> None:
    room.join("watcher", None)
    room.join("a1", ADA, {"n": 1}, "2026-11-21T09:00:00.000Z")
    members = room.join("a1", ADA, {"n": 1}, "2026-11-21T10:00:00.000Z")
    assert members[0]["since"] == "2026-11-21T09:00:00.000Z"
    room.join("a1", ADA, {"n": 2}, "2026-11-21T11:00:00.000Z")
    assert [kind for kind, *_ in room.heard("watcher")] == ["join", "update"]


def test_a_state_that_stays_the_same_is_no_news(room: Room) -> None:
    room.join("watcher", None)
    room.join("a1", ADA, {"n": 1})
    room.rosters.update(CHANNEL, "a1", {"n": 1})
    room.rosters.status("a1", "active")
    assert len(room.heard("watcher")) == 1


def test_a_session_joins_with_the_status_that_it_declared(room: Room) -> None:
    room.join("watcher", None)
    assert [m["status"] for m in room.join("a1", ADA, {}, status="idle")] == ["idle"]
    room.join("a1", ADA, {}, status="idle")
    assert room.heard("watcher") == [("join", "ada", "idle", 1)]


def test_where_a_channel_ends_all_leave_and_nobody_is_in_it(room: Room) -> None:
    assert room.rosters.end(CHANNEL) == []
    room.join("watcher", None)
    for n in range(LEAVES + 1):
        room.join(f"s{n}", Who("user", f"u{n}", "U"), {})
    room.heard("watcher")
    assert set(room.rosters.end(CHANNEL)) == {socket.outlet for socket in room.sockets.values()}
    pushes = room.sockets["watcher"].heard()
    assert [len(push["events"]) for push in pushes] == [LEAVES, 1]
    assert [push["version"] for push in pushes] == [LEAVES + 2, LEAVES + 3]
    told = {(e["kind"], e["member"]["rec"]) for push in pushes for e in push["events"]}
    assert told == {("leave", f"u{n}") for n in range(LEAVES + 1)}
    room.rosters.status("s0", "away")
    room.rosters.expire("s1")
    assert room.heard("watcher") == room.heard("s2")[:0] == []
    assert room.join("late", BOB) == []


def test_the_status_is_that_of_the_most_active_session(room: Room) -> None:
    room.join("watcher", None)
    room.join("a1", ADA, {})
    room.join("a2", ADA, {})
    room.rosters.status("a1", "away")
    room.rosters.status("a2", "idle")
    room.rosters.status("a2", "away")
    room.rosters.status("a1", "active")
    assert [status for _, _, status, _ in room.heard("watcher")] == [
        "active", "active", "active", "idle", "away", "active",
    ]  # fmt: skip


def test_a_cut_shows_away_and_the_end_of_its_grace_leaves_once(room: Room) -> None:
    room.join("watcher", None)
    room.join("a1", ADA, {})
    room.rosters.drop(room.sockets["a1"].outlet, "a1")
    room.rosters.expire("a1")
    room.rosters.expire("a1")
    assert room.heard("watcher") == [
        ("join", "ada", "active", 1),
        ("update", "ada", "away", 1),
        ("leave", "ada", "away", 1),
    ]
    assert room.heard("a1") == []


def test_an_end_leaves_at_once_and_never_looks_away(room: Room) -> None:
    room.join("watcher", None)
    room.join("a1", ADA, {})
    room.rosters.drop(room.sockets["a1"].outlet, "a1", ended=True)
    assert [kind for kind, *_ in room.heard("watcher")] == ["join", "leave"]


def test_a_cut_session_that_comes_back_is_active_and_nobody_saw_it_leave(room: Room) -> None:
    room.join("watcher", None)
    room.join("a1", ADA, {"n": 1})
    room.rosters.drop(room.sockets.pop("a1").outlet, "a1")
    room.rosters.status("a1", "active")
    room.join("a1", ADA, {"n": 1})
    assert room.heard("watcher") == [
        ("join", "ada", "active", 1),
        ("update", "ada", "away", 1),
        ("update", "ada", "active", 1),
    ]


def test_a_channel_of_another_account_is_another_channel(room: Room) -> None:
    room.join("watcher", None)
    other = Listener()
    room.rosters.join(("other", CHANNEL[1]), other.outlet, "b1", BOB, {}, NOW)
    assert room.heard("watcher") == []
    assert room.rosters.members(CHANNEL) == []


def test_nothing_is_kept_of_a_channel_that_everybody_left(room: Room) -> None:
    room.join("watcher", None)
    room.join("a1", ADA, {})
    room.rosters.leave(CHANNEL, room.sockets["a1"].outlet, "a1")
    room.rosters.leave(CHANNEL, room.sockets["watcher"].outlet, "watcher")
    room.rosters.leave(CHANNEL, room.sockets["watcher"].outlet, "watcher")
    assert room.rosters._rooms == {}


def test_who_is_not_shown_has_no_state_to_change(room: Room) -> None:
    room.join("watcher", BOB)
    for channel in (CHANNEL, (ACCOUNT, "event:other")):
        with pytest.raises(HubError) as refused:
            room.rosters.update(channel, "watcher", {})
        assert (refused.value.code, refused.value.path) == ("channel.unknown", "channel")


def test_a_socket_that_is_behind_keeps_one_push_a_channel_and_sees_a_hole(room: Room) -> None:
    room.sockets["slow"] = Listener(max_bytes=1500)
    room.join("slow", None)
    room.join("fast", None)
    room.join("a1", ADA, {})
    for n in range(50):
        room.rosters.update(CHANNEL, "a1", {"n": n, "text": "x" * 200})
    assert room.sockets["slow"].outlet.size < 1500
    pushes = room.sockets["slow"].heard()
    assert pushes[-1]["version"] == 51
    assert pushes[-1]["events"][0]["member"]["sessions"][0]["state"]["n"] == 49
    assert pushes[0]["version"] > 1, "the hole tells the client to join again"
    assert [push["version"] for push in room.sockets["fast"].heard()] == list(range(1, 52))


def test_a_socket_that_is_full_of_other_things_still_hears_of_the_last_change(room: Room) -> None:
    slow = room.sockets["slow"] = Listener(max_bytes=100)
    room.join("slow", None)
    slow.outlet.push(b"x" * 100, "a watch")
    for n in range(20):
        room.join(f"b{n}", Who("user", f"b{n}", "B"), {})
    assert len(slow.outlet) == 2, "what waits stays bounded"


def test_a_join_lists_at_most_a_thousand_members(room: Room) -> None:
    crowd = Listener().outlet
    for n in range(MEMBERS + 5):
        room.rosters.join(CHANNEL, crowd, f"s{n}", Who("user", f"u{n}", "U"), {}, NOW)
    assert len(room.join("watcher", None)) == MEMBERS


def test_a_state_is_measured_in_bytes_of_json() -> None:
    check_state({"a": "x" * (STATE_BYTES - 8)}, "state")
    for state in ({"a": "x" * (STATE_BYTES - 7)}, {"a": "ü" * (STATE_BYTES // 2)}):
        with pytest.raises(HubError) as refused:
            check_state(state, "presence.state")
        assert (refused.value.code, refused.value.path) == ("state.too_large", "presence.state")

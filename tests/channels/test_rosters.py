"""Who is here: members, their sessions, what each socket is told, and what a full socket is told instead."""

from __future__ import annotations

import pytest

from channels.rooms import PUSH_BYTES, PUSH_EVENTS, Entry
from channels.rosters import MEMBERS, STATE_BYTES, Happening, Rosters, Who, check_state
from hub.wire.errors import HubError
from tests.channels.scene import ACCOUNT, NOW, Listener, Message

CHANNEL = (ACCOUNT, "event:one")
ADA, BOB = Who("user", "ada", "Ada"), Who("user", "bob", "Bob")
DEVICE = Who("device", "ada", "a device of the same id")


class Room:
    """A roster and the sockets in it, by the id of their session."""

    def __init__(self) -> None:
        self.rosters = Rosters("here", lambda flush: flush())
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
    for n in range(20):
        room.join(f"s{n}", Who("user", f"u{n}", "U"), {})
    room.heard("watcher")
    assert set(room.rosters.end(CHANNEL)) == {socket.outlet for socket in room.sockets.values()}
    told = [(e["kind"], e["member"]["rec"]) for push in room.sockets["watcher"].heard() for e in push["events"]]
    assert told == [("leave", f"u{n}") for n in range(20)]
    assert not any(room.rosters.joined(CHANNEL, socket.outlet) for socket in room.sockets.values())
    room.heard("s2")
    room.rosters.status("s0", "away")
    room.rosters.expire("s1")
    assert room.heard("watcher") == room.heard("s2") == []
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


# -- what happens in one turn of the loop is told together ---------------------------------------------


class Turns(Room):
    """A roster whose turns end when `flush` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.due = 0
        self.rosters = Rosters("here", self._count)

    def _count(self, flush: object) -> None:
        self.due += 1

    def told(self, session: str) -> list[list[tuple[str, str]]]:
        """Take what a socket was told, push by push."""
        return [
            [(event["kind"], event["member"]["rec"]) for event in push["events"]]
            for push in self.sockets[session].heard()
        ]


def test_thousands_of_joins_and_leaves_in_a_turn_are_a_few_pushes_in_their_order() -> None:
    room = Turns()
    room.join("watcher", None)
    crowd = Listener()
    for n in range(3000):
        room.rosters.join(CHANNEL, crowd.outlet, f"s{n}", Who("user", f"u{n}", "U"), {}, NOW, sees=False)
    for n in range(1000):
        room.rosters.expire(f"s{n}")
    assert (room.due, len(room.sockets["watcher"].outlet)) == (1, 0)
    room.rosters.flush()
    frames = room.sockets["watcher"].outlet._items
    assert all(len(frame) < PUSH_BYTES + 1000 for frame, _ in frames if isinstance(frame, bytes))
    pushes = room.told("watcher")
    assert 4000 / PUSH_EVENTS <= len(pushes) < 20
    assert max(map(len, pushes)) <= PUSH_EVENTS
    expected = [("join", f"u{n}") for n in range(3000)] + [("leave", f"u{n}") for n in range(1000)]
    assert [event for push in pushes for event in push] == expected
    room.rosters.flush()
    assert room.told("watcher") == []


def test_a_large_state_makes_another_push_and_not_a_larger_one() -> None:
    room = Turns()
    room.join("watcher", None)
    for n in range(40):
        room.join(f"s{n}", Who("user", f"u{n}", "U"), {"a": "x" * 4000})
    room.rosters.flush()
    sizes = [len(frame) for frame, _ in room.sockets["watcher"].outlet._items if isinstance(frame, bytes)]
    assert len(sizes) == 3
    assert max(sizes) < PUSH_BYTES + 200


def test_many_changes_of_one_member_in_a_turn_are_told_once_as_they_end() -> None:
    room = Turns()
    room.join("watcher", None)
    room.rosters.join(CHANNEL, Listener().outlet, "a1", ADA, {"n": 0}, NOW, sees=False)
    for n in range(50):
        room.rosters.update(CHANNEL, "a1", {"n": n})
    room.rosters.flush()
    (push,) = room.sockets["watcher"].heard()
    assert [(e["kind"], e["member"]["sessions"][0]["state"]) for e in push["events"]] == [("join", {"n": 49})]
    room.rosters.update(CHANNEL, "a1", {"n": 50})
    room.rosters.expire("a1")
    room.join("a2", ADA, {})
    room.rosters.flush()
    assert room.told("watcher") == [[("update", "ada"), ("leave", "ada"), ("join", "ada")]]


def test_who_joins_within_a_turn_is_told_only_what_its_answer_has_not() -> None:
    room = Turns()
    room.join("early", None)
    room.rosters.join(CHANNEL, Listener().outlet, "a1", ADA, {"n": 0}, NOW, sees=False)
    room.rosters.update(CHANNEL, "a1", {"n": 1})
    members = room.join("late", BOB, {})
    assert [(m["rec"], m["sessions"][0]["state"]) for m in members] == [("ada", {"n": 1}), ("bob", {})]
    room.rosters.update(CHANNEL, "a1", {"n": 2})
    room.rosters.expire("a1")
    room.rosters.flush()
    assert room.told("early") == [[("join", "ada"), ("join", "bob"), ("update", "ada"), ("leave", "ada")]]
    assert room.told("late") == [[("update", "ada"), ("leave", "ada")]]
    room.join("late", BOB, {})
    room.join("b2", BOB, {})
    room.rosters.flush()
    assert [push["version"] for push in room.sockets["late"].heard()] == [1], "a new count from the join on"


def test_who_leaves_within_a_turn_is_told_nothing_of_it_any_more() -> None:
    room = Turns()
    room.join("watcher", None)
    room.join("a1", ADA, {})
    room.rosters.leave(CHANNEL, room.sockets["watcher"].outlet, "watcher")
    room.rosters.flush()
    assert room.told("watcher") == []


def test_who_listens_after_everybody_stopped_hears_nothing_of_members_who_are_gone() -> None:
    room = Turns()
    room.join("watcher", None)
    room.join("a1", ADA, {})
    room.join("b1", BOB, {})
    for session in ("watcher", "b1", "a1"):
        room.rosters.leave(CHANNEL, room.sockets[session].outlet, session)
    room.join("late", None)
    room.join("b2", BOB, {})
    room.rosters.flush()
    assert room.told("late") == [[("join", "bob")]]


# -- entries of several instances ----------------------------------------------------------------------


def entry(instance: str, *, move: int = 0, status: str = "active", since: str = NOW, **state: object) -> Entry:
    return Entry(dict(state), status, since, since, instance, move)


def test_a_member_is_the_union_of_its_sessions_at_all_instances(room: Room) -> None:
    room.join("watcher", None)
    room.rosters.put(CHANNEL, ADA, "a1", entry("there"))
    room.join("a2", ADA, {}, status="idle")
    room.rosters.remove("there", CHANNEL, "a1")
    room.rosters.expire("a2")
    assert room.heard("watcher") == [
        ("join", "ada", "active", 1),
        ("update", "ada", "active", 2),
        ("update", "ada", "idle", 1),
        ("leave", "ada", "idle", 1),
    ]


def test_a_session_that_went_to_another_instance_did_not_leave(room: Room) -> None:
    room.join("watcher", None)
    room.join("a1", ADA, {"n": 1}, now="2026-11-21T08:00:00.000Z")
    moved = entry("there", move=1, since="2026-11-21T08:00:00.000Z", n=1)
    room.rosters.put(CHANNEL, ADA, "a1", moved)
    room.rosters.expire("a1")
    room.rosters.status("a1", "away")
    with pytest.raises(HubError):
        room.rosters.update(CHANNEL, "a1", {})
    assert room.heard("watcher") == [("join", "ada", "active", 1)]
    room.rosters.put(CHANNEL, ADA, "a1", entry("third", n=9))
    assert room.heard("watcher") == [], "what is told late of where it was before changes nothing"
    room.rosters.status("a1", "idle", "there")
    room.rosters.remove("there", CHANNEL, "a1")
    assert room.heard("watcher") == [("update", "ada", "idle", 1), ("leave", "ada", "idle", 1)]


def test_two_instances_that_took_one_session_agree_on_one(room: Room) -> None:
    for first, second in (("there", "else"), ("else", "there")):
        room.rosters.put(CHANNEL, ADA, "a1", entry(first, move=1))
        room.rosters.put(CHANNEL, ADA, "a1", entry(second, move=1))
        assert [e.instance for _, _, e in room.rosters.entries("a1")] == ["there"]
        room.rosters.remove("there", CHANNEL, "a1")


def test_where_a_session_is_shown_is_found_without_a_walk(room: Room) -> None:
    other = (ACCOUNT, "event:two")
    room.join("a1", ADA, {"n": 1})
    room.rosters.put(other, ADA, "a1", entry("here", n=2))
    assert {channel: e.state for channel, _, e in room.rosters.entries("a1")} == {CHANNEL: {"n": 1}, other: {"n": 2}}
    room.rosters.expire("a1")
    assert list(room.rosters.entries("a1")) == []
    assert room.rosters._shown == {}


def test_the_owner_and_nobody_else_is_told_what_to_act_on(room: Room) -> None:
    seen: list[Happening] = []
    room.rosters.happened = seen.append
    room.join("a1", ADA, {})
    room.rosters.on_drop(CHANNEL, "a1", {"wish": 1})
    room.join("a2", ADA, {}, "2026-11-21T10:00:00.000Z")
    room.rosters.expire("a1", vanished=True)
    room.rosters.expire("a2")
    assert [(h.kind, h.session, h.since, h.on_drop) for h in seen] == [
        ("join", "a1", NOW, None),
        ("vanish", "a1", NOW, {"wish": 1}),
        ("leave", "a2", NOW, None),
    ]
    seen.clear()
    room.rosters.put(CHANNEL, BOB, "b1", entry("there"))
    room.rosters.remove("there", CHANNEL, "b1")
    assert seen == []


def test_the_last_session_here_is_told_as_a_part_where_others_are_elsewhere(room: Room) -> None:
    told: list[str] = []
    room.rosters.happened = lambda happening: told.append(happening.kind)
    room.join("a1", ADA, {})
    room.join("a2", ADA, {})
    room.rosters.put(CHANNEL, ADA, "b1", Entry({}, "active", NOW, NOW, "other"))
    for session in ("a1", "a2"):
        room.rosters.leave(CHANNEL, room.sockets[session].outlet, session)
    assert told == ["join", "part"]
    room.rosters.remove("other", CHANNEL, "b1")
    assert told == ["join", "part"], "who has it tells of it"

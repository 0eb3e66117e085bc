"""Rosters of many: pages, counts, lists of some, and work that is spread over turns of the loop."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from channels import rosters as module
from channels.lists import Lists
from channels.rooms import SOME, MemberKey
from channels.rosters import MEMBERS, PUSHES_A_TURN, Rosters, Who
from hub.app import GC_THRESHOLDS
from storage.presence import Beat, Opened, Said, Shown
from tests.channels.scene import ACCOUNT, NOW, Listener, Message
from tests.proofs.figures import SCALE, report

CHANNEL = (ACCOUNT, "event:one")
MANY = min(100_000, 20_000 * SCALE)
STALL_SECONDS = 0.05


class Crowd:
    """Rosters whose turns of the loop the test takes, and how long the longest took, in time of the processor."""

    def __init__(self) -> None:
        self.turns: deque[Callable[[], None]] = deque()
        self.rosters = Rosters("here", self.turns.append)
        self.longest = 0.0
        self.nobody = Listener().outlet

    def timed(self, work: Callable[[], object]) -> None:
        """Do something that a turn of the loop does."""
        begun = time.thread_time()
        work()
        self.longest = max(self.longest, time.thread_time() - begun)

    def run(self) -> int:
        """Take turns until there is nothing to do; return how many."""
        count = 0
        while self.turns:
            self.timed(self.turns.popleft())
            count += 1
        return count

    def come(self, n: int, state: Message | None = None) -> None:
        """Show one more member, of this instance, that hears nothing."""
        who = Who("user", f"m{n}", f"Member {n}")
        self.rosters.join(CHANNEL, self.nobody, f"s{n}", who, state or {}, NOW, sees=False)

    def go(self, n: int) -> None:
        """Let a member go."""
        self.rosters.expire(f"s{n}")

    def many(self, each: Callable[[int], None], start: int, count: int = 200) -> None:
        """Do something for as many members as come or go in one turn."""
        for n in range(start, start + count):
            each(n)

    def listen(
        self, only: frozenset[MemberKey] | None = None, *, counts: bool = False
    ) -> tuple[Listener, list[Message]]:
        """Return a socket that hears the channel, and what its join answered."""
        socket = Listener(max_bytes=1 << 30)
        members, _ = self.rosters.join(CHANNEL, socket.outlet, "x", None, None, NOW, only=only, counts=counts)
        return socket, members


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """Nobody yet; the collector of cycles works as in a hub."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    yield Crowd()
    gc.set_threshold(*before)
    gc.unfreeze()


def test_pages_hold_everybody_once_however_many_come_and_go_meanwhile(crowd: Crowd) -> None:
    for n in range(2500):
        crowd.come(n)
    _, members = crowd.listen()
    assert len(members) == MEMBERS
    found = [m["rec"] for m in members]
    after: int | None = crowd.rosters.roster(CHANNEL)["user", found[-1]].number
    while after is not None:
        crowd.rosters.expire(f"s{after % 2500}")
        crowd.come(3000 + after)
        page, after = crowd.rosters.page(CHANNEL, after, 400)
        assert len(page) <= 400
        found += [m["rec"] for m in page]
    assert len(found) == len(set(found))
    assert {m["rec"] for m in crowd.rosters.members(CHANNEL)} <= set(found)
    assert crowd.rosters.page(CHANNEL, 10**9) == ([], None)
    assert crowd.rosters.page(("other", "event:one")) == ([], None)


def test_a_page_of_large_states_ends_earlier(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(20):
        crowd.come(n, {"a": "x" * 4000})
    monkeypatch.setattr(module, "PAGE_BYTES", 20_000)
    page, after = crowd.rosters.page(CHANNEL)
    assert (len(page), after) == (5, crowd.rosters.roster(CHANNEL)["user", "m4"].number)


def test_who_counts_is_told_how_many_and_nothing_else(crowd: Crowd) -> None:
    crowd.come(0)
    socket, members = crowd.listen(counts=True)
    assert members == []
    crowd.rosters.tick()
    crowd.run()
    assert socket.heard() == [], "that was in the answer"
    for n in range(1, 5):
        crowd.come(n)
    crowd.rosters.status("s1", "idle")
    crowd.rosters.tick()
    crowd.rosters.expire("s0")
    crowd.run()
    crowd.rosters.tick()
    crowd.run()
    assert [(push["op"], push["version"], push["count"]) for push in socket.heard()] == [("presence", 1, 4)]
    crowd.come(9)
    crowd.rosters.expire("s9")
    crowd.rosters.tick()
    crowd.run()
    assert socket.heard() == [], "it is the same number again"
    crowd.rosters.leave(CHANNEL, socket.outlet, "x")
    crowd.come(10)
    crowd.rosters.tick()
    assert crowd.run() == 0


def test_who_asked_for_some_is_told_of_them(crowd: Crowd) -> None:
    crowd.come(1)
    crowd.come(2)
    only = frozenset({("user", "m1"), ("user", "m3"), ("device", "m2")})
    socket, members = crowd.listen(only)
    assert [m["rec"] for m in members] == ["m1"]
    for n in (3, 4):
        crowd.come(n)
    crowd.rosters.status("s2", "idle")
    crowd.rosters.expire("s1")
    crowd.run()
    (push,) = socket.heard()
    assert [(e["kind"], e["member"]["rec"]) for e in push["events"]] == [("join", "m3"), ("leave", "m1")]
    crowd.rosters.expire("s4")
    crowd.run()
    crowd.rosters.expire("s3")
    crowd.run()
    (push,) = socket.heard()
    assert (push["version"], push["events"][0]["member"]["rec"]) == (2, "m3"), "what is not for it is no hole"


def test_joining_again_changes_what_one_is_told(crowd: Crowd) -> None:
    socket, _ = crowd.listen()
    rosters, outlet = crowd.rosters, socket.outlet
    rosters.join(CHANNEL, outlet, "x", None, None, NOW, counts=True)
    crowd.come(1)
    rosters.tick()
    crowd.run()
    assert [set(push) for push in socket.heard()] == [{"op", "channel", "version", "count"}]
    rosters.join(CHANNEL, outlet, "x", None, None, NOW, sees=False)
    crowd.come(2)
    rosters.tick()
    crowd.run()
    assert socket.heard() == []
    rosters.join(CHANNEL, outlet, "x", None, None, NOW)
    crowd.come(3)
    crowd.run()
    assert [push["events"][0]["member"]["rec"] for push in socket.heard()] == ["m3"]


def test_a_push_to_very_many_is_spread_over_turns_in_order(crowd: Crowd) -> None:
    sockets = [crowd.listen()[0] for _ in range(3 * PUSHES_A_TURN)]
    crowd.come(1)
    first = crowd.turns.popleft()
    first()
    told = sum(socket.woken > 0 for socket in sockets)
    assert PUSHES_A_TURN <= told <= PUSHES_A_TURN + SOME
    crowd.come(2)
    left = next(socket for socket in sockets if not socket.woken)
    crowd.rosters.leave(CHANNEL, left.outlet, "x")
    late, _ = crowd.listen()
    assert crowd.run() >= 2
    for socket in sockets:
        events = [(push["version"], e["member"]["rec"]) for push in socket.heard() for e in push["events"]]
        assert events == ([] if socket is left else [(1, "m1"), (2, "m2")])
    assert late.heard() == []


def test_a_channel_that_ends_while_it_is_told_tells_all_of_it(crowd: Crowd) -> None:
    sockets = [crowd.listen()[0] for _ in range(2 * PUSHES_A_TURN)]
    crowd.come(1)
    crowd.turns.popleft()()
    assert len(crowd.rosters.end(CHANNEL)) == len(sockets)
    crowd.run()
    for socket in sockets:
        assert [e["kind"] for push in socket.heard() for e in push["events"]] == ["join", "leave"]


def test_very_many_come_and_go_and_no_turn_takes_long(crowd: Crowd) -> None:
    full, _ = crowd.listen()
    counts, _ = crowd.listen(counts=True)
    some, _ = crowd.listen(frozenset({("user", "m7")}))
    for start in range(0, MANY, 200):  # as many as come in one turn
        crowd.timed(partial(crowd.many, crowd.come, start))
        crowd.run()
    crowd.timed(crowd.rosters.tick)
    crowd.run()
    assert counts.heard()[-1]["count"] == MANY
    crowd.timed(lambda: crowd.rosters.page(CHANNEL, MANY - 500))
    crowd.timed(crowd.listen)
    for start in range(0, MANY, 200):
        crowd.timed(partial(crowd.many, crowd.go, start))
        crowd.run()
    crowd.rosters.tick()
    crowd.run()
    assert counts.heard()[-1]["count"] == 0
    kinds = [e["kind"] for push in full.heard() for e in push["events"]]
    assert (kinds.count("join"), kinds.count("leave")) == (MANY, MANY)
    assert [e["kind"] for push in some.heard() for e in push["events"]] == ["join", "leave"]
    report("rosters", f"{MANY:,} members came and went; the longest turn took {crowd.longest * 1000:.1f} ms")
    assert crowd.longest < STALL_SECONDS


def test_an_instance_with_very_many_dies_and_no_turn_takes_long(crowd: Crowd) -> None:
    lists = Lists("here", crowd.rosters, lambda session: None)
    lists.link(connected=True, now=0.0)
    full, _ = crowd.listen()
    for start in range(0, MANY, 250):
        ops: list[Opened | Shown] = []
        for n in range(start, start + 250):
            proof = f"p{n}"
            ops.append(Opened(f"s{n}", ACCOUNT, "user", f"m{n}", f"Member {n}", "user", "c", "active", 0, proof))
            ops.append(Shown(f"s{n}", CHANNEL[1], {}, NOW, NOW))
        message = Said("there", 2 * start + 1, tuple(ops))
        if not start:
            lists.heard(Beat("there", 0), 0.0)
        crowd.timed(partial(lists.heard, message, 1.0))
        crowd.run()
    assert len(crowd.rosters.roster(CHANNEL)) == MANY
    lists.tick(20.0)
    lists.lapsed("there", 20.0, mine=True)
    more = True
    while more or lists.busy:
        crowd.timed(lists.work)
        more = crowd.run() > 0
    assert crowd.rosters.roster(CHANNEL) == {}
    kinds = [e["kind"] for push in full.heard() for e in push["events"]]
    assert kinds.count("leave") == MANY
    report("rosters", f"an instance with {MANY:,} members died; the longest turn took {crowd.longest * 1000:.1f} ms")
    assert crowd.longest < STALL_SECONDS


def test_the_measure_of_a_turn_can_fail(crowd: Crowd) -> None:
    crowd.timed(partial(crowd.many, crowd.come, 0, 40_000))
    assert crowd.longest > STALL_SECONDS

"""Pushes to many sockets at once: each socket is sent what it would be sent if each push had been queued for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest

from channels import fanout
from channels.fanout import Fanout
from channels.outlet import Outlet
from channels.watches import Watches, WatchGroup
from hub.wire.codec import JSON, MSGPACK, Codec
from tests.channels.scene import Message, query
from tests.simulation.edges import framed, unframed


class Turns:
    """A loop that turns when it is told to."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def soon(self, callback: Callable[[], None]) -> None:
        """Call back in the next turn."""
        self.due.append(callback)

    def turn(self) -> None:
        """Call back whoever waits."""
        due, self.due = self.due, []
        for callback in due:
            callback()


class Socket:
    """A socket and its outlet: `sent` is what reached it, in order. Drains like a connection, once in a turn."""

    def __init__(self, turns: Turns, codec: Codec = JSON, max_bytes: int = 1024 * 1024) -> None:
        self.turns = turns
        self.outlet = Outlet(codec, lambda: turns.soon(self.drain), max_bytes)
        self.outlet.framed = framed
        self.outlet.direct = self
        self.reads = True
        self.broken = False
        self.sent: list[bytes] = []
        self.writes = 0

    def write(self, data: bytes) -> None:
        """Take what is written straight."""
        if self.broken:
            self.broken = False
            raise RuntimeError("this socket is at fault")
        self.writes += 1
        self.sent += unframed(data)

    def drain(self) -> None:
        """Take what is queued, where the peer reads."""
        if self.reads:
            self.sent += self.outlet.take_many(1 << 30)
            self.outlet.direct = None if self.outlet.closed else self

    def pause(self) -> None:
        """Read no more."""
        self.reads = False
        self.outlet.direct = None

    def resume(self) -> None:
        """Read again, from the next turn on."""
        self.reads = True
        self.turns.soon(self.drain)

    @property
    def heard(self) -> list[Message]:
        """What reached it, decoded."""
        return [self.outlet.codec.decode(f if self.outlet.codec.binary else f.decode()) for f in self.sent]


def scene(count: int, many: int = 1) -> tuple[Turns, Watches, WatchGroup, list[Socket]]:
    """Return a group that sockets of both codecs watch."""
    turns, watches = Turns(), Watches()
    watches.fanout = Fanout(turns.soon)
    watches.fanout.many = many
    group = watches.group(query({"title": "on"}))
    sockets = [Socket(turns, MSGPACK if n % 2 else JSON) for n in range(count)]
    for socket in sockets:
        group.join(socket.outlet, watches.fanout)
    return turns, watches, group, sockets


def push(watches: Watches, group: WatchGroup, seq: int, size: int = 0) -> None:
    """Push something with a number to a group."""
    group.push(seq, None, [{"kind": "leave", "rec": "x" * size, "why": "filter", "version": seq}], watches.reset)


def test_pushes_of_one_turn_reach_every_socket_with_one_write() -> None:
    turns, watches, group, sockets = scene(4)
    for seq in range(1, 33):
        push(watches, group, seq)
    assert all(not socket.sent for socket in sockets)
    turns.turn()
    for socket in sockets:
        assert socket.writes == 1
        assert [message["seq"] for message in socket.heard] == list(range(1, 33))
    assert watches.fanout.runs == []


def test_few_sockets_have_their_pushes_queued_at_once() -> None:
    _, watches, group, sockets = scene(3, many=4)
    push(watches, group, 1)
    assert [len(socket.outlet) for socket in sockets] == [1, 1, 1]


def test_an_answer_goes_behind_the_pushes_that_it_owes() -> None:
    turns, watches, group, (one, other) = scene(2)
    push(watches, group, 1)
    one.outlet.answer(JSON.encode({"op": "ok", "seq": 1}))
    push(watches, group, 2)
    one.outlet.answer(JSON.encode({"op": "ok", "seq": 2}))
    turns.turn()
    assert [(m["op"], m["seq"]) for m in one.heard] == [("change", 1), ("ok", 1), ("change", 2), ("ok", 2)]
    assert [(m["op"], m["seq"]) for m in other.heard] == [("change", 1), ("change", 2)]


def test_who_joins_begins_behind_what_was_pushed_before() -> None:
    turns, watches, group, sockets = scene(2)
    push(watches, group, 1)
    late = Socket(turns)
    group.join(late.outlet, watches.fanout)
    push(watches, group, 2)
    group.join(sockets[0].outlet, watches.fanout)  # once more: it misses nothing
    push(watches, group, 3)
    turns.turn()
    assert [m["seq"] for m in late.heard] == [2, 3]
    assert [[m["seq"] for m in socket.heard] for socket in sockets] == [[1, 2, 3]] * 2


def test_who_leaves_is_sent_nothing_that_was_not_sent_yet() -> None:
    turns, watches, group, (one, other) = scene(2)
    push(watches, group, 1)
    watches.stop(group, one.outlet)
    turns.turn()
    assert (one.sent, [m["seq"] for m in other.heard]) == ([], [1])


def test_a_socket_that_does_not_read_has_it_queued_within_its_bound() -> None:
    turns, watches, group, (slow, quick) = scene(2)
    slow.outlet.max_bytes = 400
    slow.pause()
    for seq in range(1, 9):
        push(watches, group, seq)
        turns.turn()
        assert slow.outlet.size <= 400
    assert slow.outlet not in group.outlets
    slow.resume()
    turns.turn()
    assert [m["op"] for m in slow.heard] == ["reset"]
    assert [m["seq"] for m in quick.heard] == list(range(1, 9))


def test_a_fault_of_one_socket_keeps_nothing_from_the_others() -> None:
    turns, watches, group, sockets = scene(5)
    sockets[2].broken = True
    push(watches, group, 1)
    with pytest.raises(RuntimeError, match="at fault"):
        turns.turn()
    sockets[4].outlet.answer(JSON.encode({"op": "ok"}) if not sockets[4].outlet.codec.binary else b"\x81\xa2op\xa2ok")
    turns.turn()
    turns.turn()
    assert [[m["op"] for m in socket.heard] for socket in sockets] == [
        ["change"], ["change"], [], ["change"], ["change", "ok"],
    ]  # fmt: skip


def test_a_push_that_is_too_large_ends_the_watch() -> None:
    turns, watches, group, sockets = scene(2)
    push(watches, group, 1)
    push(watches, group, 2, size=fanout.MAX_PUSH)
    turns.turn()
    turns.turn()
    assert [[m["op"] for m in socket.heard] for socket in sockets] == [["reset"]] * 2


def test_much_is_written_before_the_turn_is_over() -> None:
    _, watches, group, sockets = scene(2)
    waiting = []
    for seq in range(1, 21):
        push(watches, group, seq, size=30_000)
        waiting.append(sum(run.size for run in watches.fanout.runs))
    assert max(waiting) < fanout.FLUSH_BYTES
    assert [m["seq"] for m in sockets[0].heard][:8] == list(range(1, 9))


def test_the_bytes_of_a_run_are_bounded() -> None:
    turns, watches, group, sockets = scene(2)
    for seq in range(1, 8):
        push(watches, group, seq, size=20_000)
    assert len(watches.fanout.runs) > 1
    assert max(run.size for run in watches.fanout.runs) < fanout.RUN_BYTES + 21_000
    turns.turn()
    assert [m["seq"] for m in sockets[0].heard] == list(range(1, 8))


def test_the_runs_of_many_groups_are_bounded() -> None:
    turns, watches, _, _ = scene(0)
    socket = Socket(turns)
    groups = [watches.group(query({"title": f"{n}"})) for n in range(2 * fanout.RUNS)]
    for seq, group in enumerate(groups):
        group.join(socket.outlet, watches.fanout)
        push(watches, group, seq)
        assert len(watches.fanout.runs) <= fanout.RUNS
    turns.turn()
    assert [m["seq"] for m in socket.heard] == list(range(2 * fanout.RUNS))


@pytest.mark.parametrize("seed", range(30))
def test_every_socket_is_sent_the_same_in_the_same_order_as_without_runs(seed: int) -> None:
    """Play one history with runs and without; what each socket was sent must be equal."""
    with_runs, without = _played(seed, many=1), _played(seed, many=1000)
    assert with_runs == without
    assert any(with_runs)


def _played(seed: int, many: int) -> list[list[Message]]:
    rng = Random(seed)
    turns, watches = Turns(), Watches()
    watches.fanout = Fanout(turns.soon)
    watches.fanout.many = many
    queries = [query({"title": f"{n}"}) for n in range(3)]
    sockets = [Socket(turns, rng.choice((JSON, MSGPACK))) for _ in range(4)]
    for seq in range(300):
        socket, wanted = rng.choice(sockets), rng.choice(queries)
        group = watches.group(wanted)
        match rng.randrange(12):
            case 0:
                group.join(socket.outlet, watches.fanout)
            case 1:
                watches.stop(group, socket.outlet)
            case 2 | 3:
                socket.outlet.answer(socket.outlet.codec.encode({"op": "ok", "seq": seq}))
            case 4:
                socket.pause()
            case 5:
                socket.resume()
            case 6:
                socket.outlet.push(socket.outlet.codec.encode({"op": "presence", "n": seq}), "p")
            case 7:
                turns.turn()
            case _:
                if group.outlets:
                    push(watches, group, seq)
        watches.release(group)
    for socket in sockets:
        socket.resume()
    for _ in range(3):
        turns.turn()
    return [socket.heard for socket in sockets]


def test_sockets_that_are_sent_bytes_of_another_kind_have_them_made_once_for_all() -> None:
    turns, watches, group, sockets = scene(8)
    made: list[int] = []

    def other(frames: Sequence[bytes]) -> bytes:
        made.append(len(frames))
        return framed([b"other", *frames])

    for socket in sockets[2:6]:
        socket.outlet.codec = JSON  # the other kind has one codec, as the ones of an edge have
        socket.outlet.broadcast = other
    for seq in (1, 2):
        push(watches, group, seq)
        turns.turn()
    assert made == [1, 1], "once for each push, whatever the number of the sockets"
    for n, socket in enumerate(sockets):
        kept = [frame for frame in socket.sent if frame != b"other"]
        assert len(kept) == 2
        assert len(socket.sent) == (4 if 2 <= n < 6 else 2)
    assert [m["seq"] for m in sockets[0].heard] == [1, 2]
    assert [m["seq"] for m in sockets[7].heard] == [1, 2]


def test_nothing_follows_a_reset() -> None:
    turns, watches, group, (slow, _) = scene(2)
    other = watches.group(query({"title": "off"}))
    other.join(slow.outlet, watches.fanout)
    slow.outlet.max_bytes = 400
    slow.pause()
    for seq in range(1, 4):
        push(watches, group, seq, size=300)
        push(watches, other, seq, size=1)
    turns.turn()
    slow.resume()
    turns.turn()
    told = [(m["op"], m["watch"], m.get("seq")) for m in slow.heard]
    first = [what for what, watch, _ in told if watch == group.query.id]
    assert first == ["reset"]

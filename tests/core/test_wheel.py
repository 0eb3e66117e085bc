"""One timer asks all sockets whether they live: who is silent is asked once and then cut, who talks is never asked."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from hub.edge.fast import LATE_BYTES, PIECES, PINGS, TURN, FastSocket
from hub.edge.wheel import SPREAD, Wheel
from tests.simulation.clock import run


class Transport:
    """Takes down what is written to it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.reading = True
        self.closing = False
        self.protocol: Any = None

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Listener:
    """A connection that takes down what it is fed, and has room or not."""

    def __init__(self) -> None:
        self.fed: list[list[Any]] = []
        self.full = False
        self.ended: list[bool] = []
        self.outlet = SimpleNamespace(direct=None)

    def feed_one(self, frame: Any) -> bool:
        return self.feed([frame])

    def feed(self, frames: list[Any]) -> bool:
        self.fed.append(frames)
        return self.full

    def end(self, *, clean: bool) -> None:
        self.ended.append(clean)


def opened(wheel: Wheel, early: bytes = b"") -> tuple[FastSocket, Transport, Listener]:
    """Return a socket that was taken over."""
    transport, listener = Transport(), Listener()
    socket = FastSocket(transport, 1024, binary=False, registered=set(), wheel=wheel)
    socket.begin(listener, early)  # type: ignore[arg-type]  # all that a socket knows of a connection
    return socket, transport, listener


def masked(payload: bytes, first: int = 0x81) -> bytes:
    return bytes((first, 0x80 | len(payload))) + bytes(4) + payload


def test_a_silent_peer_is_asked_after_an_interval_and_then_cut_within_one_and_a_half() -> None:
    async def story() -> None:
        wheel = Wheel(20.0)
        _, transport, listener = opened(wheel)
        await asyncio.sleep(20.0)  # what was just opened counts as heard of
        assert transport.written == []
        await asyncio.sleep(3.0)
        assert transport.written == [b"\x89\x00"]
        await asyncio.sleep(3.0)
        assert len(transport.written) == 1
        await asyncio.sleep(3.0)
        assert transport.written[1][:4] == b"\x88\x06" + (4410).to_bytes(2, "big")
        assert listener.ended == [False]
        assert not transport.closing, "the peer has a while to take the close in"
        await asyncio.sleep(5.0)
        assert transport.closing

    run(story())


def test_a_peer_that_answers_or_talks_stays_and_who_talks_once_in_an_interval_is_never_asked() -> None:
    async def story() -> None:
        wheel = Wheel(20.0)
        quiet, asked, _ = opened(wheel)
        talker, unasked, listener = opened(wheel)
        for n in range(1, 201):
            await asyncio.sleep(2.0)
            if n % 10 == 0:
                talker.data_received(masked(b"x"))
            if asked.written and asked.written[-1] == b"\x89\x00":
                asked.written.append(b"answered")
                quiet.data_received(masked(b"", 0x8A))
        assert 15 <= asked.written.count(b"\x89\x00") <= 19
        assert (unasked.written, len(listener.fed)) == ([], 20)

    run(story())


def test_turns_that_are_late_do_not_make_the_next_ones_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        on_time = loop.call_at
        late = lambda when, *rest, **more: on_time(when + 0.03, *rest, **more)  # noqa: E731  # as a busy loop is
        monkeypatch.setattr(loop, "call_at", late)
        _, transport, _ = opened(Wheel(20.0))
        await asyncio.sleep(29.2)
        assert [frame[0] for frame in transport.written] == [0x89, 0x88]

    run(story())


def test_those_that_fall_silent_together_are_not_all_asked_at_once_and_an_empty_wheel_stands_still() -> None:
    async def story() -> None:
        wheel = Wheel(20.0)
        opened_now = [opened(wheel) for _ in range(400)]
        assert len(wheel) == 400
        asked: list[int] = []
        for _ in range(2 * SPREAD):
            before = sum(bool(transport.written) for _, transport, _ in opened_now)
            await asyncio.sleep(20.0 if not asked else 0.3125)
            asked.append(sum(bool(transport.written) for _, transport, _ in opened_now) - before)
        assert sum(asked) == 400
        assert max(asked) < 200
        assert len([count for count in asked if count]) > SPREAD // 2
        for socket, _, _ in opened_now:
            socket.connection_lost(None)
        assert len(wheel) == 0
        await asyncio.sleep(1.0)
        assert wheel._timer is None
        assert not any(wheel._slots)

    run(story())


def test_a_socket_that_is_not_read_for_long_is_not_cut_when_it_is_read_again() -> None:
    async def story() -> None:
        wheel = Wheel(20.0)
        socket, transport, listener = opened(wheel)
        listener.full = True
        socket.data_received(masked(b"1"))  # its connection has no room: nothing more is read
        await asyncio.sleep(65.0)
        listener.full = False
        socket.resume()
        for _ in range(30):
            await asyncio.sleep(1.0)
            if transport.written == [b"\x89\x00"]:
                break
        socket.data_received(masked(b"", 0x8A))
        await asyncio.sleep(19.0)
        assert transport.written == [b"\x89\x00"], "asked as any other, and not cut"

    run(story())


def test_a_socket_is_looked_at_about_once_in_an_interval() -> None:
    async def story() -> None:
        wheel = Wheel(20.0)
        talker, _, _ = opened(wheel)
        looks, look = 0, talker.beat

        class Counted:
            slot = talker.slot

            def beat(self) -> int:
                nonlocal looks
                looks += 1
                return look()

        wheel.discard(talker)
        counted = Counted()
        wheel.add(counted)
        for _ in range(100):
            await asyncio.sleep(4.0)
            talker.data_received(masked(b"x"))
        wheel.discard(counted)
        assert looks <= 27

    run(story())


def test_a_flood_of_small_frames_is_taken_in_by_turns() -> None:
    async def story() -> None:
        socket, transport, listener = opened(Wheel(20.0))
        flood = masked(b"1") * (TURN * 3 + 5)
        socket.data_received(flood)
        assert [len(frames) for frames in listener.fed] == [TURN]
        assert not transport.reading
        await asyncio.sleep(0)
        assert [len(frames) for frames in listener.fed] == [TURN, TURN]
        for _ in range(3):
            await asyncio.sleep(0)
        assert [len(frames) for frames in listener.fed] == [TURN] * 3 + [5]
        assert transport.reading

    run(story())


def test_nothing_more_is_looked_at_while_the_connection_has_no_room() -> None:
    async def story() -> None:
        socket, transport, listener = opened(Wheel(20.0))
        listener.full = True
        socket.data_received(masked(b"1") + masked(b"p", 0x89) + masked(b"2"))
        assert (listener.fed, transport.written, transport.reading) == ([["1"]], [], False)
        socket.data_received(masked(b"3"))  # what was already on its way
        listener.full = False
        socket.resume()
        assert listener.fed == [["1"], ["2", "3"]]
        assert (transport.written, transport.reading) == ([b"\x8a\x01p"], True)

    run(story())


def test_a_flood_of_pings_ends_the_socket_with_4411() -> None:
    async def story() -> None:
        socket, transport, listener = opened(Wheel(20.0))
        for _ in range(PINGS):
            socket.data_received(masked(b"", 0x89))
        assert (len(transport.written), listener.ended) == (PINGS, [])
        socket.data_received(masked(b"", 0x89))
        assert transport.written[-1][2:4] == (4411).to_bytes(2, "big")
        assert listener.ended == [False]

    run(story())


def test_messages_in_pieces_without_end_end_the_socket_with_4411() -> None:
    async def story() -> None:
        wheel = Wheel(20.0)
        socket, transport, listener = opened(wheel)
        two = masked(b"a", 0x01) + masked(b"b", 0x80)
        for _ in range(PIECES // 2):
            socket.data_received(two)
        assert (len(listener.fed), listener.ended) == (PIECES // 2, [])
        socket.data_received(two)
        assert transport.written[-1][2:4] == (4411).to_bytes(2, "big")
        assert listener.ended == [False]
        patient, written, _ = opened(wheel)
        for _ in range(3 * PIECES // 4):
            patient.data_received(two)
            await asyncio.sleep(0.0025)  # half as many again, but in nearly twenty seconds
        assert all(frame[0] != 0x88 for frame in written.written)

    run(story())


def test_pings_are_counted_by_the_time_between_two_looks() -> None:
    async def story() -> None:
        socket, transport, _ = opened(Wheel(40.0))
        for _ in range(2 * PINGS):
            socket.data_received(masked(b"", 0x89))
        assert len(transport.written) == 2 * PINGS
        socket.data_received(masked(b"", 0x89))
        assert transport.written[-1][2:4] == (4411).to_bytes(2, "big")

    run(story())


def test_a_flood_behind_our_close_is_not_looked_through() -> None:
    async def story() -> None:
        for size, answered in ((LATE_BYTES - 100, True), (LATE_BYTES + 100, False)):
            socket, transport, _ = opened(Wheel(20.0))
            await socket.shut(1000, "bye")
            flood = masked(b"") * (size // 6)
            for at in range(0, len(flood), 5000):
                socket.data_received(flood[at : at + 5000])
            socket.data_received(masked((1000).to_bytes(2, "big"), 0x88))
            assert transport.closing == answered
            await asyncio.sleep(5.1)
            assert transport.closing, "it is cut in any case"

    run(story())


def test_what_came_before_the_upgrade_was_answered_is_not_lost() -> None:
    async def story() -> None:
        stream = masked(b"one") + masked(b"two")
        for cut in range(len(stream) + 1):
            socket, _, listener = opened(Wheel(20.0), stream[:cut])
            socket.data_received(stream[cut:])
            assert [frame for frames in listener.fed for frame in frames] == ["one", "two"]

    run(story())


def test_who_never_said_hello_is_cut_soon_after_the_close() -> None:
    async def story() -> None:
        for code, seconds in ((4408, 0.5), (4409, 5.0)):
            socket, transport, _ = opened(Wheel(20.0))
            await socket.shut(code, "why")
            await asyncio.sleep(seconds - 0.1)
            assert not transport.closing
            await asyncio.sleep(0.2)
            assert transport.closing

    run(story())


def test_behind_our_close_only_the_close_of_the_peer_counts() -> None:
    async def story() -> None:
        reply = masked((1000).to_bytes(2, "big"), 0x88)
        stream = masked(b"late") + b"\x81\xfe\x01\x00" + bytes(4 + 256) + reply
        for cut in range(len(stream) + 1):
            socket, transport, listener = opened(Wheel(20.0))
            socket.data_received(b"\x81")  # the beginning of a frame that goes on behind the close
            await socket.shut(1000, "bye")
            assert listener.ended == [True]
            rest = b"\x81" + bytes(4) + b"x" + stream
            socket.data_received(rest[:cut])
            socket.data_received(rest[cut : len(rest) - 1])
            assert not transport.closing
            socket.data_received(rest[len(rest) - 1 :] if cut < len(rest) else b"")
            assert transport.closing == (cut < len(rest))
            assert listener.fed == []

    run(story())

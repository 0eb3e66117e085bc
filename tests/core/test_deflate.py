"""What is compressed on its way out: large enough, once for many, within a bound for each turn of the loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.exceptions import NegotiationError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from hub.edge.compressed import CompressedSocket, Offer
from hub.edge.deflate import BROADCAST_BYTES, OWN_BYTES, TURN_BYTES, Deflater, deflated
from hub.edge.fast import TURN
from hub.edge.weights import UNCOMMON
from hub.edge.wheel import Wheel
from hub.wire.codec import FRAME_BYTES
from tests.simulation.clock import run


class Turns:
    """A loop that turns when it is told to."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def turn(self) -> None:
        """Call back whoever waits."""
        due, self.due = self.due, []
        for callback in due:
            callback()


def deflater() -> tuple[Deflater, Turns]:
    turns = Turns()
    return Deflater(turns.due.append), turns


def read(data: bytes) -> list[tuple[bool, int, bytes]]:
    """Return what a peer reads, as `websockets` inflates it: whether it was compressed, its kind, its payload."""
    found, at = [], 0
    while at < len(data):
        first, size, at = data[at], data[at + 1], at + 2
        if size > 125:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + width], "big"), at + width
        frame = Frame(Opcode(first & 15), data[at : at + size], bool(first & 0x80), bool(first & 0x40))
        whole = PerMessageDeflate(True, True, 15, 15).decode(frame)
        found.append((frame.rsv1, int(frame.opcode), bytes(whole.data)))
        at += size
    return found


@pytest.mark.parametrize(("many", "least"), [(True, BROADCAST_BYTES), (False, OWN_BYTES)])
@pytest.mark.parametrize("binary", [False, True])
def test_from_its_size_on_a_message_is_compressed(many: bool, least: int, binary: bool) -> None:
    made, _ = deflater()
    framed = (made.broadcast if many else made.own)[binary]
    kind = 2 if binary else 1
    small, large = b"a" * (least - 1), b"a" * least
    assert read(framed([small])) == [(False, kind, small)]
    assert read(framed([large])) == [(True, kind, large)]
    assert read(framed([small, large, small])) == [(False, kind, small), (True, kind, large), (False, kind, small)]


@pytest.mark.parametrize("size", [600, 60_000, 200_000])
def test_what_does_not_get_smaller_goes_as_it_is(size: int) -> None:
    noise = os.urandom(size)
    made, _ = deflater()
    assert read(made.broadcast[True]([noise])) == [(False, 2, noise)]


def test_each_message_stands_for_itself() -> None:
    made, _ = deflater()
    frames = [b"%d" % n * BROADCAST_BYTES for n in range(3)]
    assert [payload for _, _, payload in read(made.broadcast[False](frames))] == frames
    assert made.broadcast[False](frames[:1]) == made.broadcast[False](frames[:1])


def test_the_head_of_every_size_is_right() -> None:
    made, _ = deflater()
    for size in (BROADCAST_BYTES, 30_000, 250_000):
        half = os.urandom(size // 4).hex().encode() * 2  # compressed to more than a fourth of itself
        made, _ = deflater()
        ((compressed, _, payload),) = read(made.broadcast[False]([half]))
        assert (compressed, payload) == (True, half)


def test_a_turn_of_the_loop_compresses_so_much_and_the_rest_goes_as_it_is() -> None:
    made, turns = deflater()
    size = TURN_BYTES // 4
    frames = [b"a" * size] * 5
    assert [compressed for compressed, _, _ in read(made.broadcast[False](frames))] == [True] * 4 + [False]
    assert read(made.own[True]([b"b" * size]))[0][0] is False, "all of the hub's sockets share the bound"
    assert len(turns.due) == 1
    turns.turn()
    assert [compressed for compressed, _, _ in read(made.broadcast[False](frames))] == [True] * 4 + [False]


def test_a_message_beyond_the_bound_of_a_turn_is_never_compressed() -> None:
    made, turns = deflater()
    assert read(made.broadcast[False]([b"a" * (TURN_BYTES + 1)]))[0][0] is False
    assert turns.due == []


@pytest.mark.parametrize(
    ("offered", "answered"),
    [
        ([], ["server_no_context_takeover", "client_no_context_takeover"]),
        ([("client_max_window_bits", None)], ["server_no_context_takeover", "client_no_context_takeover"]),
        ([("server_max_window_bits", "15")],
         ["server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits"]),
        ([("server_no_context_takeover", None), ("client_max_window_bits", "10")],
         ["server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits"]),
    ],
)  # fmt: skip
def test_the_extension_is_accepted_without_context(offered: list[tuple[str, str | None]], answered: list[str]) -> None:
    answer, extension = Offer().process_request_params(offered, [])
    assert [name for name, _ in answer] == answered
    assert (extension.remote_no_context_takeover, extension.local_no_context_takeover) == (True, True)
    assert extension.local_max_window_bits == 15


def test_who_wants_a_smaller_window_of_ours_goes_without() -> None:
    with pytest.raises(NegotiationError):
        Offer().process_request_params([("server_max_window_bits", "10")], [])


class Transport:
    """Takes what is asked of a transport."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False

    def ignore(self, *_: object) -> None:
        """Take anything."""

    pause_reading = resume_reading = set_protocol = ignore


class Listener:
    """Takes messages for a connection."""

    def __init__(self) -> None:
        self.fed: list[Any] = []
        self.outlet = SimpleNamespace(direct=None, broadcast=None)

    def feed(self, frames: list[Any]) -> bool:
        self.fed += frames
        return False


@pytest.mark.parametrize(("size", "at_once"), [(1000, TURN // UNCOMMON), (FRAME_BYTES, 1)])
def test_what_inflates_counts_by_its_size_so_that_others_get_their_turn(size: int, at_once: int) -> None:
    async def story() -> None:
        transport, listener, count = Transport(), Listener(), 2 * TURN // UNCOMMON
        socket = CompressedSocket(transport, FRAME_BYTES, binary=False, registered=set(), wheel=Wheel(20.0))
        socket.compress(Deflater(), PerMessageDeflate(True, True, 15, 15), binary=False)
        socket.begin(listener, b"")  # type: ignore[arg-type]  # all that a socket knows of a connection
        payload = deflated(b'"' + b"x" * (size - 2) + b'"')
        long = bytes((0xFE, len(payload) >> 8, len(payload) & 255))
        head = long if len(payload) > 125 else bytes((0x80 | len(payload),))
        socket.data_received((b"\xc1" + head + bytes(4) + payload) * count)
        assert len(listener.fed) == at_once
        await asyncio.sleep(1.0)
        assert [len(message) for message in listener.fed] == [size] * count

    run(story())

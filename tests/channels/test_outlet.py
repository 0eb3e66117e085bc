"""The queue of one socket: in order, bounded for pushes, and whole again after a loss."""

from __future__ import annotations

from collections.abc import Iterator

from channels.outlet import Encoded
from hub.wire.codec import JSON, MSGPACK
from tests.channels.scene import Listener


def frames(listener: Listener) -> list[bytes]:
    """Take everything as it is."""
    found = []
    while (frame := listener.outlet.take()) is not None:
        found.append(frame)
    return found


def test_frames_come_out_in_the_order_they_went_in() -> None:
    listener = Listener()
    outlet = listener.outlet
    outlet.answer(b"1")
    assert outlet.push(b"2", "w")
    outlet.pages(iter([b"3", b"4"]), "w")
    outlet.answer(b"5")
    assert frames(listener) == [b"1", b"2", b"3", b"4", b"5"]
    assert (len(outlet), outlet.size) == (0, 0)


def test_the_socket_is_woken_once_until_everything_was_taken() -> None:
    listener = Listener()
    for _ in range(3):
        listener.outlet.answer(b"1")
    assert listener.woken == 1
    frames(listener)
    listener.outlet.answer(b"1")
    assert listener.woken == 2


def test_pushes_are_bounded_and_answers_are_not() -> None:
    listener = Listener(max_bytes=100)
    outlet = listener.outlet
    assert outlet.push(b"x" * 60, "w")
    assert not outlet.push(b"x" * 41, "w")
    assert outlet.push(b"x" * 40, "w")
    assert outlet.size == 100
    outlet.answer(b"x" * 500)
    assert not outlet.push(b"x", "w")
    assert outlet.push(b"y" * 50, "w", force=True)
    assert [len(frame) for frame in frames(listener)] == [60, 40, 500, 50]
    assert outlet.push(b"x" * 100, "w")


def test_a_page_is_made_only_when_the_one_before_was_taken() -> None:
    made: list[int] = []

    def pages() -> Iterator[bytes]:
        for n in range(3):
            made.append(n)
            yield b"%d" % n

    listener = Listener()
    listener.outlet.pages(pages(), "w")
    listener.outlet.answer(b"end")
    assert made == []
    assert listener.outlet.take() == b"0"
    assert made == [0]
    assert frames(listener) == [b"1", b"2", b"end"]


def test_many_are_taken_at_once_up_to_a_size_and_at_least_one() -> None:
    listener = Listener()
    for _ in range(4):
        listener.outlet.answer(b"x" * 40)
    assert len(listener.outlet.take_many(100)) == 3
    assert len(listener.outlet.take_many(1)) == 1
    assert listener.outlet.take_many(100) == []


def test_dropping_an_owner_leaves_everybody_elses_frames_in_place() -> None:
    listener = Listener()
    outlet = listener.outlet
    outlet.push(b"a1", "a")
    outlet.answer(b"ok")
    outlet.push(b"b1", "b")
    outlet.pages(iter([b"a2", b"a3"]), "a")
    outlet.drop("a")
    assert outlet.size == 4
    assert frames(listener) == [b"ok", b"b1"]


def test_a_loss_is_told_where_the_first_lost_push_was() -> None:
    listener = Listener()
    outlet = listener.outlet
    outlet.push(b"b1", "b")
    outlet.push(b"a1", "a")
    outlet.answer(b"ok behind a1")
    outlet.push(b"a2", "a")
    outlet.replace("a", b"reset")
    assert frames(listener) == [b"b1", b"reset", b"ok behind a1"]


def test_a_loss_of_what_does_not_wait_is_told_at_the_end() -> None:
    listener = Listener()
    listener.outlet.answer(b"ok")
    listener.outlet.replace("a", b"reset")
    assert frames(listener) == [b"ok", b"reset"]


def test_a_loss_is_told_again_behind_every_later_beginning() -> None:
    listener = Listener()
    outlet = listener.outlet
    outlet.answer(b"start 1")
    outlet.begin("a", iter([b"page 1"]))
    outlet.answer(b"start 2")
    outlet.begin("a", iter([b"page 2"]))
    outlet.answer(b"ok")
    outlet.replace("a", b"reset")
    assert frames(listener) == [b"start 1", b"reset", b"start 2", b"reset", b"ok"]


def test_a_beginning_of_somebody_else_is_no_reason_to_tell_twice() -> None:
    listener = Listener()
    outlet = listener.outlet
    outlet.push(b"a1", "a")
    outlet.answer(b"start b")
    outlet.begin("b")
    outlet.replace("a", b"reset")
    assert frames(listener) == [b"reset", b"start b"]


def test_a_page_that_was_begun_is_replaced_too() -> None:
    listener = Listener()
    outlet = listener.outlet
    outlet.answer(b"start")
    outlet.begin("a", iter([b"1", b"2"]))
    assert [outlet.take(), outlet.take()] == [b"start", b"1"]
    outlet.replace("a", b"reset")
    assert frames(listener) == [b"reset"]


def test_a_closed_outlet_takes_nothing_more() -> None:
    listener = Listener()
    outlet = listener.outlet
    outlet.answer(b"1")
    outlet.close()
    outlet.answer(b"2")
    outlet.push(b"3", "a")
    outlet.replace("a", b"4")
    assert (frames(listener), outlet.size, len(outlet)) == ([], 0, 0)


def test_a_message_for_many_is_encoded_once_per_codec() -> None:
    shared = Encoded({"op": "change", "n": 1})
    found = [shared.frame(codec) for codec in (JSON, MSGPACK, JSON, MSGPACK)]
    assert found[0] is found[2]
    assert found[1] is found[3]
    assert JSON.decode(shared.frame(JSON).decode()) == MSGPACK.decode(shared.frame(MSGPACK)) == shared.message

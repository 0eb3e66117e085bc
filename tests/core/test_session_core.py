"""Two cores talk: hello first, order, waiting, ids, arrays, bad frames, limits and deadlines. No socket, no sleep."""

from __future__ import annotations

from typing import Any

import pytest

from hub.session import ARRAY, BAD_FRAMES, BAD_FRAMES_SECONDS, HELLO_SECONDS, OPEN, WAITING
from hub.wire import close
from hub.wire.codec import FRAME_BYTES, Codec
from tests.core.client_core import Wire, encoded

BEAT = "session.beat"


def bad_frame(codec: Codec) -> str | bytes:
    """Return a frame of the right kind that holds nothing."""
    return b"\xc1" if codec.binary else "{"


# -- hello -------------------------------------------------------------------------------------------


def test_nothing_is_started_before_the_hello(wire: Wire) -> None:
    number = wire.call(BEAT)
    assert wire.started == []
    assert wire.client.answer(number)["code"] == "auth.required"
    assert wire.close_code() is None


def test_a_hello_is_started_at_once(wire: Wire) -> None:
    wire.call("session.hello")
    assert wire.ids == [1]


def test_requests_behind_a_pending_hello_wait_and_start_in_order(wire: Wire) -> None:
    wire.call("session.hello")
    waiting = [wire.call(BEAT) for _ in range(5)]
    assert wire.ids == [1]
    wire.ok(1)
    wire.greeted(accepted=True)
    assert wire.ids == [1, *waiting]


def test_the_thirty_third_request_behind_a_hello_is_refused_and_the_others_are_not(wire: Wire) -> None:
    wire.call("session.hello")
    waiting = [wire.call(BEAT) for _ in range(WAITING)]
    assert WAITING == 32
    refused = wire.call(BEAT)
    answer = wire.client.answer(refused)
    assert (answer["code"], answer["retry_after"]) == ("rate.limited", 1)
    wire.greeted(accepted=True)
    assert wire.ids == [1, *waiting]


def test_the_id_of_a_request_that_found_no_room_may_be_used_again(wire: Wire) -> None:
    wire.call("session.hello")
    for _ in range(WAITING):
        wire.call(BEAT)
    refused = wire.call(BEAT)
    wire.greeted(accepted=True)
    wire.send({"op": BEAT, "id": refused})
    assert wire.ids[-1] == refused


def test_after_a_refused_hello_another_one_may_come(wire: Wire) -> None:
    first = wire.call("session.hello", token="wrong")
    wire.refuse(first, "auth.invalid")
    wire.greeted(accepted=False)
    assert wire.client.answer(wire.call(BEAT))["code"] == "auth.required"
    second = wire.call("session.hello")
    assert wire.ids == [first, second]


def test_a_second_hello_lets_what_follows_wait_again(ready: Wire) -> None:
    before = ready.call(BEAT)
    hello = ready.call("session.hello", account="other")
    behind = ready.call(BEAT)
    assert ready.ids == [before, hello]
    ready.greeted(accepted=True)
    assert ready.ids == [before, hello, behind]


def test_a_refused_second_hello_leaves_the_session_ready(ready: Wire) -> None:
    ready.call("session.hello", account="other")
    ready.greeted(accepted=False)
    number = ready.call(BEAT)
    assert ready.ids[-1] == number


def test_a_hello_behind_a_hello_waits_for_it_and_holds_back_what_comes_after(wire: Wire) -> None:
    first, beat, second, last = (wire.call(op) for op in ("session.hello", BEAT, "session.hello", BEAT))
    wire.greeted(accepted=True)
    assert wire.ids == [first, beat, second]
    wire.greeted(accepted=True)
    assert wire.ids == [first, beat, second, last]


def test_a_hello_takes_unknown_fields_and_other_requests_do_not(wire: Wire) -> None:
    wire.call("session.hello", from_the_future={"a": 1})
    wire.greeted(accepted=True)
    number = wire.call(BEAT, from_the_future=1)
    assert wire.ids == [1]
    answer = wire.client.answer(number)
    assert (answer["code"], answer["path"]) == ("data.invalid", "from_the_future")


def test_without_a_hello_the_socket_closes_after_ten_seconds(wire: Wire) -> None:
    wire.pass_time(HELLO_SECONDS - 0.001)
    assert wire.close_code() is None
    wire.pass_time(0.001)
    assert wire.close_code() == close.HELLO_LATE.code
    assert (close.HELLO_LATE.code, HELLO_SECONDS) == (4408, 10)


def test_other_requests_do_not_count_as_a_hello(wire: Wire) -> None:
    wire.call(BEAT)
    wire.pass_time(HELLO_SECONDS)
    assert wire.close_code() == close.HELLO_LATE.code


def test_a_hello_that_is_refused_late_closes_the_socket_as_late(wire: Wire) -> None:
    wire.call("session.hello", token="wrong")
    wire.pass_time(HELLO_SECONDS + 1)
    assert wire.close_code() is None, "the hub itself is slow: that is not the client's fault"
    wire.greeted(accepted=False)
    wire.pass_time(0)
    assert wire.close_code() == close.HELLO_LATE.code


def test_a_greeted_session_has_no_deadline(ready: Wire) -> None:
    assert ready.session.deadline is None
    ready.call("session.hello", account="other")
    assert ready.session.deadline is None
    assert ready.session.tick(ready.now + 1000) is None


def test_after_a_close_nothing_is_taken_in(wire: Wire) -> None:
    wire.pass_time(HELLO_SECONDS)
    received = wire.send(wire.client.request("session.hello"))
    assert (received.requests, received.frames, received.close) == ([], [], None)


# -- ids ---------------------------------------------------------------------------------------------


def test_an_id_that_is_open_is_refused_and_the_open_request_stays(ready: Wire) -> None:
    ready.send({"op": BEAT, "id": 7})
    ready.send({"op": BEAT, "id": 7})
    assert ready.ids == [7]
    answer = ready.client.answer(7)
    assert (answer["code"], answer["path"]) == ("data.invalid", "id")
    ready.client.heard.clear()
    ready.ok(7)
    assert ready.client.answer(7)["op"] == "ok"


def test_the_id_of_a_waiting_request_is_open_too(wire: Wire) -> None:
    wire.call("session.hello")
    wire.send({"op": BEAT, "id": 7})
    wire.send({"op": BEAT, "id": 7})
    assert wire.client.answer(7)["code"] == "data.invalid"
    wire.greeted(accepted=True)
    assert wire.ids == [1, 7]


def test_an_answered_id_may_be_used_again(ready: Wire) -> None:
    for _ in range(3):
        ready.send({"op": BEAT, "id": 7})
        ready.ok(7)
    assert ready.ids == [7, 7, 7]
    assert ready.session.open == 0


def test_at_most_1024_requests_are_open_at_once(ready: Wire) -> None:
    for _ in range(OPEN):
        ready.call(BEAT)
    refused = ready.call(BEAT)
    assert len(ready.started) == OPEN == ready.session.open
    assert ready.client.answer(refused)["code"] == "rate.limited"
    ready.ok(ready.started[0].id)
    ready.send({"op": BEAT, "id": refused})
    assert ready.ids[-1] == refused


@pytest.mark.parametrize("number", [0, -1, "1", None, True, 1.5, 2**53, [1], {"a": 1}])
def test_an_id_that_is_no_positive_integer_is_refused_without_an_id(ready: Wire, number: Any) -> None:
    ready.send({"op": BEAT, "id": number})
    (answer,) = ready.client.heard
    assert (answer["code"], answer["path"]) == ("data.invalid", "id")
    assert "id" not in answer
    assert ready.started == []


def test_a_missing_id_is_named(ready: Wire) -> None:
    ready.send({"op": BEAT})
    (answer,) = ready.client.heard
    assert (answer["code"], answer["path"]) == ("data.invalid", "id")


@pytest.mark.parametrize("number", [1, 2**53 - 1])
def test_the_smallest_and_the_largest_id_are_taken(ready: Wire, number: int) -> None:
    ready.send({"op": BEAT, "id": number})
    assert ready.ids == [number]


@pytest.mark.parametrize(
    ("message", "code", "path"),
    [
        ({"op": "record.fly", "id": 3}, "op.unknown", "op"),
        ({"op": "record.get", "id": 3}, "data.invalid", "type"),
        ({"op": "record.get", "id": 3, "type": "event", "rec": 5}, "data.invalid", "rec"),
        ({"op": "record.get", "id": 3, "type": "event", "rec": "x", "nope": 5}, "data.invalid", "nope"),
        ({"id": 3}, "frame.malformed", None),
        ({"op": None, "id": 3}, "frame.malformed", None),
    ],
)
def test_a_refusal_carries_the_id_where_it_can_be_read(
    ready: Wire, message: dict[str, Any], code: str, path: str | None
) -> None:
    ready.send(message)
    answer = ready.client.answer(3)
    assert (answer["code"], answer.get("path")) == (code, path)
    assert ready.session.open == 0


# -- arrays ------------------------------------------------------------------------------------------


def test_each_member_of_an_array_is_started_in_order(ready: Wire) -> None:
    ready.send(*({"op": BEAT, "id": n} for n in (5, 3, 9)))
    assert ready.ids == [5, 3, 9]


def test_a_bad_member_does_not_harm_its_neighbours(ready: Wire) -> None:
    ready.send(
        {"op": BEAT, "id": 1}, 5, {"op": "no.such", "id": 2}, {"op": BEAT, "id": 3, "x": 1}, {"op": BEAT, "id": 4}
    )
    assert ready.ids == [1, 4]
    assert ready.codes == ["frame.malformed", "op.unknown", "data.invalid"]
    assert [m.get("id") for m in ready.client.heard] == [None, 2, 3]


def test_an_array_may_begin_with_the_hello(wire: Wire) -> None:
    wire.send({"op": "session.hello", "id": 1}, {"op": BEAT, "id": 2})
    wire.greeted(accepted=True)
    assert wire.ids == [1, 2]


def test_an_array_of_one_is_a_message(ready: Wire) -> None:
    ready.send_frame(encoded(ready.client.codec, [{"op": BEAT, "id": 1}]))
    assert ready.ids == [1]


@pytest.mark.parametrize("count", [0, ARRAY + 1])
def test_an_array_holds_one_to_a_thousand_messages(ready: Wire, count: int) -> None:
    ready.send_frame(encoded(ready.client.codec, [{"op": BEAT, "id": n} for n in range(1, count + 1)]))
    assert ready.codes == ["frame.malformed"]
    assert ready.started == []


def test_an_array_within_an_array_is_no_message(ready: Wire) -> None:
    ready.send_frame(encoded(ready.client.codec, [[{"op": BEAT, "id": 1}]]))
    assert ready.codes == ["frame.malformed"]
    assert ready.started == []


# -- bad frames --------------------------------------------------------------------------------------


def test_twenty_bad_frames_in_a_minute_are_answered_and_the_next_closes(ready: Wire) -> None:
    for _ in range(BAD_FRAMES):
        ready.send_frame(bad_frame(ready.client.codec))
        ready.pass_time(1)
    assert ready.close_code() is None
    ready.send_frame(bad_frame(ready.client.codec))
    assert ready.codes == ["frame.malformed"] * 21
    assert ready.close_code() == close.RATE.code
    assert close.RATE.code == 4411


def test_bad_frames_are_forgotten_after_a_minute(ready: Wire) -> None:
    for _ in range(100):
        ready.send_frame(bad_frame(ready.client.codec))
        ready.pass_time(BAD_FRAMES_SECONDS / BAD_FRAMES)
    assert ready.close_code() is None


def test_good_frames_between_bad_ones_do_not_help(ready: Wire) -> None:
    for _ in range(BAD_FRAMES + 1):
        ready.send_frame(bad_frame(ready.client.codec))
        ready.call(BEAT)
    assert ready.close_code() == close.RATE.code


def test_refused_requests_are_no_bad_frames(ready: Wire) -> None:
    for n in range(1, 101):
        ready.send({"op": "no.such", "id": n})
        ready.send({"op": BEAT, "id": n, "x": 1})
    assert ready.close_code() is None


def test_after_a_bad_frame_the_session_goes_on(ready: Wire) -> None:
    ready.send_frame(bad_frame(ready.client.codec))
    number = ready.call(BEAT)
    assert ready.ids == [number]


# -- kinds and sizes of frames -----------------------------------------------------------------------


def test_the_wrong_kind_of_frame_closes(ready: Wire) -> None:
    ready.send_frame("{}" if ready.client.codec.binary else b"\x80")
    assert ready.close_code() == close.WRONG_KIND.code
    assert close.WRONG_KIND.code == 1003


def padded(codec: Codec, size: int) -> str | bytes:
    """Return a beat that is exactly `size` bytes long as a frame."""
    fixed = {"op": BEAT, "id": 1, "telemetry": {"a": "x" * 70_000}}
    spare = size - len(encoded(codec, fixed))
    return encoded(codec, {**fixed, "telemetry": {"a": "x" * (70_000 + spare)}})


def test_a_frame_of_one_mebibyte_is_taken_and_a_larger_one_closes(ready: Wire) -> None:
    largest = padded(ready.client.codec, FRAME_BYTES)
    assert len(largest) == FRAME_BYTES == 1024 * 1024
    ready.send_frame(largest)
    assert ready.ids == [1]
    ready.send_frame(padded(ready.client.codec, FRAME_BYTES + 1))
    assert ready.close_code() == close.TOO_LARGE.code
    assert close.TOO_LARGE.code == 1009


def test_text_is_measured_in_bytes() -> None:
    from hub.wire.codec import JSON

    wire = Wire(JSON)
    wire.greet()
    wire.send_frame(encoded(JSON, {"op": BEAT, "id": 5, "telemetry": {"a": "ü" * (FRAME_BYTES // 2)}}))
    assert wire.close_code() == close.TOO_LARGE.code


# -- the end -----------------------------------------------------------------------------------------


def test_a_session_that_ended_greets_nobody(wire: Wire) -> None:
    wire.call("session.hello")
    wire.call(BEAT)
    wire.session.end()
    wire.greeted(accepted=True)
    assert wire.ids == [1]


def test_every_request_is_answered_exactly_once(ready: Wire) -> None:
    numbers = [ready.call(BEAT) for _ in range(10)]
    for number in reversed(numbers):
        (ready.ok if number % 2 else lambda n: ready.refuse(n, "access.denied"))(number)
    assert sorted(m["id"] for m in ready.client.heard) == numbers
    assert ready.session.open == 0

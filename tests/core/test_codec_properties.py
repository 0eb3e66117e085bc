"""Round trips and mutated frames: whatever comes in, what comes out is a request or a refusal with a known code."""

from __future__ import annotations

import math
import os
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hub.session import BAD_FRAMES
from hub.wire.codec import CODECS, INTEGER, JSON, MSGPACK, check, convert
from hub.wire.errors import KINDS, HubError
from hub.wire.requests import BY_NAME, REQUESTS
from tests.core.client_core import Wire, decoded, encoded

SCALE = int(os.environ.get("AETHER_PROOF", "1"))
"""How many times as long `make proof` runs them."""
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
SCALARS = (
    st.none() | st.booleans() | st.integers(-INTEGER, INTEGER) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
PLAIN = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4))
ANY_NUMBER = st.integers(-(2**63), 2**64 - 1) | st.floats()
ANYTHING = st.recursive(
    SCALARS | ANY_NUMBER | st.binary(max_size=4) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=20,
)
FIELDS = sorted({field.encode_name for kind in REQUESTS for field in msgspec.structs.fields(kind)})
FRAMES = [
    {"op": "record.create", "id": 1, "type": "event", "data": {"title": "Ä", "tags": ["a", None, 1.5, True]}},
    {"op": "record.find", "id": 2, "type": "event", "where": {"$or": [{"title": {"$in": ["a"]}}]}, "order": ["-title"]},
    {"op": "watch.start", "id": 3, "type": "event", "since": {"mark": "m", "seq": 5}},
    [{"op": "session.hello", "id": 4, "token": "t"}, {"op": "session.beat", "id": 5, "telemetry": {"a": [[{}]]}}],
]
QUICK = settings(max_examples=120 * SCALE, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@given(PLAIN)
@QUICK
def test_plain_values_come_through_both_codecs_unchanged(value: Any) -> None:
    for codec in CODECS.values():
        frame = codec.encode({"v": value})
        again = codec.decode(frame)
        assert _same(again["v"], value)
        assert _same(check(again)["v"], value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, int | float):
        return math.copysign(1, one) == math.copysign(1, other) and one == other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and bool(one == other)


@given(st.sampled_from(sorted(BY_NAME)), st.dictionaries(st.sampled_from(FIELDS) | TEXT, ANYTHING, max_size=6))
@QUICK
def test_any_message_becomes_a_request_or_a_refusal(op: str, fields: dict[str, Any]) -> None:
    try:
        outcome = type(convert({"id": 1, **fields, "op": op})).__name__
    except HubError as refusal:
        outcome = refusal.code
    assert outcome in {BY_NAME[op].__name__, *KINDS}


def _take(wire: Wire, frame: str | bytes) -> None:
    """Send a frame; whatever it was, every answer is one and the session obeys its own rules."""
    before = len(wire.client.heard)
    received = wire.send_frame(frame)
    for answer in wire.client.heard[before:]:
        assert (answer["op"], answer["code"] in KINDS) == ("error", True)
    assert received.close is None or received.requests == []
    for request in received.requests:
        wire.session.reply(request.id, None)
    wire.session.greeted(accepted=True)


@given(st.data())
@QUICK
def test_a_mutated_frame_is_refused_or_started_and_never_raises(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from(list(CODECS.values())))
    frame = encoded(codec, data.draw(st.sampled_from(FRAMES)))
    raw = bytearray(frame if isinstance(frame, bytes) else frame.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(0, len(raw) - 1)))
        match data.draw(st.sampled_from(["set", "cut", "insert", "double"])):
            case "set" if raw:
                raw[place] = data.draw(st.integers(0, 255))
            case "cut":
                del raw[place : place + data.draw(st.integers(1, 20))]
            case "insert":
                raw[place:place] = data.draw(st.binary(min_size=1, max_size=4))
            case _:
                raw[place:place] = raw[place : place + 30]
    wire = Wire(codec)
    wire.greet()
    wire.client.heard.clear()
    _take(wire, bytes(raw) if codec.binary else raw.decode("utf-8", "replace"))


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=BAD_FRAMES))
@QUICK
@example([b"\xd6\xff\x00\x00\x00\x00", b"\x81\x91\xc4\x01a\x01"])
def test_any_bytes_are_answered(frames: list[bytes]) -> None:
    for codec in CODECS.values():
        wire = Wire(codec)
        wire.greet()
        for frame in frames:
            _take(wire, frame if codec.binary else frame.decode("latin-1"))
        assert wire.close_code() in {None, 4411}


@given(PLAIN)
@settings(max_examples=50 * SCALE, deadline=None)
def test_both_codecs_say_the_same(value: Any) -> None:
    message = {"op": "ok", "id": 1, "data": value}
    assert _same(decoded(JSON, JSON.encode(message)), decoded(MSGPACK, MSGPACK.encode(message)))

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


@given(
    st.sampled_from(sorted(set(BY_NAME) - {"session.hello"})),
    st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=3),
    st.data(),
)
@QUICK
@example("action.call", {"action": "a.b", "timeout": float("nan")}, None)
@example("record.delete", {"type": "event", "rec": "x", "if_version": 2**60}, None)
@example("channel.join", {"channel": "a:b", "presence": {"state": {"a": "\0"}}}, None)
@example("channel.join", {"channel": "a:b", "presence": {"state": {"a": b"x"}}}, None)
@example("channel.join", {"channel": "a:b", "presence": {"state": {"a": [2**60]}}}, None)
@example("record.create", {"type": "event", "data": {}, "parent": {"type": "event", "rec": "a\0b"}}, None)
@example("watch.start", {"type": "event", "since": {"mark": "\x1b", "seq": 0, "have": {"\0": 1}}}, None)
@example("record.find", {"type": "event", "fields": ["a\0"]}, None)
@example("watch.start", {"type": "event", "include": float("inf")}, None)
def test_the_short_way_of_decoding_takes_nothing_that_the_long_way_would_refuse_or_change(
    op: str, fields: dict[str, Any], data: st.DataObject | None
) -> None:
    good = dict(_GOOD.get(op, {}))
    if data is not None:
        for name in data.draw(st.sets(st.sampled_from(sorted(good)), max_size=1)) if good else ():
            del good[name]
    member = {**good, **fields, "op": op, "id": 1}
    for codec in CODECS.values():
        frame = encoded(codec, member)
        short = codec.request(frame)
        if short is not None:
            assert repr(short) == repr(convert(codec.decode(frame)))


_GOOD: dict[str, dict[str, Any]] = {
    "record.get": {"type": "event", "rec": "x"},
    "channel.send": {"channel": "event:x", "event": "a", "data": {"n": [1]}},
    "record.find": {"type": "event"},
    "record.search": {"q": "x"},
    "record.aggregate": {"type": "event", "values": {}},
    "record.create": {"type": "event", "data": {}},
    "record.upsert": {"type": "event", "data": {}, "match": ["a"]},
    "record.update": {"type": "event", "rec": "x", "data": {}},
    "record.delete": {"type": "event", "rec": "x"},
    "record.move": {"type": "event", "rec": "x", "parent": {"type": "event", "rec": "y"}},
    "record.restore": {"type": "event", "rec": "x"},
    "record.revert": {"type": "event", "rec": "x", "version": 1},
    "record.history": {"type": "event", "rec": "x"},
    "record.update_where": {"type": "event", "where": {}, "data": {}, "limit": 1},
    "record.delete_where": {"type": "event", "where": {}, "limit": 1},
    "record.batch": {"ops": []},
    "watch.start": {"type": "event"},
    "watch.stop": {"watch": "x"},
    "feed.start": {"name": "a"},
    "feed.ack": {"name": "a", "seq": 1},
    "feed.stop": {"name": "a"},
    "channel.join": {"channel": "a:b"},
    "channel.leave": {"channel": "a:b"},
    "presence.update": {"channel": "a:b"},
    "lock.take": {"type": "event", "rec": "x"},
    "lock.keep": {"type": "event", "rec": "x"},
    "lock.release": {"type": "event", "rec": "x"},
    "client.call": {"to": {"device": "x"}, "command": "RELOAD"},
    "client.reply": {"command": 1},
    "presence.status": {"users": ["x"]},
    "presence.roster": {"channel": "a:b"},
    "action.call": {"action": "a.b"},
    "lookup.list": {"lookup": "country"},
    "lookup.resolve": {"lookup": "country", "q": "DE"},
    "manifest.get": {"container": {"type": "event", "rec": "x"}},
    "session.auth": {"token": "x"},
}


def test_every_good_request_takes_the_short_way() -> None:
    for op in BY_NAME:
        member = {**_GOOD.get(op, {}), "op": op, "id": 1}
        for codec in CODECS.values():
            assert codec.request(encoded(codec, member)) == convert(member), op

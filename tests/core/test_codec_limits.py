"""What the door refuses: named malformed frames, each with its code, its path and, where it can be read, its id."""

from __future__ import annotations

import struct
import time

import pytest

from hub.wire.codec import ECHO, FRAME_BYTES, INTEGER, JSON, MSGPACK, NESTING, Undecodable, check, convert, readable_id
from hub.wire.errors import HubError
from hub.wire.requests import SessionBeat
from tests.core.client_core import Wire

MALFORMED = ("frame.malformed", None)
DATA = ("data.invalid", "telemetry.a")


def beat(value: str) -> str:
    """Return a JSON beat with any text where a value belongs."""
    return f'{{"op":"session.beat","id":1,"telemetry":{{"a":{value}}}}}'


def packed(value: bytes) -> bytes:
    """Return a MessagePack beat with any bytes where a value belongs."""
    return b"\x83\xa2op\xacsession.beat\xa2id\x01\xa9telemetry\x81\xa1a" + value


JSON_FRAMES: dict[str, tuple[str, tuple[str, str | None]]] = {
    "empty": ("", MALFORMED),
    "blank": (" \n", MALFORMED),
    "null": ("null", MALFORMED),
    "a number": ("5", MALFORMED),
    "a text": ('"session.hello"', MALFORMED),
    "truncated": ('{"op":"session.beat"', MALFORMED),
    "two messages": (beat("1") + beat("2"), MALFORMED),
    "a trailing comma": (beat("1")[:-1] + ",}", MALFORMED),
    "a comment": ("/* hello */ " + beat("1"), MALFORMED),
    "single quotes": (beat("1").replace('"', "'"), MALFORMED),
    "a byte order mark": ("\ufeff" + beat("1"), MALFORMED),
    "a trailing nul": (beat("1") + "\0", MALFORMED),
    "NaN": (beat("NaN"), MALFORMED),
    "Infinity": (beat("Infinity"), MALFORMED),
    "minus Infinity": (beat("-Infinity"), MALFORMED),
    "1e400": (beat("1e400"), MALFORMED),
    "a leading zero": (beat("01"), MALFORMED),
    "hexadecimal": (beat("0x1"), MALFORMED),
    "10^20": (beat("1" + "0" * 20), DATA),
    "minus 10^20": (beat("-1" + "0" * 20), DATA),
    "10^400": (beat("1" + "0" * 400), DATA),
    "10^5000": (beat("1" + "0" * 5000), MALFORMED),
    "2^53": (beat(str(2**53)), DATA),
    "minus 2^53": (beat(str(-(2**53))), DATA),
    "half a surrogate pair": (beat(r'"\ud800 "'), MALFORMED),
    "a pair the wrong way round": (beat(r'"\udc00\ud800"'), MALFORMED),
    "a raw surrogate": (beat('"\ud800"'), MALFORMED),
    "an escaped nul": (beat(r'"a\u0000b"'), DATA),
    "a raw nul": (beat('"\0"'), MALFORMED),
    "a raw line end": (beat('"a\nb"'), MALFORMED),
    "escape": (beat(r'"\u001b[31m"'), DATA),
    "delete": (beat('"\x7f"'), DATA),
    "a C1 control": (beat('"\x9b31m"'), DATA),
    "a nul in a key": (beat(r'{"a\u0000":1}'), DATA),
    "a line end in a key": (beat(r'{"a\nb":1}'), DATA),
    "a depth bomb of lists": (beat("[" * NESTING + "]" * NESTING), MALFORMED),
    "a depth bomb of objects": (beat('{"a":' * NESTING + "1" + "}" * NESTING), MALFORMED),
    "a depth bomb of 400,000 levels": ("[" * 400_000 + "]" * 400_000, MALFORMED),
    "an open depth bomb": ('{"a":' * 200_000, MALFORMED),
    "a huge array": ("[" + "0," * 500_000 + "0]", MALFORMED),
    "an empty array": ("[]", MALFORMED),
    "an object without op": ('{"id":1}', MALFORMED),
    "an op that is no text": ('{"op":["session.beat"],"id":1}', MALFORMED),
    "an op twice, the last counts": ('{"op":"session.hello","op":"record.get","id":1}', ("data.invalid", "type")),
    "an op of a million characters": ('{"op":"' + "x" * 1_000_000 + '","id":1}', ("op.unknown", "op")),
}

MSGPACK_FRAMES: dict[str, tuple[bytes, tuple[str, str | None]]] = {
    "empty": (b"", MALFORMED),
    "the byte that is never used": (b"\xc1", MALFORMED),
    "a number": (b"\x05", MALFORMED),
    "nil": (b"\xc0", MALFORMED),
    "truncated": (packed(b"\x01")[:-1], MALFORMED),
    "a trailing byte": (packed(b"\x01") + b"\0", MALFORMED),
    "JSON": (b'{"op":"session.beat","id":1}', MALFORMED),
    "bytes": (packed(b"\xc4\x01a"), DATA),
    "bytes that are announced and missing": (packed(b"\xc6\xff\xff\xff\xff"), MALFORMED),
    "text that is announced and missing": (packed(b"\xdb\xff\xff\xff\xff"), MALFORMED),
    "an array that is announced and missing": (b"\xdd\xff\xff\xff\xff", MALFORMED),
    "a map that is announced and missing": (b"\xdf\xff\xff\xff\xff", MALFORMED),
    "an extension": (packed(b"\xd4\x05a"), MALFORMED),
    "a long extension": (packed(b"\xc7\x03\x05abc"), MALFORMED),
    "a timestamp of 32 bits": (packed(b"\xd6\xff\0\0\0\0"), DATA),
    "a timestamp of 96 bits": (packed(b"\xc7\x0c\xff" + b"\0" * 12), DATA),
    "a broken timestamp": (packed(b"\xd5\xff\0\0"), MALFORMED),
    "a timestamp beyond the calendar": (packed(b"\xc7\x0c\xff" + b"\0" * 4 + b"\x7f" * 8), MALFORMED),
    "NaN": (packed(b"\xcb" + struct.pack(">d", float("nan"))), DATA),
    "NaN of 32 bits": (packed(b"\xca" + struct.pack(">f", float("nan"))), DATA),
    "Infinity": (packed(b"\xcb" + struct.pack(">d", float("inf"))), DATA),
    "minus Infinity": (packed(b"\xcb" + struct.pack(">d", float("-inf"))), DATA),
    "2^64-1": (packed(b"\xcf" + b"\xff" * 8), DATA),
    "minus 2^63": (packed(b"\xd3\x80" + b"\0" * 7), DATA),
    "2^53": (packed(b"\xcf" + (2**53).to_bytes(8, "big")), DATA),
    "bad UTF-8": (packed(b"\xa2\xff\xfe"), MALFORMED),
    "a surrogate in UTF-8": (packed(b"\xa3\xed\xa0\x80"), MALFORMED),
    "an overlong nul": (packed(b"\xa2\xc0\x80"), MALFORMED),
    "a nul": (packed(b"\xa1\0"), DATA),
    "a key that is a number": (packed(b"\x81\x05\x01"), DATA),
    "a key that is nil": (packed(b"\x81\xc0\x01"), DATA),
    "a key of bytes": (packed(b"\x81\xc4\x01a\x01"), DATA),
    "a key that is a list": (packed(b"\x81\x91\x01\x01"), DATA),
    "a key that is a map": (packed(b"\x81\x80\x01"), MALFORMED),
    "a key that is a timestamp": (packed(b"\x81\xd6\xff\0\0\0\0\x01"), DATA),
    "a key that is an extension": (packed(b"\x81\xd4\x05a\x01"), MALFORMED),
    "a depth bomb of arrays": (packed(b"\x91" * NESTING + b"\xc0"), MALFORMED),
    "a depth bomb of maps": (packed(b"\x81\xa1a" * NESTING + b"\xc0"), MALFORMED),
    "a depth bomb of a million levels": (b"\x91" * 1_000_000 + b"\xc0", MALFORMED),
    "a huge array": (b"\xdd\x00\x0f\xff\xf0" + b"\xc0" * 0xFFFF0, MALFORMED),
    "an op twice, the last counts": (
        b"\x83\xa2op\xadsession.hello\xa2op\xaarecord.get\xa2id\x01",
        ("data.invalid", "type"),
    ),
}


@pytest.mark.parametrize("name", list(JSON_FRAMES))
def test_a_malformed_json_frame_gets_its_code_and_the_session_goes_on(name: str) -> None:
    frame, expected = JSON_FRAMES[name]
    _is_refused(Wire(JSON), frame, expected)


@pytest.mark.parametrize("name", list(MSGPACK_FRAMES))
def test_a_malformed_msgpack_frame_gets_its_code_and_the_session_goes_on(name: str) -> None:
    frame, expected = MSGPACK_FRAMES[name]
    _is_refused(Wire(MSGPACK), frame, expected)


def _is_refused(wire: Wire, frame: str | bytes, expected: tuple[str, str | None]) -> None:
    wire.greet()
    wire.client.heard.clear()
    wire.started.clear()
    wire.send_frame(frame)
    (answer,) = wire.client.heard
    assert (answer["code"], answer.get("path")) == expected
    assert answer["message"].endswith(".")
    assert len(str(answer)) < 600, "a refusal repeats only a little of what it refuses"
    if expected[0] != "frame.malformed":
        assert answer["id"] == 1
    assert (wire.started, wire.closed) == ([], None)
    wire.send({"op": "session.beat", "id": 99})
    assert wire.ids == [99]


def test_what_the_table_refuses_is_refused_for_that_reason_alone() -> None:
    for frame in (beat("1"), packed(b"\x01")):
        value = JSON.decode(frame) if isinstance(frame, str) else MSGPACK.decode(frame)
        assert convert(value) == SessionBeat(id=1, telemetry={"a": 1})


# -- the limits from within --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [INTEGER, -INTEGER, 1.5, -0.0, "", "\t\n", "ünïcødé 👩‍💻", [], {}, None, True])
def test_what_the_wire_carries_is_passed_on_unchanged(value: object) -> None:
    assert check({"a": [value]}) == {"a": [value]}


def test_nesting_counts_the_message_itself_as_one() -> None:
    inner = beat("[" * (NESTING - 2) + "]" * (NESTING - 2))
    assert isinstance(convert(JSON.decode(inner)), SessionBeat)
    with pytest.raises(Undecodable):
        convert(JSON.decode(beat("[" * (NESTING - 1) + "]" * (NESTING - 1))))


def test_line_ends_become_line_feeds_wherever_they_stand() -> None:
    value = {"a": "1\r\n2\r3\n4", "b": ["\r", {"c": "\r\n"}]}
    assert check(value) == {"a": "1\n2\n3\n4", "b": ["\n", {"c": "\n"}]}


def test_keys_may_hold_any_text_that_people_write() -> None:
    value = {"": 1, "a b": 1, "ключ": 1, "👩‍💻": 1, "a\u00a0b": 1}
    assert check(dict(value)) == value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": {"b": [1, {"c": 2**60}]}}, "a.b.1.c"),
        ([[1, "\0"]], "0.1"),
        ({"x" * 1000: 2**60}, "x" * ECHO),
        (2**60, None),
    ],
)
def test_a_refusal_names_the_path_to_the_value(value: object, path: str | None) -> None:
    with pytest.raises(HubError) as refused:
        check(value)
    assert (refused.value.code, refused.value.path) == ("data.invalid", path)


def test_an_unknown_field_with_an_endless_name_is_not_repeated_whole() -> None:
    with pytest.raises(HubError) as refused:
        convert({"op": "session.beat", "id": 1, "n" * 100_000: 1})
    assert refused.value.path == "n" * ECHO


def test_a_frame_of_long_keys_and_many_values_costs_no_more_than_its_bytes() -> None:
    key, zeros = "k" * (FRAME_BYTES // 2), "0," * (FRAME_BYTES // 4 - 100)
    frame = beat(f'{{"{key}":[{zeros}0]}}')
    assert len(frame) <= FRAME_BYTES
    began = time.process_time()
    convert(JSON.decode(frame))
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize(
    ("member", "number"), [({"id": 5}, 5), ({"id": True}, None), ({}, None), (5, None), ([], None)]
)
def test_an_id_is_read_where_there_is_one(member: object, number: int | None) -> None:
    assert readable_id(member) == number

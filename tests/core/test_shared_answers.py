"""Answers that many requests get are encoded once, and are what each alone would have been answered."""

from __future__ import annotations

from typing import Any

import pytest

from hub.session import Session
from hub.wire import frames
from hub.wire.codec import CODECS, Codec, Shared


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
@pytest.mark.parametrize("number", [1, 0x7F, 0x80, 10_000_001, 2**53 - 1])
@pytest.mark.parametrize("seq", [None, 0, 70_000])
def test_a_shared_answer_is_what_one_alone_would_be(codec: Codec, number: int, seq: int | None) -> None:
    data: dict[str, Any] = {"now": "2026-11-21T09:00:00.000Z", "seq": seq, "id": 0, "text": "id\x00"}
    shared = Shared(data, seq)
    for _ in range(2):  # the second time from what is kept
        assert codec.answer(number, shared) == codec.encode(frames.ok(number, data, seq))


@pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
def test_a_request_is_closed_by_its_shared_answer(codec: Codec) -> None:
    def frame(message: dict[str, Any]) -> str | bytes:
        encoded = codec.encode(message)
        return encoded if codec.binary else encoded.decode()

    session = Session(codec, 0.0)
    beat = frame({"op": "session.beat", "id": 2})
    assert session.ordinary(beat) is None  # nobody said hello
    session.receive(frame({"op": "session.hello", "id": 1}), 0.0)
    assert session.ordinary(beat) is None
    session.reply(1, {})
    session.greeted(accepted=True)
    assert session.ordinary(frame({"op": "session.hello", "id": 5})) is None
    assert session.ordinary(beat) is not None
    assert session.ordinary(beat) is None  # its id is open
    session.share(2, Shared({}, None))
    assert session.open == 0
    assert session.ordinary(beat) is not None

"""Every frame of the table of malformed frames, sent to a real hub: its code and path, and the session goes on."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import httpx
import pytest

from tests.core.test_codec_limits import JSON_FRAMES, MSGPACK_FRAMES
from tests.wire.talk import connected
from tests.wire.tenant import Tenant

PER_SOCKET: Final = 15
"""How many go over one socket: more than twenty malformed ones in a minute would close it."""
UNSENDABLE: Final = {"a raw surrogate"}
"""What no text frame can hold: that is bad UTF-8, which closes with 1007."""
FRAMES: Final[dict[str, dict[str, tuple[Any, tuple[str, str | None]]]]] = {
    "json": {name: case for name, case in JSON_FRAMES.items() if name not in UNSENDABLE},
    "msgpack": dict(MSGPACK_FRAMES),
}


async def test_a_malformed_frame_gets_its_code_and_the_session_goes_on(shared: Tenant, codec: str) -> None:
    names = list(FRAMES[codec])
    wrong: list[Any] = []
    for start in range(0, len(names), PER_SOCKET):
        async with shared.client("editor", codec) as client:
            client.last = 100  # so that nothing of ours has the number that the frames carry
            for name in names[start : start + PER_SOCKET]:
                frame, (code, path) = FRAMES[codec][name]
                await client.socket.send(frame)
                answer = await client.heard()
                if (answer["code"], answer.get("path")) != (code, path) or not answer["message"].endswith("."):
                    wrong.append((name, answer))
                if len(str(answer)) > 600:
                    wrong.append((name, "repeats too much"))
                await client.ok("session.beat")
                assert client.log[-2] is answer, "one answer, and no more"
    assert wrong == []


async def test_a_malformed_frame_before_the_hello_is_answered_too(shared: Tenant, codec: str) -> None:
    for name in ("truncated", "NaN", "a number", "a depth bomb of lists", "a depth bomb of arrays", "2^53"):
        if name not in FRAMES[codec]:
            continue
        frame, (code, path) = FRAMES[codec][name]
        async with connected(shared.process.socket_url, codec) as client:
            client.last = 100
            await client.socket.send(frame)
            answer = await client.heard()
            assert (answer["code"], answer.get("path")) == (code, path), name
            assert (await client.greet(shared.keys["viewer"]))["account"] == shared.account


@pytest.mark.parametrize("who", ["editor", None])
async def test_a_malformed_body_gets_its_code_over_http(shared: Tenant, who: str | None) -> None:
    headers = {"authorization": f"Bearer {shared.keys[who]}"} if who else {}
    wrong: list[Any] = []
    async with httpx.AsyncClient(base_url=shared.process.url, headers=headers, trust_env=False) as http:
        names = [name for name in FRAMES["json"] if name not in {"an empty array", "a huge array"}]
        answers = await asyncio.gather(*(http.post("/rpc", content=FRAMES["json"][name][0].encode()) for name in names))
    for name, answer in zip(names, answers, strict=True):
        message = answer.json()
        code, path = FRAMES["json"][name][1]
        if (message["code"], message.get("path")) != (code, path) or not message["message"].endswith("."):
            wrong.append((name, message))
        if answer.status_code != {"frame.malformed": 400, "op.unknown": 404, "data.invalid": 422}[code]:
            wrong.append((name, answer.status_code))
    assert wrong == []

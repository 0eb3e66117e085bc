"""The end of a hub: everybody hears of it, every write is answered or was not done, and nothing stays behind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import websockets

from tests.wire.hubprocess import REPOSITORY, HubProcess
from tests.wire.talk import Client, Message, connected
from tests.wire.tenant import Tenant, make_tenant

SOCKETS: Final = 50
WRITES: Final = 10


async def write_until_closed(client: Client, n: int) -> dict[str, Message | None]:
    """Send keyed writes and hear everything until the hub closes; return each key's answer, or None."""
    asked: dict[str, int] = {}
    try:
        for k in range(WRITES):
            key = f"{n}-{k}"
            asked[key] = client.last + 1
            await client.send("record.create", type="event", data={"title": key}, key=key)
    except websockets.ConnectionClosed:
        pass
    assert await client.closed() == 1012
    answers = {m["id"]: m for m in client.log if m["op"] in {"ok", "error"}}
    return {key: answers.get(number) for key, number in asked.items()}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stopping_hub_says_goodbye_and_answers_or_does_not_do_each_write(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = HubProcess(tmp_path / "data")
    tenant = await make_tenant(process)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(tenant.client("editor")) for _ in range(SOCKETS)]
        tasks = [asyncio.create_task(write_until_closed(client, n)) for n, client in enumerate(clients)]
        async with asyncio.timeout(20):
            while sum(message["op"] == "ok" for client in clients for message in client.log) < 2 * SOCKETS:
                await asyncio.sleep(0)  # each hello is one; then the writes are well under way
        begun = time.monotonic()
        process.signal(number)
        async with asyncio.timeout(30):
            outcomes = await asyncio.gather(*tasks)
        code = await asyncio.to_thread(process.wait)
        assert code == 0, process.log[-2000:]
        assert time.monotonic() - begun < 10
    process.check_log()
    assert not process.unix.exists(), "hub.sock is gone"
    for client in clients:
        said = [m for m in client.log if m["op"] == "goaway"]
        assert [set(m) for m in said] == [{"op", "why", "retry_after", "jitter"}]
    answered = {key: message for outcome in outcomes for key, message in outcome.items()}
    assert {m["op"] if m["op"] == "ok" else m["code"] for m in answered.values() if m} <= {"ok", "server.draining"}
    again = HubProcess(tmp_path / "data")
    try:
        await repeated(Tenant(again, tenant.name, tenant.account, tenant.keys), answered)
    finally:
        await asyncio.to_thread(again.stop)


async def repeated(tenant: Tenant, answered: dict[str, Message | None]) -> None:
    """Hold what is there to the answers, then repeat every write with its key: each is there once."""
    async with tenant.client("editor") as client:
        found = await client.ok("record.find", type="event", limit=1000)
        before = [record["title"] for record in found["records"]]
        assert len(set(before)) == len(before)
        for key, message in answered.items():
            if message is not None:
                assert (key in before) == (message["op"] == "ok"), (key, message)
        sent = {key: await client.send("record.create", type="event", data={"title": key}, key=key) for key in answered}
        for key, number in sent.items():
            now = await client.answer(number)
            said = answered[key]
            if said is not None and said["op"] == "ok":
                assert now["data"] == said["data"]
        found = await client.ok("record.find", type="event", limit=1000)
        assert sorted(record["title"] for record in found["records"]) == sorted(answered)


async def test_a_second_hub_on_the_same_folder_is_refused_with_a_sentence(process: HubProcess) -> None:
    command = [str(Path(sys.executable).with_name("aether")), "serve", "--port", "0", "--data", str(process.data)]

    def start() -> Any:
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False)

    second = await asyncio.to_thread(start)
    assert second.returncode != 0
    said = " ".join(second.stderr.split())
    assert "A hub already runs on" in said
    assert "Traceback" not in second.stderr
    async with connected(process.socket_url) as client:
        await client.greet()
    assert process.unix.exists(), "the first one still has its socket"

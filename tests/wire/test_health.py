"""The three questions of health are answered at once, whatever the database does."""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from hub.edge import health
from tests.wire.hubprocess import HubProcess
from tests.wire.inside import Inside, assembled_in_memory

QUESTIONS: Final = ("/livez", "/readyz", "/health")
AT_ONCE_SECONDS: Final = 0.05
HEALED_SECONDS: Final = 15.0


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A hub in this process, over the keeper in memory, that looks at its health often."""
    monkeypatch.setattr(health, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(health, "TIMEOUT_SECONDS", 0.2)
    return assembled_in_memory(tmp_path / "data", monkeypatch)


@pytest.fixture
async def http(process: HubProcess) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the hub that runs for the whole room."""
    async with httpx.AsyncClient(base_url=process.url, trust_env=False) as client:
        yield client


async def usual(http: httpx.AsyncClient, address: str) -> float:
    """Return the median time of some answers: one pause of a busy machine is no slow answer."""
    seconds = []
    for _ in range(15):
        begun = time.monotonic()
        await http.get(address)
        seconds.append(time.monotonic() - begun)
    return statistics.median(seconds)


async def until(http: httpx.AsyncClient, status: int) -> None:
    """Wait until /readyz has a status, asking again and again."""
    async with asyncio.timeout(HEALED_SECONDS):
        while (await http.get("/readyz")).status_code != status:
            await asyncio.sleep(0.02)


async def health_is(http: httpx.AsyncClient, status: str) -> None:
    """Wait until /health has a status, asking again and again."""
    async with asyncio.timeout(HEALED_SECONDS):
        while (await http.get("/health")).json()["status"] != status:
            await asyncio.sleep(0.02)


async def test_a_healthy_hub_says_so(http: httpx.AsyncClient, process: HubProcess) -> None:
    live, ready, full = [await http.get(address) for address in QUESTIONS]
    assert (live.status_code, live.text) == (200, "ok\n")
    assert (ready.status_code, ready.text) == (200, "ready\n")
    assert (full.status_code, full.headers["content-type"]) == (200, "application/health+json")
    body = full.json()
    assert (body["status"], body["checks"]["storage"][0]["status"]) == ("pass", "pass")
    for answer in (live, ready, full):
        assert answer.headers["cache-control"] == "no-store"
    for address in QUESTIONS:
        assert await usual(http, address) < AT_ONCE_SECONDS


@pytest.mark.parametrize("fault", ["hangs", "fails"])
async def test_while_the_database_does_not_answer_each_question_is_answered_at_once(
    inside: Inside, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    blocked = asyncio.Event()
    blocked.set()

    async def probe() -> None:
        if blocked.is_set():
            if fault == "fails":
                raise OSError("no such disk")
            await asyncio.Event().wait()

    check, _ = inside.parts.health.checks
    async with inside.running(), httpx.AsyncClient(base_url=inside.url, trust_env=False) as http:
        await until(http, 200)
        monkeypatch.setattr(check, "probe", probe)
        await until(http, 503)
        assert (await http.get("/livez")).status_code == 200
        full = await http.get("/health")
        said = {"hangs": "no answer within 0.2 s", "fails": "OSError: no such disk"}[fault]
        assert (full.status_code, full.json()["status"]) == (503, "fail")
        assert full.json()["checks"]["storage"][0]["output"] == said
        for address in QUESTIONS:
            assert await usual(http, address) < AT_ONCE_SECONDS
        blocked.clear()
        await until(http, 200)
        assert (await http.get("/health")).json()["status"] == "pass"


async def test_while_another_process_holds_the_file_the_hub_answers_says_so_and_heals(tmp_path: Path) -> None:
    process = HubProcess(tmp_path / "data")
    try:
        async with httpx.AsyncClient(base_url=process.url, trust_env=False) as http:
            await until(http, 200)
            holder = sqlite3.connect(tmp_path / "data" / "hub.db", isolation_level=None)
            try:
                holder.execute("BEGIN IMMEDIATE")
                await health_is(http, "warn")
                for address in QUESTIONS:
                    assert await usual(http, address) < AT_ONCE_SECONDS
                    assert (await http.get(address)).status_code == 200, "what is stored can be read"
                checks = (await http.get("/health")).json()["checks"]
                assert [checks[name][0]["status"] for name in ("storage", "storage:writing")] == ["pass", "warn"]
                assert checks["storage:writing"][0]["output"] == "no answer within 1.5 s"
                holder.execute("ROLLBACK")
            finally:
                holder.close()
            await health_is(http, "pass")
    finally:
        await asyncio.to_thread(process.stop)

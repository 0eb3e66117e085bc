"""Health: three questions, each answered from what background checks found, so no probe ever waits.

`/livez` says that the process turns, `/readyz` whether to send clients here, `/health` everything in
`application/health+json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from hub.schema.times import from_millis

log = logging.getLogger("hub.health")

EVERY_SECONDS: Final = 2.0
TIMEOUT_SECONDS: Final = 1.5


@dataclass(slots=True)
class Check:
    """One dependency. `needed`: without it the hub is not ready. `error` is None while it is well."""

    name: str
    probe: Callable[[], Awaitable[None]]
    needed: bool
    error: str | None = "not checked yet"
    at: float = 0.0
    milliseconds: float = 0.0


@dataclass(slots=True)
class Health:
    """What the background checks found last."""

    version: str
    instance: str
    checks: list[Check]
    draining: Callable[[], bool]
    started: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        """Check everything again and again, each check on its own and bounded in time."""
        async with contextlib.AsyncExitStack() as stack:
            tasks = [asyncio.create_task(self._repeat(check)) for check in self.checks]
            for task in tasks:
                stack.callback(task.cancel)
            await asyncio.gather(*tasks)

    async def _repeat(self, check: Check) -> None:
        while True:
            await self.look(check)
            await asyncio.sleep(EVERY_SECONDS)

    async def look(self, check: Check) -> None:
        """Run one check once."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await check.probe()
            error = None
        except TimeoutError:
            error = f"no answer within {TIMEOUT_SECONDS} s"
        except Exception as fault:
            error = f"{type(fault).__name__}: {fault}"
        if error != check.error and error is not None:
            log.warning("%s: %s", check.name, error)
        check.error, check.at, check.milliseconds = error, time.time(), (time.monotonic() - begun) * 1000

    @property
    def ready(self) -> bool:
        """Whether clients should be sent here."""
        return not self.draining() and all(c.error is None for c in self.checks if c.needed)

    async def livez(self, request: Request) -> Response:
        """Answer that the process turns."""
        return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})

    async def readyz(self, request: Request) -> Response:
        """Answer 200 or 503."""
        text = "ready\n" if self.ready else ("draining\n" if self.draining() else "not ready\n")
        return PlainTextResponse(text, 200 if self.ready else 503, headers={"cache-control": "no-store"})

    async def health(self, request: Request) -> Response:
        """Answer the state of every dependency."""
        failing = [c for c in self.checks if c.error is not None]
        status = "pass" if not failing and self.ready else ("warn" if self.ready else "fail")
        checks: dict[str, Any] = {
            c.name: [
                {
                    "status": "pass" if c.error is None else ("fail" if c.needed else "warn"),
                    "observedValue": round(c.milliseconds, 3),
                    "observedUnit": "ms",
                    "time": from_millis(int(c.at * 1000)),
                }
                | ({"output": c.error} if c.error is not None else {})
            ]
            for c in self.checks
        }
        body = {
            "status": status,
            "version": "1",
            "releaseId": self.version,
            "serviceId": self.instance,
            "notes": ["draining"] if self.draining() else [],
            "checks": checks
            | {"uptime": [{"observedValue": round(time.monotonic() - self.started, 1), "observedUnit": "s"}]},
        }
        return JSONResponse(
            body,
            503 if status == "fail" else 200,
            headers={"cache-control": "no-store"},
            media_type="application/health+json",
        )

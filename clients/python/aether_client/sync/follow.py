"""Following a record over the socket: whenever one of its files changes, the manifest is asked for again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from typing import Any

from aether_client.backoff import Backoff
from aether_client.client import Client
from aether_client.errors import HubError
from aether_client.sync.manifest import BadManifest, Manifest, read_manifest
from aether_client.sync.report import Warnings
from aether_client.sync.target import Target

BAD_MANIFEST_SECONDS = 30.0


async def follow(client: Client, container: tuple[str, str], target: Target, warnings: Warnings) -> None:
    """Keep the newest manifest in the target. Ends only with an error: `HubError` where waiting does not help."""
    kind, rec = container
    changed = asyncio.Event()

    async def hear() -> None:
        async with client.watch(f"{kind}_file", parent={"type": kind, "rec": rec}) as watch:
            async for _ in watch:
                changed.set()

    async def ask() -> None:
        while True:
            await changed.wait()
            changed.clear()  # several changes are one new manifest
            target.set(await _manifest(client, container, warnings))

    await together(hear(), ask())


async def _manifest(client: Client, container: tuple[str, str], warnings: Warnings) -> Manifest:
    """Ask for the manifest until it comes; raise what waiting does not help against."""
    kind, rec = container
    backoff = Backoff(first_seconds=1.0, most_seconds=30.0)
    while True:
        try:
            answer = await client.call("manifest.get", container={"type": kind, "rec": rec})
            manifest = read_manifest(answer.data, windows=os.name == "nt")
        except BadManifest as error:
            warnings.once("manifest", "bad", str(error))
            seconds = BAD_MANIFEST_SECONDS
        except HubError as error:
            if not error.may_pass:
                raise
            seconds = error.retry_after or backoff.lost(0.0)
        else:
            warnings.over("manifest")
            return manifest
        await asyncio.sleep(seconds)
        await client.online()


async def together(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run jobs at once; the first that fails ends the others and is what is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(job)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None

"""Bringing one file from wherever its bytes are to where they belong: obtain, verify, place."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

import httpx

from aether_client.backoff import Backoff
from aether_client.client import Client
from aether_client.http import Away
from aether_client.sync.disk import Disk
from aether_client.sync.fetch import CannotFetch, DiskFull, Unwanted, WrongBytes, check_room, fetch, is_full
from aether_client.sync.folder import Folder
from aether_client.sync.partial import Partial
from aether_client.sync.placing import is_right, place
from aether_client.sync.plan import Fetch
from aether_client.sync.report import Report, Warnings, human_bytes
from aether_client.sync.state import FolderError, State
from aether_client.sync.target import Target


@dataclass(frozen=True, slots=True)
class Bringer:
    """What it takes to bring a file."""

    client: Client
    http: httpx.AsyncClient
    disk: Disk
    folder: Folder
    target: Target
    state: State
    report: Report
    warnings: Warnings

    async def bring(self, item: Fetch, aside: Collection[str]) -> CannotFetch | None:
        """Bring it; return what kept it from being brought now. A hub that is away is waited for.

        Raise `HubError` where no file can be brought any more.
        """
        backoff = Backoff(first_seconds=0.5, most_seconds=15.0)
        while True:
            try:
                await self._obtain(item)
                await self._place(item, aside)
                return None
            except Away as error:
                self.warnings.once("hub", "away", f"{error} Waiting for it.")
                await asyncio.sleep(max(backoff.lost(0.0), error.retry_after or 0.0))
                await self.client.online()
            except Unwanted:
                return None
            except CannotFetch as error:
                return error
            except FolderError as error:
                return CannotFetch(f"has no place: {error}")
            except OSError as error:
                if is_full(error):
                    return DiskFull("has no room: the disk is full")
                return CannotFetch(f"cannot be written: {error.strerror or error}")

    async def _obtain(self, item: Fetch) -> None:
        """Get the verified bytes into the partial folder."""
        if item.source is not None and await self._copy(item, item.source):
            return
        file = item.file
        partial = Partial(self.folder, file)
        try:
            await self.disk.read(partial.open)
            here = partial.pieces.here
            check_room(file.size - here, await self.disk.write(self.folder.free_bytes))
            self.report.begin(file.sha256, f"Fetching {item.paths[0]}", file.size, here)
            await fetch(
                self.http,
                str(self.client.address),
                self.disk,
                partial,
                is_wanted=lambda: self.target.wants(file.sha256),
                moved=lambda now: self.report.moved(file.sha256, now),
            )
        except asyncio.CancelledError:
            done = f"{human_bytes(partial.pieces.here)} of {human_bytes(file.size)}"
            self.report.say(f"{done} of {item.paths[0]} are here; the next start goes on there.")
            raise
        finally:
            self.disk.later(partial.close)
            self.report.end(file.sha256)
        self.warnings.over("hub")
        if not await self.disk.read(is_right, self.folder, file):
            await self.disk.write(self.folder.drop_partial, file.sha256)
            raise WrongBytes("came with bytes that are not what its SHA-256 says and was not taken")

    async def _copy(self, item: Fetch, source: str) -> bool:
        """Take the bytes from another file of the folder; False where that has other bytes by now."""
        file = item.file
        check_room(file.size, await self.disk.write(self.folder.free_bytes))
        try:
            target = self.folder.partial / file.sha256
            await self.disk.read(self.folder.copy, self.folder.root / source, target)
            if await self.disk.read(is_right, self.folder, file):
                return True
        except FileNotFoundError:
            return False
        await self.disk.write(self.folder.drop_partial, file.sha256)
        return False

    async def _place(self, item: Fetch, aside: Collection[str]) -> None:
        """Put the bytes where they are still wanted."""
        file = item.file
        paths = self.target.still(file.sha256, item.paths)
        if not paths:
            return
        made = await self.disk.write(place, self.folder, file, paths, aside)
        self.state.folders = sorted({*self.state.folders, *made})
        for path in paths:
            self.state.placed[path] = file.sha256
            self.state.intended.pop(path, None)
            if path in aside:
                self.report.warn(f"{path} was not put here by sync; what stood there is in .aether/aside now.")
            how = "Fetched" if item.source is None else "Copied"
            self.report.say(f"{how} {path} ({human_bytes(file.size)}).")

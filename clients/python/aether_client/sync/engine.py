"""The loop that keeps a folder equal to the files of a record: told over the socket, bytes over HTTP.

One task follows the record and keeps the newest manifest in a `Target`; another compares it with the disk and carries
the plan out. A hub that is away is waited for, by a run that is to end only for so long; a manifest that changes
meanwhile changes what is still to do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import msgspec

from aether_client.address import Address
from aether_client.backoff import Backoff
from aether_client.client import Client
from aether_client.errors import HubError
from aether_client.http import make_http
from aether_client.sync.bring import Bringer
from aether_client.sync.disk import Disk
from aether_client.sync.fetch import CannotFetch, DiskFull
from aether_client.sync.folder import Folder
from aether_client.sync.follow import follow, together
from aether_client.sync.manifest import Manifest
from aether_client.sync.placing import remove
from aether_client.sync.plan import Fetch, Plan, adopt, make_plan
from aether_client.sync.report import Report, Warnings, files, human_bytes
from aether_client.sync.state import FolderLock, State, load_state, save_state
from aether_client.sync.target import Target

AT_ONCE: Final = 4
"""How many files are brought at the same time."""
ROOM_SECONDS: Final = 5.0
"""How long to wait for room on a full disk before looking again."""


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """What is kept equal to what, and how. All times in seconds."""

    address: Address
    container: tuple[str, str]
    """Type and id of the record."""
    root: Path
    token: str | None = None
    account: str | None = None
    once: bool = False
    """Stop when the folder is equal, instead of following."""
    wait_seconds: float = 60.0
    """With `once`: how long a hub that is away is waited for at a time."""
    verify_seconds: float = 3600.0
    """How often every byte is looked at again."""
    look_seconds: float = 10.0
    """How often to look cheaply whether somebody changed a file."""
    retry_seconds: float = 60.0
    """The longest wait before a file that could not be brought is tried again."""


class FolderSync:
    """One folder and one record."""

    def __init__(self, options: SyncOptions, report: Report) -> None:
        self.options = options
        self.report = report
        self._warnings = Warnings(report)
        self._disk = Disk()
        self._folder = Folder(options.root, self._disk.stopping)
        self._target = Target()
        self._state = State(container=":".join(options.container))
        self._saved = b""
        """The state as it is on disk."""
        self._away = ""
        """Why the hub is away."""

    async def run(self) -> bool:
        """Keep the folder equal; with `once` return whether it is. Raise `FolderError` or `HubError`."""
        options, folder = self.options, self._folder
        lock = FolderLock(folder.lock_file)
        try:
            await self._disk.write(folder.prepare)
            await self._disk.write(lock.take)
            self._state, doubt = await self._disk.write(load_state, folder.state_file, self._state.container)
            if doubt is not None:
                self.report.warn(doubt)
            async with (
                Client(
                    options.address,
                    token=options.token,
                    account=options.account,
                    name="aether-sync",
                    backoff=Backoff(most_seconds=15.0),
                    on_state=self._on_state,
                ) as client,
                make_http(options.address, options.token, options.account) as http,
            ):
                return await self._both(client, http)
        finally:
            self._disk.later(lock.release)
            await asyncio.to_thread(self._disk.close)

    async def _both(self, client: Client, http: httpx.AsyncClient) -> bool:
        """Follow and work until one of the two ends."""
        following = asyncio.create_task(follow(client, self.options.container, self._target, self._warnings))
        working = asyncio.create_task(self._work(client, http))
        tasks: list[asyncio.Task[object]] = [following, working]
        if self.options.once:
            tasks.append(asyncio.create_task(self._lose_patience(client)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            for task in tasks:
                if task.done():
                    task.result()  # the others end only with an error
            return False
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._disk.later(self._save)

    async def _lose_patience(self, client: Client) -> None:
        """Raise `HubError` when the hub was away for too long, or did not say what is wanted."""
        loop = asyncio.get_running_loop()
        there_at = loop.time()
        while loop.time() - there_at < self.options.wait_seconds:
            await asyncio.sleep(min(0.5, self.options.wait_seconds))
            if client.state == "online" and self._target.manifest is not None:
                there_at = loop.time()
        reason = self._away or f"The hub at {self.options.address} does not say which files are wanted."
        raise HubError(
            "server.unavailable",
            f"{reason} It was waited for {self.options.wait_seconds:g} seconds; what was fetched stays, and the next "
            "run goes on from there.",
        )

    def _on_state(self, state: str, error: HubError | None) -> None:
        """Say when the hub goes away and when it comes back, once each."""
        if state == "offline" and error is not None:
            self._away = error.message
            self._warnings.once("hub", "away", f"{error.message} Waiting for it.")
        elif state == "online":
            self._away = ""
            if self._warnings.over("hub"):
                self.report.say(f"The hub at {self.options.address} is there.")

    async def _work(self, client: Client, http: httpx.AsyncClient) -> bool:
        """Compare and carry out, again and again; with `once` until it is done."""
        loop = asyncio.get_running_loop()
        backoff = Backoff(first_seconds=5.0, most_seconds=self.options.retry_seconds)
        full, was_equal, verify_at = True, False, 0.0
        while True:
            manifest, generation = await self._target.get()
            if full:
                verify_at = loop.time() + self.options.verify_seconds
            plan = await self._plan(manifest, full=full)
            problems = await self._carry_out(plan, generation, client, http)
            is_equal = not problems and not plan.refused and self._target.generation == generation
            if is_equal:
                self._state.revision = manifest.revision
            await self._disk.write(self._save)
            if is_equal and (plan.fetch or plan.remove or not was_equal):
                total = f"{files(len(manifest.files))}, {human_bytes(manifest.size)}"
                self.report.say(f"{self.options.root} is equal to {self._state.container} ({total}).")
            full, was_equal = False, is_equal
            if self._target.generation != generation or (plan.remove and plan.refused):
                continue  # something new is wanted, or what was removed may have stood in the way
            if self.options.once:
                if not is_equal:
                    self._say_what_is_missing(plan, problems)
                return is_equal
            retry_at = None
            if any(isinstance(problem, DiskFull) for problem in problems):
                retry_at = loop.time() + ROOM_SECONDS
            elif problems:
                retry_at = loop.time() + backoff.bound_seconds
                backoff.lost(loop.time())
            else:
                backoff.failures = 0
            full = await self._rest(generation, verify_at, retry_at)

    def _say_what_is_missing(self, plan: Plan, problems: list[CannotFetch]) -> None:
        """Close a run that ends without having made the folder equal; each case was told before."""
        parts = []
        if problems:
            parts.append(f"{files(len(problems))} could not be brought")
        if plan.refused:
            parts.append(f"{files(len(plan.refused))} cannot have that name here")
        self.report.warn(
            f"{self.options.root} is not equal to {self._state.container}: {' and '.join(parts)} (see above)."
        )

    async def _rest(self, generation: int, verify_at: float, retry_at: float | None) -> bool:
        """Wait until there is something to do; return whether every byte is to be looked at."""
        loop = asyncio.get_running_loop()
        act_at = verify_at if retry_at is None else min(verify_at, retry_at)
        while (now := loop.time()) < act_at:
            if await self._target.changed(generation, min(self.options.look_seconds, act_at - now)):
                return False
            if await self._disk.read(self._folder.has_changed, self._paths()):
                return False
        return now >= verify_at

    def _paths(self) -> list[str]:
        """Every path that matters: what should be there, and what sync put there."""
        wanted = () if self._target.manifest is None else self._target.manifest.files
        return sorted({file.path for file in wanted} | self._state.placed.keys() | self._state.intended.keys())

    async def _plan(self, manifest: Manifest, *, full: bool) -> Plan:
        """Look and decide, and say what is worth saying."""
        state = self._state
        seen = await self._disk.read(self._folder.look, self._paths(), full=full)
        placed = adopt(state.placed, state.intended, seen)
        plan = make_plan(manifest, seen, placed, await self._disk.write(self._folder.partials))
        wanted = {file.path for file in manifest.files}
        state.placed = {path: sha256 for path, sha256 in placed.items() if path in wanted or path in seen}
        state.intended = {path: item.file.sha256 for item in plan.fetch for path in item.paths}
        await self._disk.write(self._save)
        for path in plan.spoiled:
            self.report.warn(f"{path} holds wrong bytes; it is fetched again.")
        for item in plan.refused:
            self._warnings.once("refused", repr(item), f"{item.path!r} is not brought here: {item.why}.")
        for path in plan.left:
            self._warnings.once("left", path, f"{path} is no longer wanted but was changed by somebody; it stays.")
        self._warnings.keep("refused", {repr(item) for item in plan.refused})
        self._warnings.keep("left", set(plan.left))
        return plan

    async def _carry_out(
        self, plan: Plan, generation: int, client: Client, http: httpx.AsyncClient
    ) -> list[CannotFetch]:
        """Take the steps, as long as the plan is up to date; return what kept files from being brought."""
        state, waiting = self._state, deque(plan.fetch)
        for sha256 in plan.stale:
            await self._disk.write(self._folder.drop_partial, sha256)
        bringer = Bringer(client, http, self._disk, self._folder, self._target, state, self.report, self._warnings)
        problems: dict[str, CannotFetch] = {}

        async def work() -> None:
            while waiting and self._target.generation == generation:
                item: Fetch = waiting.popleft()
                problem = await bringer.bring(item, plan.aside)
                if problem is not None:
                    what = f"{item.paths[0]} {type(problem).__name__}"
                    problems[what] = problem
                    self._warnings.once("problem", what, f"{item.paths[0]} {problem}.")

        await together(*(work() for _ in range(min(AT_ONCE, len(waiting)))))
        self._warnings.keep("problem", set(problems))
        for path in plan.remove:
            if self._target.generation == generation:
                gone = await self._disk.write(remove, self._folder, path, state.folders)
                state.folders = [name for name in state.folders if name not in gone]
                state.placed.pop(path, None)
                self.report.say(f"Removed {path}, which is no longer wanted.")
        return list(problems.values())

    def _save(self) -> None:
        """Write the state where it changed."""
        fresh = msgspec.json.encode(self._state)
        if fresh != self._saved:
            save_state(self._folder.state_file, self._state)
            self._saved = fresh

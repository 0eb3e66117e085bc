"""Hand on the commits of each account strictly by `seq`, whatever order the news arrives in.

News comes from this process's own commits, from the bus, and from looking at the heads of the logs. It
may be lost, doubled, late or out of order; a hole is read from the log before anything behind it is
handed on. So everybody behind `deliver` sees every commit exactly once and in order (DESIGN.md 7).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from hub.logs import naming
from hub.schema.writes import ChangeSet
from hub.wire.errors import HubError
from storage.base import Storage

log = logging.getLogger("hub.dispatch")

AHEAD = 1000
"""How many commits beyond a hole are kept until it is filled; the rest is read from the log too."""
PAGE = 500
REACH_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 1.0
"""How long to wait before a log that could not be asked is asked again."""


class _Account:
    """Where one account stands here."""

    def __init__(self) -> None:
        self.followers = 0
        self.epoch = ""
        self.position = -1
        """The last `seq` that was delivered; -1 until the first head was read."""
        self.known = 0
        """The highest `seq` that news told of."""
        self.ahead: dict[int, ChangeSet] = {}
        self.filling: asyncio.Task[None] | None = None
        self.started: asyncio.Task[None] | None = None
        self.waiters: list[tuple[int, asyncio.Future[None]]] = []


class Dispatcher:
    """Orders the commits of the accounts that somebody here follows. `deliver` must not wait."""

    def __init__(
        self,
        storage: Storage,
        deliver: Callable[[ChangeSet], None],
        *,
        read_gaps: bool = True,
        retry_seconds: float = 0.2,
    ) -> None:
        self._storage = storage
        self._deliver = deliver
        self._read_gaps = read_gaps  # False only in the test that shows what the gap read is for
        self._retry_seconds = retry_seconds
        self._accounts: dict[str, _Account] = {}
        self._looking: asyncio.Task[None] | None = None
        self._owed = False
        """Whether news may have been lost since the look that is under way began."""

    async def follow(self, account: str) -> None:
        """Begin to follow an account (counted); return when its position is known."""
        state = self._accounts.get(account)
        if state is None:
            state = self._accounts[account] = _Account()
            state.started = asyncio.create_task(self._begin(account, state))
        state.followers += 1
        try:
            await asyncio.shield(_of(state.started))
        except BaseException:
            self.unfollow(account)
            raise

    async def _begin(self, account: str, state: _Account) -> None:
        head = (await self._storage.heads([account]))[account]
        state.epoch = head.epoch
        state.position = head.seq
        state.known = max(state.known, head.seq)
        self._advance(account, state)

    def unfollow(self, account: str) -> None:
        """Follow an account one time less; forget it with the last one."""
        state = self._accounts.get(account)
        if state is None:
            return  # closed meanwhile
        state.followers -= 1
        if state.followers == 0:
            del self._accounts[account]
            for task in (state.filling, state.started):
                if task is not None:
                    task.cancel()

    def position(self, account: str) -> int:
        """Return the last `seq` that was delivered of a followed account; raise `server.draining` after the end."""
        try:
            return self._accounts[account].position
        except KeyError:
            text = "This hub is about to stop; come back to another one."
            raise HubError("server.draining", text, retry_after=1) from None

    def epoch(self, account: str) -> str:
        """Return the epoch that the numbers of a followed account belong to."""
        return self._accounts[account].epoch

    def positions(self) -> dict[str, int]:
        """Return the positions of every followed account, for beats."""
        return {a: s.position for a, s in self._accounts.items() if s.position >= 0}

    def offer(self, commits: list[ChangeSet]) -> None:
        """Take in news of commits, from here or elsewhere, in any order and any number of times."""
        for commit in commits:
            state = self._accounts.get(commit.account)
            if state is None:
                continue
            seq = commit.seq
            if seq == state.position + 1 and state.position >= 0 and not state.ahead and not state.waiters:
                state.position = seq  # the common case: in order, and nobody waits
                state.known = max(state.known, seq)
                self._deliver(commit)
                continue
            if seq > state.position and len(state.ahead) < AHEAD:
                state.ahead[seq] = commit
            state.known = max(state.known, seq)
            self._advance(commit.account, state)

    def heads(self, heads: Mapping[str, int]) -> None:
        """Take in news of where logs stand."""
        for account, seq in heads.items():
            state = self._accounts.get(account)
            if state is not None and seq > state.known:
                state.known = seq
                self._advance(account, state)

    async def look(self) -> None:
        """Ask the log itself where every followed account stands."""
        followed = list(self._accounts)
        if followed:
            heads = await self._storage.heads(followed)
            self.heads({account: head.seq for account, head in heads.items()})

    def look_soon(self) -> None:
        """Ask the log itself as soon as it can be asked: news may have been lost up to this moment."""
        self._owed = True
        if self._looking is None:
            self._looking = _spawn(self._look_while_owed())

    async def _look_while_owed(self) -> None:
        failed = False
        try:
            while self._owed:
                self._owed = False
                try:
                    await self.look()
                except HubError as error:
                    self._owed = True
                    if not failed:
                        failed = True
                        with naming(None, None):
                            log.warning("the heads of the logs cannot be read: %s", error.__cause__ or error)
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
        finally:
            self._looking = None

    def has_reached(self, account: str, seq: int) -> bool:
        """Say whether everything up to `seq` was delivered to those who follow the account here."""
        state = self._accounts.get(account)
        return state is None or state.position >= seq

    async def reached(self, account: str, seq: int) -> None:
        """Return when everything up to `seq` was delivered; raise `server.unavailable` after 10 s."""
        state = self._accounts.get(account)
        if state is None or state.position >= seq:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        state.waiters.append((seq, future))
        state.known = max(state.known, seq)
        # A plain timer: this may run before its caller is a task, where asyncio.timeout cannot be used.
        timer = loop.call_later(REACH_SECONDS, _give_up, future)
        self._advance(account, state)
        try:
            await future
        finally:
            timer.cancel()

    def _advance(self, account: str, state: _Account) -> None:
        if state.position < 0:
            return  # the first head is still being read; `_begin` comes back here
        while (commit := state.ahead.pop(state.position + 1, None)) is not None:
            state.position += 1
            self._deliver(commit)
        if state.ahead:
            for seq in [s for s in state.ahead if s <= state.position]:
                del state.ahead[seq]
        if state.waiters:
            for seq, future in state.waiters:
                if seq <= state.position and not future.done():
                    future.set_result(None)
            state.waiters = [w for w in state.waiters if not w[1].done()]
        if state.known > state.position and state.filling is None and self._read_gaps:
            state.filling = _spawn(self._fill(account, state))

    async def _fill(self, account: str, state: _Account) -> None:
        failed = False
        try:
            while state.known > state.position and self._accounts.get(account) is state:
                try:
                    commits = await self._storage.changes(account, state.position, PAGE)
                except HubError as error:
                    commits = []
                    if not failed:
                        failed = True
                        with naming(None, None):
                            log.warning("the log of account %s cannot be read: %s", account, error.__cause__ or error)
                before = state.position
                for commit in commits:
                    if commit.seq == state.position + 1:
                        state.position += 1
                        self._deliver(commit)
                self._advance(account, state)
                if state.position == before:
                    await asyncio.sleep(self._retry_seconds)
        finally:
            state.filling = None
        if self._accounts.get(account) is state:
            self._advance(account, state)

    async def close(self) -> None:
        """Stop reading logs."""
        if self._looking is not None:
            self._looking.cancel()
        for account in list(self._accounts):
            state = self._accounts.pop(account)
            for task in (state.filling, state.started):
                if task is not None:
                    task.cancel()


def _of(task: asyncio.Task[None] | None) -> asyncio.Task[None]:
    if task is None:
        raise RuntimeError("an account is followed from its first follower on")
    return task


def _spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work)


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        text = "The change log cannot be read at the moment; ask again."
        future.set_exception(HubError("server.unavailable", text, retry_after=2))

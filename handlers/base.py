"""What every handler has: the hub's services, who is asking, and the table of operations.

    @handles(Needs.ACCOUNT)
    async def get(call: Call, request: RecordGet) -> Answer: ...

The request type in the signature is the dispatch key. An operation without a handler, or a handler
without a rule, does not start.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, TypeVar, get_type_hints

import msgspec

from channels.live import Live, SessionState
from channels.outlet import Outlet
from handlers.turns import Turns
from hub.access import GUEST, SYSTEM, Identity, Reach, Rights, RightsTable
from hub.schema.fields import DeclarationError
from hub.schema.record import RecordType
from hub.schema.registry import Registry
from hub.schema.times import format_time
from hub.schema.writes import Commit, Committed, KeyClaim, Refused, Write
from hub.wire.errors import HubError
from hub.wire.names import public_ids
from hub.wire.requests import REQUESTS, ActionCall, Request, op_name
from hub.wire.requests import Write as WriteRequest
from storage.base import Storage
from storage.blobs.base import BlobStore

log = logging.getLogger("hub.handlers")
IDS_AT_ONCE: Final = 512


def system_clock() -> str:
    """Return the time in wire form."""
    return format_time(datetime.now(UTC))


@dataclass(slots=True)
class Services:
    """The parts of one hub, as handlers use them. `secret` signs cursors and file grants.

    `url` is where the page is reached; None while the hub listens on DIR/hub.sock only.
    """

    registry: Registry
    rights: RightsTable
    storage: Storage
    live: Live
    blobs: BlobStore
    secret: bytes
    version: str
    instance: str
    max_file_bytes: int
    url: str | None = None
    clock: Callable[[], str] = system_clock
    random: Callable[[int], bytes] = secrets.token_bytes
    turns: Turns = field(default_factory=Turns)
    """What actions hold for themselves in this instance."""
    _ids: list[str] = field(default_factory=list)
    """The next ids: one call to the kernel for many, each used once."""

    def new_id(self) -> str:
        """Return a fresh public id."""
        if not self._ids:
            self._ids = public_ids(self.random(8 * IDS_AT_ONCE))
        return self._ids.pop()


@dataclass(slots=True)
class Peer:
    """Who is at the other end: of a socket, or of one HTTP request.

    `operator` peers came over DIR/hub.sock. `outlet` is None for HTTP. `rights` is None until an account
    is chosen. `closing` is how the edge is asked to close the socket, where there is one.
    """

    operator: bool = False
    identity: Identity = GUEST
    account: str | None = None
    account_name: str | None = None
    role: str | None = None
    rights: Rights | None = None
    session: SessionState | None = None
    outlet: Outlet | None = None
    closing: Callable[[int, str], None] | None = None

    @property
    def session_id(self) -> str | None:
        """The session's id, where there is a session."""
        return self.session.id if self.session else None


class Answer(msgspec.Struct):
    """What a handler answers. With `seq`, the answer waits for every push that is owed before it.

    `then` runs right after the answer was queued, in the same turn of the loop.
    """

    data: Any
    seq: int | None = None
    then: Callable[[], None] | None = None


class Call:
    """One request on its way through a handler.

    Account, rights and identity are those of the moment it arrived: a hello behind it may change the peer's.
    """

    __slots__ = ("_account", "_rights", "_turn", "identity", "peer", "progress_count", "request_id", "services")

    def __init__(self, services: Services, peer: Peer, request_id: int = 0) -> None:
        self.services = services
        self.peer = peer
        self.request_id = request_id
        self.progress_count = 0
        self.identity = peer.identity
        self._account = peer.account
        self._rights = peer.rights
        session = peer.session
        self._turn = 0 if session is None else session.turn

    @property
    def account(self) -> str:
        """The chosen account; raise `account.required`."""
        if self._account is None:
            raise HubError("account.required", "Name an `account` in session.hello first.")
        return self._account

    @property
    def rights(self) -> Rights:
        """The rights in the chosen account; raise `account.required`."""
        if self._rights is None:
            raise HubError("account.required", "Name an `account` in session.hello first.")
        return self._rights

    @property
    def reach(self) -> Reach:
        """How far filters reach in the chosen account; raise `account.required`."""
        return Reach(self.rights, self.account)

    @property
    def moved(self) -> bool:
        """Whether the session has changed its account since this request arrived."""
        return self.peer.session is not None and self.peer.session.turn != self._turn

    @property
    def session(self) -> SessionState:
        """The session of a socket; raise `data.invalid` for a request that came over HTTP."""
        if self.peer.session is None or self.peer.outlet is None:
            raise HubError("data.invalid", "This operation needs the socket at /ws.", path="op")
        if self.moved:
            raise HubError("action.cancelled", "The session has changed its account meanwhile.")
        return self.peer.session

    def kind(self, name: str, verb: str, path: str = "type") -> RecordType:
        """Return a type that this account holds and that the caller may `verb`; raise otherwise."""
        kind = self.services.registry.type(name, path)
        self.rights.require(f"{name}.{verb}")
        if kind.system != (self._account == SYSTEM):
            raise HubError("access.denied", f"Records of type {kind.name} live in another account.", path=path)
        return kind

    def commit(
        self,
        writes: tuple[Write | Refused, ...],
        key: KeyClaim | None = None,
        *,
        extra: int = 0,
        atomic: bool = True,
        answer: Callable[[Committed], Any] | None = None,
    ) -> asyncio.Future[Committed]:
        """Commit writes in the caller's name, as `Commit` says; the caller's leaving does not stop them."""
        session = self.peer.session
        origin = None if session is None else session.id
        request = str(self.request_id)
        return self.services.storage.submit(
            Commit(self.account, writes, self.identity.actor, origin, request, key, answer, False, extra, atomic)
        )


class Needs(Enum):
    """What a caller must be before an operation is even looked at."""

    NOTHING = "nothing"
    IDENTITY = "identity"
    ACCOUNT = "account"


Handler = Callable[[Call, Any], Awaitable[Answer]]
_F = TypeVar("_F", bound=Handler)


def handles(needs: Needs) -> Callable[[_F], _F]:
    """Declare a coroutine as the handler of the request type in its signature."""

    def declare(function: _F) -> _F:
        setattr(function, "__needs__", needs)  # noqa: B010  # how the table finds it
        return function

    return declare


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table of operations."""

    name: str
    request: type[Request]
    needs: Needs
    handler: Handler


class Operations:
    """Every operation, by request type."""

    def __init__(self, modules: Iterable[str]) -> None:
        self.by_type: dict[type[Request], Operation] = {}
        for name in modules:
            for function in vars(importlib.import_module(name)).values():
                needs = getattr(function, "__needs__", None)
                if isinstance(needs, Needs) and function.__module__ == name:
                    self._add(function, needs)
        missing = [op_name(r) for r in REQUESTS if r not in self.by_type]
        if missing:
            raise DeclarationError(f"no handler for {', '.join(missing)}")

    def _add(self, function: Handler, needs: Needs) -> None:
        parameters = list(inspect.signature(function).parameters)
        request = get_type_hints(function)[parameters[1]]
        if request in self.by_type:
            raise DeclarationError(f"two handlers for {op_name(request)}")
        self.by_type[request] = Operation(op_name(request), request, needs, function)

    async def run(self, call: Call, request: Request) -> Answer:
        """Run a request to its answer; raise `HubError`.

        An answer that carries `seq` comes back only after everything up to it was pushed.
        """
        answer = await self.admit(call, request)
        if not self.may_go(call, answer):
            await self.pushed(call, request, answer)
        return answer

    def admit(self, call: Call, request: Request) -> Awaitable[Answer]:
        """Return a request's handler, to be awaited; raise `HubError` where the caller may not ask at all."""
        operation = self.by_type[type(request)]
        if operation.needs is not Needs.NOTHING:
            if call.identity.source == "guest":
                raise HubError("auth.required")
            if call.identity.expires_at is not None and call.identity.expires_at <= call.services.clock():
                raise HubError("auth.expired")
            if operation.needs is Needs.ACCOUNT:
                call.account  # noqa: B018  # raises where none is chosen
        return operation.handler(call, request)

    def may_go(self, call: Call, answer: Answer) -> bool:
        """Say whether everything that is owed before an answer was pushed.

        Takes the `seq` out of an answer whose session has left the account: it says nothing of the watches there now.
        """
        if answer.seq is None or call.peer.outlet is None:
            return True
        if call.moved and call.peer.account != call.account:
            answer.seq = None
            return True
        return call.services.live.dispatcher.has_reached(call.account, answer.seq)

    async def pushed(self, call: Call, request: Request, answer: Answer) -> None:
        """Return when `may_go` is true of an answer; raise `HubError` after 10 s."""
        try:
            await call.services.live.dispatcher.reached(call.account, answer.seq or 0)
        except HubError as late:
            # What was written stays written, but its answer may not overtake the pushes that are owed.
            written = isinstance(request, WriteRequest | ActionCall)
            raise HubError("write.unknown", retry_after=2) if written else late from None
        self.may_go(call, answer)  # again: the session may have left the account meanwhile


MODULES = (
    "handlers.sessions",
    "handlers.records",
    "handlers.search",
    "handlers.aggregates",
    "handlers.batches",
    "handlers.bulk",
    "handlers.history",
    "handlers.feeds",
    "handlers.watches",
    "handlers.channels",
    "handlers.actions",
    "handlers.schema",
    "handlers.lookups",
    "handlers.files",
)
"""Where the handlers are."""

"""What every handler has: the hub's services, who is asking, and the table of operations.

    @handles(Needs.ACCOUNT)
    async def get(call: Call, request: RecordGet) -> Answer: ...

The request type in the signature is the dispatch key. An operation without a handler, or a handler
without a rule, does not start.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_type_hints

import msgspec

from channels.live import Live, SessionState
from channels.outlet import Outlet
from handlers.access_table import check_table
from handlers.audit import Audit
from handlers.guard import Guard
from handlers.pace import Pace
from handlers.rates import Rates
from handlers.turns import Turns
from handlers.ways import Ways
from hub.access import GUEST, SYSTEM, Identity, Reach, Rights, RightsTable, elsewhere, rights_changed
from hub.schema.fields import DeclarationError
from hub.schema.query import Query
from hub.schema.record import Image, RecordType
from hub.schema.registry import Registry
from hub.schema.rows import FREE, RowRules, within
from hub.schema.search import Scope, Search
from hub.schema.times import from_millis
from hub.schema.totals import Aggregate
from hub.schema.where import Compare, both
from hub.schema.writes import Commit, Committed, KeyClaim, Refused, Write
from hub.wire.codec import Shared
from hub.wire.errors import HubError
from hub.wire.names import public_ids
from hub.wire.requests import REQUESTS, ActionCall, Request, op_name
from hub.wire.requests import Write as WriteRequest
from storage.base import Found, Hits, Storage, Totals
from storage.blobs.base import BlobStore
from storage.keyring import Keyring

log = logging.getLogger("hub.handlers")
IDS_AT_ONCE: Final = 512


_told = lru_cache(8)(from_millis)


def system_clock() -> str:
    """Return the time in wire form; many ask within one millisecond."""
    return _told(time.time_ns() // 1_000_000)


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
    keyring: Keyring | None = None
    """The keys of secret fields; None where no type has one."""
    audit: Audit = field(init=False)
    """What managers can look up later: who came in, what was refused."""
    guard: Guard = field(default_factory=Guard)
    """What guards the ways in."""
    pairing: Pace = field(default_factory=Pace)
    """How fast devices may ask to be paired."""
    ways: Ways = field(default_factory=Ways)
    """What they need beside storage."""
    rates: Rates = field(default_factory=Rates)
    """What requests cost, and the budgets that they are paid from."""
    beats: dict[str, Shared] = field(default_factory=dict)
    """What heartbeats are answered in this millisecond, by account."""
    _ids: list[str] = field(default_factory=list)
    """The next ids: one call to the kernel for many, each used once."""

    def __post_init__(self) -> None:
        self.audit = Audit(self.storage, self.new_id)

    def new_id(self) -> str:
        """Return a fresh public id."""
        if not self._ids:
            self._ids = public_ids(self.random(8 * IDS_AT_ONCE))
        return self._ids.pop()


@dataclass(slots=True)
class Peer:
    """Who is at the other end: of a socket, or of one HTTP request.

    `operator` peers came over DIR/hub.sock. `outlet` is None for HTTP. `rights` is None until an account
    is chosen. `closing` is how the edge is asked to close the socket, where there is one, and `renewed` how it is
    told that the token ends at another time. `address` is where they connect from, as one counts addresses (of IPv6
    its first 64 bits); None where that is nowhere.
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
    renewed: Callable[[], None] | None = None
    address: str | None = None
    host: str | None = None  # by which host name they came, as they say
    meters: tuple[Any, dict[str, Any]] | None = None
    """The budgets that it pays from, as `Rates` found them."""

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


class Written:
    """The answer of one write, made once it is committed: awaited, or told to an edge that needs no task for it."""

    __slots__ = ("call", "commit", "make", "write")

    def __init__(
        self, call: Call, write: Write, commit: Commit, make: Callable[[Call, Write, Committed], Answer]
    ) -> None:
        self.call = call
        self.write = write
        self.commit = commit
        self.make = make

    def __await__(self) -> Generator[Any, Any, Answer]:
        committed = yield from self.call.services.storage.submit(self.commit).__await__()
        return self.make(self.call, self.write, committed)


class Call:
    """One request on its way through a handler.

    Account, rights and identity are those of the moment it arrived: a hello behind it may change the peer's.
    """

    __slots__ = ("account", "identity", "peer", "progress_count", "request_id", "rights", "services", "turn")

    account: str
    """The chosen account; reading it raises `account.required` where none is chosen."""
    rights: Rights
    """The rights in the chosen account; raises likewise."""
    turn: int
    """How often the session had changed its account when the request arrived."""

    def __init__(self, services: Services, peer: Peer, request_id: int = 0) -> None:
        self.services = services
        self.peer = peer
        self.request_id = request_id
        self.progress_count = 0
        self.identity = peer.identity
        if peer.account is not None:
            self.account = peer.account
        if peer.rights is not None:
            self.rights = peer.rights
        session = peer.session
        self.turn = 0 if session is None else session.turn

    if not TYPE_CHECKING:  # or every misspelt name would pass the type checker

        def __getattr__(self, name: str) -> Any:
            # An attribute that was never set: a property in its place would cost every request more.
            if name in {"account", "rights"}:
                raise HubError("account.required", "Name an `account` in session.hello first.")
            raise AttributeError(name)

    @property
    def reach(self) -> Reach:
        """How far filters reach in the chosen account; raise `account.required`."""
        return Reach(self.rights, self.account, self.rules)

    @property
    def rules(self) -> RowRules:
        """The row rules that bind the caller in the chosen account; raise `account.required`."""
        return self.rights.rules_for(self.identity, self.account) if self.rights.ruled else FREE

    def need_identity(self) -> None:
        """Raise `auth.required` for a guest, `auth.expired` where the token has expired."""
        identity = self.identity
        if identity.source == "guest":
            raise HubError("auth.required")
        if identity.expires_at is not None and identity.expires_at <= self.services.clock():
            raise HubError("auth.expired")

    @property
    def moved(self) -> bool:
        """Whether the session has changed its account since this request arrived."""
        return self.peer.session is not None and self.peer.session.turn != self.turn

    @property
    def session(self) -> SessionState:
        """The session of a socket; raise `data.invalid` for a request that came over HTTP."""
        if self.peer.session is None or self.peer.outlet is None:
            raise HubError("data.invalid", "This operation needs the socket at /ws.", path="op")
        if self.moved:
            raise HubError("action.cancelled", "The session has changed its account meanwhile.")
        self.check_rights()
        return self.peer.session

    def check_rights(self) -> None:
        """Raise `access.denied` where the session's rights are others than they were when this request arrived."""
        now = self.peer.rights
        if now is not None and now is not self.rights and now.fingerprint != self.rights.fingerprint:
            raise rights_changed()

    def kind(self, name: str, verb: str, path: str = "type") -> RecordType:
        """Return a type that this account holds and that the caller may `verb`; raise otherwise."""
        registry, rights, permission = self.services.registry, self.rights, f"{name}.{verb}"
        kind = registry.types.get(name) or registry.type(name, path)
        if permission not in rights.permissions:
            rights.require(permission, None if path == "type" else path)
        if kind.system != (self.account == SYSTEM):
            raise elsewhere(kind, path)
        return kind

    # -- the only ways from a request to records: inside the account, and inside the caller's row rules ----------

    async def get(
        self, kind: RecordType, ids: Sequence[str], *, deleted: bool = False, verb: str = "read"
    ) -> dict[str, Image]:
        """Return those of the records that are there and that the caller may read, by id.

        Raises `access.denied` for one that the caller may read, but with which they may not do `verb`.
        """
        rules, storage = self.rules, self.services.storage
        if not rules.binds(kind):
            return await storage.get(self.account, kind, ids, deleted=deleted)
        # Storage itself leaves out what is hidden: so it takes as long to find nothing as to find what may not be seen.
        node = both(rules.node(kind, "read"), Compare("id", "id", "in", tuple(ids)))
        read = await storage.find(self.account, Query(kind, node, limit=max(len(ids), 1), deleted=deleted))
        found = {str(image["id"]): image for image in read.records}
        if not all(rules.allows(kind, verb, image) for image in found.values()):
            raise rules.refusal(kind, verb, "rec")
        return found

    async def find(self, query: Query) -> Found:
        """Return what of a query the caller may read: of its own type, and of what it includes."""
        return await self.services.storage.find(self.account, within(query, self.rules))

    async def search(self, search: Search) -> Hits:
        """Return the hits of a search that the caller may read."""
        rules = self.rules
        if rules:
            scopes = tuple(Scope(s.type, both(rules.node(s.type, "read"), s.where)) for s in search.scopes)
            search = replace(search, scopes=scopes)
        return await self.services.storage.search(self.account, search)

    async def aggregate(self, aggregate: Aggregate) -> Totals:
        """Return what those records add up to that the caller may read."""
        where = both(self.rules.node(aggregate.type, "read"), aggregate.where)
        return await self.services.storage.aggregate(self.account, replace(aggregate, where=where))

    def seen(self, kind: RecordType, image: Image) -> Image:
        """Return what the caller sees of a record that they wrote: its head where they may not read it now."""
        rules = self.rules
        if rules.binds(kind) and not rules.allows(kind, "read", image):
            return {name: image[name] for name in ("id", "type", "version")}
        return self.rights.view(kind, image)

    def commit(
        self,
        writes: tuple[Write | Refused, ...],
        key: KeyClaim | None = None,
        *,
        extra: int = 0,
        atomic: bool = True,
        answer: Callable[[Committed], Any] | None = None,
    ) -> Commit:
        """Return writes as a commit in the caller's name, for storage; the caller's leaving does not stop it."""
        session, request = self.peer.session, str(self.request_id)
        origin = None if session is None else session.id
        rules, weighed = None, self.rights.weighed
        if weighed and any(not isinstance(write, Refused) and write.type.name in weighed for write in writes):
            rules = self.rules
        return Commit(
            self.account, writes, self.identity.actor, origin, request, key, answer, False, extra, atomic, rules
        )


class Needs(Enum):
    """What a caller must be before an operation is even looked at."""

    NOTHING = "nothing"
    IDENTITY = "identity"
    ACCOUNT = "account"


Instant = Callable[[Services, Peer, Any], Shared | None]
"""Answers a request at once with what others are answered too, or returns None: then its handler is asked.

It decides what the handler decides, so it is only for operations that need nothing, and whose answer owes nothing."""
Handler = Callable[[Call, Any], Awaitable[Answer] | Answer]
"""Most are coroutines; what has nothing to wait for may answer at once."""
_F = TypeVar("_F", bound=Handler)


def handles(needs: Needs, instant: Instant | None = None) -> Callable[[_F], _F]:
    """Declare a coroutine as the handler of the request type in its signature."""

    def declare(function: _F) -> _F:
        setattr(function, "__needs__", needs)  # noqa: B010  # how the table finds it
        setattr(function, "__instant__", instant)  # noqa: B010
        return function

    return declare


Toll = Callable[[Call, Any], None]
"""Takes the price of a request; raises `rate.limited`."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table of operations."""

    name: str
    request: type[Request]
    needs: Needs
    handler: Handler
    toll: Toll | None = None


class Operations:
    """Every operation, by request type."""

    def __init__(self, modules: Iterable[str], tolls: Mapping[type[Request], Toll] | None = None) -> None:
        self._tolls = tolls or {}
        self.by_type: dict[type[Request], Operation] = {}
        self.instants: dict[type[Request], Instant] = {}
        for name in modules:
            for function in vars(importlib.import_module(name)).values():
                needs = getattr(function, "__needs__", None)
                if isinstance(needs, Needs) and function.__module__ == name:
                    self._add(function, needs)
        missing = [op_name(r) for r in REQUESTS if r not in self.by_type]
        if missing:
            raise DeclarationError(f"no handler for {', '.join(missing)}")
        check_table({operation.name for operation in self.by_type.values()})

    def _add(self, function: Handler, needs: Needs) -> None:
        parameters = list(inspect.signature(function).parameters)
        request = get_type_hints(function)[parameters[1]]
        if request in self.by_type:
            raise DeclarationError(f"two handlers for {op_name(request)}")
        self.by_type[request] = Operation(op_name(request), request, needs, function, self._tolls.get(request))
        instant: Instant | None = getattr(function, "__instant__", None)
        if instant is not None:
            self.instants[request] = instant

    async def run(self, call: Call, request: Request) -> Answer:
        """Run a request to its answer; raise `HubError`.

        An answer that carries `seq` comes back only after everything up to it was pushed.
        """
        answer = self.admit(call, request)
        if not isinstance(answer, Answer):
            answer = await answer
        if not self.may_go(call, answer):
            await self.pushed(call, request, answer)
        return answer

    def admit(self, call: Call, request: Request) -> Awaitable[Answer] | Answer:
        """Return a request's answer, or what is to be awaited for it; raise `HubError` for what may not be asked."""
        operation = self.by_type[type(request)]
        if operation.needs is not Needs.NOTHING:
            call.need_identity()
            if operation.needs is Needs.ACCOUNT:
                call.account  # noqa: B018  # raises where none is chosen
        if operation.toll is not None:
            operation.toll(call, request)
        return operation.handler(call, request)

    def may_go(self, call: Call, answer: Answer) -> bool:
        """Say whether everything that is owed before an answer was pushed.

        Takes the `seq` out of an answer whose session has left the account: it says nothing of the watches there now.
        """
        seq, peer = answer.seq, call.peer
        if seq is None or peer.outlet is None:
            return True
        if peer.account != call.account and call.moved:
            answer.seq = None
            return True
        live = call.services.live
        if live.windows.holding and live.windows.owes(peer.outlet, seq):
            return False
        return live.dispatcher.has_reached(call.account, seq)

    async def pushed(self, call: Call, request: Request, answer: Answer) -> None:
        """Return when `may_go` is true of an answer; raise `HubError` after 10 s."""
        try:
            await call.services.live.dispatcher.reached(call.account, answer.seq or 0)
            await call.services.live.windows.settled(call.peer.outlet, answer.seq)
        except HubError as late:
            # What was written stays written, but its answer may not overtake the pushes that are owed.
            written = isinstance(request, WriteRequest | ActionCall)
            raise HubError("write.unknown", retry_after=2) if written else late from None
        self.may_go(call, answer)  # again: the session may have left the account meanwhile

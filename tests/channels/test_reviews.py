"""What a session may is looked at again whatever overtakes what, and is not looked at where nothing of it changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from channels import reviews
from handlers import people
from handlers.base import Call, Peer
from handlers.standing import judges
from hub.access import SYSTEM
from hub.schema.writes import Commit, Create, Delete, Update
from hub.wire.errors import HubError
from hub.wire.requests import ChannelJoin, Request, SessionHello, WatchStart
from tests.channels.scene import REGISTRY, Listener, Store
from tests.channels.test_withdrawal_race import OPERATIONS, Scene

KEY, ROLE, MEMBER, USER = (REGISTRY.types[name] for name in ("api_key", "role", "membership", "user"))


class Desk(Scene):
    """A hub without an edge whose sessions are looked at again."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.live.reviews.by(judges(self.services))
        self.closed: dict[int, int] = {}
        self.ears: dict[int, Listener] = {}

    async def greet(self, token: str, account: str | None = None) -> Peer:
        """Say hello."""
        listener = Listener()
        peer = Peer(outlet=listener.outlet)
        peer.closing = lambda code, reason: self.closed.__setitem__(id(peer), code)
        await self.run(peer, SessionHello(id=1, token=token, account=account))
        self.ears[id(peer)] = listener
        return peer

    async def run(self, peer: Peer, request: Request) -> Any:
        """Run a request as a socket does."""
        answer = await OPERATIONS.run(Call(self.services, peer, request.id), request)
        if answer.then is not None:
            answer.then()
        return answer.data

    async def write(self, *writes: Any, account: str | None = None) -> None:
        """Commit something."""
        await self.store.storage.submit(Commit(account or self.account, writes))

    async def change(self, rec: str, **data: Any) -> None:
        """Change a key."""
        await self.write(Update(KEY, rec, KEY.accept_change(data, trusted=True)))

    async def looked(self) -> None:
        """Return when nobody waits to be looked at."""
        while self.live.reviews._waiting or (self.live.reviews._task and not self.live.reviews._task.done()):
            await asyncio.sleep(0.001)

    def heard(self, peer: Peer) -> list[Any]:
        """Return what a peer was pushed, without when and where."""
        return [(m["op"], m.get("why") or m.get("code")) for m in self.ears[id(peer)].heard()]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk(await Store().start())
    made.account = (await people.create_account(made.services, "main"))["id"]
    key, made.token = await people.create_api_key(made.services, made.account, "owner", "k")
    made.rec = key["id"]
    yield made
    await made.live.close()


async def test_rights_that_are_equal_change_nothing_and_others_are_looked_at_once_for_all(desk: Desk) -> None:
    await desk.write(Create(ROLE, "role-clerk1", ROLE.accept_create({"name": "clerk", "permissions": ["event.read"]})))
    key, token = await people.create_api_key(desk.services, desk.account, "clerk", "c")
    peers = [await desk.greet(token) for _ in range(300)]
    bystander = await desk.greet(desk.token)
    asked = 0
    find = desk.store.storage.find

    async def counted(*given: Any, **more: Any) -> Any:
        nonlocal asked
        asked += 1
        return await find(*given, **more)

    setattr(desk.store.storage, "find", counted)  # noqa: B010  # counted
    await desk.change(key["id"], name="another", last_used_at="2026-11-22T00:00:00Z")
    await desk.looked()
    assert (asked, desk.live.reviews.heard_of) == (0, 0), "a name gives no rights"
    await desk.write(Update(ROLE, "role-clerk1", {"permissions": ["event.read", "event.re*"]}))
    await desk.looked()
    assert asked == 1, "one look at one role, for three hundred sessions"
    assert all(desk.heard(peer) == [] for peer in peers)
    await desk.write(Update(ROLE, "role-clerk1", {"permissions": ["event.update"]}))
    await desk.looked()
    assert asked == 2
    assert all(desk.heard(peer) == [("notice", "rights.changed")] for peer in peers)
    assert all(peer.rights is not None and peer.rights.permissions == {"event.update"} for peer in peers)
    assert desk.heard(bystander) == []


async def test_what_a_watch_or_a_join_was_begun_with_is_lost_before_it_is_answered(desk: Desk) -> None:
    await desk.write(Create(REGISTRY.types["event"], "event000001", _event()))
    for request in (WatchStart(id=2, type="event"), ChannelJoin(id=2, channel="event:event000001")):
        key, token = await people.create_api_key(desk.services, desk.account, "editor", "c")
        peer = await desk.greet(token)
        real, go = (
            desk.store.storage.find if isinstance(request, WatchStart) else desk.store.storage.get,
            asyncio.Event(),
        )

        async def slow(*given: Any, _real: Any = real, _go: asyncio.Event = go, **more: Any) -> Any:
            found = await _real(*given, **more)
            if given[1] is REGISTRY.types["event"] or getattr(given[1], "type", None) is REGISTRY.types["event"]:
                await _go.wait()
            return found

        name = "find" if isinstance(request, WatchStart) else "get"
        setattr(desk.store.storage, name, slow)
        running = asyncio.ensure_future(desk.run(peer, request))
        await asyncio.sleep(0)
        await desk.change(key["id"], scopes=["site.read"])
        await desk.looked()
        go.set()
        with pytest.raises(HubError) as refused:
            await running
        setattr(desk.store.storage, name, real)
        assert refused.value.code == "access.denied"
        assert peer.session is not None
        assert (peer.session.watches, peer.session.channels) == ({}, set())


def _event() -> dict[str, Any]:
    return REGISTRY.types["event"].accept_create({"title": "A", "acronym": "a"})


async def test_a_change_while_another_is_looked_at_is_looked_at_too(desk: Desk) -> None:
    key, token = await people.create_api_key(desk.services, desk.account, "editor", "c")
    peer = await desk.greet(token)
    get = desk.store.storage.get
    first = True

    async def slow(*given: Any, **more: Any) -> Any:
        nonlocal first
        found = await get(*given, **more)
        if first and given[1] is KEY:
            first = False
            await desk.change(key["id"], role="viewer")
            await asyncio.sleep(0.01)
        return found

    setattr(desk.store.storage, "get", slow)  # noqa: B010  # in between
    await desk.change(key["id"], role="manager")
    await desk.looked()
    assert peer.role == "viewer"


async def test_who_cannot_be_looked_at_is_ended_in_time_and_not_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviews, "LATE_SECONDS", 0.15)
    monkeypatch.setattr(reviews, "RETRY_SECONDS", 0.02)
    key, token = await people.create_api_key(desk.services, desk.account, "editor", "c")
    peer = await desk.greet(token)
    get, failing = desk.store.storage.get, True

    async def broken(*given: Any, **more: Any) -> Any:
        if failing and given[1] is KEY:
            raise HubError("server.unavailable", retry_after=1)
        return await get(*given, **more)

    setattr(desk.store.storage, "get", broken)  # noqa: B010  # broken
    await desk.change(key["id"], role="viewer")
    await asyncio.sleep(0.05)
    assert desk.closed == {}
    failing = False
    await desk.looked()
    assert (peer.role, desk.closed) == ("viewer", {})
    failing = True
    await desk.change(key["id"], role="editor")
    await desk.looked()
    assert desk.closed == {id(peer): 1012}


async def test_who_is_looked_at_for_too_long_is_ended(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reviews, "LATE_SECONDS", 0.05)
    key, token = await people.create_api_key(desk.services, desk.account, "editor", "c")
    peer, bystander = await desk.greet(token), await desk.greet(desk.token)

    async def stuck(*given: Any, **more: Any) -> Any:
        await asyncio.Event().wait()

    setattr(desk.store.storage, "get", stuck)  # noqa: B010  # stuck
    await desk.change(key["id"], role="viewer")
    async with asyncio.timeout(5):
        await desk.looked()
    assert desk.closed == {id(peer): 1012}
    assert bystander.rights is desk.services.rights.of("owner")


@pytest.mark.parametrize("enabled", [True, False])
async def test_each_cause_ends_what_it_gave_and_nothing_does_where_nobody_looks(desk: Desk, enabled: bool) -> None:
    desk.live.reviews.enabled = enabled
    for declared, kind in (("service_account", "service_id"), ("device", "device_id")):
        acts = REGISTRY.types[declared]
        await desk.write(Create(acts, f"acts-{declared[:6]}", acts.accept_create({"name": "a", "role": "viewer"})))
        rec, data, token = people.make_api_key(desk.services, "owner", "c")
        data |= {kind: f"acts-{declared[:6]}", "scopes": ["*"]}
        await desk.write(Create(KEY, rec, KEY.accept_create(data, trusted=True)))
        peer = await desk.greet(token)
        await desk.write(Update(acts, f"acts-{declared[:6]}", {"disabled": True}))
        await desk.looked()
        assert desk.closed.get(id(peer)) == (4505 if enabled else None)
    user, member = await people.create_person(desk.services, "Ada", "viewer")
    await desk.write(Create(MEMBER, "member00001", MEMBER.accept_create(member, trusted=True)))
    for cause in ("user", "membership", "session"):
        code, _ = await people.create_signin_code(desk.services, user["id"])
        token, _ = await people.redeem_code(desk.services, code)
        peer = await desk.greet(token)
        assert peer.account == desk.account
        if cause == "user":
            await desk.write(Update(USER, user["id"], {"disabled": True}), account=SYSTEM)
        elif cause == "membership":
            await desk.write(Delete(MEMBER, "member00001"))
        else:
            await desk.write(Delete(REGISTRY.types["session"], peer.identity.credential or ""), account=SYSTEM)
        assert desk.closed.get(id(peer)) == (4505 if enabled else None), cause
        await desk.write(Update(USER, user["id"], {"disabled": False}), account=SYSTEM)
        if cause == "membership":
            await desk.write(Create(MEMBER, "member00002", MEMBER.accept_create(member, trusted=True)))


async def test_one_user_in_two_accounts_has_in_each_what_the_role_there_gives(desk: Desk) -> None:
    other = (await people.create_account(desk.services, "other"))["id"]
    user, member = await people.create_person(desk.services, "Ada", "viewer")
    await desk.write(Create(MEMBER, "member00001", MEMBER.accept_create(member, trusted=True)))
    theirs = MEMBER.accept_create({**member, "role": "owner"}, trusted=True)
    await desk.write(Create(MEMBER, "member00002", theirs), account=other)
    code, _ = await people.create_signin_code(desk.services, user["id"])
    token, _ = await people.redeem_code(desk.services, code)
    peer = await desk.greet(token)
    assert (peer.account, peer.rights) == (None, None)
    for account, role in ((desk.account, "viewer"), (other, "owner"), ("main", "viewer")):
        await desk.run(peer, SessionHello(id=1, token=token, account=account))
        assert (peer.role, peer.rights) == (role, desk.services.rights.of(role))
        assert peer.session is not None
        assert peer.session.rights is peer.rights
    await desk.write(Update(MEMBER, "member00002", {"role": "viewer"}), account=other)
    await desk.looked()
    assert desk.heard(peer) == [], "it is in the other account"
    await desk.write(Delete(MEMBER, "member00001"))
    assert desk.closed == {id(peer): 4505}

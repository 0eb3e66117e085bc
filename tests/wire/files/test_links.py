"""Whose link opens a hash, over storage in memory: several accounts, several roles, hidden types."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from channels.live import Live
from handlers.base import Call, Peer, Services
from handlers.files import admit, entered, link, readable_link
from hub.access import GUEST, OPERATOR, Identity, RightsTable
from hub.schema.core.identity import Account
from hub.schema.record import type_of
from hub.schema.registry import Registry
from hub.schema.writes import Commit, Create
from hub.wire.errors import HubError
from packs.events.records import Event
from storage.base import Storage
from storage.blobs.base import Stored
from storage.blobs.disk import DiskBlobs
from storage.bus import InProcessBus
from storage.memory import MemoryStorage
from tests.wire.files.support import digest_of

NOW = "2026-11-21T09:00:00.000Z"
BYTES = Stored(digest_of(b"bytes"), 5, (digest_of(b"bytes"),))


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The types of the core and of events."""
    return Registry.of(("hub.schema.core", "packs.events"))


@pytest.fixture
async def services(registry: Registry, tmp_path: Path) -> Services:
    """A hub without an edge, with the accounts one and two."""
    storage: Storage = MemoryStorage(registry, lambda: NOW)
    await storage.start()
    blobs = DiskBlobs(tmp_path, reserve_bytes=0)
    rights = RightsTable(registry)
    live = Live(storage, InProcessBus())
    made = Services(registry, rights, storage, live, blobs, b"s" * 32, "0", "i", 1000, clock=lambda: NOW)
    kind = type_of(Account)
    for name in ("one", "two"):
        await storage.submit(Commit("system", (Create(kind, name * 4, kind.accept_create({"name": name})),)))
    return made


def caller(services: Services, account: str, role: str = "owner") -> Call:
    peer = Peer(identity=Identity("key", roles=((account * 4, role),)), account=account * 4, role=role)
    peer.rights = services.rights.of(role)
    return Call(services, peer)


async def event_in(call: Call) -> str:
    kind = type_of(Event)
    data = kind.accept_create({"title": "E", "acronym": "e"})
    commit = call.commit((Create(kind, call.services.new_id(), data),))
    committed = await call.services.storage.submit(commit)
    return str(committed.results[0].image["id"])


async def link_in(call: Call, name: str) -> str:
    slot = await admit(call, "event", await event_in(call), name)
    image, created = await link(call, slot, BYTES, "text/plain")
    assert created
    return str(image["id"])


async def test_somebody_in_two_accounts_reads_through_either(services: Services) -> None:
    both = Identity("user", "u", roles=(("one" * 4, "viewer"), ("two" * 4, "viewer")))
    places = await entered(services, both, None)
    assert await readable_link(services, both, places, BYTES.sha256) is None
    await link_in(caller(services, "two"), "in two")
    found = await readable_link(services, both, places, BYTES.sha256)
    assert found is not None
    assert found["name"] == "in two"
    assert await readable_link(services, both, await entered(services, both, "one"), BYTES.sha256) is None
    assert await readable_link(services, both, await entered(services, both, "two"), BYTES.sha256) == found


async def test_an_account_that_one_may_not_enter_opens_nothing(services: Services) -> None:
    await link_in(caller(services, "one"), "in one")
    stranger = Identity("user", "u", roles=(("two" * 4, "owner"),))
    assert await readable_link(services, stranger, await entered(services, stranger, None), BYTES.sha256) is None
    for wanted in ("one", "one" * 4, "nonsense", "system"):
        with pytest.raises(HubError, match=r"record\.not_found"):
            await entered(services, stranger, wanted)
    assert await entered(services, GUEST, None) == []
    with pytest.raises(HubError, match=r"record\.not_found"):
        await entered(services, GUEST, "one")


async def test_the_operator_names_the_account(services: Services) -> None:
    await link_in(caller(services, "one"), "in one")
    assert await readable_link(services, OPERATOR, await entered(services, OPERATOR, "one"), BYTES.sha256) is not None
    assert await readable_link(services, OPERATOR, await entered(services, OPERATOR, "two"), BYTES.sha256) is None


async def test_a_role_that_may_not_read_files_finds_no_link(services: Services) -> None:
    await link_in(caller(services, "one"), "in one")
    guest = Identity("user", "u", roles=(("one" * 4, "guest"),))
    assert await readable_link(services, guest, await entered(services, guest, None), BYTES.sha256) is None


async def test_a_container_that_went_away_while_the_bytes_came_gets_no_link(services: Services) -> None:
    call = caller(services, "one")
    slot = await admit(call, "event", await event_in(call), "late")
    gone = dataclasses.replace(slot, rec="AAAAAAAAAAA")
    with pytest.raises(HubError, match=r"record\.not_found"):
        await link(call, gone, BYTES, "text/plain")


@pytest.mark.parametrize("role", ["guest", "viewer", "member"])
async def test_only_who_may_update_the_container_gets_as_far_as_the_bytes(services: Services, role: str) -> None:
    event = await event_in(caller(services, "one"))
    with pytest.raises(HubError, match=r"access\.denied"):
        await admit(caller(services, "one", role), "event", event, "x")

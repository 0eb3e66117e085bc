"""A key that is withdrawn while a hello is looking at it opens nothing, whatever the two overtake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from channels.live import Live
from handlers import people
from handlers.base import Call, Operations, Peer, Services
from handlers.modules import MODULES
from hub.schema.record import Image, RecordType
from hub.schema.writes import Commit, Delete, Update
from hub.wire.errors import HubError
from hub.wire.requests import SessionHello
from storage.blobs.disk import DiskBlobs
from storage.bus import InProcessBus
from tests.channels.scene import REGISTRY, RIGHTS, Listener, Store

OPERATIONS = Operations(MODULES)
KEY = REGISTRY.types["api_key"]


class Scene:
    """A hub without an edge, and a key to an account of it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.live = Live(store.storage, InProcessBus())
        self.services = Services(
            registry=REGISTRY,
            rights=RIGHTS,
            storage=store.storage,
            live=self.live,
            blobs=DiskBlobs(Path("unused")),
            secret=b"secret",
            version="0",
            instance="test",
            max_file_bytes=1,
        )
        self.account = ""
        self.rec = ""
        self.token = ""

    async def hello(self) -> Peer:
        """Say hello with the key."""
        peer = Peer(outlet=Listener().outlet, closing=lambda code, reason: None)
        await OPERATIONS.run(Call(self.services, peer, 1), SessionHello(id=1, token=self.token))
        return peer

    def change_while_looking(self, *writes: Any) -> None:
        """Let others write right after the key was found."""
        real = self.store.storage.lookup

        async def lookup(kind: RecordType, field: str, value: Any) -> list[Image]:
            found = await real(kind, field, value)
            setattr(self.store.storage, "lookup", real)  # noqa: B010  # once
            await self.store.storage.submit(Commit(self.account, writes))
            await asyncio.sleep(0)
            return found

        setattr(self.store.storage, "lookup", lookup)  # noqa: B010  # in between


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene(await Store().start())
    account = await people.create_account(made.services, "main")
    made.account = account["id"]
    key, made.token = await people.create_api_key(made.services, made.account, "editor", "k")
    made.rec = key["id"]
    yield made
    await made.live.close()


@pytest.mark.parametrize("followed", [False, True])
async def test_a_key_that_is_deleted_while_it_is_looked_at_opens_no_session(scene: Scene, followed: bool) -> None:
    others = [await scene.hello()] if followed else []
    scene.change_while_looking(Delete(KEY, scene.rec))
    with pytest.raises(HubError) as refused:
        await scene.hello()
    assert refused.value.code == "auth.invalid"
    assert scene.live.sessions() == []
    assert all(peer.session is not None and peer.session.outlet is None for peer in others)
    assert scene.account not in scene.live.dispatcher.positions()


@pytest.mark.parametrize("followed", [False, True])
async def test_a_key_whose_role_changes_while_it_is_looked_at_opens_no_session(scene: Scene, followed: bool) -> None:
    if followed:
        await scene.hello()
    scene.change_while_looking(Update(KEY, scene.rec, KEY.accept_change({"role": "viewer"})))
    with pytest.raises(HubError):
        await scene.hello()
    assert (await scene.hello()).role == "viewer"


async def test_a_hello_that_nothing_comes_between_is_looked_at_once(scene: Scene) -> None:
    await scene.hello()
    reads = 0
    real = scene.store.storage.get

    async def counted(*given: Any, **more: Any) -> Any:
        nonlocal reads
        reads += 1
        return await real(*given, **more)

    setattr(scene.store.storage, "get", counted)  # noqa: B010  # counted
    await scene.hello()
    assert reads == 1, "the account only"

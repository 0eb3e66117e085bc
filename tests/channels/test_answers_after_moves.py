"""The `seq` of an answer whose session has changed its account meanwhile: true for its watches, or not there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from channels.live import Live, SessionState
from handlers.base import Answer, Call, Operations, Peer, Services
from handlers.modules import MODULES
from hub.access import Identity
from hub.schema.writes import Commit, Create
from hub.wire.names import public_id
from hub.wire.requests import SessionBeat
from storage.blobs.disk import DiskBlobs
from storage.bus import InProcessBus
from tests.channels.scene import REGISTRY, RIGHTS, Listener, Store
from tests.simulation.world import play

OPERATIONS = Operations(MODULES)
HERE, THERE = "A" * 11, "B" * 11
IDENTITY = Identity("operator", roles=(("*", "owner"),))


async def scene() -> tuple[Live, Call]:
    store = await Store().start()
    live = Live(store.storage, InProcessBus())
    services = Services(REGISTRY, RIGHTS, store.storage, live, DiskBlobs(Path("unused")), b"s", "0", "test", 1)
    outlet = Listener().outlet
    peer = Peer(identity=IDENTITY, account=HERE, rights=RIGHTS.of("owner"), outlet=outlet)
    peer.session = SessionState("S" * 11, IDENTITY, HERE, "resume", outlet)
    await live.open(peer.session)
    return live, Call(services, peer, 1)


async def move(live: Live, call: Call, *accounts: str) -> None:
    for account in accounts:
        assert call.peer.session is not None
        call.peer.session = await live.switch(call.peer.session, IDENTITY, account, "secret")
        call.peer.account = account


async def test_in_another_account_an_answer_says_no_number() -> None:
    live, call = await scene()
    await move(live, call, THERE)
    answer = Answer({}, seq=5)
    assert OPERATIONS.may_go(call, answer)
    assert answer.seq is None
    await live.close()


async def test_back_in_the_same_account_an_answer_waits_for_the_pushes_that_are_owed() -> None:
    live, call = await scene()
    await move(live, call, THERE, HERE)
    answer = Answer({}, seq=1)
    assert not OPERATIONS.may_go(call, answer)
    waiting = asyncio.create_task(OPERATIONS.pushed(call, SessionBeat(id=1), answer))
    await asyncio.sleep(0)
    assert not waiting.done()
    event = REGISTRY.types["event"]
    data = event.accept_create({"title": "T", "acronym": "t"})
    await call.services.storage.submit(Commit(HERE, (Create(event, public_id(b"12345678"), data),)))
    await asyncio.wait_for(waiting, 5)
    assert answer.seq == 1
    await live.close()


@pytest.mark.parametrize("seed", [27202, 41559, 64745, 78989])
def test_schedules_that_once_left_a_difference_leave_none(seed: int) -> None:
    assert play(seed).wrong == []

"""A record that is deleted while a join looks at it: nobody is left in a channel that has ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from handlers.base import Call
from hub.schema.record import Image, RecordType
from hub.schema.writes import Commit, Create, Delete
from hub.wire.errors import HubError
from hub.wire.parts import PresenceEntry
from hub.wire.requests import ChannelJoin
from tests.channels.scene import EVENT
from tests.channels.test_withdrawal_race import OPERATIONS, Scene, scene

__all__ = ["scene"]
REC = "eventeventA"


@pytest.mark.parametrize("deleted", [REC, "eventeventB"])
async def test_a_record_that_is_deleted_while_it_is_looked_at_has_no_channel(scene: Scene, deleted: str) -> None:
    peer = await scene.hello()
    for rec in (REC, "eventeventB"):
        data = EVENT.accept_create({"title": "A", "acronym": rec})
        await scene.store.storage.submit(Commit(scene.account, (Create(EVENT, rec, data),)))
    real, reads = scene.store.storage.get, 0

    async def get(account: str, kind: RecordType, ids: Any, **options: Any) -> dict[str, Image]:
        nonlocal reads
        found = await real(account, kind, ids, **options)
        reads += 1
        if reads == 1:
            await scene.store.storage.submit(Commit(scene.account, (Delete(EVENT, deleted),)))
            await asyncio.sleep(0)
        return found

    setattr(scene.store.storage, "get", get)  # noqa: B010  # in between
    join = OPERATIONS.run(
        Call(scene.services, peer, 2), ChannelJoin(id=2, channel=f"event:{REC}", presence=PresenceEntry())
    )
    assert peer.outlet is not None
    channel = (scene.account, f"event:{REC}")
    if deleted == REC:
        with pytest.raises(HubError, match=r"channel\.unknown"):
            await join
        assert not scene.live.rosters.joined(channel, peer.outlet)
    else:
        assert len((await join).data["members"]) == 1
        assert scene.live.rosters.joined(channel, peer.outlet)
    assert reads == 2

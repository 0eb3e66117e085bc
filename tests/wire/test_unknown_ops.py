"""Operations of the wire that this version does not have yet answer `op.unknown`; nothing else does."""

from __future__ import annotations

import pytest

from hub.wire.requests import BY_NAME
from tests.wire.talk import Client
from tests.wire.tenant import Tenant

OF_THE_WIRE = """
    session.hello session.auth session.beat record.get record.find record.search record.aggregate record.create
    record.upsert record.update record.move record.delete record.restore record.revert record.update_where
    record.delete_where record.batch record.history feed.start feed.ack feed.stop watch.start watch.stop channel.join
    channel.leave channel.send presence.update presence.roster presence.status lock.take lock.keep lock.release
    client.call client.reply action.call action.cancel action.attach schema.describe lookup.list lookup.resolve
    file.grant manifest.get device.report stats.watch
""".split()  # noqa: SIM905  # as it stands in the design


def test_every_operation_that_exists_is_one_of_the_wire() -> None:
    assert set(BY_NAME) <= set(OF_THE_WIRE)


@pytest.mark.parametrize(
    "op", [*sorted(set(OF_THE_WIRE) - set(BY_NAME)), "record.fly", "", "record", "Record.get", "a" * 500]
)
async def test_an_operation_that_is_not_there_is_unknown(shared: Tenant, codec: str, op: str) -> None:
    async with shared.client("editor", codec) as client:
        message = await client.call(op, type="event", rec="x", anything={"a": 1})
        assert (message["code"], message["path"]) == ("op.unknown", "op")
        assert len(message["message"]) < 200
        await client.ok("session.beat")


async def test_an_operation_that_is_there_refuses_unknown_fields(editor: Client) -> None:
    for op in BY_NAME:
        message = await editor.call(op, nope=1)
        assert message.get("code") == (None if op == "session.hello" else "data.invalid"), op

"""How much one user or key shows in a channel with many sockets."""

from __future__ import annotations

from contextlib import AsyncExitStack

from channels.rooms import MEMBER_BYTES
from channels.rosters import STATE_BYTES
from hub.edge.weights import WEIGHTS
from hub.wire.requests import PresenceRoster, PresenceStatus, RecordFind
from tests.wire.talk import Client
from tests.wire.tenant import Tenant


async def test_the_sockets_of_one_key_show_only_so_much_together(tenant: Tenant, codec: str) -> None:
    full = {"state": {"a": "x" * (STATE_BYTES - 8)}}
    async with AsyncExitStack() as stack:

        async def opened() -> Client:
            return await stack.enter_async_context(tenant.client("editor", codec))

        last = await opened()
        most = MEMBER_BYTES // STATE_BYTES
        for n in range(most):
            last = await opened()
            # Only the last hears of the others: who does not read what it is told would take seconds to close.
            told = "full" if n == most - 1 else "none"
            await last.ok("channel.join", channel="audience:x", presence=full, roster=told)
        more = await opened()
        refused = await more.refused("channel.join", channel="audience:x", presence={"state": {}})
        assert refused == ("state.too_large", "presence.state")
        assert await more.refused("channel.leave", channel="audience:x") == ("channel.unknown", "channel")
        await last.ok("presence.update", channel="audience:x", state={})
        await more.ok("channel.join", channel="audience:x", presence={"state": {}}, roster="none")
        grown = await more.refused("presence.update", channel="audience:x", state=full["state"])
        assert grown == ("state.too_large", "state")
        assert [push for push in await last.settled() if push["op"] == "presence"] != []


def test_a_question_about_a_thousand_counts_for_as_much_as_a_page() -> None:
    assert WEIGHTS[PresenceStatus] == WEIGHTS[PresenceRoster] == WEIGHTS[RecordFind]

"""The cases of presence in the matrix of two accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tests.wire.things import Fields, Things

Build = Callable[[Things], Fields]


def presence_cases(event: str) -> Iterator[tuple[str, str, Build]]:
    """Yield operation, what is tried, and how it is built, for an account that has this event."""
    channel = f"event:{event}"
    yield "session.beat", "telemetry", lambda x: {"status": "idle", "telemetry": {"version": x.records["event"]}}
    yield "channel.join", "to be seen", lambda x: {"channel": channel, "presence": {"state": {}}}
    for kind in ("event", "api_key"):
        yield "presence.update", f"to change a {kind} on vanishing", partial(_change, channel, kind)
    yield "presence.update", "to speak on vanishing", partial(_speak, channel)
    yield "presence.roster", "a place", lambda x: {"channel": "audience:shared", "after": f"{x.mark[:8]}.1"}
    yield (
        "presence.status",
        "users and devices",
        lambda x: {
            "users": [x.records["user"]],
            "devices": [x.records["api_key"]],
        },
    )


def _change(channel: str, kind: str, things: Things) -> Fields:
    wish = {"op": "record.update", "type": kind, "rec": things.records[kind], "data": {}}
    return {"channel": channel, "on_drop": [wish]}


def _speak(channel: str, things: Things) -> Fields:
    there = f"event:{things.records['event']}"
    return {"channel": channel, "on_drop": [{"op": "channel.send", "channel": there, "event": "gone", "data": 1}]}

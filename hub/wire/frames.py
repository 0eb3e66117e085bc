"""Everything the hub sends: answers and pushes, as plain dicts with one builder each.

A push is encoded once per codec and written to every socket it is for, so it is built as a value here
and framed in `hub.wire.codec`. Source: DESIGN.md section 4.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hub.wire.errors import HubError

Message = dict[str, Any]


def ok(request: int, data: Any, seq: int | None = None) -> Message:
    """Build the answer of a request that was done; `seq` where the answer carries one."""
    if seq is None:
        return {"op": "ok", "id": request, "data": data}
    return {"op": "ok", "id": request, "seq": seq, "data": data}


def error(request: int | None, refusal: HubError) -> Message:
    """Build the answer of a request that was refused; no id where it could not be read."""
    if request is None:
        return {"op": "error", **refusal.body()}
    return {"op": "error", "id": request, **refusal.body()}


def change(watch: str, seq: int, origin: str | None, events: list[Message]) -> Message:
    """Build the push of one commit to one watch."""
    if origin is None:
        return {"op": "change", "watch": watch, "seq": seq, "events": events}
    return {"op": "change", "watch": watch, "seq": seq, "origin": origin, "events": events}


def snapshot(watch: str, records: list[Message], last: bool) -> Message:
    """Build a further page of a large snapshot."""
    if last:
        return {"op": "snapshot", "watch": watch, "records": records, "last": True}
    return {"op": "snapshot", "watch": watch, "records": records}


def reset(watch: str, why: str) -> Message:
    """Build the push that tells a client to start a watch again from a snapshot."""
    return {"op": "reset", "watch": watch, "why": why}


def feed(name: str, epoch: str, commit: Message, events: list[Message], more: bool) -> Message:
    """Build the push of one commit, or with `more` of its first events, to a feed; `commit` says who and when."""
    body = {"op": "feed", "name": name, "epoch": epoch, **commit, "events": events}
    if more:
        body["more"] = True
    return body


def feed_reset(name: str, why: str) -> Message:
    """Build the push that tells a client that a feed has ended."""
    return {"op": "reset", "feed": name, "why": why}


def presence(channel: str, version: int, events: list[Message] | msgspec.Raw) -> Message:
    """Build the push of roster changes; `version` counts the pushes of this join on this socket."""
    return {"op": "presence", "channel": channel, "version": version, "events": events}


def presence_count(channel: str, version: int, count: int) -> Message:
    """Return the push that tells how many are in a channel."""
    return {"op": "presence", "channel": channel, "version": version, "count": count}


def message(channel: str, offset: int, body: Message) -> Message:
    """Build the push of one message; `offset` is 0 where it is not kept, `body` has `event`, `data` and `from`."""
    if offset:
        return {"op": "message", "channel": channel, "offset": offset, **body}
    return {"op": "message", "channel": channel, **body}


def channel_reset(channel: str, why: str) -> Message:
    """Build the push that tells a client that a channel's messages do not go on: it has to be joined again."""
    return {"op": "reset", "channel": channel, "why": why}


def command(number: int, name: str, data: Any, sender: Message | None) -> Message:
    """Build the push of a command; `number` is what `client.reply` answers."""
    return {"op": "command", "command": number, "name": name, "data": data, "from": sender}


def progress(call: int, n: int, fraction: float | None, message: str | None) -> Message:
    """Build a progress push of a running action call."""
    body: Message = {"op": "progress", "call": call, "n": n}
    if fraction is not None:
        body["fraction"] = fraction
    if message is not None:
        body["message"] = message
    return body


def notice(code: str, text: str, data: Message | None = None) -> Message:
    """Build what a client is told that is no answer and no change: `code` names it."""
    body: Message = {"op": "notice", "code": code, "message": text}
    if data is not None:
        body["data"] = data
    return body


def goaway(why: str, retry_after: float, jitter: float) -> Message:
    """Build the announcement of a planned close; both times in seconds."""
    return {"op": "goaway", "why": why, "retry_after": retry_after, "jitter": jitter}

"""client.call and client.reply: what one client asks of another, and what it is answered."""

from __future__ import annotations

from typing import Any

import msgspec

from channels.letters import Address
from handlers.base import Answer, Call, Needs, handles
from handlers.channels import member, target_of
from hub.schema.commands import ANSWER_BYTES, COMMAND_BYTES, Command
from hub.wire.codec import refine
from hub.wire.errors import HubError
from hub.wire.requests import ClientCall, ClientReply


@handles(Needs.ACCOUNT)
async def call_client(call: Call, request: ClientCall) -> Answer:
    """Ask another client of the account to do something; answer what it answers. Also over HTTP."""
    command = call.services.registry.command(request.command)
    call.rights.require(command.needs)
    to, data = _address(call, request, command), _arguments(command, request.data)
    who, outlet = member(call), call.peer.outlet
    sender = None
    if who is not None:
        session = None if outlet is None else call.peer.session_id
        sender = {"kind": who.kind, "rec": who.rec, "name": who.name, "session": session}
    result = await call.services.live.calls.call(
        to,
        command.name,
        data,
        sender,
        caller=(call.identity.source, call.identity.actor) if outlet is None else outlet,
        seconds=request.timeout,
        queue_seconds=request.queue_seconds,
    )
    return Answer(result)


def _address(call: Call, request: ClientCall, command: Command) -> Address:
    kind, rec = target_of(request.to)
    if kind != "session" and kind not in command.to:
        raise HubError("data.invalid", f"{command.name} is for a {command.to[0]}.", path=f"to.{kind}")
    if kind == "session" and request.queue_seconds is not None:
        text = "A session does not return once it is over; queue for its user or device."
        raise HubError("data.invalid", text, path="queue_seconds")
    return Address(call.account, kind, rec, command.to)


def _arguments(command: Command, data: dict[str, Any]) -> Any:
    """Return the arguments with all their fields as plain values; raise `data.invalid`, `message.too_large`."""
    if len(msgspec.json.encode(data)) > COMMAND_BYTES:
        text = f"The data of a command has at most {COMMAND_BYTES} bytes as JSON."
        raise HubError("message.too_large", text, path="data")
    try:
        return msgspec.to_builtins(msgspec.convert(data, command.args))
    except msgspec.ValidationError as error:
        raise refine(error, prefix="data", kind=command.args) from None


@handles(Needs.ACCOUNT)
def reply(call: Call, request: ClientReply) -> Answer:
    """Answer a command that this session was told; once, and while it is waited for."""
    session = call.session
    failed = request.code is not None
    if not failed and request.message is not None:
        raise HubError("data.invalid", "A refusal has a `code` beside its `message`.", path="message")
    if failed and request.data is not None:
        raise HubError("data.invalid", "Answer with `data`, or with `code` and `message`.", path="data")
    if len(msgspec.json.encode(request.data)) > ANSWER_BYTES:
        text = f"The answer to a command has at most {ANSWER_BYTES} bytes as JSON."
        raise HubError("message.too_large", text, path="data")
    targets, number = call.services.live.calls.targets, request.command
    if failed:
        refusal = {"code": request.code, "message": request.message or ""}
        known = targets.reply(session.id, number, "failed", refusal)
    else:
        known = targets.reply(session.id, number, "answer", request.data)
    if not known:
        text = "This session was told no such command, or nobody waits for its answer any more."
        raise HubError("call.unknown", text, path="command")
    return Answer({})

"""action.call: run a declared action in the caller's name and answer with its result. Decision 0011.

A call with a key looks first whether it was done already. A run that others were quicker than is repeated, and then
holds in this instance what they changed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from msgspec import UNSET

from handlers.action_context import ActionContext, Course, Repeated, Stale
from handlers.base import Answer, Call, Needs, handles
from handlers.records import claim
from hub.schema.access import ROW_VERBS
from hub.schema.actions import ActionSpec
from hub.schema.record import Image
from hub.schema.writes import Committed
from hub.wire.codec import refine
from hub.wire.errors import HubError
from hub.wire.requests import ActionCall

RUNS: Final = 4
"""How often an action is run at most in one call: once, and three times again after a conflict."""
TIMEOUT_SECONDS: Final = 30.0
_FIELDS: Final = frozenset(ActionCall.__struct_fields__)


@handles(Needs.NOTHING)
async def call_action(call: Call, request: ActionCall) -> Answer:
    """Run an action; it is run again where a version that it relied on has changed.

    What a caller needs, the action says: a permission in the chosen account, an identity, or nothing.
    """
    spec = _permitted(call, request)
    if request.mode != "wait":
        raise HubError("data.invalid", "Only mode `wait` is available in this version.", path="mode")
    try:
        args = msgspec.convert(request.args, spec.args)
    except msgspec.ValidationError as error:
        raise refine(error, prefix="args", kind=spec.args) from None
    # What anybody may call is not kept: neither who guests are nor what may be told again is known.
    course = Course(None if spec.is_open else claim(call, request, spec.secrets))
    try:
        async with asyncio.timeout(request.timeout or TIMEOUT_SECONDS):
            return await _in_turn(call, request, spec, args, course)
    except TimeoutError:
        if course.committed is not None:
            return _answer(course.committed)
        raise HubError("write.unknown" if course.unknown else "action.timeout", retry_after=1) from None


def _permitted(call: Call, request: ActionCall) -> ActionSpec:
    """Return the action that is called; raise where there is none, or not for this caller."""
    spec = call.services.registry.actions.get(request.action)
    if spec is None or spec.needs != "guest":
        call.need_identity()
    if spec is None or not spec.is_open:
        call.account  # noqa: B018  # raises where none is chosen
    if spec is None:
        raise HubError("action.unknown", f"There is no action {request.action[:64]!r}.", path="action")
    if spec.operator:
        if call.identity.source != "operator":
            step = "Use the command `aether` there."
            text = f"This action answers on the hub's own machine only. {step}"
            raise HubError("access.denied", text, path="action", details={"needs": "operator", "next": step})
    elif not spec.is_open:
        call.rights.require(spec.needs)
    return spec


async def _in_turn(call: Call, request: ActionCall, spec: ActionSpec, args: Any, course: Course) -> Answer:
    """Answer what was done under this key before; else run the action, one call of a key at a time."""
    key = course.claim
    if key is None:
        return await _run(call, request, spec, args, course)
    storage = call.services.storage
    async with call.services.turns.of([("key", call.account, key.scope, key.key)]):
        if kept := await storage.repeated(call.account, key):
            return _answer(kept)
        try:
            return await _run(call, request, spec, args, course)
        except HubError as refusal:
            # Another instance may have done just this meanwhile: then that is what happened, and no refusal.
            if refusal.code != "write.unknown" and (kept := await storage.repeated(call.account, key)):
                return _answer(kept)
            raise


async def _run(call: Call, request: ActionCall, spec: ActionSpec, args: Any, course: Course) -> Answer:
    """Run the action until nobody was quicker, at most `RUNS` times."""
    for run in range(1, RUNS + 1):
        async with call.services.turns.of(course.holds):
            context = ActionContext(call, course, await _target(call, spec, request), shown_once=spec.shows_secrets)
            result: Any = None
            try:
                result = await spec.run(context, args)
            except Repeated:
                pass
            except Stale as stale:
                if run == RUNS:
                    raise
                course.holds |= stale.things
                continue
            except HubError as refusal:
                if refusal.path is not None and refusal.path.partition(".")[0] not in _FIELDS:
                    refusal.path = None  # it names a field of a write, which the caller never saw
                raise
            if course.committed is None:
                return Answer(msgspec.to_builtins(result))
            return _answer(course.committed)
    raise AssertionError("the last run returns or raises")


def _answer(committed: Committed) -> Answer:
    """Return what the action answered when it committed; raise `action.failed` where that was shown once."""
    if committed.answer is UNSET:
        raise HubError(
            "action.failed",
            "This was done under this key before, and its answer is shown only once. If nobody received it, take back "
            "what was made and call again with another key.",
            path="key",
            details={"seq": committed.seq},
        )
    return Answer(committed.answer, seq=committed.seq)


async def _target(call: Call, spec: ActionSpec, request: ActionCall) -> Image | None:
    if spec.target is None:
        if request.target is not None:
            raise HubError("data.invalid", f"{spec.name} works on no record.", path="target")
        return None
    if request.target is None or request.target.type != spec.target.name:
        raise HubError("data.invalid", f"{spec.name} works on a {spec.target.name}.", path="target")
    noun, _, verb = spec.needs.partition(".")
    verb = verb if noun == spec.target.name and verb in ROW_VERBS else "read"
    found = await call.get(spec.target, [request.target.rec], verb=verb)
    if request.target.rec not in found:
        raise HubError("record.not_found", f"There is no {spec.target.name} with this id.", path="target.rec")
    return found[request.target.rec]

"""A pack for the tests of secrets: a record with secret fields of several kinds, and an action that reads them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from hub import Access, Context, Field, Record, action

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor", purge="owner")


class Safe(Record, access=_RULE, unique=(("name",),)):
    """What is needed to sign in somewhere else."""

    name: Annotated[str, Meta(max_length=100)]
    password: Annotated[str, Meta(max_length=1000), Field(secret=True)] | None = None
    login: Annotated[dict[str, Any], Field(secret=True)] = {}


class OpenSafe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing but the target."""


class Opened(msgspec.Struct, frozen=True):
    """How long the password is, and the login's keys: an action tells what it has to."""

    length: int | None
    keys: list[str]


@action("safe.open", needs="safe.update", target=Safe)
async def open_safe(ctx: Context, args: OpenSafe) -> Opened:
    """Use a secret, as an action that signs in elsewhere would."""
    assert ctx.target is not None
    password = await ctx.secret(ctx.target, "password")
    login = await ctx.secret(ctx.target, "login")
    return Opened(None if password is None else len(password), sorted(login or {}))

"""A pack with an action that does what none may: it logs what it is given. The search for secrets must find it."""

from __future__ import annotations

import logging
from typing import Annotated

import msgspec

from hub import Context, Field, action

log = logging.getLogger("packs.blabs")


class Blab(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret that should stay one."""

    password: Annotated[str, Field(secret=True)]


@action("blab.out", needs="guest")
async def blab(ctx: Context, args: Blab) -> None:
    """Log the argument."""
    log.info("called with %s", msgspec.json.encode(args).decode())

"""What happened at the door of an account: sign-ins, refusals, keys and roles."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from hub.schema.access import Access
from hub.schema.core.identity import Account
from hub.schema.record import Record


class AuditEntry(
    Record,
    parent=Account,
    access=Access(read="manager", create="nobody", update="nobody", delete="nobody", purge="nobody"),
    indexes=(("what",),),
):
    """One thing that happened, when it happened (`created_at`), with who did it; never with a secret."""

    what: Annotated[str, Meta(max_length=64)]
    """Such as `session.signed_in`, `access.denied`, `key.created`, `role.changed`."""
    actor: Annotated[str, Meta(max_length=64)] = ""
    """The public id of the user, key or device; empty where it is not known."""
    name: Annotated[str, Meta(max_length=200)] = ""
    """Who that was, for people to read."""
    address: Annotated[str, Meta(max_length=64)] = ""
    subject: Annotated[str, Meta(max_length=200)] = ""
    """What it was done to: a type with an id, a permission, a mail address."""
    count: int = 1
    """How often it happened: what repeats within a minute is counted, not repeated."""
    details: dict[str, Any] = {}  # copied for each record

"""A pack in one file whose hooks keep its records true: bookings that end after they start, and know how long they are.

AETHER_PACKS=examples.bookings .venv/bin/aether serve --data var/bookings
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta

from hub import Access, Change, Field, HubError, Record, after_commit, before_commit

log = logging.getLogger("examples.bookings")


class Booking(Record, access=Access(read="viewer", create="editor", update="editor", delete="editor")):
    """A room for a time."""

    room: Annotated[str, Meta(min_length=1, max_length=100)]
    starts_at: datetime
    ends_at: datetime
    minutes: Annotated[int, Field(read_only=True)] = 0  # set by `measure`
    locked: bool = False


@before_commit(Booking)
def measure(change: Change) -> dict[str, Any] | None:
    """Refuse what ends before it starts and the deletion of what is locked; keep the length beside."""
    if change.kind in {"delete", "purge"} and change.before is not None and change.before["locked"]:
        raise HubError("access.denied", "A locked booking stays; unlock it first.", path="rec")
    if change.kind not in {"create", "update"} or change.after is None:
        return None
    starts_at, ends_at = (datetime.fromisoformat(change.after[name]) for name in ("starts_at", "ends_at"))
    if ends_at <= starts_at:
        raise HubError("data.invalid", "A booking ends after it starts.", path="data.ends_at")
    return {"minutes": int((ends_at - starts_at).total_seconds() // 60)}


@after_commit(Booking)
def tell(change: Change) -> None:
    """Write into the log what became of a booking."""
    log.info("a booking: %s", change.kind)

"""A pack in one file: journals with dated entries, and an action that archives what is old.

AETHER_PACKS=examples.journal .venv/bin/aether serve --data var/journal
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta, Struct

from hub import Access, ChangeRecord, Context, Field, HubError, Record, Rows, action

_READ_AND_WRITE = Access(read="viewer", create="editor", update="editor", delete="manager")


class Journal(Record, access=_READ_AND_WRITE, unique=(("title",),)):
    """A notebook of dated entries."""

    title: Annotated[str, Meta(min_length=1, max_length=200), Field(folded=True)]
    private: bool = False


class JournalEntry(Record, parent=Journal, access=_READ_AND_WRITE, indexes=(("journal", "day"),)):
    """What happened on a day."""

    day: date
    text: Annotated[str, Meta(max_length=10_000)]
    mood: Literal["", "good", "bad"] = ""
    tags: list[str] = []
    archived: Annotated[bool, Field(read_only=True)] = False  # set by journal.archive only


_MINE = Rows(("read", "update", "delete"), {"created_by": {"$ref": "me.id"}})
_OWN_ONLY = Access(read="viewer", create="viewer", update="viewer", delete="viewer", rows=(_MINE,))


class JournalNote(Record, parent=Journal, access=_OWN_ONLY):
    """What somebody notes beside a journal: only they see it, and whoever may `journal_note.manage`."""

    text: Annotated[str, Meta(max_length=10_000)]


class Archive(Struct, frozen=True, forbid_unknown_fields=True):
    """Which entries: those of days before this one."""

    before: date


class Archived(Struct, frozen=True):
    """How many entries were archived."""

    count: int


@action("journal.archive", needs="journal_entry.update", target=Journal)
async def archive(ctx: Context, args: Archive) -> Archived:
    """Archive the entries of a journal that are older than a date, all of them or none."""
    assert ctx.target is not None  # declared, so the hub calls it with one
    if ctx.target["private"]:
        raise HubError("action.failed", "A private journal is never archived.", path="target")
    old = {"day": {"$lt": args.before.isoformat()}, "archived": False}
    entries = await ctx.find(JournalEntry, old, parent=ctx.target["id"])
    ctx.progress(0.5, f"archiving {len(entries)} entries")
    writes = [ChangeRecord(JournalEntry, e["id"], {"archived": True}, e["version"]) for e in entries]
    return await ctx.submit(writes, lambda done: Archived(len(done.results)))

"""The actions of the events pack: move a session, import a programme.

Knows the hub only as `Context`: reads, then submits one batch, and is run again by the hub when a version did not hold.
The rules are elsewhere: free slots in `slots`, what an import writes in `import_plan`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from hub import (
    ActionWrite,
    ChangeRecord,
    Committed,
    Context,
    DeleteRecord,
    HubError,
    Image,
    ItemRef,
    NewRecord,
    Record,
    action,
)
from packs.events import schedule_times as times
from packs.events.import_items import ENTITIES, EVENT
from packs.events.import_plan import Operation, plan
from packs.events.import_summary import Summary, caution
from packs.events.programme import Programme, inconsistencies
from packs.events.records import (
    Event,
    EventImport,
    EventLocation,
    EventPerson,
    EventPresenter,
    EventSession,
    EventTrack,
)
from packs.events.slots import Slot, first_overlap, next_free

_KINDS: dict[str, type[Record]] = {
    "event": Event,
    "event_location": EventLocation,
    "event_track": EventTrack,
    "event_person": EventPerson,
    "event_session": EventSession,
    "event_presenter": EventPresenter,
    "event_import": EventImport,
}


class Reschedule(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a session should go. Without `location` it stays in its room; null takes it out of every room."""

    starts_at: Annotated[datetime, Meta(tz=True)]
    location: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType | None = UNSET


class Rescheduled(Struct, frozen=True):
    """Where the session is now."""

    rec: str
    version: int
    starts_at: str
    ends_at: str | None
    location_id: str | None


@action("event_session.reschedule", needs="event_session.update", target=EventSession)
async def reschedule(ctx: Context, args: Reschedule) -> Rescheduled:
    """Move a session to another time or room; it keeps its length.

    Answers `action.failed` where another session of the room overlaps. `details.conflict` is that session
    (`rec, title, starts_at, ends_at`), `details.suggestion` the next free slot of the same length in that room
    (`starts_at, ends_at`). Sessions that only touch do not overlap.
    """
    assert ctx.target is not None  # declared, so the hub calls it with one
    session = await ctx.get(EventSession, ctx.target["id"])
    if not times.EARLIEST_YEAR <= args.starts_at.year <= times.LATEST_YEAR:
        years = f"{times.EARLIEST_YEAR} and {times.LATEST_YEAR}"
        raise HubError("data.invalid", f"The year lies between {years}.", path="args.starts_at")
    start = times.to_millis(times.instant(args.starts_at, UTC))
    slot = Slot(start, start + _length(session))
    change: dict[str, Any] = {"starts_at": times.from_millis(slot.start)}
    if session["ends_at"] is not None:
        change["ends_at"] = times.from_millis(slot.end)
    writes: list[ActionWrite] = []
    room = session["location_id"] if args.location is UNSET else args.location
    if room is not None:
        location = await _location(ctx, session, room)
        await _refuse_overlap(ctx, session, location, slot)
        writes.append(ChangeRecord(EventLocation, room, {"moves": location["moves"] + 1}, location["version"]))
    change["location_id"] = room
    if all(session[name] == value for name, value in change.items()):
        writes.clear()  # it is there already
    writes.append(ChangeRecord(EventSession, session["id"], change, session["version"]))
    return await ctx.submit(writes, _rescheduled)


def _rescheduled(done: Committed) -> Rescheduled:
    now = done.results[-1].image
    return Rescheduled(now["id"], now["version"], now["starts_at"], now["ends_at"], now["location_id"])


async def _location(ctx: Context, session: Image, room: str) -> Image:
    """Return the room, which must be one of the session's event."""
    found = await ctx.find(EventLocation, {"id": room}, parent=session["event_id"])
    if not found:
        raise HubError("record.not_found", "There is no such location in the session's event.", path="args.location")
    return found[0]


async def _refuse_overlap(ctx: Context, session: Image, location: Image, slot: Slot) -> None:
    later = {"location_id": location["id"], "ends_at": {"$gt": times.from_millis(slot.start)}}
    others = [
        other
        for other in await ctx.find(EventSession, later)
        if other["id"] != session["id"] and other["starts_at"] is not None
    ]
    taken = [Slot(times.to_millis(other["starts_at"]), times.to_millis(other["ends_at"])) for other in others]
    index = first_overlap(slot, taken)
    if index is None:
        return
    clash = {name: others[index][name] for name in ("title", "starts_at", "ends_at")}
    sentence = f"{location['name']} is taken by “{clash['title']}” from {clash['starts_at']} to {clash['ends_at']}."
    details: dict[str, Any] = {"conflict": {"rec": others[index]["id"], **clash}}
    free = next_free(slot, taken)
    try:
        suggestion = {"starts_at": times.from_millis(free.start), "ends_at": times.from_millis(free.end)}
    except OverflowError:
        pass  # the room is taken until the end of the calendar: there is nothing to suggest
    else:
        sentence += f" The next free slot of this length begins at {suggestion['starts_at']}."
        details["suggestion"] = suggestion
    raise HubError("action.failed", sentence, path="args.starts_at", details=details)


def _length(session: Image) -> int:
    if session["starts_at"] is None or session["ends_at"] is None:
        return 0
    return max(0, times.to_millis(session["ends_at"]) - times.to_millis(session["starts_at"]))


class ImportProgramme(Struct, frozen=True, forbid_unknown_fields=True):
    """The programme as it now is in its source. With `dry_run` nothing is written, the answer is what would be."""

    programme: Programme
    dry_run: bool = False
    allow_deletions: bool = False


@action("event.import_programme", needs="event.update")
async def import_programme(ctx: Context, args: ImportProgramme) -> Summary:
    """Bring an event up to a programme, in one batch: only what changed in the source is written.

    The event is the one that was imported under this acronym before, else the live one with this acronym, else a new
    one. The same programme again writes nothing.

    Answers `action.failed` where it would delete every session or most of what was imported before, as a broken
    export does; `details` has the figures (`sessions`, `records`: `deleted`, `imported`). `allow_deletions` does it.
    """
    if faults := inconsistencies(args.programme):
        raise HubError(
            "data.invalid", f"{faults[0]}.".capitalize(), path="args.programme", details={"problems": faults[:20]}
        )
    ctx.progress(0.0, "reading what the hub holds")
    event = await _event(ctx, args.programme.event.acronym)
    known: list[Image] = []
    current: dict[str, Image] = {}
    if event is not None:
        known = await ctx.find(EventImport, parent=event["id"])
        for entity in ENTITIES:
            if entity != EVENT:
                current |= {image["id"]: image for image in await ctx.find(_KINDS[entity], parent=event["id"])}
    ctx.progress(0.3, "comparing")
    found = plan(args.programme, event, known, current)
    summary = found.summary
    if found.operations and not args.dry_run:
        if not args.allow_deletions and (doubt := caution(summary)) is not None:
            raise HubError("action.failed", doubt.sentence, details=doubt.details)
        ctx.progress(0.5, f"writing {len(found.operations)} records")

        def summed_up(done: Committed) -> Summary:
            return summary if event is not None else structs.replace(summary, event=done.results[0].image["id"])

        summary = await ctx.submit([as_write(operation) for operation in found.operations], summed_up)
    ctx.progress(1.0, "done")
    return summary


async def _event(ctx: Context, acronym: str) -> Image | None:
    """Return the live event of an acronym; the acronym at the last import goes before the one it has now."""
    rows = await ctx.find(EventImport, {"entity": EVENT, "key": acronym})
    for row in rows:
        if events := await ctx.find(Event, {"id": row["event_id"]}):
            return events[0]
    events = await ctx.find(Event, {"acronym": acronym})
    return events[0] if events else None


def as_write(operation: Operation) -> ActionWrite:
    """Return an operation of a plan as a write of an action."""
    kind = _KINDS[operation["type"]]
    if operation["op"] == "record.delete":
        return DeleteRecord(kind, operation["rec"], operation["if_version"])
    data = {name: _item(value) for name, value in operation["data"].items()}
    if operation["op"] == "record.update":
        return ChangeRecord(kind, operation["rec"], data, operation["if_version"])
    parent = operation.get("parent")
    return NewRecord(kind, data, _item(parent["rec"]) if parent else None)


def _item(value: Any) -> Any:
    """Return `{"$item": n}` as the reference it stands for, anything else as it is."""
    return ItemRef(value["$item"]) if isinstance(value, dict) and value.keys() == {"$item"} else value

"""The record types of a conference: the event, what is in its programme, its files, and what was imported last.

Everything belongs to an event and goes by its rights: viewers read, editors write. Knows no storage and no import.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from hub import Access, Each, Field, HubError, Image, Record, Ref, Site, View
from packs.events.programme import (
    TAG_COUNT,
    Acronym,
    Body,
    Guid,
    Language,
    License,
    Name,
    Slug,
    SourceId,
    Subtitle,
    Tag,
    Title,
    Url,
    Word,
    Zone,
)

_PROGRAMME = Access(read="viewer", create="editor", update="editor", delete="editor")
_BOOKKEEPING = Access(read="editor", create="editor", update="editor", delete="editor")

Folded = Field(folded=True)
Sibling = Field(same_parent=True)
"""Of a reference: to a record of the same event."""

FileName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"\A(?!\.{1,2}\Z)[^/\\\x00-\x1f\x7f]+\Z")]
"""A name within a folder, never a path."""


class Event(Record, access=_PROGRAMME, unique=(("acronym",),), searchable=("title", "acronym")):
    """A conference; `acronym` is the key under which programmes are imported."""

    title: Annotated[Title, Folded]
    acronym: Annotated[Acronym, Folded] | None = None  # without one, no import finds it
    starts_on: date | None = None
    ends_on: date | None = None
    timezone: Zone = ""  # an IANA name, "" where none is known
    site: Annotated[Ref[Site], Field(on_delete="set_null")] | None = None  # whose lookup rows are in force too


class EventLocation(Record, parent=Event, access=_PROGRAMME, unique=(("event", "name"),), searchable=("name",)):
    """A room or stage of an event."""

    name: Annotated[Name, Folded]
    sort: int = 0
    moves: Annotated[int, Field(read_only=True)] = 0
    """How often a session was moved within or into this room. Raised with each move, so that of two moves at once the
    second sees the first."""


class EventTrack(Record, parent=Event, access=_PROGRAMME, unique=(("event", "name"),), searchable=("name",)):
    """A track: sessions on one theme."""

    name: Annotated[Name, Folded]
    sort: int = 0


class EventPerson(Record, parent=Event, access=_PROGRAMME, unique=(("event", "source_id"),), searchable=("name",)):
    """Somebody who presents at an event."""

    name: Annotated[Name, Folded]
    source_id: Annotated[SourceId, Field(write_once=True)] | None = None  # None: made in the hub


def _in_order(session: Image) -> None:
    """Raise `data.invalid` where a session ends before it starts."""
    starts, ends = session["starts_at"], session["ends_at"]
    if starts is not None and ends is not None and ends < starts:
        raise HubError("data.invalid", "A session does not end before it starts.", path="data.ends_at")


class EventSession(
    Record,
    parent=Event,
    access=_PROGRAMME,
    check=_in_order,
    unique=(("event", "guid"),),
    indexes=(("event", "starts_at"), ("location", "ends_at")),
    searchable=("title", "subtitle", "tags", "abstract", "description"),
    sortable=("title", "kind", "language", "starts_at", "ends_at", "location", "track"),
    views={
        "programme": View(
            event_title="parent.title",
            location_name="location.name",
            track_name="track.name",
            presenter_ids=Each("event_presenter.session", "person.id", order=("sort",)),
            presenter_names=Each("event_presenter.session", "person.name", order=("sort",)),
        )
    },
):
    """A talk, workshop or other slot of the programme; without a time it is not scheduled yet."""

    title: Annotated[Title, Folded]
    subtitle: Annotated[Subtitle, Folded] = ""
    abstract: Body = ""
    description: Body = ""
    language: Language = ""
    kind: Word = ""
    slug: Slug = ""
    url: Url = ""
    guid: Annotated[Guid, Field(write_once=True)] | None = None  # None: made in the hub
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    tags: Annotated[list[Tag], Meta(max_length=TAG_COUNT)] = []
    do_not_record: bool = False
    recording_license: License = ""
    location: Annotated[Ref[EventLocation], Sibling] | None = None
    track: Annotated[Ref[EventTrack], Sibling] | None = None


class EventPresenter(
    Record, parent=Event, access=_PROGRAMME, unique=(("event", "session", "person"),), indexes=(("session",),)
):
    """That a person presents a session; `sort` is the order on stage."""

    session: Annotated[Ref[EventSession], Sibling]
    person: Annotated[Ref[EventPerson], Sibling]
    sort: int = 0


class EventFile(
    Record, parent=Event, access=_PROGRAMME, unique=(("event", "name"),), indexes=(("sha256",),), file=True
):
    """A file of an event. Its bytes are known by their hash, which only an upload sets."""

    name: Annotated[FileName, Folded]
    sha256: Annotated[str, Meta(min_length=64, max_length=64), Field(read_only=True)]
    size: Annotated[int, Field(read_only=True)]
    content_type: Annotated[str, Meta(max_length=200), Field(read_only=True)]


class EventContact(
    Record,
    access=_BOOKKEEPING,
    for_types=(Event, EventLocation, EventPerson),
    on_delete="cascade",
    unique=(("for_id", "kind", "value"),),
    sortable=("kind", "value", "sort"),
):
    """How to reach an event, a location or a person. For editors only: people's addresses are among them."""

    kind: Literal["email", "phone", "address", "url", "chat"]
    value: Annotated[str, Meta(min_length=1, max_length=400)]
    label: Annotated[str, Meta(max_length=100)] = ""
    sort: int = 0


class EventImport(
    Record,
    parent=Event,
    access=_BOOKKEEPING,
    unique=(("event", "entity", "key"),),
    indexes=(("entity", "key"),),
):
    """What the source last said of one record, so that the next import writes only what changed there."""

    entity: Annotated[str, Meta(min_length=1, max_length=48)]  # the record's type
    key: Annotated[str, Meta(min_length=1, max_length=400)]  # its key in the source
    rec: Annotated[str, Meta(min_length=1, max_length=64)]  # its id; may have been deleted since
    values: dict[str, Any]  # fields as the source gave them, references as keys

"""A conference programme as plain values, free of the format it was read from and of the hub it goes to.

Knows: the entries of a programme, how long their texts may be, and by which source key each is told apart:
the event by `acronym`, locations and tracks by `name`, persons by `source_id`, sessions by `guid`, presenters by
session and person. Entries refer to each other by those keys.
Does not know: files, record ids, storage.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Annotated

from msgspec import Meta, Struct

TITLE_LENGTH = 500
SUBTITLE_LENGTH = 1_000
BODY_LENGTH = 200_000
NAME_LENGTH = 200
WORD_LENGTH = 200
LANGUAGE_LENGTH = 64
SLUG_LENGTH = 500
URL_LENGTH = 2_000
GUID_LENGTH = 64
SOURCE_ID_LENGTH = 200
ACRONYM_LENGTH = 100
ZONE_LENGTH = 64
TAG_LENGTH = 100
TAG_COUNT = 50
LICENSE_LENGTH = 500
SORT_LARGEST = 1_000_000

Title = Annotated[str, Meta(min_length=1, max_length=TITLE_LENGTH)]
Subtitle = Annotated[str, Meta(max_length=SUBTITLE_LENGTH)]
Body = Annotated[str, Meta(max_length=BODY_LENGTH)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
Word = Annotated[str, Meta(max_length=WORD_LENGTH)]
Language = Annotated[str, Meta(max_length=LANGUAGE_LENGTH)]
Slug = Annotated[str, Meta(max_length=SLUG_LENGTH)]
Url = Annotated[str, Meta(max_length=URL_LENGTH)]
Guid = Annotated[str, Meta(min_length=1, max_length=GUID_LENGTH)]
SourceId = Annotated[str, Meta(min_length=1, max_length=SOURCE_ID_LENGTH)]
Acronym = Annotated[str, Meta(min_length=1, max_length=ACRONYM_LENGTH)]
Zone = Annotated[str, Meta(max_length=ZONE_LENGTH)]
Tag = Annotated[str, Meta(min_length=1, max_length=TAG_LENGTH)]
License = Annotated[str, Meta(max_length=LICENSE_LENGTH)]
Sort = Annotated[int, Meta(ge=0, le=SORT_LARGEST)]
Day = Annotated[str, Meta(pattern=r"\A\d{4}-\d{2}-\d{2}\Z")]
"""A date, `YYYY-MM-DD`."""
Instant = Annotated[str, Meta(pattern=r"\A\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z\Z")]
"""A time as it stands on the wire: RFC 3339 in UTC with exactly three decimals."""


class EventEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The conference itself."""

    acronym: Acronym
    title: Title
    starts_on: Day | None = None
    ends_on: Day | None = None
    timezone: Zone = ""


class LocationEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A room; `sort` is its place in the source, from 1."""

    name: Name
    sort: Sort = 0


class TrackEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A track; `sort` is its place in the source, from 1."""

    name: Name
    sort: Sort = 0


class PersonEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Somebody who presents."""

    source_id: SourceId
    name: Name


class SessionEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One talk, workshop or other slot; a session without a time has `starts_at` None."""

    guid: Guid
    title: Title
    subtitle: Subtitle = ""
    abstract: Body = ""
    description: Body = ""
    language: Language = ""
    kind: Word = ""
    slug: Slug = ""
    url: Url = ""
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    tags: Annotated[list[Tag], Meta(max_length=TAG_COUNT)] = []
    do_not_record: bool = False
    recording_license: License = ""
    location: Name | None = None  # name of a LocationEntry
    track: Name | None = None  # name of a TrackEntry


class PresenterEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """That a person presents a session; `sort` is the place among the session's persons, from 1."""

    session: Guid
    person: SourceId
    sort: Sort = 0


class Programme(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole conference programme. `inconsistencies` says whether its keys hold together."""

    event: EventEntry
    locations: list[LocationEntry] = []
    tracks: list[TrackEntry] = []
    persons: list[PersonEntry] = []
    sessions: list[SessionEntry] = []
    presenters: list[PresenterEntry] = []


def inconsistencies(programme: Programme) -> list[str]:
    """Return a sentence for every key that is given twice and every reference that leads nowhere."""
    locations = {entry.name for entry in programme.locations}
    tracks = {entry.name for entry in programme.tracks}
    persons = {entry.source_id for entry in programme.persons}
    sessions = {entry.guid for entry in programme.sessions}
    found = [
        *_twice("location", (entry.name for entry in programme.locations)),
        *_twice("track", (entry.name for entry in programme.tracks)),
        *_twice("person", (entry.source_id for entry in programme.persons)),
        *_twice("session", (entry.guid for entry in programme.sessions)),
        *_twice("presenter", ((entry.session, entry.person) for entry in programme.presenters)),
    ]
    for session in programme.sessions:
        if session.location is not None and session.location not in locations:
            found.append(f"session {session.guid!r} is in location {session.location!r}, which is not listed")
        if session.track is not None and session.track not in tracks:
            found.append(f"session {session.guid!r} is in track {session.track!r}, which is not listed")
        if session.starts_at is None and session.ends_at is not None:
            found.append(f"session {session.guid!r} has an end but no start")
        if session.starts_at is not None and session.ends_at is not None and session.ends_at < session.starts_at:
            found.append(f"session {session.guid!r} ends before it starts")
    for presenter in programme.presenters:
        if presenter.session not in sessions:
            found.append(f"a presenter names session {presenter.session!r}, which is not listed")
        if presenter.person not in persons:
            found.append(f"a presenter names person {presenter.person!r}, who is not listed")
    return found


def _twice(what: str, keys: Iterable[Hashable]) -> list[str]:
    seen: set[Hashable] = set()
    twice: dict[Hashable, None] = {}
    for key in keys:
        if key in seen:
            twice[key] = None
        seen.add(key)
    return [f"{what} {key!r} is given twice" for key in twice]

"""A patient reader of the c3voc `schedule.json` family: what frab, pretalx and the c3voc hub export.

Knows: the shape of the document (`schedule.conference.days[].rooms{name: [session]}`) and its variants. What can be
mended is mended with a warning, what cannot is a problem with its path; a file with a problem gives no programme.
Does not know what the programme is used for. Times become UTC, texts lose what no text may hold.

Decisions:
- A session listed twice with equal content counts once; a second one that differs gets a key derived from its `guid`
  and number, so that no slot is lost. A session without `guid` gets a key derived from `id`, `code` or `slug`, else
  from its title.
- A session stands in the room it is listed under; its own `room` counts only where that name is empty.
- A time without an offset is in the conference's zone. Where no zone is named, the fixed zone of the offsets is
  taken if all of them agree (`Etc/GMT-1` for `+01:00`), else `UTC`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from packs.events import programme as limits
from packs.events import schedule_times as times
from packs.events.programme import (
    EventEntry,
    LocationEntry,
    PersonEntry,
    PresenterEntry,
    Programme,
    SessionEntry,
    TrackEntry,
)
from packs.events.schedule_json import Doubled, decode
from packs.events.schedule_problems import Findings, Problem, below, quoted
from packs.events.schedule_values import Values, absent, derived, described

_T = TypeVar("_T")


class Reading(Struct, frozen=True):
    """What a schedule file holds: the programme, and what had to be mended to get it."""

    programme: Programme
    warnings: list[Problem] = []
    unlisted_warnings: int = 0  # how many more warnings there were than are listed


def read_schedule(data: bytes) -> Reading:
    """Read a schedule file.

    Raises:
        ScheduleError: if the file is broken; it names line and column, or the path of each problem (at most 20).
    """
    reader = _Reader()
    programme = reader.read(decode(data))
    reader.findings.settle()
    assert programme is not None  # without a problem there is a programme
    return Reading(programme, reader.findings.warnings, reader.findings.unlisted)


class _Slot(NamedTuple):
    """A session as it stands in the document."""

    raw: dict[str, Any]
    path: str
    room: str  # the name it is listed under, may be ""
    day: date | None  # the day it is listed under
    opens: datetime | None  # when that day begins, as wall-clock time
    moment: datetime | None  # its `date`, as written


class _Reader:
    def __init__(self) -> None:
        self.findings = Findings()
        self.values = Values(self.findings)
        self.base = ""  # against which relative addresses are read
        self.zone: tzinfo = UTC  # of times without an offset
        self.offsets: set[timedelta] = set()  # every offset a time of the file has
        self.first_naive = ""  # path of the first time without an offset
        self.locations: dict[str, LocationEntry] = {}
        self.tracks: dict[str, TrackEntry] = {}
        self.persons: dict[str, PersonEntry] = {}
        self.sessions: dict[str, SessionEntry] = {}
        self.presenters: list[PresenterEntry] = []
        self.empty_days: list[str] = []  # paths of days without a session
        self.seen: dict[str, tuple[Any, str]] = {}  # by guid: the session as listed first, and where

    def read(self, document: Any) -> Programme | None:
        conference, path = self._conference(document)
        if conference is None:
            return None
        slots = list(self._slots(conference, path))
        zone = self._zone(conference, path)
        for kind, register in (("rooms", self._location), ("tracks", self._track)):
            value, where = self.values.get(conference, path, kind)
            for name, place in self._named(value, where):
                entry = value[name] if isinstance(value, dict) else name
                named = isinstance(entry, dict) and not absent(entry.get("name"))
                register(self.values.label(entry if named else name, place, limits.NAME_LENGTH))
        for slot in slots:
            self._session(slot)
        if not self.sessions:
            self.findings.warn(below(path, "days"), "the programme holds no session")
        else:
            for where in self.empty_days:
                self.findings.warn(where, "the day holds no session")
        event = self._event(conference, path, zone, [slot.day for slot in slots if slot.day])
        if event is None:
            return None
        return Programme(
            event=event,
            locations=list(self.locations.values()),
            tracks=list(self.tracks.values()),
            persons=list(self.persons.values()),
            sessions=list(self.sessions.values()),
            presenters=self.presenters,
        )

    def _conference(self, document: Any) -> tuple[dict[str, Any] | None, str]:
        top = self.values.object(document, "", "the document")
        if top is None:
            return None, ""
        holder, path = top, ""
        if "conference" not in top:
            value, path = self.values.get(top, "", "schedule")
            if value is None:
                self.findings.problem("schedule", "this member is missing; is the file a schedule.json?")
                return None, ""
            found = self.values.object(value, path, "the schedule")
            if found is None:
                return None, ""
            holder = found
        value, where = self.values.get(holder, path, "conference")
        if value is None:
            self.findings.problem(where, "this member is missing; is the file a schedule.json?")
            return None, ""
        self.base = self.values.link(holder, path, "", limits.URL_LENGTH, "base_url")
        return self.values.object(value, where, "the conference"), where

    def _event(self, conference: dict[str, Any], path: str, zone: str, days: list[date]) -> EventEntry | None:
        title = self.values.line(conference, path, limits.TITLE_LENGTH, "title", "name")
        acronym = self.values.key(conference, path, "acronym", limits.ACRONYM_LENGTH, "acronym", "slug")
        if not title and not acronym:
            self.findings.problem(below(path, "acronym"), "the conference has neither an acronym nor a title")
            return None
        if not acronym:
            acronym = "-".join(title.lower().split())[: limits.ACRONYM_LENGTH]
            self.findings.warn(below(path, "acronym"), f"the acronym is missing, {acronym!r} is used")
        first = self._day(conference, path, "start") or min(days, default=None)
        last = self._day(conference, path, "end") or max(days, default=None)
        if first and last and last < first:
            self.findings.warn(below(path, "end"), "the conference ends before it starts; the end was left out")
            last = None
        return EventEntry(
            acronym=acronym,
            title=title or acronym,
            starts_on=first.isoformat() if first else None,
            ends_on=last.isoformat() if last else None,
            timezone=zone,
        )

    def _zone(self, conference: dict[str, Any], path: str) -> str:
        name = self.values.line(
            conference, path, limits.ZONE_LENGTH, "time_zone_name", "timezone", "time_zone", "timezone_name"
        )
        where = below(path, "time_zone_name")
        if name:
            try:
                self.zone = times.find_zone(name)
            except ValueError as error:
                self.findings.warn(where, f"{error}; it was left out")
            else:
                return name
        name = times.fixed_zone(self.offsets)
        if name:
            self.zone = times.find_zone(name)
            return name
        if self.offsets:
            self.findings.warn(where, "no time zone is named and the times have different offsets; UTC is used")
        if self.first_naive:
            self.findings.warn(self.first_naive, "no time zone is known for times without an offset; they count as UTC")
        return "UTC"

    def _slots(self, conference: dict[str, Any], path: str) -> Iterator[_Slot]:
        value, where = self.values.get(conference, path, "days")
        for day, place in self.values.members(value, where, "the days"):
            if (found := self.values.object(day, place, "a day")) is None:
                continue
            opens = self._moment(found, place, "day_start")
            on = self._day(found, place, "date") or (opens.date() if opens else None)
            rooms, rooms_path = self.values.get(found, place, "rooms")
            empty = True
            for room, sessions, room_path in self._rooms(rooms, rooms_path):
                for session, session_path in self.values.members(sessions, room_path, "the sessions of a room"):
                    if (raw := self.values.object(session, session_path, "a session")) is None:
                        continue
                    empty = False
                    moment = self._moment(raw, session_path, "date")
                    yield _Slot(raw, session_path, room, on, opens and opens.replace(tzinfo=None), moment)
            if empty:
                self.empty_days.append(rooms_path)

    def _rooms(self, value: Any, path: str) -> Iterator[tuple[str, Any, str]]:
        """Yield name, sessions and path of each room of a day, listed by name or as objects."""
        for member, where in self._named(value, path):
            if isinstance(value, dict):
                yield self.values.label(member, where, limits.NAME_LENGTH), value[member], where
            elif (room := self.values.object(member, where, "a room")) is not None:
                sessions, place = self.values.get(room, where, "events", "sessions", "talks")
                yield self.values.label(room, where, limits.NAME_LENGTH), sessions, place

    def _named(self, value: Any, path: str) -> Iterator[tuple[Any, str]]:
        """Yield the members of a list, or the names of an object, each with its path."""
        if isinstance(value, Doubled):
            for name in sorted(value.keys_twice):
                self.findings.problem(f"{path}[{quoted(name)}]", "this key stands twice in its object")
        if isinstance(value, dict):
            yield from ((name, f"{path}[{quoted(name)}]") for name in value)
        else:
            yield from self.values.members(value, path, "this")

    def _session(self, slot: _Slot) -> None:
        raw, path, values = slot.raw, slot.path, self.values
        title = values.line(raw, path, limits.TITLE_LENGTH, "title", "name")
        if not title:
            title = values.line(raw, path, limits.TITLE_LENGTH, "subtitle", "slug", "id") or "Untitled"
            self.findings.warn(below(path, "title"), f"the title is missing, {quoted(title)} is used")
        starts, ends = self._span(slot)
        guid = self._guid(slot, title)
        if guid is None:
            return
        own_room = values.line(raw, path, limits.NAME_LENGTH, "room")
        if own_room and slot.room and own_room != slot.room:
            self.findings.warn(below(path, "room"), f"listed under {quoted(slot.room)}, where it stays")
        self.sessions[guid] = SessionEntry(
            guid=guid,
            title=title,
            subtitle=values.line(raw, path, limits.SUBTITLE_LENGTH, "subtitle"),
            abstract=values.body(raw, path, "abstract", limits.BODY_LENGTH),
            description=values.body(raw, path, "description", limits.BODY_LENGTH),
            language=values.line(raw, path, limits.LANGUAGE_LENGTH, "language"),
            kind=values.line(raw, path, limits.WORD_LENGTH, "type", "kind"),
            slug=values.line(raw, path, limits.SLUG_LENGTH, "slug"),
            url=values.link(raw, path, self.base, limits.URL_LENGTH, "url", "origin_url"),
            starts_at=starts,
            ends_at=ends,
            tags=self._tags(raw, path),
            do_not_record=values.flag(raw, path, "do_not_record"),
            recording_license=values.line(raw, path, limits.LICENSE_LENGTH, "recording_license"),
            location=self._location(slot.room or own_room),
            track=self._track(values.line(raw, path, limits.NAME_LENGTH, "track")),
        )
        self._presenters(guid, raw, path)

    def _guid(self, slot: _Slot, title: str) -> str | None:
        """Return the key of a session, None for one that was listed before with the same content."""
        guid = self.values.key(slot.raw, slot.path, "session", limits.GUID_LENGTH, "guid")
        if not guid:
            own = self.values.key(slot.raw, slot.path, "session", limits.URL_LENGTH, "id", "code", "slug")
            guid = derived("session", own) if own else derived("session of title", title)
            self.findings.warn(
                below(slot.path, "guid"), f"missing; a key was derived from its {'id' if own else 'title'}"
            )
        content = (slot.raw, slot.room)
        key, number = guid, 1
        while key in self.seen:
            listed, where = self.seen[key]
            if listed == content:
                self.findings.warn(slot.path, f"the same session is listed before at {where}; it counts once")
                return None
            number += 1
            key = derived("session again", guid, str(number))
        if number > 1:
            where = self.seen[guid][1]
            self.findings.warn(below(slot.path, "guid"), f"also given to another session at {where}; a new one is used")
        self.seen[key] = (content, slot.path)
        return key

    def _presenters(self, guid: str, raw: dict[str, Any], path: str) -> None:
        value, where = self.values.get(raw, path, "persons", "speakers")
        listed: set[str] = set()
        for member, place in self.values.members(value, where, "the persons"):
            person = self._person(member, place)
            if person and person not in listed:
                listed.add(person)
                self.presenters.append(PresenterEntry(session=guid, person=person, sort=len(listed)))

    def _person(self, value: Any, path: str) -> str:
        if absent(value):
            return ""
        thing = {"name": value} if isinstance(value, str) else self.values.object(value, path, "a person")
        if thing is None:
            return ""
        name = self.values.line(thing, path, limits.NAME_LENGTH, "public_name", "name", "full_public_name")
        key = self.values.key(thing, path, "person", limits.SOURCE_ID_LENGTH, "id", "code", "guid")
        if not key and not name:
            self.findings.warn(path, "a person without name and id was left out")
            return ""
        if not key:
            key = derived("person", name)
            self.findings.warn(path, f"{quoted(name)} has no id; the person is known by name")
        known = self.persons.setdefault(key, PersonEntry(source_id=key, name=name or key))
        if known.name == key and name:
            self.persons[key] = PersonEntry(source_id=key, name=name)
        elif name and known.name != name:
            self.findings.warn(path, f"person {quoted(key)} is called {quoted(known.name)} before; that name stays")
        return key

    def _location(self, name: str) -> str | None:
        if name and name not in self.locations:
            self.locations[name] = LocationEntry(name=name, sort=len(self.locations) + 1)
        return name or None

    def _track(self, name: str) -> str | None:
        if name and name not in self.tracks:
            self.tracks[name] = TrackEntry(name=name, sort=len(self.tracks) + 1)
        return name or None

    def _tags(self, raw: dict[str, Any], path: str) -> list[str]:
        value, where = self.values.get(raw, path, "tags", "keywords")
        if isinstance(value, str):
            value = value.split(",")
        tags: dict[str, None] = {}
        for member, place in self.values.members(value, where, "the tags"):
            if tag := self.values.label(member, place, limits.TAG_LENGTH):
                tags[tag] = None
        if len(tags) > limits.TAG_COUNT:
            self.findings.warn(where, f"of {len(tags)} tags the first {limits.TAG_COUNT} were taken")
        return list(tags)[: limits.TAG_COUNT]

    def _span(self, slot: _Slot) -> tuple[str | None, str | None]:
        """Return start and end of a session as they stand on the wire."""
        start = slot.moment
        written, _ = self.values.get(slot.raw, slot.path, "date")
        clock = self._read(slot.raw, slot.path, "start", times.parse_clock)
        if clock is not None and (start is None or times.is_day(str(written))):
            on = start.date() if start else slot.day
            if on is not None:
                start = datetime(on.year, on.month, on.day) + clock
                if slot.opens is not None and slot.moment is None and start < slot.opens:
                    start += timedelta(days=1)  # past midnight, still listed under the day before
        length = self._duration(slot)
        if start is None:
            self.findings.warn(below(slot.path, "date"), "the session has no time")
            return None, None
        begins = times.instant(start, self.zone)
        if length is not None:
            until = datetime.fromisoformat(begins) + length
            return begins, times.instant(until, UTC)
        until_given = self._moment(slot.raw, slot.path, "end")
        ends = times.instant(until_given, self.zone) if until_given else None
        if ends is None or ends < begins:
            self.findings.warn(below(slot.path, "duration"), "the session has neither duration nor usable end")
            return begins, None
        return begins, ends

    def _duration(self, slot: _Slot) -> timedelta | None:
        value, where = self.values.get(slot.raw, slot.path, "duration")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.findings.problem(where, f"a duration is expected, this is {described(value)}")
            return None
        try:
            return times.parse_duration(value)
        except ValueError as error:
            self.findings.problem(where, str(error))
            return None

    def _moment(self, thing: dict[str, Any], path: str, name: str) -> datetime | None:
        moment = self._read(thing, path, name, times.parse_time)
        if moment is not None and moment.tzinfo is not None:
            self.offsets.add(moment.utcoffset() or timedelta())
        elif moment is not None and name == "date":
            self.first_naive = self.first_naive or below(path, name)
        return moment

    def _day(self, thing: dict[str, Any], path: str, name: str) -> date | None:
        return self._read(thing, path, name, times.parse_day)

    def _read(self, thing: dict[str, Any], path: str, name: str, parse: Callable[[str], _T]) -> _T | None:
        value, where = self.values.get(thing, path, name)
        if value is None:
            return None
        if not isinstance(value, str):
            self.findings.problem(where, f"a text is expected, this is {described(value)}")
            return None
        try:
            return parse(value)
        except ValueError as error:
            self.findings.problem(where, str(error))
            return None

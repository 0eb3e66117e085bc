"""A programme as a flat list of items: what the import compares with the hub, record by record.

Knows: which record type each entry of a programme becomes, its key among its kind, which fields it fills and which
other items it refers to. Does not know what is in the hub.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, structs

from packs.events.programme import Programme

EVENT = "event"
LOCATION = "event_location"
TRACK = "event_track"
PERSON = "event_person"
SESSION = "event_session"
PRESENTER = "event_presenter"
IMPORT = "event_import"

ENTITIES = (EVENT, LOCATION, TRACK, PERSON, SESSION, PRESENTER)
"""The record types of a programme; each refers only to those before it."""

REFERENCES: dict[str, dict[str, str]] = {
    SESSION: {"location": LOCATION, "track": TRACK},
    PRESENTER: {"session": SESSION, "person": PERSON},
}
"""The references of each record type: field and the type it points to."""

NATURAL_KEYS = {EVENT: "acronym", LOCATION: "name", TRACK: "name", PERSON: "source_id", SESSION: "guid"}
"""The field by which a record made in the hub is recognised as one of the source."""

Ident = tuple[str, str]
"""Record type and key: what an item is known by."""


class Item(Struct, frozen=True):
    """One record that the source wants: plain `values` by field, and for each reference the key it points to."""

    entity: str
    key: str
    values: dict[str, Any]
    refs: dict[str, str | None] = {}

    @property
    def ident(self) -> Ident:
        """Record type and key."""
        return self.entity, self.key

    @property
    def source(self) -> dict[str, Any]:
        """What is remembered of the item: its values, and its references as keys."""
        return {**self.values, **self.refs}

    @property
    def targets(self) -> Iterator[tuple[str, Ident]]:
        """Each reference that is set: field and the item it points to."""
        for field, entity in REFERENCES.get(self.entity, {}).items():
            if (key := self.refs[field]) is not None:
                yield field, (entity, key)


def items_of(programme: Programme) -> list[Item]:
    """Return the items of a programme, each after those it refers to."""
    items = [Item(EVENT, programme.event.acronym, structs.asdict(programme.event))]
    items += [Item(LOCATION, entry.name, structs.asdict(entry)) for entry in programme.locations]
    items += [Item(TRACK, entry.name, structs.asdict(entry)) for entry in programme.tracks]
    items += [Item(PERSON, entry.source_id, structs.asdict(entry)) for entry in programme.persons]
    items += [_split(SESSION, entry.guid, structs.asdict(entry)) for entry in programme.sessions]
    for presenter in programme.presenters:
        items.append(_split(PRESENTER, presenter_key(presenter.session, presenter.person), structs.asdict(presenter)))
    return items


def presenter_key(session: str, person: str) -> str:
    """Return the key of a presenter; the length in front keeps two different pairs apart."""
    return f"{len(session)}:{session}/{person}"


def wire(field: str) -> str:
    """Return the name under which a reference stands in a record."""
    return f"{field}_id"


def label(record: Mapping[str, Any]) -> str:
    """Return the text by which people know a record."""
    return str(record.get("title") or record.get("name") or record.get("id") or "")


def _split(entity: str, key: str, fields: dict[str, Any]) -> Item:
    refs = REFERENCES[entity]
    return Item(
        entity,
        key,
        {name: value for name, value in fields.items() if name not in refs},
        {name: fields[name] for name in refs},
    )

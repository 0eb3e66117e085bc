"""What is shown along with a record: the joined fields of a view, and `include`, the records that belong together.

    {"include": {"parent": true, "location": {"fields": ["name"]}, "children": {"event_track": {"limit": 5}}}}

Every type that something is taken from takes the right to read it, and shows what the caller sees of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from handlers.base import Call
from hub.schema.query import Include, parse_order
from hub.schema.record import Image, RecordType
from hub.schema.views import Sight
from hub.wire.codec import ECHO, refine
from hub.wire.errors import HubError
from hub.wire.parts import Fields, Order

RELATIONS: Final = 10
"""How many relations one request includes."""
CHILDREN: Final = 10_000
"""How many children one page of records may bring along, at the most that was asked for."""


class One(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the parent, or what a reference points to, is included."""

    fields: Fields | None = None


class Many(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How children of one type are included: the first `limit` of them, in order."""

    fields: Fields | None = None
    order: Order | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class Along:
    """What a request includes: the `queries` for storage, and how they are shown."""

    def __init__(self, call: Call, kind: RecordType, include: Mapping[str, Any] | None, records: int) -> None:
        self._call = call
        self.queries: tuple[Include, ...] = ()
        self._fields: dict[str, list[str] | None] = {}
        children = 0
        for name, given in (include or {}).items():
            path = f"include.{name[:ECHO]}"
            if name != "children":
                self._one(kind, name, given, path)
                continue
            if type(given) is not dict:
                raise HubError("data.invalid", 'children takes {"<type>": true | {…}}.', path=path)
            for child, options in given.items():
                children += self._many(kind, child, options, f"{path}.{child[:ECHO]}")
        if len(self.queries) > RELATIONS:
            raise HubError("data.invalid", f"One request includes at most {RELATIONS} relations.", path="include")
        if children * records > CHILDREN:
            raise HubError(
                "data.invalid",
                f"{records} records with {children} children each are more than {CHILDREN}; lower a limit.",
                path="include.children",
            )

    def _one(self, kind: RecordType, name: str, given: Any, path: str) -> None:
        wire = kind.parent_wire if name == "parent" else kind.steps.get(name)
        target = kind.target(wire)
        if target is None or wire is None:
            raise HubError("data.invalid", f"{kind.name} has no reference {name[:48]!r}.", path=path)
        if wire in self._call.rights.hidden(kind):
            raise HubError("data.invalid", f"{kind.name} has no reference {name[:48]!r}.", path=path)
        options = _options(One, given, path)
        self._enter(target, options.fields, name, path)
        self.queries += (Include(name, target, wire, "id"),)

    def _many(self, kind: RecordType, name: str, given: Any, path: str) -> int:
        child = next((c for c in self._call.reach.children(kind) if c.name == name), None)
        if child is None:
            raise HubError("data.invalid", f"No records of type {name[:48]!r} belong to a {kind.name}.", path=path)
        options: Many = _options(Many, given, path)
        key = f"children.{name}"
        self._enter(child, options.fields, key, path)
        try:
            order = parse_order(child, options.order, self._call.rights.hidden(child))
        except HubError as refused:
            raise refused.at(path) from None
        self.queries += (Include(key, child, "id", child.parent_wire or "", options.limit, order),)
        return options.limit

    def _enter(self, kind: RecordType, fields: list[str] | None, key: str, path: str) -> None:
        self._call.reach.enter(kind, path)
        try:
            self._call.rights.check_fields(kind, fields)
        except HubError as refused:
            raise refused.at(path) from None
        self._fields[key] = fields

    def shown(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return what stands under `include` in a record, of what storage found."""
        shown: dict[str, Any] = {}
        for query in self.queries:
            value = found[query.name]
            if query.limit is None:
                shown[query.name] = None if value is None else self._view(query, value)
                continue
            records, more = value
            some: dict[str, Any] = {"records": [self._view(query, image) for image in records]}
            if more:
                some["more"] = True
            shown.setdefault("children", {})[query.type.name] = some
        return shown

    def _view(self, query: Include, image: Image) -> Image:
        return self._call.rights.view(query.type, image, self._fields[query.name])


def _options(form: type[Any], given: Any, path: str) -> Any:
    if given is True:
        return form()
    try:
        return msgspec.convert(given, form)
    except msgspec.ValidationError as error:
        raise refine(error, prefix=path, kind=form) from None


def sight(call: Call, kind: RecordType, name: str | None) -> Sight | None:
    """Return the view of that name as the caller sees it; raise `data.invalid`, or `access.denied`."""
    if name is None:
        return None
    found = call.services.registry.view(kind, name)
    for other in found.types().values():
        call.reach.enter(other, "view")
    return found.without(call.rights.hidden).within(call.rules)


def cut(record: dict[str, Any], size: int, most: int) -> None:
    """Shorten the lists of children in a shown record of `size` bytes until it has about `most`."""
    lists = list(record.get("include", {}).get("children", {}).values())
    while size > most:
        longest = max(lists, key=lambda some: len(some["records"]), default=None)
        if longest is None or not longest["records"]:
            return
        size -= len(msgspec.json.encode(longest["records"].pop()))
        longest["more"] = True

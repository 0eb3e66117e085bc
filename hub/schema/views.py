"""Views: fields that a record is shown with besides its own, taken from records that belong together with it.

    views={"programme": View(
        location_name="location.name",                                          # over a reference
        event_title="parent.title",                                             # of the parent
        presenter_names=Each("event_presenter.session", "person.name", order=("sort",)),
    )}

A view is declared with its type and names other types by their wire names, since these may be declared later;
`resolve` looks them up and checks them when the registry is complete. Knows no storage and no frames.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hub.schema.fields import RESERVED, DeclarationError

if TYPE_CHECKING:
    from hub.schema.nodes import Node
    from hub.schema.record import RecordType
    from hub.schema.rows import RowRules

HOPS: Final = 3
"""How many records a field of a view is away at most."""
VALUES: Final = 100
"""How many values a list in a view shows at most."""
STEPS: Final = frozenset({"parent", "children"})
"""The steps that have the same name for every type; those over references are called as the reference."""
_KINDS: Final = frozenset({"text", "integer", "number", "boolean", "time", "date", "id", "ref"})


@dataclass(frozen=True, slots=True)
class Each:
    """A list with a value of each record that points here: `of` is its type and reference (`event_presenter.session`),
    or its type alone where it belongs here as to its parent. `take` is the field, or the way to it (`person.name`).
    """

    of: str
    take: str
    order: tuple[str, ...] = ()


class View:
    """The joined fields of a view, by name: a way such as `location.name`, or an `Each`."""

    def __init__(self, **fields: str | Each) -> None:
        self.fields = fields


@dataclass(frozen=True, slots=True, eq=False)
class Hop:
    """From a record to those of `type` whose `far` equals its `near`; one of the two is `id`.

    `where` is the filter that they match besides; None: all of them.
    """

    type: RecordType
    near: str
    far: str
    where: Node | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """A field of a view: where it is found, and what it is. `many`: a list with a value of each record there.

    `origin` is the type of the records that are seen.
    """

    name: str
    origin: RecordType
    hops: tuple[Hop, ...]
    field: str
    kind: str
    many: bool = False
    order: tuple[str, ...] = ()

    @property
    def type(self) -> RecordType:
        """The type that has the field."""
        return self.hops[-1].type

    def shows(self, hidden: Callable[[RecordType], frozenset[str]]) -> bool:
        """Say whether nothing that it tells of is hidden: the field, the references on the way, the order."""
        told = [(self.type, self.field)]
        told += [(self.hops[0].type, key.removeprefix("-")) for key in self.order]
        here = self.origin
        for hop in self.hops:
            told += [(here, hop.near), (hop.type, hop.far)]
            here = hop.type
        return all(wire not in hidden(kind) for kind, wire in told)

    @property
    def sortable(self) -> bool:
        """Whether records can be ordered by it."""
        if self.many or any(hop.where is not None for hop in self.hops):
            return False  # an order by records that are not all seen would tell of the others
        return self.kind not in {"id", "ref"} and self.field in self.type.sortable


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """A view that was looked up: its fields by name. `name` is its own."""

    name: str
    fields: dict[str, Joined]

    def without(self, hidden: Callable[[RecordType], frozenset[str]]) -> Sight:
        """Return the same view without the fields that tell of something hidden."""
        return Sight(self.name, {name: field for name, field in self.fields.items() if field.shows(hidden)})

    def within(self, rules: RowRules) -> Sight:
        """Return the same view of those records only that somebody may read."""
        if not any(map(rules.binds, self.types().values())):
            return self
        return Sight(self.name, {name: _within(field, rules) for name, field in self.fields.items()})

    def types(self) -> dict[str, RecordType]:
        """Return every type that something is taken from, by name."""
        return {hop.type.name: hop.type for field in self.fields.values() for hop in field.hops}


def _within(field: Joined, rules: RowRules) -> Joined:
    hops = [replace(hop, where=rules.node(hop.type, "read")) if rules.binds(hop.type) else hop for hop in field.hops]
    return replace(field, hops=tuple(hops))


def resolve(kind: RecordType, name: str, view: View, types: Mapping[str, RecordType]) -> Sight:
    """Return a view of `kind`, looked up among `types`; raise `DeclarationError` where it leads nowhere."""
    known: dict[str, Joined] = {}
    for field, source in view.fields.items():
        at = f"{kind.declared.__name__}: view {name}: {field}"
        if field in RESERVED | STEPS or field in kind.kinds or field in kind.fields or field in kind.steps:
            raise DeclarationError(f"{at}: the record has this name already; choose another")
        known[field] = _joined(kind, field, source, types, at)
    if not known:
        raise DeclarationError(f"{kind.declared.__name__}: view {name} has no fields")
    return Sight(name, known)


def _joined(kind: RecordType, name: str, source: str | Each, types: Mapping[str, RecordType], at: str) -> Joined:
    hops: list[Hop] = []
    origin = kind
    way = source.take if isinstance(source, Each) else source
    if isinstance(source, Each):
        kind = _pointing(kind, source, types, at, hops)
        unsorted = [key for key in source.order if key.removeprefix("-") not in kind.sortable]
        if unsorted:
            raise DeclarationError(f"{at}: {kind.name} cannot be sorted by {unsorted[0]!r}")
    *steps, field = way.split(".")
    for step in steps:
        wire = kind.parent_wire if step == "parent" else kind.steps.get(step)
        target = kind.target(wire)
        if target is None or wire is None:
            raise DeclarationError(f"{at}: {kind.name} has no reference {step!r}")
        hops.append(Hop(target, wire, "id"))
        kind = target
    found = kind.kinds.get(field)  # secret fields are in no filter and in no view
    if found not in _KINDS:
        raise DeclarationError(f"{at}: {kind.name} has no field {field!r} with a plain value")
    if not 0 < len(hops) <= HOPS:
        raise DeclarationError(f"{at}: a view takes its fields from other records, at most {HOPS} away")
    if any(hop.type.system for hop in hops):
        raise DeclarationError(f"{at}: records of a system type are not seen in views")
    many = isinstance(source, Each)
    return Joined(name, origin, tuple(hops), field, found, many, source.order if isinstance(source, Each) else ())


def _pointing(kind: RecordType, source: Each, types: Mapping[str, RecordType], at: str, hops: list[Hop]) -> RecordType:
    """Append the hop to the records that point to `kind`; return their type."""
    named, _, reference = source.of.partition(".")
    other = types.get(named)
    if other is None:
        raise DeclarationError(f"{at}: there is no type {named!r}")
    wire = other.steps.get(reference) if reference else other.parent_wire
    if wire is None or other.target(wire) is not kind:
        raise DeclarationError(f"{at}: {source.of} does not point to {kind.name}")
    if wire != other.parent_wire and not any(names[0] == wire for names in (*other.indexes, *other.unique)):
        raise DeclarationError(f"{at}: no index of {other.name} begins with {reference}; declare one")
    hops.append(Hop(other, "id", wire))
    return other

"""Declaring record types.

    class Journal(Record, parent=Account, access=Access(read="viewer", create="editor",
                                                        update="editor", delete="manager")):
        "A notebook of dated entries."

        title: Annotated[str, Meta(min_length=1, max_length=200)]
        room: Ref[EventLocation] | None = None

The class is a declaration; `type_of(Journal)` is the `RecordType` that the hub works with. Records
themselves travel as images: flat dicts of plain values, exactly as on the wire.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, cast, get_type_hints

import msgspec

from hub.schema.access import Access
from hub.schema.fields import (
    FOR_ID,
    RESERVED,
    SORTABLE_TEXT,
    DeclarationError,
    FieldSpec,
    field_from_annotation,
    for_fields,
)
from hub.schema.texts import problem_of
from hub.schema.views import View
from hub.wire.codec import refine
from hub.wire.errors import HubError

Image = dict[str, Any]
"""A record as it is on the wire: a flat dict of plain values."""


HISTORY_DAYS: Final = 36_500
"""The longest that a type may say its history is kept."""


class Record:
    """The base of every record type. Options are class keywords.

    `parent`: the type it belongs to (None: directly to the account). `access`: the rule, required.
    `check`: a pure function that is given the whole image of each record before it is written, and raises
    `HubError("data.invalid", …, path="data.<field>")` where its fields do not go together.
    `unique`: tuples of field names (the parent's name may be one) that no two live records share; always
    within the account. `indexes`: tuples of field names to index. `searchable`: the fields of full text, texts or
    lists of texts that everybody who reads the record sees; what is found in the first comes first. `sortable`:
    fields to order by (default: all that can be). `system`: the type is global and lives in account `system`.
    `public_read`: guests may read. `file`: records of this type link a file to their parent; the fields name, sha256,
    size and content_type are then required. `on_delete`: what a deletion of the parent does while there are records
    of this type under it, `restrict` (it is refused) or `cascade` (they go along). `history_days`: for how long the
    log says what changed in them (None: as long as it says anything). `views`: what the records may be
    shown with besides, by name; see `hub.schema.views`.
    """

    __record_type__: RecordType
    __check__: Callable[[Image], None] | None
    __views__: dict[str, View]
    __history_days__: int | None

    def __init_subclass__(
        cls,
        *,
        access: Access | None = None,
        check: Callable[[Image], None] | None = None,
        parent: type[Record] | None = None,
        unique: tuple[tuple[str, ...], ...] = (),
        indexes: tuple[tuple[str, ...], ...] = (),
        searchable: tuple[str, ...] = (),
        sortable: tuple[str, ...] | None = None,
        system: bool = False,
        public_read: bool = False,
        file: bool = False,
        on_delete: Literal["restrict", "cascade"] = "restrict",
        views: Mapping[str, View] | None = None,
        for_types: tuple[type[Record], ...] = (),
        history_days: int | None = None,
        **unknown: Any,
    ) -> None:
        super().__init_subclass__()
        if unknown:
            raise DeclarationError(f"{cls.__name__}: unknown option {', '.join(unknown)}")
        if access is None:
            raise DeclarationError(f"{cls.__name__} has no rule; declare access=Access(read=…, create=…, …)")
        cls.__check__ = check
        cls.__views__ = dict(views or {})
        if history_days is not None and not 1 <= history_days <= HISTORY_DAYS:
            raise DeclarationError(f"{cls.__name__}: history_days is 1 to {HISTORY_DAYS}; leave it out for no bound")
        cls.__history_days__ = history_days
        parent_type = type_of(parent) if parent is not None else None
        if parent_type is not None and parent_type.name == "account":
            parent_type = None  # the account is the scope of every record, not a column of its own
        if parent_type is not None and parent_type.system != system:
            raise DeclarationError(f"{cls.__name__}: a type is account-scoped or system, and so is its parent")
        cls.__record_type__ = _build(
            cls, access, parent_type, unique, indexes, searchable, sortable, system, public_read, file, on_delete,
            tuple(type_of(one) for one in for_types),
        )  # fmt: skip


BASE_KINDS: Final[dict[str, str]] = {
    "id": "id",
    "version": "integer",
    "created_at": "time",
    "updated_at": "time",
    "created_by": "id",
    "updated_by": "id",
    "deleted_at": "time",
}
"""What every record has besides its fields, with the kind that filters and orders see."""


@dataclass(frozen=True, eq=False)
class RecordType:
    """A record type as the hub works with it.

    `fields` is keyed by wire name. `parent_wire` is the wire name of the parent's id (`event_id`) or
    None. `unique` and `indexes` hold wire names. `kinds` maps every name that a filter may use to its
    kind. Create and change structs do the validation of given data.
    """

    name: str
    doc: str
    declared: type[Record]
    access: Access
    parent: RecordType | None
    parent_wire: str | None
    fields: dict[str, FieldSpec]
    unique: tuple[tuple[str, ...], ...]
    indexes: tuple[tuple[str, ...], ...]
    searchable: tuple[str, ...]
    sortable: frozenset[str]
    system: bool
    public_read: bool
    file: bool
    on_delete: str
    for_types: tuple[RecordType, ...]
    kinds: dict[str, str]
    create_struct: type[msgspec.Struct]
    change_struct: type[msgspec.Struct]

    @cached_property
    def check(self) -> Callable[[Image], None] | None:
        """What looks at each image before it is written, where that is declared."""
        return self.declared.__check__

    @property
    def history_days(self) -> int | None:
        """For how many days the log says what changed in records of this type; None: as long as it says anything."""
        return self.declared.__history_days__

    @cached_property
    def views(self) -> dict[str, View]:
        """The declared views by name; the registry looks up what they lead to."""
        return self.declared.__views__

    def target(self, wire: str | None) -> RecordType | None:
        """Return the type that the parent or a reference with this wire name points to."""
        if wire is None or wire == self.parent_wire:
            return self.parent if wire is not None else None
        return referred(self.fields[wire]) if wire in self.references else None

    @cached_property
    def references(self) -> frozenset[str]:
        """The wire names of the fields that refer to records."""
        return frozenset(w for w, s in self.fields.items() if s.kind == "ref")

    @cached_property
    def linking(self) -> frozenset[str]:
        """The wire names of the fields that hold ids of records that must be there."""
        return self.references | ({FOR_ID} if self.for_types else frozenset())

    @cached_property
    def steps(self) -> dict[str, str]:
        """The wire name of each reference by the name that filters step over it with: `location` is `location_id`."""
        return {s.name: w for w, s in self.fields.items() if s.kind == "ref"}

    @cached_property
    def _converters(self) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
        """What makes plain values of the accepted ones, for those fields where that is something."""
        return tuple((w, s.plain) for w, s in self.fields.items() if s.plain is not None)

    @cached_property
    def _seen(self) -> tuple[tuple[str, bool], ...]:
        """The texts that may not be empty, so people must see something; and whether they are names of one line."""
        texts = [
            (w, s.max_length) for w, s in self.fields.items() if s.kind == "text" and s.min_length and not s.choices
        ]
        return tuple((wire, longest is not None and longest <= SORTABLE_TEXT) for wire, longest in texts)

    @cached_property
    def _hub_sets(self) -> frozenset[str]:
        return frozenset(w for w, s in self.fields.items() if s.option.read_only)

    @cached_property
    def writable(self) -> tuple[str, ...]:
        """The wire names of the fields that a client may change, secret ones left out."""
        left_out = self._never_changed | {w for w, s in self.fields.items() if s.option.concealed}
        return tuple(w for w in self.fields if w not in left_out)

    @cached_property
    def _never_changed(self) -> frozenset[str]:
        return frozenset(w for w, s in self.fields.items() if s.option.read_only or s.option.write_once)

    def __repr__(self) -> str:
        return f"RecordType({self.name})"

    def accept_create(self, data: dict[str, Any], *, trusted: bool = False, path: str = "data") -> Image:
        """Return all fields of a new record from given data, defaults filled in; raise `data.invalid`.

        `trusted` data comes from the hub or an action and may set `read_only` fields.
        """
        if not trusted and not self._hub_sets.isdisjoint(data):
            self._refuse_read_only(data, path, creating=True)
        try:
            image: Image = msgspec.structs.asdict(msgspec.convert(data, self.create_struct))
            if self._converters:
                image = self._plain(image)
        except msgspec.ValidationError as error:
            raise refine(error, prefix=path, kind=self.create_struct) from None
        except ValueError as error:
            raise HubError("data.invalid", f"{error}.".capitalize(), path=path) from None
        if not trusted and self._seen:
            self._refuse_unseen(image, path)
        return image

    def accept_change(self, data: dict[str, Any], *, trusted: bool = False, path: str = "data") -> Image:
        """Return the given fields of a change, converted; raise `data.invalid`."""
        if not trusted:
            self._refuse_read_only(data, path, creating=False)
        try:
            value = msgspec.convert(data, self.change_struct)
            image = self._plain({wire: getattr(value, wire) for wire in data})
        except msgspec.ValidationError as error:
            raise refine(error, prefix=path, kind=self.change_struct) from None
        except ValueError as error:
            raise HubError("data.invalid", f"{error}.".capitalize(), path=path) from None
        if not trusted:
            self._refuse_unseen(image, path)
        return image

    def _plain(self, image: Image) -> Image:
        for wire, plain in self._converters:
            value = image.get(wire)
            if value is not None:
                image[wire] = plain(value)
        return image

    def _refuse_unseen(self, image: Image, path: str) -> None:
        for wire, one_line in self._seen:
            text = image.get(wire)
            if text is None or (text.isascii() and text and not text.isspace()):
                continue  # as most are; the same as the first lines of `problem_of`
            if problem := problem_of(text, one_line=one_line):
                raise HubError("data.invalid", problem, path=f"{path}.{wire}")

    def _refuse_read_only(self, data: dict[str, Any], path: str, *, creating: bool) -> None:
        refused = self._hub_sets if creating else self._never_changed
        if not refused.isdisjoint(data):
            wire = next(name for name in data if name in refused)
            raise HubError("data.invalid", "This field is not writable; leave it out.", path=f"{path}.{wire}")

    def names_of_unique(self, match: list[str]) -> tuple[str, ...] | None:
        """Return the declared unique that `match` names, with or without the parent, else None."""
        wanted = set(match)
        for unique in self.unique:
            if wanted in (set(unique), set(unique) - {self.parent_wire}):
                return unique
        return None


def type_of(declared: type[Record]) -> RecordType:
    """Return the record type behind a declaration."""
    try:
        return declared.__record_type__
    except AttributeError:
        raise DeclarationError(f"{declared!r} is not a record type; subclass hub.Record") from None


def snake(name: str) -> str:
    """Return the wire name of a class name: `EventSession` is `event_session`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _struct(name: str, fields: dict[str, FieldSpec], *, change: bool) -> type[msgspec.Struct]:
    columns: list[Any] = []
    for wire, spec in fields.items():
        accepts = spec.accepts
        if change:
            columns.append((wire, accepts | msgspec.UnsetType, msgspec.UNSET))
        elif spec.required:
            columns.append((wire, accepts))
        elif isinstance(spec.default, list | dict):
            columns.append((wire, accepts, msgspec.field(default_factory=_fresh(spec.default))))
        else:
            columns.append((wire, accepts, spec.default))
    return msgspec.defstruct(name, columns, kw_only=True, forbid_unknown_fields=True)


def _fresh(value: list[Any] | dict[str, Any]) -> Callable[[], Any]:
    """Return what makes such a value anew, for each record its own."""
    return functools.partial(copy.deepcopy, value) if value else type(value)


def _default(cls: type[Record], name: str) -> Any:
    """Return the default that stands with the last annotation of a field: who declares it anew says it anew."""
    for owner in cls.__mro__:
        if name in vars(owner) or name in vars(owner).get("__annotations__", {}):
            return vars(owner).get(name, msgspec.NODEFAULT)
    return msgspec.NODEFAULT


def _build(
    cls: type[Record],
    access: Access,
    parent: RecordType | None,
    unique: tuple[tuple[str, ...], ...],
    indexes: tuple[tuple[str, ...], ...],
    searchable: tuple[str, ...],
    sortable: tuple[str, ...] | None,
    system: bool,
    public_read: bool,
    file: bool,
    on_delete: str,
    for_types: tuple[RecordType, ...],
) -> RecordType:
    hints: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        if owner not in {object, Record} and "__annotations__" in vars(owner):
            names = {"__annotations__": owner.__annotations__, "__module__": owner.__module__}
            hints |= get_type_hints(type(owner.__name__, (), names), include_extras=True)
    specs = [field_from_annotation(cls.__name__, name, hint, _default(cls, name)) for name, hint in hints.items()]
    if for_types:
        if any(target.system != system for target in for_types):
            raise DeclarationError(f"{cls.__name__}: for_types are account-scoped or system, as the type itself")
        specs += for_fields(tuple(target.name for target in for_types))
        if not any(names[0] == FOR_ID for names in (*unique, *indexes)):
            indexes = (*indexes, (FOR_ID,))
    fields = {s.wire: s for s in specs}
    taken = set(RESERVED) | ({f"{parent.name}_id"} if parent else set())
    if len(fields) < len(specs) or taken & set(fields):
        raise DeclarationError(f"{cls.__name__}: two fields have the same name on the wire")
    by_name = {s.name: s.wire for s in specs}
    kinds = dict(BASE_KINDS)
    parent_wire = None
    if parent is not None:
        parent_wire = f"{parent.name}_id"
        by_name[parent.name] = parent_wire
        kinds[parent_wire] = "ref"
    kinds |= {s.wire: s.kind for s in specs if not s.option.concealed}

    def wires(names: tuple[str, ...], option: str) -> tuple[str, ...]:
        for name in names:
            if name not in by_name and name not in BASE_KINDS:
                raise DeclarationError(f"{cls.__name__}: {option} names {name!r}, which is no field")
        return tuple(by_name.get(name, name) for name in names)

    can_sort = {s.wire for s in specs if s.sortable and not s.option.concealed}
    wanted = set(wires(sortable, "sortable")) if sortable is not None else can_sort
    if not wanted <= can_sort:
        raise DeclarationError(f"{cls.__name__}: cannot sort by {', '.join(sorted(wanted - can_sort))}")
    for wire in wires(searchable, "searchable"):
        spec = fields.get(wire)
        if spec is None or (spec.kind != "text" and (spec.kind, spec.item) != ("list", "text")):
            raise DeclarationError(f"{cls.__name__}.{wire}: only a text or a list of texts can be searchable")
        if spec.option.concealed or spec.option.hidden_from is not None:
            raise DeclarationError(f"{cls.__name__}.{wire}: a field that not everybody sees cannot be searchable")
    for led in (*unique, *indexes):
        for wire in wires(led, "an index"):
            if wire in fields and fields[wire].option.secret:
                raise DeclarationError(f"{cls.__name__}.{wire}: what is encrypted has no index; is it hashed?")
    if on_delete not in {"restrict", "cascade"} or (on_delete == "cascade" and parent is None and not for_types):
        raise DeclarationError(f"{cls.__name__}: on_delete is restrict, or cascade below a parent or with for_types")
    if file and not {"name", "sha256", "size", "content_type"} <= set(fields):
        raise DeclarationError(f"{cls.__name__}: a file type has name, sha256, size and content_type")
    for spec in specs:
        if spec.option.same_parent and (spec.ref is None or parent is None or referred(spec).parent is not parent):
            raise DeclarationError(f"{cls.__name__}.{spec.name}: it refers to no record that has the same parent")
    name = snake(cls.__name__)
    return RecordType(
        name=name,
        doc=(cls.__doc__ or "").strip(),
        declared=cls,
        access=access,
        parent=parent,
        parent_wire=parent_wire,
        fields=fields,
        unique=tuple(wires(u, "unique") for u in unique),
        indexes=tuple(wires(i, "indexes") for i in indexes),
        searchable=wires(searchable, "searchable"),
        sortable=frozenset(wanted | set(BASE_KINDS)),
        system=system,
        public_read=public_read,
        file=file,
        on_delete=on_delete,
        for_types=for_types,
        kinds=kinds,
        create_struct=_struct(f"Create_{name}", fields, change=False),
        change_struct=_struct(f"Change_{name}", fields, change=True),
    )


def referred(spec: FieldSpec) -> RecordType:
    """Return the type that a reference field points to."""
    return type_of(cast("type[Record]", spec.ref))


__all__ = ["BASE_KINDS", "Image", "Record", "RecordType", "referred", "snake", "type_of"]

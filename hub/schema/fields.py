"""Fields of a record type: from an annotation to a `FieldSpec`.

    title: Annotated[str, Meta(max_length=200), Field(folded=True)]
    room: Ref[EventLocation] | None = None      # on the wire `room_id`

Knows which Python annotations a hub field may have, and nothing of tables or frames.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final, Generic, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from hub.schema.access import DeclarationError, rank
from hub.schema.times import format_time

RESERVED: Final = frozenset(
    [
        "id",
        "type",
        "version",
        "account_id",
        "created_at",
        "updated_at",
        "created_by",
        "updated_by",
        "deleted_at",
        "seq",
        "include",
    ]
)
FOR_TYPE: Final = "for_type"
FOR_ID: Final = "for_id"
"""The fields of a record that is for one of several types: the type and the id of what it is for."""
SORTABLE_TEXT: Final = 700
"""The longest declared text that may be sorted by, in characters."""

_T = TypeVar("_T")


class Ref(Generic[_T]):
    """A reference to a record of type `_T` by its public id: `room: Ref[Room]` is `room_id` on the wire."""


@dataclass(frozen=True, slots=True)
class Field:
    """What an annotation says beyond the type: put it into `Annotated`.

    `folded` keeps a folded copy, needed by operators that begin with `i`. `read_only` fields are set by
    the hub and by actions only; `write_once` at creation only. A `secret` is encrypted where it is kept and never read
    back but by trusted code (`Context.secret`). What is `hashed` holds the hash of a secret, by which it is looked up:
    as hidden, but not encrypted.
    `hidden_from` is the highest role of the ladder that does not see the field. `same_parent` is for references:
    what is referred to belongs to the same parent as the record itself.
    `on_delete` says what becomes of a
    record when what this reference points to is deleted hard: `restrict` refuses that deletion, `set_null` empties
    the field, `cascade` deletes the record too. A soft deletion leaves references as they are.
    `lookup` names the lookup whose codes a text may hold: what is written is checked, what is there stays.
    """

    folded: bool = False
    read_only: bool = False
    write_once: bool = False
    same_parent: bool = False
    secret: bool = False
    hashed: bool = False
    hidden_from: str | None = None
    on_delete: Literal["restrict", "set_null", "cascade"] = "restrict"
    lookup: str | None = None

    @property
    def concealed(self) -> bool:
        """Whether the field is in no image: nobody is told of it, nothing is found or ordered by it."""
        return self.secret or self.hashed


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field as the hub holds it.

    `kind` is one of text, integer, number, boolean, time, date, list, object, ref, id. `wire` is the name in
    an image. `accepts` is the type that given values are converted to, `plain` turns the converted value
    into the image's value (None: it is already). `choices` lists a closed set of texts.
    """

    name: str
    wire: str
    kind: str
    nullable: bool
    required: bool
    default: Any
    accepts: Any
    plain: Callable[[Any], Any] | None
    min_length: int = 0
    max_length: int | None = None
    item: str | None = None
    ref: type | None = None
    choices: tuple[str, ...] | None = None
    option: Field = Field()

    @property
    def initial(self) -> Any:
        """What an image holds where nobody says: the default in the form of an image; None also where there is none."""
        if self.required or self.default is None:
            return None
        return self.plain(self.default) if self.plain is not None else copy.deepcopy(self.default)

    @property
    def sortable(self) -> bool:
        """Whether records can be ordered by this field at all."""
        if self.kind == "text":
            return self.max_length is not None and self.max_length <= SORTABLE_TEXT
        return self.kind in {"integer", "number", "boolean", "time", "date", "ref"}


_PublicId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_SCALARS: Final[dict[Any, str]] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    datetime: "time",
    date: "date",
    dict: "object",
}


def _strip_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in {Union, types.UnionType}:
        rest = [a for a in get_args(annotation) if a is not type(None)]
        if len(rest) != len(get_args(annotation)):
            if len(rest) != 1:
                raise DeclarationError(f"{annotation} is a union; a field has one type, and may allow None")
            return rest[0], True
    return annotation, False


def field_from_annotation(owner: str, name: str, annotation: Any, default: Any) -> FieldSpec:
    """Return the spec of one annotated field; raise `DeclarationError` with the owner's and field's name.

    `default` is `msgspec.NODEFAULT` where none was given: the field is then required at creation.
    """
    if name in RESERVED or name.startswith("_"):
        raise DeclarationError(f"{owner}.{name}: this name is reserved; choose another")
    option = Field()
    metas: list[msgspec.Meta] = []
    inner, nullable = _strip_none(annotation)
    while get_origin(inner) is Annotated:
        base, *extras = get_args(inner)
        for extra in extras:
            if isinstance(extra, Field):
                option = extra
            elif isinstance(extra, msgspec.Meta):
                metas.append(extra)
            else:
                raise DeclarationError(f"{owner}.{name}: {extra!r} in Annotated is neither Meta nor Field")
        inner, optional = _strip_none(base)
        nullable = nullable or optional
    if option.hidden_from is not None:
        rank(option.hidden_from)
    if option.on_delete == "set_null" and not nullable:
        raise DeclarationError(f"{owner}.{name}: only a field that may be None can be set to null")
    wire, item, ref, choices = name, None, None, None
    plain: Callable[[Any], Any] | None = None
    accepts: Any = inner
    origin = get_origin(inner)
    if origin is Ref:
        kind, wire, ref, accepts = "ref", f"{name}_id", get_args(inner)[0], _PublicId
    elif origin is Literal:
        kind, choices = "text", tuple(get_args(inner))
        if not all(isinstance(c, str) for c in choices):
            raise DeclarationError(f"{owner}.{name}: choices are texts")
    elif inner is list or origin is list:
        kind = "list"
        arguments = get_args(inner)
        base = get_args(arguments[0])[0] if arguments and get_origin(arguments[0]) is Annotated else None
        item = _SCALARS.get(base or (arguments[0] if arguments else None))
        if item not in {"text", "integer", "number"}:
            raise DeclarationError(f"{owner}.{name}: a list holds str, int or float")
    elif inner in _SCALARS or origin is dict:
        kind = "object" if origin is dict else _SCALARS[inner]
    else:
        raise DeclarationError(f"{owner}.{name}: {annotation} is no type of a field")
    if option.on_delete != "restrict" and kind != "ref":
        raise DeclarationError(f"{owner}.{name}: on_delete is for references")
    if option.concealed and (kind == "ref" or option.folded or option.hidden_from is not None):
        raise DeclarationError(f"{owner}.{name}: a secret is no reference, and needs neither folded nor hidden_from")
    if (option.secret and option.hashed) or (option.hashed and kind != "text"):
        raise DeclarationError(f"{owner}.{name}: a hash is a text, and either secret or hashed")
    if option.lookup is not None and (kind != "text" or option.concealed):
        raise DeclarationError(f"{owner}.{name}: only a text that is no secret holds the code of a lookup")
    if kind == "time":
        accepts, plain = Annotated[datetime, msgspec.Meta(tz=True)], format_time
    elif kind == "date":
        plain = date.isoformat
    elif kind == "integer":
        accepts = int
        if not any(m.ge is not None or m.gt is not None for m in metas):
            accepts = Annotated[accepts, msgspec.Meta(ge=-(2**53) + 1)]
        if not any(m.le is not None or m.lt is not None for m in metas):
            accepts = Annotated[accepts, msgspec.Meta(le=2**53 - 1)]
    for meta in metas:
        accepts = Annotated[accepts, meta]
    if nullable:
        accepts = accepts | None if not isinstance(accepts, str) else accepts
    lengths = [m.max_length for m in metas if m.max_length is not None]
    if choices:
        lengths = [max(len(c) for c in choices)]
    required = default is msgspec.NODEFAULT
    if required and nullable:
        required, default = False, None
    return FieldSpec(
        name, wire, kind, nullable, required, default, accepts, plain,
        min_length=max((m.min_length or 0 for m in metas), default=0),
        max_length=min(lengths) if lengths else None, item=item, ref=ref, choices=choices, option=option,
    )  # fmt: skip


def for_fields(types: tuple[str, ...]) -> list[FieldSpec]:
    """Return the fields that say what a record is for, of these types."""
    longest = max(map(len, types))
    named = Literal[types]  # type: ignore[valid-type]  # as many as were declared
    return [
        FieldSpec(FOR_TYPE, FOR_TYPE, "text", False, True, msgspec.NODEFAULT, named, None, 0, longest, choices=types),
        FieldSpec(FOR_ID, FOR_ID, "id", False, True, msgspec.NODEFAULT, _PublicId, None, max_length=64),
    ]


__all__ = [
    "FOR_ID",
    "FOR_TYPE",
    "RESERVED",
    "SORTABLE_TEXT",
    "DeclarationError",
    "Field",
    "FieldSpec",
    "Ref",
    "field_from_annotation",
    "for_fields",
]

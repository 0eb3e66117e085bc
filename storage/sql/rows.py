"""Images to rows and back, for one record type; and the columns that a reader selects.

Readers fetch many rows as one JSON text, made inside SQLite: the driver gives up Python's lock at every
step of a statement, that is at every row, and has to get it back from a busy loop (decision 0010). Numbers
with a fraction travel as text, because SQLite's own JSON rounds them. Knows no statement, no connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET
from sqlalchemy import ColumnElement, FromClause, Select, bindparam, func, select

from hub.access import SYSTEM
from hub.schema.fold import fold
from hub.schema.record import Image, RecordType
from hub.schema.times import from_millis, to_millis
from hub.schema.writes import ChangeSet, Result
from storage.base import KEY_HOURS, LOOKUP_CEILING
from storage.decide import Decision, KeyRow, Put
from storage.sql.tables import FOLD, Home, Tables, with_id

PkOf = Callable[[tuple[str, str, str]], int]
"""Given (account, type, public id), return the internal key of a record that is known to be there."""

HEAD: Final = ("id", "version", "created_at", "updated_at", "created_by", "updated_by", "deleted_at")
_TIMES: Final = frozenset({"created_at", "updated_at", "deleted_at"})

millis = lru_cache(8192)(to_millis)
"""`to_millis`, remembering: most rows of a transaction carry the same time."""
wire_time = lru_cache(65536)(from_millis)
"""`from_millis`, remembering."""

encode_json: Final = msgspec.json.Encoder().encode
decode_json: Final = msgspec.json.Decoder().decode


def to_json(value: Any) -> str:
    """Return plain values as JSON text."""
    return encode_json(value).decode("utf-8")


def is_kept(at: int, now: int) -> bool:
    """Say whether what was committed at a time under a key is still repeated."""
    return at > now - KEY_HOURS * 3_600_000


def kept_key(digest: bytes, seq: int, text: str) -> KeyRow:
    """Return what is kept of a keyed commit: `text` is a list of its results, or an object with its answer."""
    kept = decode_json(text)
    if isinstance(kept, dict):
        return KeyRow(digest, seq, (), kept.get("answer", UNSET))
    return KeyRow(digest, seq, tuple(Result(image, created) for image, created in kept))


def kept_text(decision: Decision, texts: dict[int, str]) -> str:
    """Return what is kept of a keyed commit, for `kept_key`; `texts`: images that are text already, by identity."""
    row = decision.key[1] if decision.key is not None else None
    if decision.commit.answer is not None:
        return to_json({} if row is None or row.answer is UNSET else {"answer": row.answer})
    results = row.results if row is not None else ()
    texted = (f"[{texts.get(id(r.image)) or to_json(r.image)},{'true' if r.created else 'false'}]" for r in results)
    return f"[{','.join(texted)}]"


def log_rows(log: ChangeSet, account_pk: int, texts: dict[int, str]) -> Iterator[tuple[Any, ...]]:
    """Yield the log's rows of a commit; the text of each image is put into `texts` by its identity."""
    at = millis(log.at)
    for row in log.rows:
        after = texts[id(row.after)] = to_json(row.after)
        before = None if row.before is None else to_json(row.before)
        yield (
            account_pk, log.seq, row.part, row.type, row.rec, row.kind, row.version, after, before,
            log.actor, log.session, log.request, at,
        )  # fmt: skip


def add_log_rows(log: ChangeSet, account_pk: int, texts: dict[int, str], out: list[Any]) -> None:
    """Append the values of `log_rows`, one row behind the other."""
    if len(log.rows) > 1 or log.rows[0].before is not None:
        for values in log_rows(log, account_pk, texts):
            out += values
        return
    (row,) = log.rows  # a single creation, as most commits are
    out += (
        account_pk, log.seq, row.part, row.type, row.rec, row.kind, row.version, to_json(row.after), None,
        log.actor, log.session, log.request, millis(log.at),
    )  # fmt: skip


def account_of(kind: RecordType, account: str) -> str:
    """Return the account that records of a type live in, seen from `account`."""
    return SYSTEM if kind.system else account


class Rows:
    """How the images of one type become rows, and rows become images.

    `source` is the table with those that its references point to; `outputs` are the selected columns, the
    internal key first, and `public` the column of each wire name as it stands in an image.
    """

    def __init__(self, home: Home, tables: Tables) -> None:
        kind, table = home.kind, home.table
        self.home = home
        self.kind = kind
        self._targets: list[tuple[FromClause, ColumnElement[bool]]] = []
        self.public: dict[str, ColumnElement[Any]] = {name: table.c[name] for name in HEAD}
        # The order of an image's keys is the same wherever the image comes from.
        names = ["id", "version", *([kind.parent_wire] if kind.parent_wire else []), *HEAD[2:]]
        names += [wire for wire, spec in kind.fields.items() if not spec.option.concealed]
        for wire in names:
            if wire not in home.targets:
                self.public[wire] = table.c[wire]
                continue
            target = tables.of(home.targets[wire]).table.alias(f"of_{wire}")
            self._targets.append((target, table.c[wire] == target.c.pk))
            self.public[wire] = target.c.id
        self.source = self.joined(table)
        kinds = {wire: kind.fields[wire].kind for wire in names if wire in kind.fields}
        self.outputs = [table.c.pk, *(self._output(self.public[w], kinds.get(w)) for w in names)]

        self._keys = ("id", "type", "version", "account_id", *names[2:])
        self._places = {name: place for place, name in enumerate(self._keys)}
        self._defaults = {w: s.initial for w, s in kind.fields.items()}
        decoders: dict[str, Callable[[Any], Any]] = {name: from_millis for name in HEAD if name in _TIMES}
        decoders |= {wire: _DECODERS[what] for wire, what in kinds.items() if what in _DECODERS}
        # By the place of the value in an image.
        self._decoders = [(self._places[wire], decoder) for wire, decoder in decoders.items()]

        # What is written as it stands in an image, and what is made of it.
        self._plain = [w for w in names if w not in home.targets and kinds.get(w) in {None, *_AS_IT_IS}]
        self._plain = [w for w in self._plain if w not in _TIMES]
        self._made: list[tuple[str, str, Callable[[Any], Any]]] = [(w, w, millis) for w in HEAD if w in _TIMES]
        self._made += [(w, w, _ENCODERS[kinds[w]]) for w in kinds if kinds[w] in _ENCODERS]
        self._made += [(w + FOLD, w, fold) for w, spec in kind.fields.items() if spec.option.folded]
        self._secret = [w for w, spec in kind.fields.items() if spec.option.concealed]
        self._target = [(w, t.name, SYSTEM if t.system else None) for w, t in home.targets.items()]
        self._get_plain = itemgetter(*self._plain)
        self.columns = [
            *("pk", "account_pk", "alive"),
            *self._plain,
            *(column for column, _, _ in self._made),
            *(wire for wire, _, _ in self._target),
            *self._secret,
        ]

    def joined(self, base: FromClause) -> FromClause:
        """Return `base`, which holds the table, with the targets of its references."""
        for target, on in self._targets:
            base = base.outerjoin(target, on)
        return base

    def lookup(self, tables: Tables, field: str) -> Select[tuple[str, Any]]:
        """Return the question for the live records of every account whose field is `value`, each with its account."""
        table, account = self.home.table, tables.account
        wanted: Any = bindparam("value")
        if field in self.home.targets:
            other = self.home.targets[field]
            target = tables.of(other).table.alias()
            named = select(target.c.pk).where(target.c.id == wanted, *with_id(other, target, table.c.account_pk))
            wanted = named.correlate(table).scalar_subquery()
        where = [table.c[field] == wanted, table.c.deleted_at.is_(None)]
        if self.kind.system:
            where.append(account.c.account == SYSTEM)
        found = self.source.join(account, account.c.account_pk == table.c.account_pk)
        columns = select(account.c.account, func.json_array(*self.outputs)).select_from(found)
        return columns.where(*where).order_by(table.c.pk).limit(bindparam("ceiling", LOOKUP_CEILING))

    def secret(self, tables: Tables, field: str) -> Select[tuple[str | None]]:
        """Return the question for what a live record `rec` of an `account` holds in a secret field."""
        table, account = self.home.table, tables.account
        found = table.join(account, account.c.account_pk == table.c.account_pk)
        where = [
            account.c.account == bindparam("account"),
            table.c.id == bindparam("rec"),
            table.c.deleted_at.is_(None),
        ]
        return select(table.c[field]).select_from(found).where(*where)

    def _output(self, column: ColumnElement[Any], kind: str | None) -> ColumnElement[Any]:
        if kind == "number":
            return func.aether_number_text(column)
        return func.json(column) if kind in {"list", "object"} else column

    @cached_property
    def image(self) -> Callable[[Sequence[Any], str], Image]:
        """Return what makes the image of a selected row, which begins with the internal key, in an account."""
        return _image_maker(self.kind.name, self._keys, {self._keys[place]: what for place, what in self._decoders})

    def complete(self, image: Image) -> Image:
        """Return a logged image with the fields that were declared after it was logged."""
        if len(image) == len(self._keys) or not image:
            return image  # of a record that was purged nothing is left
        return {name: image.get(name, self._defaults.get(name)) for name in self._keys}

    def insert(self, put: Put, pk: int, account_pk: int, pk_of: PkOf, out: list[Any]) -> None:
        """Append the values of a new row, in the order of `columns`."""
        image = put.image
        out += (pk, account_pk, 1 if image["deleted_at"] is None else None)
        out += self._get_plain(image)
        for _, wire, encoder in self._made:
            value = image[wire]
            out.append(None if value is None else encoder(value))
        for wire, target, account in self._target:
            value = image[wire]
            out.append(None if value is None else pk_of((account or image["account_id"], target, value)))
        for wire in self._secret:
            out.append(put.secrets.get(wire))

    def update(self, put: Put, pk_of: PkOf) -> dict[str, Any]:
        """Return the columns that a change replaces, with their new values."""
        image, changed = put.image, put.changed or frozenset()
        out: dict[str, Any] = {wire: image[wire] for wire in self._plain if wire in changed}
        for column, wire, encoder in self._made:
            if wire in changed:
                value = image[wire]
                out[column] = None if value is None else encoder(value)
        for wire, target, account in self._target:
            if wire in changed:
                value = image[wire]
                out[wire] = None if value is None else pk_of((account or image["account_id"], target, value))
        if "deleted_at" in changed:
            out["alive"] = 1 if image["deleted_at"] is None else None
        out |= put.secrets
        return out


def _image_maker(
    kind: str, keys: Sequence[str], decoders: Mapping[str, Callable[[Any], Any]]
) -> Callable[[Sequence[Any], str], Image]:
    """Return a function made for one type, as `dataclasses` makes its methods: half the time of a loop over columns."""
    names: dict[str, Any] = {"kind": kind}
    made = {"type": "kind", "account_id": "account"}
    columns = ["_pk"]
    for place, key in enumerate(keys):
        if key in made:
            continue
        column = f"c{place}"
        columns.append(column)
        made[key] = column
        if key in decoders:
            names[f"d{place}"] = decoders[key]
            made[key] = f"None if {column} is None else d{place}({column})"
    # Most records are as they were created: that time is written once.
    at, changed = (f"c{keys.index(key)}" for key in ("created_at", "updated_at"))
    made["created_at"] = f"(at := {made['created_at']})"
    made["updated_at"] = f"at if {changed} == {at} else {made['updated_at']}"
    items = [f"{key!r}: {made[key]}" for key in keys]
    source = f"def image(row, account):\n    {', '.join(columns)} = row\n    return {{{', '.join(items)}}}\n"
    exec(compile(source, f"<image of {kind}>", "exec"), names)  # nothing in it comes from outside the declarations
    maker: Callable[[Sequence[Any], str], Image] = names["image"]
    return maker


_AS_IT_IS: Final = ("text", "integer", "number", "boolean", "date", "id")
_DECODERS: Final[dict[str, Callable[[Any], Any]]] = {"time": from_millis, "boolean": bool, "number": float}
_ENCODERS: Final[dict[str, Callable[[Any], Any]]] = {"time": millis, "list": to_json, "object": to_json}

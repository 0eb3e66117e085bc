"""Record types with every kind of field, and one keeper in use: what the suites of storage share."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from datetime import date, datetime
from typing import Annotated, Any

from msgspec import Meta

from hub.schema.access import Access
from hub.schema.fields import Field, Ref
from hub.schema.listed import Listed
from hub.schema.query import Query, SortKey, parse_order
from hub.schema.record import Image, Record, type_of
from hub.schema.registry import Registry
from hub.schema.search import Place, Scope, Search, parse_search
from hub.schema.times import from_millis
from hub.schema.views import Each, View
from hub.schema.where import parse_where
from hub.schema.writes import ChangeSet, Commit, Committed, Create, Delete, Id, KeyClaim, Update, Upsert, Write
from hub.vault import Vault, new_key
from hub.wire.names import public_id
from hub.wire.requests import ItemRef
from storage.base import Found, Hits, Storage

_RULE = Access(read="viewer", create="editor", update="editor", delete="editor")


class Person(Record, system=True, access=_RULE, indexes=(("digest",),)):
    """A global record with a secret."""

    name: Annotated[str, Meta(max_length=100)]
    digest: Annotated[str, Meta(max_length=64), Field(hashed=True)] | None = None


class Box(Record, access=_RULE, unique=(("name",),), searchable=("name", "note")):
    """A record that belongs to its account."""

    name: Annotated[str, Meta(max_length=200), Field(folded=True)]
    note: str | None = None
    pin: Annotated[str, Field(hashed=True)] | None = None
    code: Annotated[dict[str, Any], Field(secret=True)] | None = None


class Item(
    Record,
    parent=Box,
    access=_RULE,
    unique=(("box", "code"),),
    indexes=(("at",),),
    views={
        "full": View(
            box_name="parent.name",
            box_note="parent.note",
            other_name="other.name",
            other_changed="other.updated_at",
            texts=Each("sticker", "text", order=("-text",)),
            tray_boxes=Each("tray.item", "parent.name"),
        )
    },
    searchable=("label", "words", "about"),
):
    """A record of a box, with a field of every kind."""

    label: Annotated[str, Meta(max_length=200), Field(folded=True)] = ""
    code: Annotated[str, Meta(max_length=40)] | None = None
    about: Annotated[str, Field(folded=True)] | None = None
    amount: int | None = None
    weight: float | None = None
    fragile: bool | None = None
    done: bool = False
    at: datetime | None = None
    day: date | None = None
    words: list[str] = []
    marks: list[int] | None = None
    sizes: list[float] | None = None
    extra: dict[str, Any] = {}
    other: Ref[Box] | None = None
    owner: Ref[Person] | None = None


class Sticker(
    Record,
    parent=Item,
    access=_RULE,
    views={
        "item": View(
            box_name="parent.parent.name", other_note="parent.other.note", label="parent.label", about="parent.about",
            amount="parent.amount", weight="parent.weight", fragile="parent.fragile", at="parent.at", day="parent.day",
            other_id="parent.other_id", code="parent.code",
        )
    },
):  # fmt: skip
    """A record of an item."""

    text: Annotated[str, Meta(max_length=100)] = ""


class Tray(Record, parent=Box, access=_RULE, on_delete="cascade", indexes=(("item",),)):
    """A record that goes with its box, and with its lid, but not with its item."""

    item: Annotated[Ref[Item] | None, Field(on_delete="set_null")] = None
    lid: Annotated[Ref[Item] | None, Field(on_delete="cascade")] = None


class Tag(Record, parent=Tray, access=_RULE, on_delete="cascade", searchable=("text",)):
    """A record that goes with its tray."""

    text: Annotated[str, Meta(max_length=100)] = ""


class Ware(Listed, Record, access=_RULE, unique=(("shelf", "place", "group", "code"),), indexes=(("shelf", "place"),)):
    """A record with the fields of what stands in a list, whose names are words of SQL."""

    shelf: Annotated[str, Meta(max_length=48)] = ""
    place: Annotated[str, Meta(max_length=64)] = ""
    code: Annotated[str, Meta(min_length=1, max_length=64)]


class Address(Record, access=_RULE, for_types=(Box, Item), unique=(("for_id", "text"),)):
    """A record that is for a box or an item, and stands against their being deleted for good."""

    text: Annotated[str, Meta(max_length=100)] = ""


class Flag(Record, parent=Box, access=_RULE, for_types=(Item, Tray), on_delete="cascade"):
    """A record that goes with its box, and with what it is for."""

    colour: Annotated[str, Meta(max_length=100)] = ""


person, box, item, sticker = type_of(Person), type_of(Box), type_of(Item), type_of(Sticker)
tray, tag, ware = type_of(Tray), type_of(Tag), type_of(Ware)
address, flag = type_of(Address), type_of(Flag)
KINDS = (person, box, item, sticker, tray, tag, ware, address, flag)


VAULT = Vault([new_key()])


def registry_of(*kinds: Any) -> Registry:
    """Return a registry of these types."""
    registry = Registry()
    for kind in kinds:
        registry.add_type(kind)
    registry.check()
    registry.vault = VAULT
    return registry


registry = registry_of(*KINDS)


def ticking(start: int = 1_800_000_000_000) -> Callable[[], str]:
    """Return a clock that is a millisecond later each time."""
    ticks = itertools.count(start)
    return lambda: from_millis(next(ticks))


class Use:
    """A keeper in use: short words for what the suites do, and what its listener was told."""

    def __init__(self, storage: Storage, seed: int = 1) -> None:
        self.storage = storage
        self._random = random.Random(seed)
        self.told: list[ChangeSet] = []
        storage.listen(self.told.extend)

    def id(self) -> str:
        """Return a new public id."""
        return public_id(self._random.randbytes(8))

    async def commit(
        self,
        *writes: Write,
        account: str = "main",
        key: KeyClaim | None = None,
        actor: str | None = "actor",
        answer: Callable[[Committed], Any] | None = None,
        shown_once: bool = False,
    ) -> Committed:
        """Commit writes and return what became of them."""
        commit = Commit(account, writes, actor, "session", "request", key, answer, shown_once)
        return await self.storage.submit(commit)

    def new(self, kind: Any, parent: Id | None = None, /, **data: Any) -> Create:
        """Return the creation of a record; fields not given have their defaults."""
        references = {name: value for name, value in data.items() if isinstance(value, ItemRef)}
        plain = {**data, **dict.fromkeys(references, "A" * 11)}
        return Create(kind, self.id(), kind.accept_create(plain, trusted=True) | references, parent)

    def upsert(self, kind: Any, match: tuple[str, ...], parent: Id | None = None, /, **data: Any) -> Upsert:
        """Return an upsert by a declared unique."""
        return Upsert(
            kind,
            self.id(),
            kind.accept_create(data, trusted=True),
            kind.accept_change(data, trusted=True),
            match,
            parent,
        )

    async def create(self, kind: Any, parent: Id | None = None, /, *, account: str = "main", **data: Any) -> Image:
        """Create one record and return its image."""
        committed = await self.commit(self.new(kind, parent, **data), account=account)
        return committed.results[0].image

    async def update(self, kind: Any, rec: Id, /, *, account: str = "main", **change: Any) -> Committed:
        """Change one record."""
        return await self.commit(Update(kind, rec, kind.accept_change(change, trusted=True)), account=account)

    async def delete(self, kind: Any, rec: Id, *, account: str = "main") -> Committed:
        """Delete one record."""
        return await self.commit(Delete(kind, rec), account=account)

    async def get(self, kind: Any, rec: str, *, account: str = "main", deleted: bool = False) -> Image | None:
        """Return one record."""
        return (await self.storage.get(account, kind, [rec], deleted=deleted)).get(rec)

    async def find(
        self,
        kind: Any,
        where: dict[str, Any] | None = None,
        *,
        account: str = "main",
        order: list[str] | None = None,
        view: str | None = None,
        **options: Any,
    ) -> Found:
        """Return the answer of a query."""
        sight = registry.view(kind, view) if view is not None else None
        keys: tuple[SortKey, ...] = parse_order(kind, order, view=sight)
        node = parse_where(kind, where, reach=registry, view=sight)
        return await self.storage.find(account, Query(kind, node, keys, view=sight, **options))

    async def search(
        self,
        text: str,
        *kinds: Any,
        account: str = "main",
        where: dict[str, Any] | None = None,
        limit: int = 100,
        after: Place | None = None,
    ) -> Hits:
        """Return the answer of a search, over boxes and items where no types are named."""
        scopes = tuple(Scope(kind, parse_where(kind, where, reach=registry)) for kind in kinds or (box, item))
        return await self.storage.search(account, Search(parse_search(text), scopes, limit, after))

    async def reindex(self, kind: Any, limit: int = 2) -> int:
        """Make the full text of a type anew, step by step; return how many records it has."""
        total, place = await self.storage.reindex(kind, "", limit)
        while place:
            count, place = await self.storage.reindex(kind, place, limit)
            total += count
        return total

    async def lookup(self, kind: Any, field: str, value: Any) -> list[Image]:
        """Return the live records of every account with this value."""
        return await self.storage.lookup(kind, field, value)

    async def history(
        self, kind: Any, rec: str, below: int | None = None, /, *, account: str = "main", limit: int = 100
    ) -> list[ChangeSet]:
        """Return the changes of one record, newest first."""
        return await self.storage.history(account, kind, rec, below, limit)

    async def seq(self, account: str = "main") -> int:
        """Return the account's last seq."""
        return (await self.storage.heads([account]))[account].seq

    async def log(self, account: str = "main") -> list[ChangeSet]:
        """Return the account's whole log."""
        found: list[ChangeSet] = []
        while more := await self.storage.changes(account, found[-1].seq if found else 0, 100_000):
            found += more
        return found

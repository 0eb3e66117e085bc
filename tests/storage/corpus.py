"""Many different records, and filters over every field: what the count of differential cases is made of.

A corpus is the same in every keeper that it is written into: ids, times, versions and who wrote are those of its
seed. Values are drawn so that they nearly meet: what differs from another value by case, by a blank at its end, by
its normal form or by one piece more is as frequent as an equal one.
"""

from __future__ import annotations

import asyncio
import random
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

from hub.schema.record import Image, RecordType
from hub.schema.where import Others, operators_of
from hub.schema.writes import Create, Delete, Update
from storage.base import Storage
from tests.storage.declared import Use, box, item, sticker
from tests.storage.drawn import BIG, LISTS, NULLABLE, PIECES, TIMES, VALUES

RECORDS: Final = 100
GROUPS: Final = 5
"""How many commits write the records, each by another actor at another time."""
BOXES: Final = 3
OF_LISTS: Final = frozenset({"$in", "$nin", "$hasAny", "$hasAll"})
_TEXTS: Final = ("label", "code", "about", "words", "created_by")
_NEAR: Final[tuple[Callable[[str], str], ...]] = (
    str.swapcase,
    str.casefold,
    str.upper,
    lambda text: text + " ",
    lambda text: " " + text,
    lambda text: text[1:],
    lambda text: text[:-1],
    *(lambda text, form=form: unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")),
)
_INTEGERS: Final = (0, 1, -1, 2, 3, BIG, -BIG, BIG - 1, 2**31, 2**32)
_NUMBERS: Final = (0.0, -0.0, 0.1, 0.2, 0.1 + 0.2, 0.3, 1.0, 1.5, -1.5, 1e300, -1e300, 5e-324, 2.0**53, 1 / 3)
_DAYS: Final = ("0001-01-01", "2026-11-20", "2026-11-21", "9999-12-31")
_KINDS: Final = {"words": "text", "marks": "integer", "sizes": "number"}


class Draw:
    """Values of every field, and conditions on them, of one seed."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self._texts = list(PIECES)

    def text(self) -> str:
        """Return a text: pieces, any characters, or one that is near to an earlier one."""
        chance = self.random
        match chance.randrange(5):
            case 0:
                text = "".join(chr(chance.choice(_PLANES)(chance)) for _ in range(chance.randrange(5)))
            case 1 | 2:
                text = chance.choice(_NEAR)(chance.choice(self._texts))
            case _:
                text = "".join(chance.choices(PIECES, k=chance.randrange(1, 4)))
        self._texts.append(text[:40])
        return text[:40]

    def value(self, name: str) -> Any:
        """Return a value of a field, of a list one of its members; a reference is the number of a record."""
        chance = self.random
        if name in {"box_id", "other_id"}:
            return chance.randrange(BOXES)
        if name == "id":
            return chance.randrange(RECORDS + 10)
        if name == "version":
            return chance.randrange(4)
        match _KINDS.get(name) or item.kinds[name]:
            case "integer":
                return chance.choice(_INTEGERS) if chance.random() < 0.8 else chance.randint(-BIG, BIG)
            case "number":
                return chance.choice(_NUMBERS) if chance.random() < 0.8 else chance.uniform(-1e3, 1e3)
            case "boolean":
                return chance.random() < 0.5
            case "time":
                return chance.choice(TIMES)
            case "date":
                return chance.choice(_DAYS)
        return self.text()

    def row(self) -> dict[str, Any]:
        """Return the fields of a record; some are null, some not given."""
        chance, row = self.random, dict[str, Any]()
        for name in item.fields:
            if name not in VALUES or chance.random() < 0.15:
                continue
            if name in NULLABLE and chance.random() < 0.2:
                row[name] = None
            elif name in LISTS:
                row[name] = [self.value(name) for _ in range(chance.randrange(4))]
            else:
                row[name] = self.value(name)
        return row

    def conditions(self, name: str, seen: list[Any], each: int) -> Iterator[dict[str, Any]]:
        """Yield conditions on a field, `each` with every operator, about values that were `seen` in it and others."""
        chance = self.random

        def value() -> Any:
            if not seen or chance.random() < 0.3:
                return self.value(name)
            found = chance.choice(seen)
            if name in _TEXTS and chance.random() < 0.5:
                start = chance.randrange(len(found) + 1)
                return chance.choice(_NEAR)(found[start : start + chance.randrange(1, 4)])
            return found

        for op in operators_of(item, name):
            for _ in range(each):
                if op == "$null":
                    operand: Any = chance.random() < 0.5
                elif op in OF_LISTS:
                    operand = [value() for _ in range(chance.randrange(5))]
                elif op == "$between":
                    operand = sorted([value(), value()]) if chance.random() < 0.8 else [value(), value()]
                else:
                    operand = None if op in {"$eq", "$ne"} and chance.random() < 0.15 else value()
                yield {name: {op: operand}}


_PLANES: Final[tuple[Callable[[random.Random], int], ...]] = (
    lambda chance: chance.randrange(0x20, 0x7F),
    lambda chance: chance.randrange(0xA0, 0x250),
    lambda chance: chance.randrange(0x300, 0x600),
    lambda chance: chance.randrange(0xE000, 0x10000),
    lambda chance: chance.randrange(0x10000, 0x110000),
)


class Corpus:
    """The records of one seed in an account of their own, the same in every keeper; and what steps find among them."""

    def __init__(self, account: str, ids: list[str], images: list[Image], found: dict[str, list[Image]]) -> None:
        self.account = account
        self.ids = ids
        self.images = images
        self._found = found
        self._by: dict[tuple[str, str], dict[Any, list[Image]]] = {}

    @property
    def others(self) -> Others:
        """What the steps of filters look among."""
        return self._others

    def _others(self, kind: RecordType, wire: str, value: Any) -> list[Image]:
        known = self._by.get((kind.name, wire))
        if known is None:
            known = self._by[kind.name, wire] = defaultdict(list)
            for image in self._found[kind.name]:
                known[image[wire]].append(image)
        return known.get(value, [])

    def seen(self, name: str) -> list[Any]:
        """Return the values that a field has here, those of lists one by one, references as numbers."""
        values = [image[name] for image in self.images if image[name] is not None]
        if name in LISTS:
            return [member for members in values for member in members]
        if name == "id":
            return list(range(len(values)))
        if name in {"box_id", "other_id"}:
            return [self.ids.index(value) for value in values]
        return values


async def fill(keepers: list[Storage], clock: list[str], number: int) -> Corpus:
    """Write the corpus of a number into every keeper; `clock` is the time that their clocks show.

    Raises AssertionError where what they then hold differs.
    """
    made = [await _write(storage, clock, number) for storage in keepers]
    for one in made[1:]:
        assert (one.ids, one.images, one._found) == (made[0].ids, made[0].images, made[0]._found)
    return made[0]


async def _write(storage: Storage, clock: list[str], number: int) -> Corpus:
    draw, account = Draw(f"corpus {number}"), f"corpus-{number}"
    use, chance = Use(storage, seed=number), draw.random
    clock[0] = TIMES[0]
    boxes = [use.new(box, name=f"{n}", note=draw.text() if n else None) for n in range(BOXES)]
    await use.commit(*boxes, account=account)
    ids, items, codes = [one.id for one in boxes], list[str](), set[tuple[int, str]]()
    for group in range(GROUPS):
        clock[0] = TIMES[group]
        writes: list[Create | Update | Delete] = []
        for n in range(RECORDS // GROUPS):
            row = draw.row()
            if row.get("other_id") is not None:
                row["other_id"] = ids[row["other_id"]]
            if (n % 2, row.get("code")) in codes:
                row["code"] = None
            codes.add((n % 2, row.get("code") or ""))
            creation = use.new(item, ids[n % 2], **row)
            items.append(creation.id)
            writes.append(creation)
            writes += [use.new(sticker, creation.id, text=draw.text()) for _ in range(chance.randrange(3))]
        await use.commit(*writes, account=account, actor=draw.text() or None)
    clock[0] = TIMES[-1]
    changed = chance.sample(items, RECORDS // 5)
    await use.commit(
        *(Update(item, rec, item.accept_change({"done": True}, trusted=True)) for rec in changed), account=account
    )
    live = (await use.find(sticker, account=account)).records
    await use.commit(*(Delete(sticker, one["id"]) for one in live[::4]), account=account)
    gone = chance.sample(items, RECORDS // 5)
    below = [one["id"] for one in (await use.find(sticker, account=account)).records if one["item_id"] in gone]
    await use.commit(*(Delete(sticker, rec) for rec in below), account=account)
    await use.commit(*(Delete(item, rec) for rec in gone), account=account)
    found = {kind.name: (await use.find(kind, account=account)).records for kind in (box, item, sticker)}
    read = await storage.get(account, item, items, deleted=True)
    return Corpus(account, ids, [read[rec] for rec in items], found)


async def both(*asked: Any) -> list[Any]:
    """Return what several keepers answer."""
    return await asyncio.gather(*asked)

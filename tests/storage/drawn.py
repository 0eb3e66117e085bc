"""Random values, rows, filters and orders for the differential test, and a keeper with an event loop of its own."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import strategies as st

from hub.schema.record import Image
from hub.schema.where import DEPTH, Others, operators_of
from storage.base import Storage
from tests.storage.declared import Use, box, item, sticker

# Near misses: blanks, case, normal forms, folding that changes the length, characters beyond 16 bits.
PIECES = [
    *("", "a", "A", "b", " ", "  ", "é", "e\u0301", "É", "ß", "ẞ", "ss", "SS", "ﬁ", "fi", "İ", "i\u0307", "ı"),
    *(
        "\u212b",
        "Å",
        "K",
        "ﾊ",
        "ハ",
        "Ａ",
        "😀",
        "👩‍👩‍👧",
        "\U0001d4d0",
        "\uffff",
        "\ufeff",
        "\u00a0",
        "\u200b",
        "\t",
        "\n",
    ),
    *("%", "_", "\\", "'", '"', "[", "]", "{", "0", "1", "1.0", "null", "true", "ϒ\u0301", "\U0010ffff", "ς", "Σ", "ΐ"),
]
words = st.lists(st.sampled_from(PIECES), max_size=3).map("".join)
anything = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
texts = words | anything
BIG = 2**53 - 1
integers = st.sampled_from([0, 1, -1, 2, 3, BIG, -BIG, BIG - 1, 2**31, 2**32]) | st.integers(-BIG, BIG)
numbers = st.sampled_from(
    [0.0, -0.0, 0.1, 0.2, 0.1 + 0.2, 0.3, 1.0, 1.5, -1.5, 1e300, -1e300, 5e-324, 2.0**53, 1 / 3, 123456789.12345679]
) | st.floats(allow_nan=False, allow_infinity=False)
TIMES = ["0001-01-01T00:00:00.000Z", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z"]
TIMES += ["2026-11-21T08:54:49.123Z", "2026-11-21T08:54:49.124Z", "9999-12-31T23:59:59.999Z"]
times = st.sampled_from(TIMES)
days = st.sampled_from(["0001-01-01", "2026-11-20", "2026-11-21", "9999-12-31"])
boxes = st.integers(0, 2)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "label": texts,
    "code": words,
    "about": texts,
    "amount": integers,
    "weight": numbers,
    "fragile": st.booleans(),
    "done": st.booleans(),
    "at": times,
    "day": days,
    "words": texts,
    "marks": integers,
    "sizes": numbers,
    "other_id": boxes,
    "created_by": words,
    "version": st.integers(0, 2),
    "created_at": times,
    "box_id": boxes,
    "id": st.integers(0, 6),
}
NULLABLE = ("code", "about", "amount", "weight", "fragile", "at", "day", "marks", "sizes", "other_id")
LISTS = ("words", "marks", "sizes")
SORTABLE = sorted(item.sortable & {*VALUES, "updated_at", "deleted_at"})


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return the fields of some items; a reference is the number of a box."""
    found = []
    for _ in range(draw(st.integers(1, 7))):
        row: dict[str, Any] = {}
        for name in item.fields:
            if name not in VALUES or draw(st.integers(0, 3)) == 0:
                continue
            values = st.lists(VALUES[name], max_size=3) if name in LISTS else VALUES[name]
            row[name] = draw(values | st.none() if name in NULLABLE else values)
        row.pop("code", None) if draw(st.booleans()) else None
        found.append(row)
    return found


@st.composite
def terms(draw: st.DrawFn) -> dict[str, Any]:
    """Return one condition on one field."""
    return draw(terms_on(draw(st.sampled_from(sorted(VALUES)))))


@st.composite
def terms_on(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Return one condition on a field."""
    op = draw(st.sampled_from(operators_of(item, name)))
    value = VALUES[name]
    if op == "$null":
        return {name: {op: draw(st.booleans())}}
    if op in {"$in", "$nin", "$hasAny", "$hasAll"}:
        return {name: {op: draw(st.lists(value, max_size=4))}}
    if op == "$between":
        return {name: {op: [draw(value), draw(value)]}}
    if op in {"$eq", "$ne"} and draw(st.integers(0, 4)) == 0:
        return {name: {op: None}}
    return {name: {op: draw(value)}}


@st.composite
def steps(draw: st.DrawFn) -> dict[str, Any]:
    """Return a step from an item: to its box or another, to its stickers; perhaps from there to items again."""
    where = draw(st.just({}) | st.builds(lambda op, v: {"note": {op: v}}, texts_ops, texts))
    match draw(st.integers(0, 4)):
        case 0:
            return {"children": {"$some": draw(st.builds(lambda op, v: {"text": {op: v}}, texts_ops, texts))}}
        case 1:
            return {"parent": where}
        case 2:
            return {"parent": {"children": {"type": "item", "$some": draw(terms())}}}
        case 3:
            return {"other": where}
    return {"other": {"$or": [where, {"children": {"type": "item", "$some": {"other": draw(terms_of_box)}}}]}}


texts_ops = st.sampled_from(["$eq", "$ne", "$gt", "$lte", "$contains", "$starts", "$ends"])
terms_of_box = st.sampled_from([{}, {"note": None}, {"name": "1"}, {"$not": {"name": "1"}}])
filters = st.recursive(
    terms() | steps(),
    lambda inner: (
        st.builds(lambda f: {"$not": f}, inner)
        | st.builds(lambda f: {"$and": f}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda f: {"$or": f}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=4,
).filter(lambda where: depth(where) <= DEPTH)


def depth(where: Any) -> int:
    """Return how many filters of a filter stand within each other."""
    inner = [0]
    for key, value in where.items() if isinstance(where, dict) else ():
        if key in {"$and", "$or"}:
            inner += map(depth, value)
        elif key in {"$not", "parent", "other"}:
            inner.append(depth(value))
        elif key == "children":
            inner.append(depth(value["$some"]))
    return 1 + max(inner)


@st.composite
def orders(draw: st.DrawFn) -> list[str]:
    """Return an order of up to three fields."""
    names = draw(st.lists(st.sampled_from(SORTABLE), max_size=3, unique=True))
    return [draw(st.sampled_from(["", "-"])) + name for name in names]


class World:
    """A keeper with an event loop of its own."""

    def __init__(self, storage: Storage) -> None:
        self.runner = asyncio.Runner()
        self.use = Use(storage)
        self.runner.run(self.use.storage.start())
        self._accounts = itertools.count()

    def close(self) -> None:
        """Close both."""
        self.runner.run(self.use.storage.close())
        self.runner.close()

    async def fill(self, given_rows: list[dict[str, Any]]) -> tuple[str, list[str], list[Image]]:
        """Write rows into a new account; return the account, the ids of its boxes, the items."""
        account = f"account-{next(self._accounts)}"
        notes = [row.get("about") for row in given_rows[:2]] + [None] * 3
        boxes = [self.use.new(box, name=f"{n}", note=notes[n]) for n in range(3)]
        made = await self.use.commit(*boxes, account=account)
        ids = [r.image["id"] for r in made.results]
        images = []
        for n, row in enumerate(given_rows):
            plain = {**row, "code": None if row.get("code") is None else f"{row['code']}{n}"}
            if plain.get("other_id") is not None:
                plain["other_id"] = ids[plain["other_id"]]
            creation = self.use.new(item, ids[n % 2], **plain)
            actor = row.get("label") or None
            images.append((await self.use.commit(creation, account=account, actor=actor)).results[0].image)
            if n % 2:
                await self.use.create(sticker, images[-1]["id"], account=account, text=row.get("code") or "")
        if len(images) > 2:
            await self.use.update(item, images[0]["id"], account=account, done=not images[0]["done"])
            if len(images) % 2:
                [label] = (await self.use.find(sticker, {"item_id": images[1]["id"]}, account=account)).records
                await self.use.delete(sticker, label["id"], account=account)
                await self.use.delete(item, images[1]["id"], account=account)
        read = await self.use.storage.get(account, item, [i["id"] for i in images], deleted=True)
        return account, ids, [read[i["id"]] for i in images]

    async def others(self, account: str) -> Others:
        """Return what the steps of filters look among in an account."""
        found = {k.name: (await self.use.find(k, account=account)).records for k in (box, item, sticker)}
        return lambda kind, wire, value: (image for image in found[kind.name] if image[wire] == value)


def with_ids(where: Any, boxes_: list[str], images: list[Image]) -> Any:
    """Return a filter in which numbers of boxes and items are their ids, or ids of nothing."""

    def rec(name: str, n: Any) -> Any:
        if type(n) is not int:
            return n
        if name == "id":
            return images[n]["id"] if n < len(images) else "nothing"
        return boxes_[n]

    if isinstance(where, list):
        return [with_ids(inner, boxes_, images) for inner in where]
    out: dict[str, Any] = {}
    for name, value in where.items():
        if name.startswith("$") or name in {"parent", "other", "children"}:
            out[name] = with_ids(value, boxes_, images)
        elif name in {"other_id", "box_id", "id"}:
            out[name] = {
                op: [rec(name, n) for n in v] if isinstance(v, list) else rec(name, v) if op != "$null" else v
                for op, v in value.items()
            }
        else:
            out[name] = value
    return out

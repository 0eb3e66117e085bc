"""Layers of a lookup: which entries are in force where several layers lie over each other, and which one is meant.

    rows = effective(base, (of_the_site, of_the_account), allowed=None)
    one = resolve(rows, "Deutschland")

Pure: rows in, rows out. The layers come nearest first; a row hides every farther row of the same group or the same
code, whole, and also where it is disabled itself. Knows no storage, no account and no right.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hub.schema.fold import fold
from hub.wire.errors import HubError

GLOBAL: Final = "global"
"""The layer of what is declared in code."""
ACCOUNT: Final = "account"
"""The layer of the rows that are for no record."""
_NAMED: Final = 10
"""How many codes a refusal lists."""

Order = tuple[int, int, str]
"""By priority, the highest first, then by `sort`, then by code: total among rows in force."""


class Row:
    """An entry in one layer. `shown` is what the wire shows of it; the rest is worked out from that."""

    __slots__ = ("aliases", "beginnings", "code", "enable", "hide", "key", "name", "order", "part_of", "shown")

    def __init__(self, fields: Mapping[str, Any], layer: str, rec: str | None) -> None:
        self.shown: dict[str, Any] = {name: fields[name] for name in SHOWN} | {"layer": layer, "rec": rec}
        self.code: str = fields["code"]
        self.key: str = fields["group"] or self.code
        self.enable: bool = fields["enable"]
        self.hide: bool = fields["hide"]
        self.part_of: str = fields["part_of"]
        self.order: Order = (-fields["priority"], fields["sort"], self.code)
        self.name = fold(fields["name"])
        self.aliases = tuple(fold(alias) for alias in fields["aliases"])
        # Code and aliases, folded, each behind a character that no text holds: one search tells what begins so.
        self.beginnings = "\0".join(("", fold(self.code), *self.aliases))

    def __repr__(self) -> str:
        return f"Row({self.shown['layer']} {self.code})"

    @property
    def prior(self) -> bool:
        """Whether it stands before the ordinary ones."""
        return self.order[0] < 0


SHOWN: Final = ("code", "name", "group", "part_of", "aliases", "priority", "sort", "enable", "hide", "cfg")
"""The fields of an entry that are shown."""


def place(row: Row) -> Order:
    """Return where a row stands."""
    return row.order


def effective(base: Sequence[Row], near: Iterable[Iterable[Row]], allowed: frozenset[str] | None) -> Sequence[Row]:
    """Return the rows in force, in order; disabled and hidden ones are among them.

    `base` is the farthest layer, in order and without doubles. `near` are the others, the nearest first. `allowed` are
    the codes or groups that a policy leaves, None where there is none.
    """
    keys: set[str] = set()
    codes: set[str] = set()
    chosen: list[Row] = []
    for layer in near:
        for row in sorted(layer, key=place):
            if row.key not in keys and row.code not in codes:
                keys.add(row.key)
                codes.add(row.code)
                chosen.append(row)
    rows = base
    if chosen:
        rest = [row for row in base if row.key not in keys and row.code not in codes]
        rows = sorted([*chosen, *rest], key=place)
    if allowed is not None:
        rows = [row for row in rows if row.code in allowed or row.key in allowed]
    return rows


def select(
    rows: Iterable[Row], q: str = "", part_of: str | None = None, *, prior: bool = False, unseen: bool = False
) -> list[Row]:
    """Return those rows that a list shows.

    `q` is looked for in names, and at the beginning of codes and aliases, however it is written. `part_of`: only what
    belongs to that one. `prior`: only those with a priority above 0. `unseen`: disabled and hidden ones too.
    """
    wanted = fold(q.strip())
    beginning = f"\0{wanted}"
    return [
        row
        for row in rows
        if (unseen or (row.enable and not row.hide))
        and (part_of is None or row.part_of == part_of)
        and (not prior or row.prior)
        and (wanted in row.name or beginning in row.beginnings)
    ]


def behind(rows: Sequence[Row], after: Order | None) -> Sequence[Row]:
    """Return the rows that stand behind a place; None is before all."""
    return rows if after is None else rows[bisect_right(rows, after, key=place) :]


def resolve(rows: Iterable[Row], q: str, part_of: str | None = None) -> Row | None:
    """Return the one usable row that `q` means, None where there is none; hidden ones can be meant too.

    The code decides before the name, and the name before aliases; however they are written, but whole. Of several, the
    one with the highest priority is meant. Raises `data.invalid` with their codes where that is not one.
    """
    wanted = fold(q.strip())
    usable = [row for row in rows if row.enable and (part_of is None or row.part_of == part_of)]
    found = [row for row in usable if row.code == q]
    found = found or [row for row in usable if fold(row.code) == wanted]
    found = found or [row for row in usable if row.name == wanted]
    found = found or [row for row in usable if wanted in row.aliases]
    if not found:
        return None
    found = [row for row in found if row.order[0] == found[0].order[0]]  # in order, so the first has the highest
    if len(found) > 1:
        codes = [row.code for row in found]
        listed = ", ".join(codes[:_NAMED]) + (" and more" if len(codes) > _NAMED else "")
        message = f"{len(found)} entries are meant by that: {listed}. Send one of these codes, or `part_of`."
        raise HubError("data.invalid", message, path="q", details={"codes": codes[:_NAMED]})
    return found[0]

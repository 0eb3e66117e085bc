"""Deciding whether a code may be written: fields that hold one of a lookup, and what a row of a lookup is for. Pure.

A code is known where the nearest row that has it is enabled: of the record, of what it is below, of their site, of the
account, else what is declared. Groups and policies say what is offered, not what may stay: they are not asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from hub.schema.fields import FOR_ID, FOR_TYPE
from hub.schema.record import Image, RecordType, referred
from hub.wire.errors import HubError

if TYPE_CHECKING:
    from storage.known import Plan
    from storage.work import Work

ROWS: Final = "lookup_row"
SITES: Final = "site"
"""The types of the core that hold what lies over a lookup."""
_ONE: Final = ("lookup", FOR_TYPE, FOR_ID, "code")


def check_codes(work: Work, kind: RecordType, plan: Plan, data: dict[str, Any], image: Image) -> None:
    """Raise `data.invalid` for a code that its lookup does not have here."""
    for name, lookup in plan.codes:
        code = data.get(name)
        if code is not None and not _known(work, kind, image, lookup, code):
            raise HubError(
                "data.invalid",
                f"{code[:64]!r} is no code of {lookup} that can be used here; lookup.list shows those that can.",
                path=f"data.{name}",
                details={"lookup": lookup},
            )


def check_target(work: Work, data: dict[str, Any], image: Image) -> None:
    """Raise where what a row is for is not there: `for_type` and `for_id` as plain texts, empty for the account."""
    if not image[FOR_ID] or not (FOR_ID in data or FOR_TYPE in data):
        return
    kind = work.known.registry.types.get(image[FOR_TYPE])
    if kind is None or kind.system:
        raise HubError("data.invalid", "Name a type of records of this account here.", path=f"data.{FOR_TYPE}")
    work.live(kind, image[FOR_ID], f"data.{FOR_ID}")


def _known(work: Work, kind: RecordType, image: Image, lookup: str, code: str) -> bool:
    registry = work.known.registry
    rows = registry.types.get(ROWS)
    if rows is not None:
        for for_type, for_id in _places(work, kind, image):
            found = work.unique(rows, _ONE, (lookup, for_type, for_id, code))
            row = work.get(rows, found) if found is not None else None
            if row is not None:
                return bool(row["enable"])
    return registry.lookups[lookup].has(code)


def _places(work: Work, kind: RecordType, image: Image) -> Iterator[tuple[str, str]]:
    """Yield the layers of a record, the nearest first: type and id, both empty for the account."""
    site = None
    above: Image | None = image
    while above is not None:
        yield kind.name, above["id"]
        site = site or next((above[wire] for wire in sorted(kind.references) if _is_site(kind, wire, above)), None)
        if kind.parent is None or kind.parent_wire is None:
            break
        wire, kind = kind.parent_wire, kind.parent
        above = work.get(kind, above[wire])
    if site is not None:
        yield SITES, site
    yield "", ""


def _is_site(kind: RecordType, wire: str, image: Image) -> bool:
    return referred(kind.fields[wire]).name == SITES and image[wire] is not None

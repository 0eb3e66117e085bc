"""What an import did, or would do, in numbers and in words.

Knows: counts per record type, the few single cases worth naming, and when so much would be deleted that the source
is more likely broken than changed. Does not know how they came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct, structs

from packs.events.import_items import ENTITIES, SESSION
from packs.events.schedule_problems import Problem

MOST_NAMED = 20
FEW = 5
"""Fewer deletions than these are believed, as long as the source still holds a session."""

_WORDS = {
    "event": ("event", "event"),
    "event_location": ("location", "locations"),
    "event_track": ("track", "tracks"),
    "event_person": ("person", "persons"),
    "event_session": ("session", "sessions"),
    "event_presenter": ("presenter", "presenters"),
}

_FATES = {"absent": "deleted in the hub", "in_use": "still in use"}


class Counts(Struct, kw_only=True, forbid_unknown_fields=True):
    """How many records of one type had which fate."""

    created: int = 0  # new in the source
    restored: int = 0  # had been deleted in the hub, made again because the source changed
    adopted: int = 0  # made by hand in the hub before, now kept by the import
    updated: int = 0  # at least one field written
    deleted: int = 0  # disappeared from the source
    unchanged: int = 0  # nothing written
    absent: int = 0  # deleted in the hub and left so, the source has not changed
    in_use: int = 0  # disappeared from the source, kept because something in the hub refers to it
    kept: int = 0  # fields in which an edit made in the hub stayed
    overwritten: int = 0  # fields in which an edit made in the hub gave way to a newer value of the source


class Case(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One case worth naming.

    By `fate`: an edit that stayed (`kept`) or gave way (`overwritten`), a record still `in_use`, one `absent`.
    """

    fate: str
    entity: str
    label: str
    field: str = ""


class Summary(Struct, kw_only=True, forbid_unknown_fields=True):
    """The outcome of an import. `writes` is 0 exactly when the hub already held everything."""

    event: str | None = None  # id of the event; None in a plan that will create it
    title: str = ""
    writes: int = 0
    counts: dict[str, Counts] = {}
    cases: Annotated[list[Case], Meta(max_length=MOST_NAMED)] = []

    def count(self, entity: str) -> Counts:
        """Return the counts of a record type, to be raised."""
        return self.counts.setdefault(entity, Counts())

    def name(self, fate: str, entity: str, label: str, field: str = "") -> None:
        """Name a case, as long as there is room."""
        if len(self.cases) < MOST_NAMED:
            self.cases.append(Case(fate=fate, entity=entity, label=label[:80], field=field))

    def total(self, fate: str) -> int:
        """Return the sum of one fate over all record types."""
        return sum(structs.asdict(counts)[fate] for counts in self.counts.values())


class Doubt(Struct, frozen=True):
    """Why an import is not done unless it is asked for: a sentence, and the figures in it."""

    sentence: str
    details: dict[str, Any]


def caution(summary: Summary) -> Doubt | None:
    """Return the doubt about an import that deletes every session or most of what was imported before."""
    sessions = summary.counts.get(SESSION, Counts())
    deleted, imported = summary.total("deleted"), sum(map(_imported, summary.counts.values()))
    stay = _imported(sessions) - sessions.deleted
    emptied = sessions.deleted > 0 and stay + sessions.created + sessions.restored + sessions.adopted == 0
    pairs = ((sessions.deleted, _imported(sessions)), (deleted, imported))
    mostly = any(gone >= FEW and gone * 2 > of for gone, of in pairs)
    if not emptied and not mostly:
        return None
    figures = f"{sessions.deleted} of {_imported(sessions)} sessions, {deleted} of {imported} records in all"
    sentence = (
        f"Nothing was imported, since it would delete most of what was imported before ({figures}). Look whether the "
        "export is complete; where it is, --allow-deletions imports it (`allow_deletions` in a call of the action)."
    )
    details = {
        "sessions": {"deleted": sessions.deleted, "imported": _imported(sessions)},
        "records": {"deleted": deleted, "imported": imported},
    }
    return Doubt(sentence, details)


def _imported(counts: Counts) -> int:
    """Return how many live records of a type are there from an import before."""
    return counts.updated + counts.unchanged + counts.deleted + counts.in_use


def render(summary: Summary, warnings: Sequence[Problem] = (), unlisted: int = 0, *, dry_run: bool = False) -> str:
    """Return the outcome of an import, or of one that was only tried, as lines for a terminal."""
    lines = list(warning_lines(warnings, unlisted))
    if dry_run:
        lines.append("Only tried, nothing was written. An import would be:")
    lines.append(f"{summary.title or 'Programme'}: {_headline(summary)}")
    for entity in ENTITIES:
        parts = [
            f"{number} {_FATES.get(fate, fate)}"
            for fate, number in structs.asdict(summary.counts.get(entity, Counts())).items()
            if number and fate not in {"kept", "overwritten"}
        ]
        if parts:
            lines.append(f"  {_WORDS[entity][1] + ':':<12}{', '.join(parts)}")
    for fate, sentence in (
        ("kept", "edited in the hub, the edit stays"),
        ("overwritten", "edited in the hub, but newer in the source: overwritten"),
        ("in_use", "gone from the source, but still in use: kept"),
        ("absent", "deleted in the hub, stays so until it changes in the source"),
    ):
        lines += _cases(summary, fate, sentence)
    return "\n".join(lines)


def warning_lines(warnings: Sequence[Problem], unlisted: int = 0) -> list[str]:
    """Return what a reader mended as lines, at most `MOST_NAMED` of them and a number of the rest."""
    lines = [f"warning: {warning}" for warning in warnings[:MOST_NAMED]]
    more = len(warnings) - len(lines) + unlisted
    return [*lines, f"warning: and {more} more"] if more else lines


def _headline(summary: Summary) -> str:
    if summary.writes == 0:
        absent = summary.total("absent")
        held = f"all of this programme but the {absent} deleted in it" if absent else "this programme"
        return f"nothing to write, the hub already holds {held}"
    fates = ("created", "restored", "adopted", "updated", "deleted", "unchanged")
    return ", ".join(f"{summary.total(fate)} {fate}" for fate in fates if summary.total(fate)) or "nothing changed"


def _cases(summary: Summary, fate: str, sentence: str) -> list[str]:
    total = summary.total(fate)
    if not total:
        return []
    named = [
        f"{_WORDS[case.entity][0]} “{case.label}”" + (f" ({case.field})" if case.field else "")
        for case in summary.cases
        if case.fate == fate
    ]
    more = [f"    and {total - len(named)} more"] if total > len(named) else []
    return [f"  {sentence}:", *(f"    {name}" for name in named), *more]

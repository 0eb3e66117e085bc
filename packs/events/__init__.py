"""The pack of conference events: records, actions, and the import of programmes.

For a program that imports a file:

    reading = read_schedule(data)                 # or ScheduleError: print it, one problem per line
    arguments = import_arguments(reading)         # plain values for `args` of the action IMPORT_ACTION
    summary = import_summary(result)              # from the plain values the action answered
    print(render(summary, reading.warnings, reading.unlisted_warnings))

`warning_lines` gives the warnings alone. Records and actions are found by the registry, in `records` and `actions`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from packs.events.import_summary import Summary, caution, render, warning_lines
from packs.events.programme import Programme
from packs.events.schedule_problems import Problem, ScheduleError
from packs.events.schedule_reader import Reading, read_schedule

IMPORT_ACTION = "event.import_programme"


def import_arguments(reading: Reading, *, dry_run: bool = False, allow_deletions: bool = False) -> dict[str, Any]:
    """Return the arguments of the import action as plain values; what is at its default is left out."""
    found: dict[str, Any] = msgspec.to_builtins({"programme": reading.programme})
    return found | {name: True for name, on in (("dry_run", dry_run), ("allow_deletions", allow_deletions)) if on}


def import_summary(result: Any) -> Summary:
    """Return the summary in an answer of the import action."""
    return msgspec.convert(result, Summary)


__all__ = [
    "IMPORT_ACTION",
    "Problem",
    "Programme",
    "Reading",
    "ScheduleError",
    "Summary",
    "caution",
    "import_arguments",
    "import_summary",
    "read_schedule",
    "render",
    "warning_lines",
]

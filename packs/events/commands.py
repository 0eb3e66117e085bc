"""What podium launchers, kiosks and pages do when they are told to. docs/commands.md says more."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from hub import Command


class OpenFile(Struct, frozen=True, forbid_unknown_fields=True):
    """Which file to show: the id of an `event_file`, and the page or slide to begin with, from 1."""

    file: Annotated[str, Meta(min_length=1, max_length=64)]
    page: Annotated[int, Meta(ge=1, le=100_000)] = 1


class Identify(Struct, frozen=True, forbid_unknown_fields=True):
    """For how many seconds to show who one is."""

    seconds: Annotated[int, Meta(ge=1, le=300)] = 10


RELOAD = Command("RELOAD", "event.update", doc="Load anew what is shown.")
OPEN_FILE = Command("OPEN_FILE", "event.update", OpenFile, doc="Show a file of the event, from a page on.")
SLIDE_NEXT = Command("SLIDE_NEXT", "event.update", doc="Go to the next slide.")
SLIDE_PREVIOUS = Command("SLIDE_PREVIOUS", "event.update", doc="Go back to the slide before.")
IDENTIFY = Command("IDENTIFY", "event.update", Identify, doc="Show on the screen which device this is.")

"""What records have that people choose from: a mixin for declarations.

    class Badge(Listed, Record, access=…):
        "A badge to be had."

        name: Name

Knows nothing of lookups; hiding and disabling are plain updates of these fields.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta


class Listed:
    """The fields of what stands in a list; put it before `Record`.

    `enable`: it may be used. `hide`: it may be, but is not offered. `priority`: what is higher stands first. `sort`:
    within a priority, what is lower stands first. `group` joins what stands for the same thing, `code` names it to
    programs. `notes` are for those who keep the list, `cfg` is for programs.
    """

    enable: bool = True
    hide: bool = False
    priority: int = 0
    sort: int = 0
    group: Annotated[str, Meta(max_length=64)] = ""
    code: Annotated[str, Meta(max_length=64)] = ""
    notes: Annotated[str, Meta(max_length=10_000)] = ""
    cfg: dict[str, Any] = {}

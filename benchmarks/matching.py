"""What a commit costs among many different watches: the loop's own work, in this process, without sockets.

Every filter asks for another value, or another range, so that a commit concerns one of them at most. Time is CPU time:
nothing here waits.
"""

from __future__ import annotations

import time
from itertools import count
from typing import Any, Final
from unittest import mock

from benchmarks.load import Reading
from channels.matching import Index
from channels.outlet import Outlet
from channels.watches import Watches, WatchGroup, WatchQuery
from hub.access import RightsTable
from hub.schema.record import RecordType
from hub.schema.registry import Registry
from hub.schema.where import parse_where
from hub.schema.writes import ChangeRow, ChangeSet
from hub.wire.codec import JSON

FILTERS: Final = 10_000
FEW_FILTERS: Final = 100
_AT: Final = "2026-11-21T09:00:00.000Z"


def _image(kind: RecordType, n: int) -> dict[str, Any]:
    data = kind.accept_create({"name": f"talk {n}", "sort": n})
    base = {"id": f"record{n:05}", "type": kind.name, "version": 1, "event_id": "event000001", "account_id": "account"}
    times = {"created_at": _AT, "updated_at": _AT, "created_by": None, "updated_by": None, "deleted_at": None}
    return {**base, **data, **times}


def _commit(kind: RecordType, n: int) -> ChangeSet:
    """Return an update of a record that `n` stands for."""
    after = {**_image(kind, n), "version": 2, "updated_at": "2026-11-21T09:00:01.000Z"}
    before = {"version": 1, "updated_at": _AT, "sort": n - 1}
    row = ChangeRow(0, kind.name, after["id"], "update", 2, after, before)
    return ChangeSet("account", n + 1, _AT, None, None, None, (row,))


class _Plain(Index[WatchGroup]):
    """An index that asks every filter."""

    def __init__(self, kind: RecordType) -> None:
        super().__init__(kind, by_value=False)


def run(filters: int, seconds: float, *, ranges: bool = False, by_value: bool = True) -> Reading:
    """Return how many commits a second go to `filters` different watches, one socket each.

    `ranges`: each filter is a range, and a message is one filter that was matched for one commit.
    """
    registry = Registry.of(["hub.schema.core", "packs.events", "benchmarks.talks"])
    kind, rights = registry.types["bench_talk"], RightsTable(registry).of("viewer")
    watches, outlet = Watches(), Outlet(JSON, lambda: None)
    with mock.patch("channels.watches.Index", Index if by_value else _Plain):
        for n in range(filters):
            where = {"sort": {"$gt": 10 * filters + n}} if ranges else {"name": f"talk {n}", "sort": {"$gte": 0}}
            group = watches.group(WatchQuery("account", kind, parse_where(kind, where), None, rights))
            group.outlets[outlet] = 1
    commits = [_commit(kind, n % filters) for n in range(500)]
    done, spent = 0, 0.0
    for n in count():
        begin = time.process_time()
        watches.tell(commits[n % len(commits)])
        spent += time.process_time() - begin
        done += 1
        while outlet.take() is not None:
            pass  # what was pushed; writing it is not what is measured
        if spent >= seconds:
            break
    messages = done * filters if ranges else done
    return Reading(messages, spent, spent, [])

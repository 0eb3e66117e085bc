"""watch.start and watch.stop: a snapshot or what was missed, then every change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from msgspec import UNSET

from channels.outlet import Outlet
from channels.starts import Since
from channels.watches import WatchQuery
from handlers.base import Answer, Call, Needs, handles
from handlers.records import scoped, size_of
from hub.schema.query import parse_order
from hub.schema.record import Image
from hub.schema.where import both
from hub.wire import frames
from hub.wire.errors import HubError
from hub.wire.requests import WatchStart, WatchStop

PAGE_RECORDS: Final = 500
PAGE_BYTES: Final = 256 * 1024


@handles(Needs.ACCOUNT)
async def start(call: Call, request: WatchStart) -> Answer:
    """Receive a snapshot, then every change of what matches."""
    session = call.session
    for name in ("include", "view", "after", "count", "deleted"):
        if getattr(request, name) is not UNSET:
            raise HubError("where.not_watchable", f"A watch has no {name}; use record.find for it.", path=name)
    kind = call.kind(request.type, "read")
    call.rights.check_fields(kind, request.fields)
    rule = call.rules.node(kind, "read")
    node = both(rule, await scoped(call, kind, request.where, request.parent, watched=True))
    session = call.session  # once more: the account may have changed while the parent was looked up
    order = parse_order(kind, request.order, call.rights.hidden(kind))
    fields = tuple(request.fields) if request.fields is not None else None
    if fields is not None and request.order:
        fields = tuple(dict.fromkeys([*fields, *(key.field for key in order)]))  # the client sorts by them
    if request.limit is None:
        query = WatchQuery(call.account, kind, node, fields, call.rights, rule=rule)
    else:
        query = WatchQuery(call.account, kind, node, fields, call.rights, order, request.limit, rule)
    outlet = session.outlet
    since = Since(request.since.mark, request.since.seq, request.since.have) if request.since is not None else None
    started = await call.services.live.watch(session, query, since)
    data: dict[str, Any] = {
        "watch": query.id,
        "mark": started.mark,
        "seq": started.seq,
        "resumed": started.events is not None,
    }
    rest: Iterator[bytes] | None = None
    if started.events is not None:
        data["events"] = started.events
    else:
        pages = pages_of(started.records or [])
        data["records"] = next(pages, [])
        if started.why is not None:
            data["why"] = started.why
        following = next(pages, None)
        if following is not None and outlet is not None:
            data["more"] = True
            rest = _snapshots(outlet, query.id, following, pages)

    def begin() -> None:
        if outlet is not None:
            outlet.begin(query.id, rest)

    return Answer(data, seq=started.seq, then=begin)


def pages_of(records: list[Image]) -> Iterator[list[Image]]:
    """Yield the records in pages that are bounded in number and bytes."""
    page: list[Image] = []
    size = 0
    for image in records:
        more = size_of(image)
        if page and (len(page) >= PAGE_RECORDS or size + more > PAGE_BYTES):
            yield page
            page, size = [], 0
        page.append(image)
        size += more
    if page:
        yield page


def _snapshots(outlet: Outlet, watch: str, page: list[Image], pages: Iterator[list[Image]]) -> Iterator[bytes]:
    """Yield the frames of the further pages, each encoded only when the socket asks for it."""
    while True:
        following = next(pages, None)
        yield outlet.codec.encode(frames.snapshot(watch, page, last=following is None))
        if following is None:
            return
        page = following


@handles(Needs.ACCOUNT)
async def stop(call: Call, request: WatchStop) -> Answer:
    """Stop a watch."""
    call.services.live.unwatch(call.session, request.watch)
    return Answer({})

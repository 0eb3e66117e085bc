"""feed.start, feed.ack, feed.stop: the change log of an account for services, from a kept position on."""

from __future__ import annotations

import re
from typing import Final

from msgspec import structs

from channels.feeds import FEEDS_PER_SOCKET, Feed
from handlers.base import Answer, Call, Needs, handles
from hub.schema.access import FEED
from hub.wire.errors import HubError
from hub.wire.parts import FeedSince
from hub.wire.requests import FeedAck, FeedStart, FeedStop
from storage.base import FeedPosition

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@handles(Needs.ACCOUNT)
async def start(call: Call, request: FeedStart) -> Answer:
    """Begin behind the acknowledged position, or behind `since`."""
    session = call.session
    call.rights.require(FEED)
    if not _NAME.match(request.name):
        text = "A feed's name has letters, digits, `.`, `_` and `-`, and begins with a letter or digit."
        raise HubError("data.invalid", text, path="name")
    feeds = call.services.live.feeds
    since = request.since if not isinstance(request.since, FeedSince) else FeedPosition(**structs.asdict(request.since))
    started = await feeds.begin(call.account, request.name, since)
    session = call.session  # once more: the account may have changed while the log was looked at
    outlet = session.outlet
    if outlet is None:
        raise HubError("data.invalid", "The socket is gone.", path="op")
    if feeds.of(call.account, request.name, outlet) is None and feeds.count(outlet) >= FEEDS_PER_SOCKET:
        raise HubError("rate.limited", f"A socket has at most {FEEDS_PER_SOCKET} feeds; stop one first.", path="name")
    feed = Feed(call.account, request.name, call.rights, outlet, started.position, call.rules)
    turn = session.turn

    def begin() -> None:
        if session.outlet is outlet and session.turn == turn:
            feeds.open(feed)

    data = {"epoch": started.position.epoch, "seq": started.position.seq, "resumed": started.why is None}
    if started.why is not None:
        data["why"] = started.why
    return Answer(data, then=begin)


def _held(call: Call, name: str) -> Feed:
    """Return a feed that this socket has; raise `record.not_found`."""
    feed = call.services.live.feeds.of(call.account, name, call.session.outlet)
    if feed is None:
        raise HubError("record.not_found", "This socket has no such feed; start it first.", path="name")
    return feed


@handles(Needs.ACCOUNT)
async def ack(call: Call, request: FeedAck) -> Answer:
    """Keep how far the service has come; more is pushed then."""
    feed = _held(call, request.name)
    if request.seq > feed.read:
        text = f"Nothing was pushed up to {request.seq} yet; acknowledge at most {feed.read}."
        raise HubError("data.invalid", text, path="seq")
    return Answer({"seq": await call.services.live.feeds.acknowledge(feed, request.seq)})


@handles(Needs.ACCOUNT)
async def stop(call: Call, request: FeedStop) -> Answer:
    """Stop a feed; with `forget`, it begins anew the next time."""
    session, feeds = call.session, call.services.live.feeds
    call.rights.require(FEED)
    feed = feeds.of(call.account, request.name, session.outlet)
    if feed is None and not request.forget:
        raise HubError("record.not_found", "This socket has no such feed.", path="name")
    if feed is not None:
        feeds.close(feed)
    if request.forget:
        await call.services.storage.move_feed(call.account, request.name, None)
    return Answer({})

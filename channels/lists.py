"""Who is here, kept alike at several instances: one's own numbered list, copies of all others', and when they end.

    own change -> Op with the next number -> Said -> every other instance -> its copy -> the rosters there

A message may be lost. A number that does not follow, in a message or in a beat, is a hole: the copy is not trusted,
what it shows stays as it is, and the whole list is asked for, which comes in pages among the changes of meanwhile.
An instance that is silent for three seconds has its members shown away. One that is silent for a lease, and whose lease
in Redis has lapsed, is gone: who claims it first sweeps it, acts on what that means, and tells the others. An instance
that was swept while it lived begins another life, under another name.

Pure: messages and times come in as arguments, messages go out through `outbox`, and `Presence` (channels/presence.py)
asks Redis what has to be asked. Work on long lists is cut into pieces, which `work` does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from channels.cards import ASK_SECONDS, Card, Fetch, OwnList, Peer, standing
from channels.rooms import ChannelKey, Entry, Who
from channels.rosters import Rosters
from storage.presence import Ask, Beat, Bye, Closed, Hidden, Message, Op, Opened, Page, Said, Shown, Stands, Swept

SILENT_SECONDS: Final = 3.0
"""After so long without a word of an instance its members are shown away."""
DEAF_SECONDS: Final = 1.5
"""After so long without its own beats coming back an instance does not judge the silence of others."""
LEASE_SECONDS: Final = 10.0
"""For how long an instance must be silent, and Redis be there, before anybody looks whether it is gone."""
CLAIMED_SECONDS: Final = 3.0
"""How long the word of the one who sweeps is waited for, before what is gone is taken out without it."""
HOLD_SECONDS: Final = 10.0
"""How long a session that went to another instance is shown until that one shows it."""
PIECE: Final = 200
"""How many sessions are looked at before others have their turn."""
GONE: Final = 1000
"""How many instances that are gone are remembered, so that a late word of theirs shows nobody."""


class Lists:
    """The lists of all instances, as one of them knows them; it is called `me` in this life."""

    def __init__(self, me: str, rosters: Rosters, superseded: Callable[[str], None], *, alone: bool = False) -> None:
        """`superseded` is told of a session of this instance that goes on at another one.

        What `outbox` collects has to be sent, soon after `own` was stirred or this was told anything.
        """
        self.me = me
        self.alone = alone
        """Whether there can be no other instance, and nothing to tell."""
        self.rosters = rosters
        rosters.instance = me
        rosters.owned = None if alone else self
        self._superseded = superseded
        self.outbox: list[Message] = []
        self.own = OwnList()
        self.peers: dict[str, Peer] = {}
        self._proofs: dict[str, tuple[str, str]] = {}
        """Which session of which other instance a proof brings back."""
        self._gone: dict[str, float] = {}
        """Instances that were swept, and when they were told so last."""
        self._held: deque[tuple[float, str, ChannelKey, str, int]] = deque()
        """Entries of sessions that went elsewhere, and until when they are waited for there."""
        self._returning: deque[tuple[float, ChannelKey, str, int]] = deque()
        """Entries of sessions that came here, and until when they have to join again."""
        self._now = 0.0
        self._echo = 0.0
        """When a message of its own came back to this instance last: while none does, others are not silent."""
        self._jobs: deque[Iterator[None]] = deque()
        self.linked: float | None = None
        """Since when messages of others are heard; None while they are not."""
        self.ended: Callable[[str, str], None] = lambda account, session: None  # see `Presence.when_gone`
        self.reborn: Callable[[str], str] = lambda name: name + "'"
        """Returns the name of the next life."""

    # -- one's own list ------------------------------------------------------------------------------

    def _note(self, op: Op) -> None:
        if not self.alone:
            self.own.note(op)

    def opened(self, card: Opened) -> None:
        """A session of this instance is in an account, or what is said of it has changed.

        Where it comes from another instance, it is shown from now on wherever it was shown there.
        """
        known = self.own.cards.get(card.session)
        if known is None:
            self.own.cards[card.session] = Card(card)
        elif known.opened == card:
            return
        else:
            known.opened = card
        self._note(card)
        if known is None and card.move:
            self.rosters.moves[card.session] = card.move
            for channel in self.rosters.adopt(card.session, card.status, card.move):
                self._returning.append((self._now + HOLD_SECONDS, channel, card.session, card.move))

    def stands(self, session: str, status: str, *, cut: bool = False) -> None:
        """A session of this instance has another status, or its socket was cut, or is back."""
        self.rosters.status(session, "away" if cut else status)
        card = self.own.cards.get(session)
        if card is not None and (card.opened.status, card.opened.cut) != (status, cut):
            card.opened = standing(card.opened, status, cut=cut)
            self._note(Stands(session, status, cut))

    def closed(self, session: str, *, vanished: bool = False) -> None:
        """A session of this instance left, or with `vanished` its grace is over: it is shown nowhere any more."""
        self.rosters.expire(session, vanished=vanished)
        self.rosters.moves.pop(session, None)
        if self.own.cards.pop(session, None) is not None:
            self._note(Closed(session))

    def shown(self, channel: ChannelKey, session: str, who: Who, entry: Entry) -> None:
        """An entry of this instance is new or different: `Owned`, for the rosters."""
        card = self.own.cards.get(session)
        if card is not None:
            said = Shown(session, channel[1], entry.state, entry.since, entry.here, entry.on_drop)
            card.shown[channel[1]] = said
            self._note(said)

    def hidden(self, channel: ChannelKey, session: str, *, vanished: bool) -> None:
        """An entry of this instance is gone: `Owned`, for the rosters."""
        card = self.own.cards.get(session)
        if card is not None and card.shown.pop(channel[1], None) is not None:
            self._note(Hidden(session, channel[1]))

    def flush(self) -> None:
        """Tell what changed since the last time."""
        self.outbox += self.own.told(self.me)

    def next_page(self) -> bool:
        """Tell the next page of the own list, where somebody needs it; say whether there was one to tell."""
        if not self.own.serving:
            return False
        self.flush()
        page = self.own.page(self.me)
        if page is not None:
            self.outbox.append(page)
        return page is not None

    def farewell(self, seconds: float) -> None:
        """Tell what waits, and that this instance ends."""
        self.flush()
        self.outbox.append(Bye(self.me, seconds if self.own.cards else 0.0))

    # -- what comes from others ----------------------------------------------------------------------

    def link(self, *, connected: bool, now: float) -> None:
        """The others can be heard, or not any more. What they said meanwhile shows by its number."""
        self.linked = now if connected else None
        for peer in self.peers.values():
            peer.fetch = None
            peer.heard, peer.asked, peer.claimed = now, -ASK_SECONDS, None
        if connected:
            self.flush()
            self.outbox.append(Beat(self.me, self.own.number))

    def beat(self) -> None:
        """Tell the others that this instance is there, once a second."""
        self.flush()
        self.outbox.append(Beat(self.me, self.own.number))

    def heard(self, message: Message, now: float) -> None:
        """Take in what another instance said, or this one, whose messages come back as well."""
        sender = message.sender
        if sender == self.me:
            self._echo = now
            return
        if isinstance(message, Swept) and message.of == self.me:
            self._begin_again()
            return
        if sender in self._gone:
            if now - self._gone[sender] >= 1.0 and not isinstance(message, Bye):
                self._gone[sender] = now
                self.outbox.append(Swept(self.me, sender))
            return
        peer = self.peers.get(sender)
        if peer is None:
            peer = self.peers[sender] = Peer(sender, now)
        peer.heard, peer.claimed = now, None
        if peer.quiet and not peer.until:
            peer.quiet = False
            self._jobs.append(self._restate(peer))
        match message:
            case Said():
                self._said(peer, message, now)
            case Beat():
                if peer.whole and message.number != peer.number:
                    peer.whole = False
                if not peer.whole:
                    self._ask(peer, now)
            case Ask():
                if message.of == self.me:
                    self.own.serve(self.me)
            case Page():
                self._page(peer, message, now)
            case Bye():
                self._bye(peer, message.seconds, now)
            case Swept():
                if message.of in self.peers:
                    self._sweep(self.peers[message.of], acting=False)

    def _said(self, peer: Peer, message: Said, now: float) -> None:
        following = message.first == peer.number + 1
        if not following or not (peer.whole or peer.fetch is not None):
            if peer.whole and message.first + len(message.ops) - 1 <= peer.number:
                return  # it is known
            peer.whole, peer.fetch = False, None
            self._ask(peer, now)
            return
        taken: list[str] = []
        for op in message.ops:
            self._apply(peer, op, now, taken)
        peer.number += len(message.ops)
        self._take_leave(taken, now)

    def _apply(self, peer: Peer, op: Op, now: float, taken: list[str]) -> None:
        """Take one change into the copy and the rosters; collect sessions of this instance that are there now."""
        session, fetch = op.session, peer.fetch
        card = peer.cards.get(session)
        match op:
            case Opened():
                self._open(peer, card, op, taken)
                if fetch is not None:
                    fetch.seen.add(session)
            case Shown():
                if card is not None:
                    known, card.shown[op.channel] = card.shown.get(op.channel), op
                    if known != op:
                        entry = card.entry(op, peer.name, quiet=peer.quiet)
                        self.rosters.put((card.opened.account, op.channel), card.who, session, entry)
                    if fetch is not None and fetch.current == session:
                        fetch.stale.discard(op.channel)
            case Hidden():
                self._hide(peer, card, op.channel)
            case Stands():
                if card is not None:
                    card.opened = standing(card.opened, op.status, cut=op.cut)
                    if not peer.quiet:
                        self.rosters.status(session, card.status, peer.name)
            case Closed():
                self._close(peer, session, now, moved=op.moved)

    def _open(self, peer: Peer, card: Card | None, op: Opened, taken: list[str]) -> None:
        session = op.session
        if card is None:
            peer.cards[session] = Card(op)
        else:
            before, card.opened = card.opened, op
            self._forget_proof(before, peer.name)
            if (before.account, before.kind, before.rec, before.move) != (op.account, op.kind, op.rec, op.move):
                for channel in list(card.shown):
                    self.rosters.remove(peer.name, (before.account, channel), session)
                card.shown.clear()
            elif not peer.quiet:
                self.rosters.status(session, card.status, peer.name)
        if op.proof:
            self._proofs[op.proof] = (peer.name, session)
        mine = self.own.cards.get(session)
        if mine is not None and (op.move, peer.name) > (mine.opened.move, self.me):
            taken.append(session)

    def _take_leave(self, sessions: list[str], now: float) -> None:
        """Sessions of this instance go on elsewhere: what they are shown in stays until it is shown there."""
        for session in sessions:
            card = self.own.cards.pop(session, None)
            if card is None:
                continue
            self.rosters.moves.pop(session, None)
            self._note(Closed(session, moved=True))
            for channel in card.shown:
                self._held.append(
                    (now + HOLD_SECONDS, self.me, (card.opened.account, channel), session, card.opened.move)
                )
            self._superseded(session)

    def _hide(self, peer: Peer, card: Card | None, channel: str) -> None:
        if card is not None and card.shown.pop(channel, None) is not None:
            self.rosters.remove(peer.name, (card.opened.account, channel), card.opened.session)

    def _close(self, peer: Peer, session: str, now: float, *, moved: bool) -> None:
        card = peer.cards.pop(session, None)
        if card is None:
            return
        self._forget_proof(card.opened, peer.name)
        for channel in card.shown:
            key = (card.opened.account, channel)
            if moved:
                self._held.append((now + HOLD_SECONDS, peer.name, key, session, card.opened.move))
            else:
                self.rosters.remove(peer.name, key, session)

    def _forget_proof(self, opened: Opened, name: str) -> None:
        if self._proofs.get(opened.proof) == (name, opened.session):
            del self._proofs[opened.proof]

    # -- whole lists ---------------------------------------------------------------------------------

    def _ask(self, peer: Peer, now: float) -> None:
        if now - peer.asked >= ASK_SECONDS:
            peer.asked = now
            peer.fetch = None
            self.outbox.append(Ask(self.me, peer.name))

    def _page(self, peer: Peer, page: Page, now: float) -> None:
        if page.index == 0 and page.number != peer.number:
            peer.whole = False
        if peer.whole:
            return
        if page.index == 0:
            peer.fetch, peer.number = Fetch(), page.number
        fetch = peer.fetch
        if fetch is None:
            return
        if fetch.index != page.index or page.number != peer.number:
            peer.fetch = None
            self._ask(peer, now)
            return
        fetch.index += 1
        peer.asked = now
        taken: list[str] = []
        for op in page.ops:
            if isinstance(op, Opened):
                self._next(peer, fetch, op.session)
            self._apply(peer, op, now, taken)
        self._take_leave(taken, now)
        if page.last:
            self._next(peer, fetch, "")
            peer.whole, peer.fetch, peer.asked = True, None, -ASK_SECONDS
            for session in [session for session in peer.cards if session not in fetch.seen]:
                self._close(peer, session, now, moved=False)

    def _next(self, peer: Peer, fetch: Fetch, session: str) -> None:
        """The list goes on to a session: where the one before it is shown on the copy alone, it is no longer."""
        for channel in fetch.stale:
            self._hide(peer, peer.cards.get(fetch.current), channel)
        card = peer.cards.get(session)
        fetch.current, fetch.stale = session, set(card.shown) if card is not None else set()

    # -- silence, and the end ------------------------------------------------------------------------

    def tick(self, now: float) -> list[str]:
        """Look who is silent, some times a second; return who may be gone: whose lease has to be looked at."""
        self._now = now
        while self._returning and self._returning[0][0] <= now:
            _, channel, session, move = self._returning.popleft()
            self.rosters.settle(channel, session, move)
        while self._held and self._held[0][0] <= now:
            _, name, channel, session, move = self._held.popleft()
            self.rosters.remove(name, channel, session, move=move)
        if self.linked is None or now - self._echo > DEAF_SECONDS:
            return []
        suspects: list[str] = []
        for peer in self.peers.values():
            silent = now - peer.heard
            if silent > SILENT_SECONDS and not peer.quiet:
                peer.quiet = True
                self._jobs.append(self._restate(peer))
            if not peer.whole and silent <= SILENT_SECONDS:
                self._ask(peer, now)
            if (now >= peer.until if peer.until else silent >= LEASE_SECONDS) and now - self.linked >= LEASE_SECONDS:
                suspects.append(peer.name)
        return suspects

    def lapsed(self, name: str, now: float, *, mine: bool) -> None:
        """The lease of an instance has lapsed, and its end was claimed: by this instance, or by another one."""
        peer = self.peers.get(name)
        if peer is None:
            return
        if mine:
            self.outbox.append(Swept(self.me, name))
            self._sweep(peer, acting=True)
        elif peer.claimed is None:
            peer.claimed = now
        elif now - peer.claimed >= CLAIMED_SECONDS:
            self._sweep(peer, acting=False)

    def _bye(self, peer: Peer, seconds: float, now: float) -> None:
        if not peer.cards and peer.whole:
            self._sweep(peer, acting=False)
            return
        peer.until, peer.quiet = now + seconds, True
        self._jobs.append(self._restate(peer))

    def _sweep(self, peer: Peer, *, acting: bool) -> None:
        del self.peers[peer.name]
        self._gone[peer.name] = -1.0
        if len(self._gone) > GONE:
            del self._gone[next(iter(self._gone))]
        self._jobs.append(self._clear(peer, acting=acting))

    def _begin_again(self) -> None:
        """This instance was taken for dead: what it has is a new list, under a new name."""
        before, self.me = self.me, self.reborn(self.me)
        self.rosters.rename(before, self.me, self.own.cards)
        self.own.begin_again()
        self.outbox.append(Beat(self.me, self.own.number))

    def _restate(self, peer: Peer) -> Iterator[None]:
        """Show the members of an instance as it says they are, or away while it is silent."""
        for n, session in enumerate(list(peer.cards)):
            card = peer.cards.get(session)
            if card is not None:
                self.rosters.status(session, "away" if peer.quiet else card.status, peer.name)
            if n % PIECE == PIECE - 1:
                yield

    def _clear(self, peer: Peer, *, acting: bool) -> Iterator[None]:
        """Take out everything that an instance had."""
        for n, (session, card) in enumerate(peer.cards.items()):
            self._forget_proof(card.opened, peer.name)
            for channel in card.shown:
                key = (card.opened.account, channel)
                self.rosters.remove(peer.name, key, session, vanished=True, acting=acting)
            if acting:
                self.ended(card.opened.account, session)
            if n % PIECE == PIECE - 1:
                yield

    @property
    def busy(self) -> bool:
        """Whether there is work to do, or pages to tell."""
        return bool(self._jobs) or self.own.serving

    def work(self) -> bool:
        """Do a piece of what there is to do; say whether there is more."""
        while self._jobs:
            try:
                next(self._jobs[0])
            except StopIteration:
                self._jobs.popleft()
            else:
                return True
        return False

    # -- sessions elsewhere --------------------------------------------------------------------------

    def elsewhere(self, proof: str) -> Opened | None:
        """Return the session of another instance that a proof brings back, as it was said; None where there is none."""
        found = self._proofs.get(proof)
        if found is None:
            return None
        peer = self.peers.get(found[0])
        card = peer.cards.get(found[1]) if peer is not None else None
        return card.opened if card is not None else None

"""What an instance holds of lists: the sessions on them, its own numbered list, and the copies of all others'."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from channels.rooms import Entry, Who
from storage.presence import Op, Opened, Page, Said, Shown

ASK_SECONDS: Final = 2.0
"""How long the first page of a list is waited for, and the next one."""
OPS: Final = 50
"""How many changes one message tells at most."""


@dataclass(slots=True)
class Card:
    """A session on a list. `shown` is where it is shown, by the name of the channel."""

    opened: Opened
    shown: dict[str, Shown] = field(default_factory=dict)

    @property
    def who(self) -> Who:
        return Who(self.opened.kind, self.opened.rec, self.opened.name)

    @property
    def status(self) -> str:
        return "away" if self.opened.cut else self.opened.status

    def entry(self, shown: Shown, instance: str, *, quiet: bool) -> Entry:
        """Return what others see of it in a channel."""
        status = "away" if quiet else self.status
        return Entry(shown.state, status, shown.since, shown.here, instance, self.opened.move, shown.on_drop)


@dataclass(slots=True)
class Fetch:
    """A whole list that is coming in: the next page, and the sessions on those before.

    `stale` is where the copy shows the session `current`, the last on these pages, and the list did not yet.
    """

    index: int = 0
    seen: set[str] = field(default_factory=set)
    current: str = ""
    stale: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Peer:
    """Another instance: the copy of its list up to `number`, and what is known of it."""

    name: str
    heard: float
    number: int = 0
    whole: bool = True
    """Whether nothing of the list is missing."""
    cards: dict[str, Card] = field(default_factory=dict)
    quiet: bool = False
    """Whether its members are shown away."""
    until: float = 0.0
    """It took leave, and its sessions may come back until then."""
    fetch: Fetch | None = None
    asked: float = -ASK_SECONDS
    claimed: float | None = None
    """When somebody else was found to have claimed it."""


class OwnList:
    """The list of this instance: what changed and is not told yet, and the pages that somebody asked for."""

    def __init__(self) -> None:
        self.cards: dict[str, Card] = {}
        self.number = 0
        """Of the last change that was told."""
        self.stirred: Callable[[], None] = lambda: None
        """Called when there is something to tell, and was nothing before."""
        self._fresh: list[Op] = []
        self._pages: Iterator[Page] | None = None
        self._again = False

    def note(self, op: Op) -> None:
        """Have a change told."""
        self._fresh.append(op)
        if len(self._fresh) == 1:
            self.stirred()

    def told(self, sender: str) -> Iterator[Said]:
        """Yield the messages that tell what changed since the last time."""
        fresh, self._fresh = self._fresh, []
        for start in range(0, len(fresh), OPS):
            some = tuple(fresh[start : start + OPS])
            yield Said(sender, self.number + 1, some)
            self.number += len(some)

    def begin_again(self) -> None:
        """Another life begins: the whole list is new, and is to be asked for."""
        self._fresh.clear()
        self._pages, self._again = None, False
        self.number = sum(1 + len(card.shown) for card in self.cards.values())

    @property
    def serving(self) -> bool:
        """Whether there are pages to tell."""
        return self._pages is not None

    def serve(self, sender: str) -> None:
        """Somebody needs the whole list."""
        if self._pages is None:
            self._pages = self._paged(sender)
        else:
            self._again = True

    def page(self, sender: str) -> Page | None:
        """Return the next page, which stands behind all that was told; None where there is none."""
        page = next(self._pages, None) if self._pages is not None else None
        if page is None or page.last:
            self._pages = self._paged(sender) if self._again else None
            self._again = False
        return page

    def _paged(self, sender: str) -> Iterator[Page]:
        index, some = 0, list[Opened | Shown]()
        for session in list(self.cards):
            known = self.cards.get(session)
            for channel in () if known is None else (None, *known.shown):
                if len(some) >= OPS:
                    yield Page(sender, self.number, index, tuple(some), last=False)
                    index, some = index + 1, []
                # What came since the list was begun was told, and what went is not there any more.
                card = self.cards.get(session)
                op = None if card is None else card.opened if channel is None else card.shown.get(channel)
                if op is not None:
                    some.append(op)
        yield Page(sender, self.number, index, tuple(some), last=True)


def standing(opened: Opened, status: str, *, cut: bool) -> Opened:
    """Return what is said of a session, with another status."""
    return Opened(
        opened.session, opened.account, opened.kind, opened.rec, opened.name, opened.source, opened.credential, status,
        opened.move, opened.proof, cut,
    )  # fmt: skip

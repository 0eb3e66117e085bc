"""Who is in a channel, kept by the hub's pushes. Pure: messages in, what changed out.

`version` counts the pushes of this join on this socket; a hole means that something was missed. The list of a large
channel comes in pages. Every change since the join is pushed, so of a member a push knows better than a page; who was
known before and is on no page has left, which is told when the list is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

Member = dict[str, Any]


class Hole(Exception):
    """A push is missing: join again."""


@dataclass(frozen=True, slots=True)
class RosterChange:
    """What became different."""

    joined: tuple[Member, ...] = ()
    updated: tuple[Member, ...] = ()
    left: tuple[Member, ...] = ()
    count: int | None = None
    """How many there are, where the hub told that."""

    def __bool__(self) -> bool:
        return bool(self.joined or self.updated or self.left or self.count is not None)


def _key(member: Mapping[str, Any]) -> tuple[str, str]:
    return member["kind"], member["rec"]


class Roster:
    """The members of one channel."""

    def __init__(self) -> None:
        self.members: dict[tuple[str, str], Member] = {}
        """By kind and record, in the order they came."""
        self.version: int | None = None
        """The number of the last push applied; None without a join on the present socket."""
        self._told: int | None = None
        """How many there are, as the hub told last; None: as many as `members`."""
        self._listed: dict[tuple[str, str], None] = {}
        """Who was on a page since the join, in the hub's order; kept until the list is whole, as is the next one."""
        self._pushed: set[tuple[str, str]] = set()
        """Of whom pushes told since the join."""
        self._whole = True

    @property
    def count(self) -> int:
        """How many there are; `members` are fewer while their list is read, and where only their number is told."""
        return len(self.members) if self._told is None else self._told

    def open(
        self, members: list[Member], version: int, count: int | None = None, next_: str | None = None
    ) -> RosterChange:
        """Take the answer of `channel.join`; the change holds what the former socket did not know any more.

        With `next_` the list goes on with `page`, and nobody has left before it ends.
        """
        self.version, self._told, self._whole = version, count, False
        self._listed.clear()
        self._pushed.clear()
        return replace(self._list(members, next_), count=count)

    def page(self, members: list[Member], next_: str | None) -> RosterChange:
        """Take the next page of the list."""
        if next_ is None:
            self._told = None
        return self._list(members, next_)

    def _list(self, members: list[Member], next_: str | None) -> RosterChange:
        joined: list[Member] = []
        updated: list[Member] = []
        for listed in members:
            key = _key(listed)
            known = self.members.get(key)
            member = known if key in self._pushed else listed
            if member is None:
                continue  # has left since
            self.members[key] = member
            self._listed.pop(key, None)  # who came back is on a later page too, and stands there
            self._listed[key] = None
            if known is None:
                joined.append(member)
            elif known != member:
                updated.append(member)
        left = self._close() if next_ is None else ()
        return RosterChange(tuple(joined), tuple(updated), left)

    def _close(self) -> tuple[Member, ...]:
        """Note that the list is whole: bring the members into its order, and return who has left."""
        old, listed, pushed = self.members, self._listed, self._pushed
        order = [*listed, *(key for key in old if key in pushed and key not in listed)]
        self.members = {key: old[key] for key in order}
        self._listed, self._pushed, self._whole = {}, set(), True
        return tuple(member for key, member in old.items() if key not in self.members)

    def push(self, version: int, events: list[dict[str, Any]], count: int | None = None) -> RosterChange:
        """Take a `presence` push; raise `Hole` where one is missing before it."""
        if self.version is None or version <= self.version:
            return RosterChange()
        if version != self.version + 1:
            raise Hole
        self.version = version
        if count is not None:
            self._told = count
        joined: list[Member] = []
        updated: list[Member] = []
        left: list[Member] = []
        for event in events:
            member = event["member"]
            key = _key(member)
            known = self.members.get(key)
            if not self._whole:
                self._pushed.add(key)
            if event["kind"] == "leave":
                self.members.pop(key, None)
                self._listed.pop(key, None)
                left.append(known or member)
            else:
                self.members[key] = member
                (joined if known is None else updated).append(member)
        return RosterChange(tuple(joined), tuple(updated), tuple(left), count)

    def lost(self) -> None:
        """Note that the socket is gone; the members stay as last seen."""
        self.version = None

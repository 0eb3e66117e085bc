"""Who is in a channel, kept by the hub's pushes. Pure: messages in, what changed out.

`version` counts the pushes of this join on this socket; a hole means that something was missed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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

    def __bool__(self) -> bool:
        return bool(self.joined or self.updated or self.left)


def _key(member: Mapping[str, Any]) -> tuple[str, str]:
    return member["kind"], member["rec"]


class Roster:
    """The members of one channel."""

    def __init__(self) -> None:
        self.members: dict[tuple[str, str], Member] = {}
        """By kind and record, in the order they came."""
        self.version: int | None = None
        """The number of the last push applied; None without a join on the present socket."""

    def open(self, members: list[Member], version: int) -> RosterChange:
        """Take the answer of `channel.join`; the change holds what the former socket did not know any more."""
        old = self.members
        self.version = version
        self.members = {_key(member): member for member in members}
        return RosterChange(
            tuple(m for key, m in self.members.items() if key not in old),
            tuple(m for key, m in self.members.items() if key in old and old[key] != m),
            tuple(m for key, m in old.items() if key not in self.members),
        )

    def push(self, version: int, events: list[dict[str, Any]]) -> RosterChange:
        """Take a `presence` push; raise `Hole` where one is missing before it."""
        if self.version is None or version <= self.version:
            return RosterChange()
        if version != self.version + 1:
            raise Hole
        self.version = version
        joined: list[Member] = []
        updated: list[Member] = []
        left: list[Member] = []
        for event in events:
            member = event["member"]
            known = self.members.get(_key(member))
            if event["kind"] == "leave":
                self.members.pop(_key(member), None)
                left.append(known or member)
            else:
                self.members[_key(member)] = member
                (joined if known is None else updated).append(member)
        return RosterChange(tuple(joined), tuple(updated), tuple(left))

    def lost(self) -> None:
        """Note that the socket is gone; the members stay as last seen."""
        self.version = None

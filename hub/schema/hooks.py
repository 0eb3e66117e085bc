"""Declaring what a pack has to say before and after a commit, and of who comes and goes. Values only: the hub collects
them from the packs.

@before_commit(Booking)
def measure(change: Change) -> dict[str, Any] | None:
    "Refuse what cannot be, or say what is to be set besides."

A `before_commit` hook runs inside the write transaction, which a group of commits may try twice: it is pure, looks at
nothing but its argument, and waits for nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from hub.schema.fields import DeclarationError
from hub.schema.record import Image, Record, RecordType, type_of


@dataclass(frozen=True, slots=True)
class Change:
    """One changed record as a hook sees it: copies, without secret fields.

    `kind` is create, import, update, delete, restore or purge. `before` is None for a creation, `after` for a purge.
    `actor` is the user's id.
    """

    kind: str
    type: str
    before: Image | None
    after: Image | None
    actor: str | None


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook as the hub works with it: when it runs, and for records of which types."""

    when: Literal["before", "after"]
    types: tuple[RecordType, ...]
    run: Callable[[Change], Any]


_F = TypeVar("_F", bound=Callable[[Change], Any])


def _hook(when: Literal["before", "after"], kinds: tuple[type[Record], ...]) -> Callable[[_F], _F]:
    def declare(function: _F) -> _F:
        name = getattr(function, "__qualname__", repr(function))
        if not kinds:
            raise DeclarationError(f"hook {name}: name the record types that it is for")
        if inspect.iscoroutinefunction(function) or len(inspect.signature(function).parameters) != 1:
            raise DeclarationError(f"hook {name}: write `def {name}(change: Change)`, not async")
        hook = Hook(when, tuple(type_of(kind) for kind in kinds), function)
        setattr(function, "__hook__", hook)  # noqa: B010  # how the registry finds it
        return function

    return declare


def before_commit(*kinds: type[Record]) -> Callable[[_F], _F]:
    """Declare a function `(Change) -> dict | None` that runs before records of these types change.

    It may raise `HubError`, which refuses the write, and return fields (by wire name, `read_only` ones too) that are
    set besides; those of a deletion, restore or purge are ignored. Raises `DeclarationError`.
    """
    return _hook("before", kinds)


def after_commit(*kinds: type[Record]) -> Callable[[_F], _F]:
    """Declare a function `(Change) -> None` that is told of committed changes of these types.

    It runs on the loop of the instance that committed, after the answer, at most once, and must not wait. What has to
    happen for certain follows the log instead. What it raises is logged. Raises `DeclarationError`.
    """
    return _hook("after", kinds)


@dataclass(frozen=True, slots=True)
class Visit:
    """That a member came to a channel with its first session, or left it with its last one.

    `channel` is its name, `rec` what stands behind the namespace: for the channel of a record its id. `member` is the
    public id of a user or a device, as `member_kind` says; `since` is when it came.
    """

    kind: Literal["join", "leave"]
    channel: str
    rec: str
    member_kind: str
    member: str
    name: str
    since: str


@dataclass(frozen=True, slots=True)
class VisitHook:
    """A hook on who comes or goes, in the channels of which namespaces."""

    kind: Literal["join", "leave"]
    name: str
    namespaces: tuple[str, ...]
    run: Callable[[Any, Visit], Awaitable[None]]


_V = TypeVar("_V", bound=Callable[[Any, Visit], Awaitable[None]])


def _visit_hook(kind: Literal["join", "leave"], places: tuple[type[Record] | str, ...]) -> Callable[[_V], _V]:
    def declare(function: _V) -> _V:
        name = getattr(function, "__qualname__", repr(function))
        if not places:
            raise DeclarationError(f"hook {name}: name the record types or namespaces that it is for")
        waits = inspect.iscoroutinefunction(function)
        if not waits or len(inspect.signature(function).parameters) != 2:
            raise DeclarationError(f"hook {name}: write `async def {name}(ctx: Context, visit: Visit)`")
        namespaces = tuple(place if isinstance(place, str) else type_of(place).name for place in places)
        hook = VisitHook(kind, f"{function.__module__}.{name}", namespaces, function)
        setattr(function, "__visit_hook__", hook)  # noqa: B010  # how the registry finds it
        return function

    return declare


def on_join(*places: type[Record] | str) -> Callable[[_V], _V]:
    """Declare an `async (Context, Visit) -> None` that is told when a member comes to a channel.

    `places` are record types or namespaces. One instance runs it for all, in the hub's own name; it may submit once,
    and what it commits is committed once for each visit, however often it is run. Raises `DeclarationError`.
    """
    return _visit_hook("join", places)


def on_leave(*places: type[Record] | str) -> Callable[[_V], _V]:
    """Declare the same for the last session of a member that leaves a channel, after the grace where it broke off."""
    return _visit_hook("leave", places)

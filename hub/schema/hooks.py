"""Declaring what a pack has to say before and after a commit. Values only: the hub collects them from the packs.

@before_commit(Booking)
def measure(change: Change) -> dict[str, Any] | None:
    "Refuse what cannot be, or say what is to be set besides."

A `before_commit` hook runs inside the write transaction, which a group of commits may try twice: it is pure, looks at
nothing but its argument, and waits for nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
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

"""What keepers work out of record types, kept for the next keeper of the same types in this process.

A start of a hub works out its tables and statements once, in a tenth of a second. Tests that start a keeper each, by
the hundred, would spend most of their time there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from hub.schema.registry import Registry
from storage.mariadb import keeper
from storage.sql import sqlite


def _kept(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return what makes tables or statements, once for the same types."""
    made: dict[tuple[Any, ...], Any] = {}

    def maker(registry: Registry, *more: Any) -> Any:
        if len(made) > 16:
            made.clear()
        key = (*registry.types.items(), *more)
        if key not in made:
            made[key] = make(registry, *more)
        return made[key]

    return maker


@contextlib.contextmanager
def prepared_once() -> Iterator[None]:
    """Let keepers share what they work out, until the end of the context."""
    with contextlib.ExitStack() as patches:
        for module in (sqlite, keeper):
            for name in ("Tables", "Statements"):
                patches.enter_context(patch.object(module, name, _kept(getattr(module, name))))
        yield

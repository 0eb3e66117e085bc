"""What a pack's hook after a commit does wrong is logged, and harms neither the next hook nor the next change."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from channels.after import AfterCommit
from hub.schema.hooks import Change, after_commit
from hub.schema.registry import Registry
from hub.schema.writes import ChangeRow, ChangeSet
from tests.storage.declared import KINDS, Box

SEEN: list[str] = []


@after_commit(Box)
def broken(change: Change) -> None:
    """Spoil what it is shown, and raise."""
    if change.after is not None:
        change.after.clear()
    raise RuntimeError("a hook that is broken")


@after_commit(Box)
def watchful(change: Change) -> None:
    """Note what it is shown."""
    SEEN.append(str((change.after or {}).get("id")))


def _created(seq: int, rec: str) -> ChangeSet:
    image: dict[str, Any] = {"id": rec, "type": "box", "version": 1}
    return ChangeSet("A" * 11, seq, "", None, None, None, (ChangeRow(0, "box", rec, "create", 1, image, None),))


def test_a_broken_hook_is_logged_and_the_others_hear_of_everything(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    for kind in KINDS:
        registry.add_type(kind)
    for hook in (broken, watchful):
        registry.add_hook(hook.__hook__)  # type: ignore[attr-defined]  # where the declaration left it
    SEEN.clear()
    with caplog.at_level(logging.ERROR, "hub.hooks"):
        AfterCommit(registry).tell([_created(1, "one"), _created(2, "two")])
    assert SEEN == ["one", "two"]
    assert [(r.getMessage().split(" of ")[0], r.exc_info is not None) for r in caplog.records] == [
        ("a hook after commit 1", True),
        ("a hook after commit 2", True),
    ]

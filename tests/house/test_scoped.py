"""Operations read records through `Call`, which adds the caller's account and row rules; never past it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import handlers.base
from handlers.modules import MODULES

READS: Final = frozenset({"get", "find", "search", "aggregate", "history", "changes", "lookup", "matching"})
PAST: Final = {
    ("handlers.history", "history"): "of a record that was looked up through the call",
    ("handlers.files", "find"): "over all accounts that somebody may enter, within their rules in each",
}
"""Where an operation asks storage itself, and why it may."""


def asked_of_storage(source: str) -> list[str]:
    """Return the reads that a module asks of a keeper itself."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in READS:
            owner = node.value
            name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            if name.endswith("storage"):
                found.append(node.attr)
    return found


def test_no_operation_reads_past_the_call() -> None:
    handlers_of = Path(handlers.base.__file__).parent
    found = {
        (module, read)
        for module in MODULES
        for read in asked_of_storage((handlers_of / f"{module.partition('.')[2]}.py").read_text("utf-8"))
    }
    assert found == PAST.keys(), "read through call.get, find, search or aggregate"


def test_the_check_sees_a_read_past_the_call() -> None:
    assert asked_of_storage("await call.services.storage.get(call.account, kind, ids)") == ["get"]
    assert asked_of_storage("storage = s.storage\nawait storage.find(account, query)") == ["find"]
    assert asked_of_storage("await call.find(query)") == []

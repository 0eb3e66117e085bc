"""The tables of error and close codes against the source: every code that is used stands in its table, and back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.wire import close
from hub.wire.errors import KINDS, HubError

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("hub", "channels", "handlers", "storage", "packs")

# Codes of operations that come later; they are in the table because the wire promises them.
PROMISED = {
    "action.cancelled",
    "file.type",
    "frame.too_large",
    "lock.held",
    "watch.too_large",
}
WIRE = """
    frame.malformed frame.too_large op.unknown data.invalid type.unknown where.invalid where.not_watchable
    order.invalid cursor.invalid key.reused account.required auth.required auth.invalid auth.expired access.denied
    record.not_found record.conflict record.exists relation.restricted batch.too_large watch.too_many watch.too_large
    channel.unknown state.too_large command.absent command.timeout call.unknown lock.held action.unknown action.failed
    action.cancelled action.timeout file.mismatch file.too_large file.type storage.full write.unknown rate.limited
    server.unavailable server.draining server.error
"""
ADDED = {
    "lookup.unknown",
    "lookup.too_large",
    "message.too_large",
    "command.unknown",
    "command.failed",
    "secret.unreadable",
}
"""What came after the design was written: the wire changes only by adding."""


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for room in ROOMS:
        for path in sorted((REPOSITORY / room).rglob("*.py")):
            yield path, ast.parse(path.read_text("utf-8"))


def codes_raised() -> dict[str, list[str]]:
    """Return every code that the source builds a `HubError` with, and where."""
    found: dict[str, list[str]] = {}
    for path, tree in _trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "HubError"):
                continue
            for given in node.args[:1]:
                for part in ast.walk(given):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        found.setdefault(part.value, []).append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    return found


def close_codes_used() -> dict[int, list[str]]:
    """Return every number from 1000 to 4999 that the edge and the handlers hand to a `close` or `shut`."""
    found: dict[int, list[str]] = {}
    for path, tree in _trees():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name | ast.Attribute):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            first = node.args[0] if node.args else None
            if name not in {"close", "shut", "closing", "Close"} or not isinstance(first, ast.Constant):
                continue
            if isinstance(first.value, int):
                found.setdefault(first.value, []).append(f"{path.relative_to(REPOSITORY)}:{node.lineno}")
    return found


def test_the_table_holds_exactly_the_codes_of_the_wire() -> None:
    assert sorted(KINDS) == sorted({*WIRE.split(), *ADDED})


def test_every_code_that_is_raised_stands_in_the_table() -> None:
    raised = codes_raised()
    assert len(raised) > 20, "a scan that finds nothing would always be green"
    assert {code: places for code, places in raised.items() if code not in KINDS} == {}


def test_every_code_of_the_table_is_raised_or_promised() -> None:
    unused = set(KINDS) - set(codes_raised()) - PROMISED
    assert unused == {"frame.malformed"} - set(codes_raised()), "frame.malformed is raised as Undecodable"


def test_a_code_that_is_not_in_the_table_cannot_be_raised() -> None:
    with pytest.raises(KeyError):
        HubError("no.such")


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_each_row_says_what_it_means_and_has_a_fitting_status(kind: object) -> None:
    from hub.wire.errors import ErrorKind

    assert isinstance(kind, ErrorKind)
    assert kind.meaning.endswith(".")
    assert 400 <= kind.http <= 599
    assert kind.http < 500 or kind.retry, "what is the server's fault may be tried again"


def test_a_refusal_carries_exactly_what_the_wire_says() -> None:
    plain = HubError("data.invalid", "No.")
    assert plain.body() == {"code": "data.invalid", "message": "No."}
    full = HubError("rate.limited", path="a", details={"n": 1}, retry_after=2).at("ops.3")
    assert full.body() == {
        "code": "rate.limited",
        "message": KINDS["rate.limited"].meaning,
        "path": "ops.3.a",
        "details": {"n": 1},
        "retry_after": 2,
    }
    assert plain.at("ops.3").path == "ops.3"


def test_every_close_code_in_use_has_a_meaning() -> None:
    declared = {value.code: name for name, value in vars(close).items() if isinstance(value, close.Close)}
    assert set(declared) == set(close.MEANINGS)
    assert {code: places for code, places in close_codes_used().items() if code not in declared} == {}


def test_the_reasons_fit_into_a_close_frame() -> None:
    reasons = [value.reason for value in vars(close).values() if isinstance(value, close.Close)]
    assert [reason for reason in reasons if len(reason.encode()) > 123 or not reason] == []


@pytest.mark.parametrize("code", sorted(close.MEANINGS))
def test_the_range_of_a_close_code_says_whether_to_come_back(code: int) -> None:
    again = code in {1011, 1012, 1013} or 4400 <= code <= 4499
    assert close.comes_back(code) == again
    if code != close.NORMAL.code:
        assert ("Come back" in close.MEANINGS[code]) == (again or code == close.NOT_AUTHENTICATED.code)

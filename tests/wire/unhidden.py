"""Field hiding taken out, one place at a time: what the leak check of hidden fields must notice.

Every line of the hub that asks `Rights` what is hidden is found in its source (`asking`), so that a new one without a
question that depends on it turns the suite red. `WITHIN` are the places inside of `hub.access` themselves.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from channels.watches import WatchQuery
from hub.access import Identity, Rights, RightsTable
from hub.schema.record import RecordType

_HOME: Final = Path(__file__).resolve().parents[2]
_OF_RIGHTS: Final = frozenset({"hidden", "view", "check_fields", "check_writable", "shut"})
_OF_WATCHES: Final = frozenset({"view", "visible"})
HARMLESS: Final = {("channels/watches.py", "is_seen_by"): "with less hidden the watch is ended, not shown"}
"""Places that cannot leak by themselves, with the reason."""


@dataclass(frozen=True)
class Site:
    """A line that asks what is hidden. `passed`: it hands the question on to others, who ask it."""

    file: str
    function: str
    first: int
    last: int
    what: str
    passed: bool

    def __str__(self) -> str:
        return f"{self.file}: {self.function}: {self.what} (line {self.first})"

    def asks(self, depth: int = 2) -> bool:
        """Say whether the caller of our caller is this line; where it is passed on, whether it is further up."""
        frame = sys._getframe(depth)
        path = str(_HOME / self.file)
        for _ in range(12 if self.passed else 1):
            if frame.f_code.co_filename == path and self.first <= frame.f_lineno <= self.last:
                return True
            if frame.f_back is None:
                break
            frame = frame.f_back
        return False


def asking() -> list[Site]:
    """Return every line of the hub that asks what is hidden from somebody, or shows a record by that."""
    files = [file for room in ("handlers", "channels", "hub") for file in sorted((_HOME / room).rglob("*.py"))]
    found = [site for file in files if "cli" not in file.parts for site in _asking(file)]
    return [site for site in found if (site.file, site.function) not in HARMLESS]


def _asking(file: Path) -> Iterator[Site]:
    tree = ast.parse(file.read_text())
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    name = file.relative_to(_HOME).as_posix()
    of_watches = _OF_WATCHES if name.startswith("channels/") else frozenset()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if not isinstance(node, ast.Attribute):
                continue
            asked = ast.unparse(node.value).rpartition(".")[2]
            of_rights = asked in {"rights", "_rights"} and node.attr in _OF_RIGHTS
            if of_rights or (asked in {"query", "self"} and node.attr in of_watches):
                passed = id(node) not in called and node.attr not in {"shut", "visible"}
                yield Site(name, function.name, node.lineno, node.end_lineno or 0, node.attr, passed)


def _bare(kind: RecordType) -> frozenset[str]:
    """Return what is in no image, which nobody could be shown."""
    return frozenset(wire for wire, spec in kind.fields.items() if spec.option.concealed)


def take_out(site: Site, patch: pytest.MonkeyPatch) -> None:
    """Let one line be answered that nothing is hidden."""
    of_watches = site.what in _OF_WATCHES and site.file.startswith("channels")
    home: Any = WatchQuery if of_watches else Rights
    before: Any = home.__dict__[site.what]
    if site.what == "visible":
        patch.setattr(home, site.what, property(lambda self: None if site.asks() else before.func(self)))
    elif site.what == "shut":
        patch.setattr(home, site.what, property(lambda self: before.func(_seeing(self) if site.asks() else self)))
    elif of_watches:
        patch.setattr(home, site.what, lambda self, image: image if site.asks() else before(self, image))
    else:
        patch.setattr(
            home, site.what, lambda self, *given, **more: before(_seeing(self) if site.asks() else self, *given, **more)
        )


# -- inside of the rights themselves -------------------------------------------------------------------


def _of_rung(self: RightsTable, mine: int, role: str) -> Rights:
    return _seeing(_OF_RUNG(self, mine, role))


def _of_set(self: RightsTable, role: str, held: frozenset[str]) -> Rights:
    return _seeing(_OF_SET(self, role, held))


def _narrowed(self: RightsTable, rights: Rights, scopes: tuple[str, ...]) -> Rights:
    return _seeing(_NARROWED(self, rights, scopes))


def _both(self: RightsTable, one: Rights, other: Rights) -> Rights:
    made = _BOTH(self, one, other)
    return Rights(self.registry, made.role, made.permissions, one._hidden, self._rules)


_OF_RUNG, _OF_SET, _NARROWED, _BOTH = (
    RightsTable._of_rung, RightsTable._of_set, RightsTable.narrowed, RightsTable.both,
)  # fmt: skip


def _seeing(rights: Rights) -> Rights:
    hidden = {name: _bare(kind) for name, kind in rights.registry.types.items()}
    return Rights(rights.registry, rights.role, rights.permissions, hidden, rights._least)


def _fingerprint(self: Rights) -> str:
    return hashlib.sha256("\n".join([self.registry.hash, *sorted(self.permissions)]).encode()).hexdigest()[:16]


_SIGHT: Final = Rights.sight
_SEEN_BY: Final = WatchQuery.is_seen_by


def _is_seen_by(self: WatchQuery, rights: Rights, identity: Identity) -> bool:
    read, _, rule = _SIGHT(rights, self.type, identity, self.account)
    return (read, rule) == (self.rights.allows(f"{self.type.name}.read"), self.rule)


def _unhidden(method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *given, **more: method(_seeing(self), *given, **more)


WITHIN: Final[dict[str, tuple[Any, str, Callable[..., Any] | property]]] = {
    "own roles": (RightsTable, "_of_set", _of_set),
    "keys that may less": (RightsTable, "narrowed", _narrowed),
    "keys that act for others": (RightsTable, "both", _both),
    "what tells rights apart": (Rights, "fingerprint", property(_fingerprint)),
    "whose watch goes on": (WatchQuery, "is_seen_by", _is_seen_by),
    "what is shown": (Rights, "view", _unhidden(Rights.view)),
    "fields that are named": (Rights, "check_fields", _unhidden(Rights.check_fields)),
    "fields that are written": (Rights, "check_writable", _unhidden(Rights.check_writable)),
}
"""By what is taken out: where it is, its name, and what stands there instead."""

"""Row rules, bound to somebody: of which records of a type they may do what. Pure.

A rule is a filter (`hub.schema.access.Rows`); bound, it is a node like every other, so that storage, watches and the
decision of a write mean the same by it. Where a rule asks for something that the caller has not, it lets nothing
through. Made once for a caller; types without rules cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hub.schema.access import ME, ROW_VERBS
from hub.schema.fields import DeclarationError
from hub.schema.nodes import EVERYTHING, NOTHING, Matcher, Node, both, matcher
from hub.schema.query import Query
from hub.schema.record import Image, RecordType
from hub.schema.where import parse_where
from hub.wire.errors import HubError


class RowRules:
    """The row rules that bind one caller, by type and verb."""

    __slots__ = ("_me", "_nodes", "_tests", "_types")

    def __init__(self, types: Iterable[RecordType], me: dict[str, str | None]) -> None:
        """Bind the rules of these types to a caller; `me` has a value, or None, for each name of `ME`."""
        self._types = {kind.name: kind for kind in types}
        self._me = me
        self._nodes: dict[tuple[str, str], Node] = {}
        self._tests: dict[tuple[str, str], Matcher] = {}

    def __bool__(self) -> bool:
        return bool(self._types)

    def binds(self, kind: RecordType) -> bool:
        """Say whether there is a rule for records of a type."""
        return kind.name in self._types

    def node(self, kind: RecordType, verb: str) -> Node:
        """Return the filter of the records with which the caller may do that."""
        if kind.name not in self._types:
            return EVERYTHING
        key = (kind.name, verb)
        found = self._nodes.get(key)
        if found is None:
            found = self._nodes[key] = _node(self._types[kind.name], verb, self._me)
        return found

    def allows(self, kind: RecordType, verb: str, image: Image) -> bool:
        """Say whether the caller may do that with a record that is like this, a tombstone too."""
        if kind.name not in self._types:
            return True
        key = (kind.name, verb)
        test = self._tests.get(key)
        if test is None:
            test = self._tests[key] = matcher(self.node(kind, verb))
        return test(image)

    def refusal(self, kind: RecordType, verb: str, path: str | None = None) -> HubError:
        """Return what somebody is told who may read a record, but not do that with it."""
        needs = f"{kind.name}.manage"
        text = f"Of the records of type {kind.name} your role may {verb} those that its row rule lets through; "
        text += f"{needs} lifts that rule."
        return HubError("access.denied", text, path=path, details={"rule": verb, "needs": needs})


FREE = RowRules((), {})
"""The rules of those whom none binds."""


def _node(kind: RecordType, verb: str, me: dict[str, str | None]) -> Node:
    node: Node = EVERYTHING
    for rule in kind.access.rows:
        if verb in rule.verbs:
            where = rule.bound(me)
            node = both(node, NOTHING if where is None else parse_where(kind, where))
    return node


def within(query: Query, rules: RowRules) -> Query:
    """Return a query of those records only that row rules let through, also of what it includes."""
    if not rules:
        return query
    include = tuple(replace(each, where=rules.node(each.type, "read")) for each in query.include)
    return replace(query, where=both(rules.node(query.type, "read"), query.where), include=include)


def check_rows(kind: RecordType) -> None:
    """Raise `DeclarationError` where a row rule of a type is no filter over its own fields."""
    sample: dict[str, Any] = dict.fromkeys(ME, "A" * 11)
    for verb in ROW_VERBS:
        try:
            _node(kind, verb, sample)
        except HubError as error:
            where = (error.path or "where").replace("where", "rows", 1)
            raise DeclarationError(f"{kind.declared.__name__}: {where}: {error.message}") from None

"""Only declared writable fields are taken: every other name, of every type, in every operation that writes.

Asked of the operations themselves over the keeper in memory, by somebody who holds every permission there is, so that
nothing but the field stands against it. A field is not writable where it is the hub's, the parent's, read-only, secret
and read-only, hidden from who asks, written once (in a change), or not there at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from handlers.base import Call, Operations, Peer, Services
from hub.access import OPERATOR, SYSTEM, Rights
from hub.schema.fields import RESERVED
from hub.schema.record import RecordType
from hub.wire.codec import convert
from hub.wire.errors import HubError
from tests.wire.inside import Inside, assembled_in_memory

PACKS = "packs.events,tests.wire.stock,tests.wire.shelves,tests.wire.diaries"
REC = "A" * 11
VALUES: tuple[Any, ...] = ("mine", 1, None, True, {"a": 1})


@dataclass
class Desk:
    """A hub without a socket, and somebody in it who may everything but what is hidden from `role`."""

    services: Services
    operations: Operations

    def call(self, system: bool, role: str) -> Call:
        """Return a call of theirs in an account."""
        registry, table = self.services.registry, self.services.rights
        every = frozenset(f"{name}.{v}" for name, kind in registry.types.items() for v in kind.access.rules())
        role_rights = table.of(role)
        rights = Rights(registry, role, every, role_rights._hidden, {})
        account = SYSTEM if system else "main"
        identity = replace(OPERATOR, source="key", credential="me", roles=((account, role),))
        return Call(self.services, Peer(identity=identity, account=account, role=role, rights=rights), 1)

    async def ask(self, call: Call, op: str, fields: dict[str, Any]) -> HubError | None:
        """Return what a request is refused with, None where it is not."""
        try:
            await self.operations.run(call, convert({"op": op, "id": 1, **fields}))
        except HubError as refusal:
            return refusal
        return None


@pytest.fixture
async def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A started keeper and its operations."""
    inside: Inside = await asyncio.to_thread(assembled_in_memory, tmp_path / "data", monkeypatch, packs=PACKS)
    inside.close()
    await inside.parts.storage.start()
    yield Desk(inside.parts.hub.services, inside.parts.hub.operations)
    await inside.parts.storage.close()


def closed(kind: RecordType, hidden: frozenset[str], *, creating: bool) -> list[str]:
    """Return the names that a client may not write."""
    names = {*RESERVED, "nope", "pk", "account_pk", "alive", kind.parent_wire or "parent_id"}
    for wire, spec in kind.fields.items():
        option = spec.option
        if option.read_only or (option.write_once and not creating) or (wire in hidden and not option.secret):
            names.add(wire)
    return sorted(names)


def asked(kind: RecordType, name: str, value: Any) -> dict[str, list[dict[str, Any]]]:
    """Return every request that tries to write a field, by whether it creates."""
    t, data = kind.name, {name: value}
    parent = {"parent": {"type": kind.parent.name, "rec": REC}} if kind.parent is not None else {}
    creating: list[dict[str, Any]] = [{"op": "record.create", "type": t, "data": data, **parent}]
    if kind.unique:
        match = [n for n in kind.unique[0] if n != kind.parent_wire]
        creating.append({"op": "record.upsert", "type": t, "data": data, "match": match, **parent})
    changing: list[dict[str, Any]] = [{"op": "record.update", "type": t, "rec": REC, "data": data}]
    if kind.name not in GIVING:
        changing.append({"op": "record.update_where", "type": t, "where": {}, "data": data, "limit": 10})
        changing.append({"op": "record.batch", "ops": [changing[0]]})
        creating.append({"op": "record.batch", "ops": [creating[0]]})
        creating.append({"op": "record.batch", "ops": [creating[0]], "atomic": False})
    return {"creating": creating, "changing": changing}


GIVING = ("role", "membership", "api_key", "service_account", "device", "invitation")
"""Types whose records give rights: they are written one at a time."""


async def test_no_field_that_is_not_declared_writable_is_taken_by_any_write(desk: Desk) -> None:
    tried = 0
    for kind in desk.services.registry.types.values():
        call = desk.call(kind.system, "viewer")
        for how in ("creating", "changing"):
            for name in closed(kind, call.rights.hidden(kind), creating=how == "creating"):
                for fields in asked(kind, name, VALUES[tried % len(VALUES)])[how]:
                    request = {**fields}
                    op = request.pop("op")
                    alone = request.get("atomic", True)
                    refusal = await desk.ask(call, op, request)
                    tried += 1
                    if not alone:
                        continue  # each item is answered for itself; nothing is written all the same, see below
                    assert refusal is not None, (op, kind.name, name)
                    path = f"ops.0.data.{name}" if op == "record.batch" else f"data.{name}"
                    assert (refusal.code, refusal.path) == ("data.invalid", path), (op, kind.name, name, str(refusal))
    heads = await desk.services.storage.heads(["main", SYSTEM])
    assert {head.seq for head in heads.values()} == {0}, "nothing was written"
    assert tried > 2000
    print(f"mass assignment: {tried} writes of fields that are not writable, 0 taken")


async def test_no_action_takes_an_argument_that_it_does_not_declare(desk: Desk) -> None:
    call = desk.call(system=False, role="owner")
    for name, spec in desk.services.registry.actions.items():
        if spec.operator:
            call.peer.identity = call.identity = OPERATOR
        target = {"target": {"type": spec.target.name, "rec": REC}} if spec.target is not None else {}
        refusal = await desk.ask(call, "action.call", {"action": name, "args": {"account_id": "mine"}, **target})
        assert refusal is not None, name
        assert (refusal.code, refusal.path) == ("data.invalid", "args.account_id"), (name, str(refusal))


async def test_an_import_sets_what_the_hub_kept_but_nothing_that_is_not_declared(desk: Desk) -> None:
    call = desk.call(system=False, role="owner")
    call.peer.identity = call.identity = OPERATOR
    for kind in desk.services.registry.types.values():
        if kind.system or kind.access.create == "nobody":
            continue
        for name in ("id", "version", "account_id", "created_by", "nope", kind.parent_wire or "parent_id"):
            parent = {"parent": REC} if kind.parent is not None else {}
            line = {"type": kind.name, "id": REC, "data": {name: "mine"}, **parent}
            args = {"check": False, "lines": [line]}
            answer = await desk.operations.run(
                call, convert({"op": "action.call", "id": 1, "action": "records.import", "args": args})
            )
            problems = [(each["code"], each["path"]) for each in answer.data["problems"]]
            assert problems == [("data.invalid", f"data.{name}")], (kind.name, name)


async def test_who_sees_a_field_writes_it_and_nobody_else_does(desk: Desk) -> None:
    for role, codes in (("viewer", {"cost", "insured"}), ("editor", {"insured"}), ("manager", set[str]())):
        call = desk.call(system=False, role=role)
        for name in ("cost", "insured", "note", "pin"):
            data = {"name": f"{role} {name}", name: 5 if name in {"cost", "insured"} else "x"}
            refusal = await desk.ask(call, "record.create", {"type": "depot", "data": data})
            assert (refusal is None) == (name not in codes), (role, name)


async def test_without_the_refusal_of_read_only_fields_the_same_check_finds_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecordType, "_refuse_read_only", lambda self, data, path, *, creating: None)
    monkeypatch.setattr(RecordType, "_hub_sets", frozenset())
    monkeypatch.setattr(Rights, "check_writable", lambda self, kind, data, path="data": None)
    kinds = desk.services.registry.types
    call = desk.call(system=False, role="viewer")
    taken = [
        (t, name)
        for t, name, value in (("depot", "stamp", "x"), ("depot", "cost", 5))
        if await desk.ask(call, "record.create", {"type": kinds[t].name, "data": {"name": name, name: value}}) is None
    ]
    assert taken == [("depot", "stamp"), ("depot", "cost")]

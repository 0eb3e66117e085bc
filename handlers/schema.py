"""schema.describe: the types, operators, actions, channels, commands and lookups that the caller may use."""

from __future__ import annotations

from typing import Any

import msgspec

from handlers.base import Answer, Call, Needs, handles
from hub.access import SYSTEM, Rights
from hub.schema.access import VERBS
from hub.schema.actions import ActionSpec
from hub.schema.fields import FOR_ID
from hub.schema.record import RecordType, referred
from hub.schema.registry import Registry
from hub.schema.views import Sight
from hub.schema.where import OF_LISTS, operators_of
from hub.wire.requests import SchemaDescribe


@handles(Needs.ACCOUNT)
async def describe(call: Call, request: SchemaDescribe) -> Answer:
    """Describe what this session may use; with the current hash in `have`, only the hash."""
    registry, rights = call.services.registry, call.rights
    operator = call.identity.source == "operator"
    tag = f"{registry.hash}-{rights.fingerprint}{'-operator' if operator else ''}"
    if request.have == tag:
        nothing: dict[str, Any] = {name: {} for name in ("types", "actions", "lookups", "channels", "commands")}
        return Answer({"hash": tag, **nothing, "unchanged": True})
    types: dict[str, Any] = {}
    for name, kind in sorted(registry.types.items()):
        wanted = request.types is None or name in request.types
        if wanted and rights.allows(f"{name}.read") and kind.system == (call.account == SYSTEM):
            types[name] = _type(kind, rights, registry)
    for n, name in enumerate(request.types or []):
        registry.type(name, path=f"types.{n}")
    actions = _actions(registry, rights, operator, request.types)
    lookups = {name: found.doc for name, found in sorted(registry.lookups.items())} if "lookup_row" in types else {}
    found = {"types": types, "actions": actions, "lookups": lookups}
    channels = _channels(registry, rights, request.types)
    return Answer({"hash": tag, **found, "channels": channels, "commands": _commands(registry, rights, request.types)})


def _type(kind: RecordType, rights: Rights, registry: Registry) -> dict[str, Any]:
    hidden = rights.hidden(kind)
    schema = msgspec.json.schema(kind.create_struct)
    body = schema["$defs"][kind.create_struct.__name__]
    for name in hidden:
        body["properties"].pop(name, None)
    body["required"] = [n for n in body.get("required", []) if n not in hidden]
    body["title"] = kind.name
    body["description"] = kind.doc
    for name, spec in kind.fields.items():
        if name in body["properties"]:
            notes = {"readOnly": spec.option.read_only, "writeOnce": spec.option.write_once}
            body["properties"][name] |= {k: True for k, v in notes.items() if v}
            if spec.option.lookup is not None:
                body["properties"][name]["x-lookup"] = spec.option.lookup
            if spec.ref is not None:
                body["properties"][name]["x-ref"] = referred(spec).name
            if name == FOR_ID and kind.for_types:
                body["properties"][name]["x-refs"] = [target.name for target in kind.for_types]
    return {
        "schema": body,
        "parent": kind.parent.name if kind.parent else None,
        "permissions": [f"{kind.name}.{v}" for v in VERBS if rights.allows(f"{kind.name}.{v}")],
        "operators": {name: operators_of(kind, name) for name in kind.kinds if name not in hidden},
        "sortable": sorted(kind.sortable - hidden),
        "searchable": list(kind.searchable),
        "unique": [list(names) for names in kind.unique if hidden.isdisjoint(names)],
        "children": sorted(c.name for c in registry.children(kind) if rights.allows(f"{c.name}.read")),
        "views": {
            name: _view(view.without(rights.hidden))
            for name, view in registry.views[kind.name].items()
            if all(rights.allows(f"{other}.read") for other in view.types())
        },
    }


def _view(view: Sight) -> dict[str, Any]:
    """Describe the joined fields of a view."""
    return {
        name: {
            "kind": "list" if field.many else field.kind,
            "of": field.type.name,
            "operators": list(OF_LISTS) if field.many else operators_of(field.type, field.field),
            "sortable": field.sortable,
        }
        for name, field in view.fields.items()
    }


def _actions(registry: Registry, rights: Rights, operator: bool, types: list[str] | None) -> dict[str, Any]:
    """Describe the actions that the caller may call; with `types`, those on records of these, or that need them."""
    found: dict[str, Any] = {}
    for name, spec in sorted(registry.actions.items()):
        if not (operator if spec.operator else spec.is_open or rights.allows(spec.needs)):
            continue
        concerned = {spec.needs.partition(".")[0], spec.target.name if spec.target else ""}
        if types is not None and concerned.isdisjoint(types):
            continue
        found[name] = {
            "doc": spec.doc,
            "needs": spec.needs,
            "target": spec.target.name if spec.target else None,
            "args": _arguments(spec),
        }
    return found


def _arguments(spec: ActionSpec) -> dict[str, Any]:
    """Return the schema of an action's arguments; those that hold secrets are `writeOnly`."""
    schema = msgspec.json.schema(spec.args)
    for name in spec.secrets:
        schema["$defs"][spec.args.__name__]["properties"][name]["writeOnly"] = True
    return schema


def _channels(registry: Registry, rights: Rights, types: list[str] | None) -> dict[str, Any]:
    """Describe the declared namespaces that the caller may join; with `types`, those of records of these."""
    found: dict[str, Any] = {}
    for name, channel in sorted(registry.channels.items()):
        if types is not None and name not in types:
            continue
        if rights.allows(channel.joining):
            sees = channel.presence and rights.allows(channel.seeing)
            found[name] = {**channel.says(), "send": rights.allows(channel.sending), "see": sees}
    return found


def _commands(registry: Registry, rights: Rights, types: list[str] | None) -> dict[str, Any]:
    """Describe the commands that the caller may ask others; with `types`, those that need a permission on these."""
    return {
        name: {"doc": found.doc, "needs": found.needs, "to": list(found.to), "args": msgspec.json.schema(found.args)}
        for name, found in sorted(registry.commands.items())
        if rights.allows(found.needs) and (types is None or found.needs.partition(".")[0] in types)
    }

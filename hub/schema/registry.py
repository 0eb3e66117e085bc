"""The registry: every record type, action, channel, command and lookup that this hub knows, checked before it starts.

Fail closed: a type, action or channel without a rule does not get in. Knows no storage and no socket.
"""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
import traceback
from collections.abc import Iterable
from functools import cached_property
from types import ModuleType
from typing import Any, Protocol

import msgspec

from hub.schema.access import VERBS
from hub.schema.actions import ActionSpec
from hub.schema.channels import Channel, of_type
from hub.schema.commands import Command
from hub.schema.fields import DeclarationError
from hub.schema.hooks import Hook, VisitHook
from hub.schema.lookups import Lookup
from hub.schema.nodes import EVERYTHING, Node
from hub.schema.record import Record, RecordType, referred, type_of
from hub.schema.rows import check_rows
from hub.schema.views import Sight, resolve
from hub.wire.errors import HubError
from hub.wire.names import TYPE


class Sealer(Protocol):
    """What encrypts secret fields where they are kept: `hub.vault`."""

    def seal(self, place: str, value: Any) -> str:
        """Return a plain value as it is kept at a place, to be opened at no other."""


class Registry:
    """Types, actions, channels, commands and lookups by name."""

    def __init__(self) -> None:
        # The packages that it was made of, as they were named.
        self.packages: tuple[str, ...] = ()
        self.types: dict[str, RecordType] = {}
        self.actions: dict[str, ActionSpec] = {}
        self.channels: dict[str, Channel] = {}
        self.commands: dict[str, Command] = {}
        self.lookups: dict[str, Lookup] = {}
        # What encrypts secret fields; set before storage starts where a type has one.
        self.vault: Sealer | None = None
        # The channels of record types that declare none, as they were asked for.
        self._presence: dict[str, Channel] = {}
        # Hooks by the name of the type, in the order of their declaration.
        self.before: dict[str, list[Hook]] = {}
        self.after: dict[str, list[Hook]] = {}
        # Hooks on who comes or goes, by that and the namespace.
        self.visits: dict[tuple[str, str], list[VisitHook]] = {}
        # Views that were looked up, by type and name; filled by `check`.
        self.views: dict[str, dict[str, Sight]] = {}

    @classmethod
    def of(cls, packages: Iterable[str]) -> Registry:
        """Return the registry of everything declared in these packages and their modules."""
        registry = cls()
        registry.packages = tuple(dict.fromkeys(packages))
        for name in registry.packages:
            package = _load(name, name)
            registry.add_module(package)
            for found in pkgutil.walk_packages(getattr(package, "__path__", []), f"{name}."):
                registry.add_module(_load(name, found.name))
        registry.check()
        return registry

    def add_module(self, module: ModuleType) -> None:
        """Take in what a module declares (not what it imports)."""
        for value in vars(module).values():
            if isinstance(value, Channel):
                self.add_channel(value)
            elif isinstance(value, Command):
                self.add_command(value)
            elif isinstance(value, Lookup):
                self.add_lookup(value)
            elif getattr(value, "__module__", None) != module.__name__:
                continue
            elif isinstance(value, type) and issubclass(value, Record):
                self.add_type(type_of(value))
            elif isinstance(getattr(value, "__action__", None), ActionSpec):
                self.add_action(value.__action__)
            elif isinstance(getattr(value, "__hook__", None), Hook):
                self.add_hook(value.__hook__)
            elif isinstance(getattr(value, "__visit_hook__", None), VisitHook):
                self.add_visit_hook(value.__visit_hook__)

    def add_type(self, kind: RecordType) -> None:
        """Take in a record type; raise `DeclarationError` where the name is bad or taken."""
        if not TYPE.match(kind.name):
            raise DeclarationError(f"{kind.name!r} is no name of a type")
        if self.types.setdefault(kind.name, kind) is not kind:
            raise DeclarationError(f"two record types are named {kind.name}")

    def add_action(self, spec: ActionSpec) -> None:
        """Take in an action; raise `DeclarationError` where the name is taken."""
        if self.actions.setdefault(spec.name, spec) is not spec:
            raise DeclarationError(f"two actions are named {spec.name}")

    def add_hook(self, hook: Hook) -> None:
        """Take in a hook."""
        for kind in hook.types:
            hooks = (self.before if hook.when == "before" else self.after).setdefault(kind.name, [])
            if hook not in hooks:
                hooks.append(hook)

    def add_visit_hook(self, hook: VisitHook) -> None:
        """Take in a hook on who comes or goes."""
        for namespace in hook.namespaces:
            hooks = self.visits.setdefault((hook.kind, namespace), [])
            if hook not in hooks:
                hooks.append(hook)

    def add_channel(self, channel: Channel) -> None:
        """Take in a channel namespace; raise `DeclarationError` where the name is taken."""
        if self.channels.setdefault(channel.namespace, channel) is not channel:
            raise DeclarationError(f"two channels are named {channel.namespace}")

    def add_command(self, command: Command) -> None:
        """Take in a command; raise `DeclarationError` where the name is taken."""
        if self.commands.setdefault(command.name, command) is not command:
            raise DeclarationError(f"two commands are named {command.name}")

    def add_lookup(self, lookup: Lookup) -> None:
        """Take in a lookup; raise `DeclarationError` where the name is taken."""
        if self.lookups.setdefault(lookup.name, lookup) is not lookup:
            raise DeclarationError(f"two lookups are named {lookup.name}")

    def check(self) -> None:
        """Raise `DeclarationError` where something refers to what is not there."""
        permissions = {f"{t}.{verb}" for t in self.types for verb in VERBS}
        for kind in self.types.values():
            if kind.parent is not None and self.types.get(kind.parent.name) is not kind.parent:
                raise DeclarationError(f"{kind.name}: its parent {kind.parent.name} is not registered")
            check_rows(kind)
            for target in kind.for_types:
                if self.types.get(target.name) is not target:
                    raise DeclarationError(f"{kind.name} is for {target.name}, which is not registered")
            for spec in kind.fields.values():
                if spec.ref is not None and type_of(spec.ref).name not in self.types:
                    raise DeclarationError(f"{kind.name}.{spec.name} refers to a type that is not registered")
                if spec.option.lookup is not None and spec.option.lookup not in self.lookups:
                    raise DeclarationError(f"{kind.name}.{spec.name}: there is no lookup {spec.option.lookup}")
            self.views[kind.name] = {name: resolve(kind, name, v, self.types) for name, v in kind.views.items()}
        for action in self.actions.values():
            if not action.is_open and action.needs not in permissions:
                raise DeclarationError(f"action {action.name} needs {action.needs}, which no type gives")
        for command in self.commands.values():
            if command.needs not in permissions:
                raise DeclarationError(f"command {command.name} needs {command.needs}, which no type gives")
        for name in (*self.before, *self.after):
            if name not in self.types:
                raise DeclarationError(f"a hook is for {name}, which is not registered")
        for _, name in self.visits:
            if name not in self.types and name not in self.channels:
                raise DeclarationError(f"a hook is for the channels of {name}, which is not registered")
        for name, channel in self.channels.items():
            if self.types.get(name) is not channel.record:
                raise DeclarationError(f"channel {name}: declare the channels of a record type with Channel.of(type)")

    def type(self, name: str, path: str = "type") -> RecordType:
        """Return the type of that name; raise `type.unknown`."""
        found = self.types.get(name)
        if found is None:
            raise HubError("type.unknown", f"There is no record type {name[:48]!r}.", path=path)
        return found

    def view(self, kind: RecordType, name: str, path: str = "view") -> Sight:
        """Return a view of a type; raise `data.invalid`."""
        views = self.views.get(kind.name, {})
        if name not in views:
            known = ", ".join(sorted(views)) or "none"
            raise HubError("data.invalid", f"{kind.name} has no view {name[:48]!r}; it has: {known}.", path=path)
        return views[name]

    def channel(self, namespace: str) -> Channel:
        """Return what the channels of a namespace are; raise `channel.unknown`."""
        found = self.channels.get(namespace)
        if found is None:
            kind = self.types.get(namespace)
            if kind is None:
                raise HubError("channel.unknown", path="channel")
            found = self._presence.setdefault(namespace, of_type(kind))
        return found

    def checked_lookups(self) -> list[Lookup]:
        """Return the lookups that fields are checked against."""
        names = {spec.option.lookup for kind in self.types.values() for spec in kind.fields.values()}
        return [found for name, found in self.lookups.items() if name in names]

    def lookup(self, name: str) -> Lookup:
        """Return the lookup of that name; raise `lookup.unknown`."""
        found = self.lookups.get(name)
        if found is None:
            message = f"There is no lookup {name[:48]!r}; schema.describe lists those that there are."
            raise HubError("lookup.unknown", message, path="lookup")
        return found

    def command(self, name: str) -> Command:
        """Return the command of that name; raise `command.unknown`."""
        found = self.commands.get(name)
        if found is None:
            message = f"There is no command {name[:48]!r}; schema.describe lists those that there are."
            raise HubError("command.unknown", message, path="command")
        return found

    def children(self, parent: RecordType) -> list[RecordType]:
        """Return the types whose records belong to records of `parent`."""
        return [t for t in self.types.values() if t.parent is parent]

    def hidden(self, kind: RecordType) -> frozenset[str]:
        """Return what the hub's own filters do not reach: secret fields, which are no field of a filter anyway."""
        return frozenset()

    def enter(self, kind: RecordType, path: str) -> None:
        """The hub's own filters step to every type."""

    def rule(self, kind: RecordType) -> Node:
        """The hub's own filters reach every record."""
        return EVERYTHING

    def referrers(self, target: RecordType) -> list[tuple[RecordType, str]]:
        """Return the types that refer to records of `target`, each with the wire name of the field."""
        return [(t, wire) for t in self.types.values() for wire in t.references if referred(t.fields[wire]) is target]

    def attached(self, target: RecordType) -> list[RecordType]:
        """Return the types whose records may be for records of `target`."""
        return [t for t in self.types.values() if target in t.for_types]

    def file_type(self, container: RecordType) -> RecordType | None:
        """Return the child type that links files to records of `container`, if there is one."""
        return next((t for t in self.children(container) if t.file), None)

    @cached_property
    def hash(self) -> str:
        """Return a short hash of everything that clients may know of the schema."""
        plain: list[Any] = [
            [
                t.name,
                t.parent_wire,
                sorted((w, repr(s.accepts), s.nullable, s.option.lookup or "") for w, s in t.fields.items()),
            ]
            for t in sorted(self.types.values(), key=lambda t: t.name)
        ]
        plain.append([[t, n, sorted([f.name, f.kind, f.many] for f in v.fields.values())] for t, n, v in self._views()])
        plain.append(sorted([a.name, a.needs] for a in self.actions.values()))
        plain.append(sorted([found.name, found.doc] for found in self.lookups.values()))
        plain.append(sorted([c.namespace, c.join, c.send, repr(c.says())] for c in self.channels.values()))
        plain.append(sorted([c.name, c.needs, *c.to, c.doc] for c in self.commands.values()))
        return hashlib.sha256(msgspec.json.encode(plain)).hexdigest()[:16]

    def _views(self) -> list[tuple[str, str, Sight]]:
        return [(t, name, self.views[t][name]) for t in sorted(self.views) for name in sorted(self.views[t])]


def _load(pack: str, name: str) -> ModuleType:
    """Import a module of a pack; what is wrong with it is told with pack, file and line."""
    try:
        return importlib.import_module(name)
    except DeclarationError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and f"{pack}.".startswith(f"{error.name}."):
            raise DeclarationError(
                f"there is no pack {pack}; install it where this hub is installed, put the folder it is in into "
                "PYTHONPATH, or correct the setting packs"
            ) from None
        raise _broken(pack, error) from error
    except Exception as error:  # the code of strangers may fail in any way
        raise _broken(pack, error) from error


def _broken(pack: str, error: Exception) -> DeclarationError:
    if isinstance(error, SyntaxError):
        place, what = f"{error.filename}, line {error.lineno}", error.msg
    else:
        place, what = "", str(error)
        for frame, line in traceback.walk_tb(error.__traceback__):
            if f"{frame.f_globals.get('__name__')}.".startswith(f"{pack}."):
                place = f"{frame.f_code.co_filename}, line {line}"
    where = f" ({place})" if place else ""
    return DeclarationError(f"the pack {pack} cannot be loaded: {type(error).__name__}: {what}{where}")

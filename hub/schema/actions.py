"""Declaring actions. Values only: the hub collects them from the packs.

@action("journal.archive", needs="journal.update", target=Journal)
async def archive(ctx: Context, args: ArchiveArgs) -> ArchiveResult:
    "Move entries older than a date into an archive; reports progress."
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

import msgspec

from hub.schema.fields import DeclarationError
from hub.schema.record import Record, RecordType, type_of
from hub.wire.names import OPERATION


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """An action as the hub works with it.

    `needs` is the permission that the caller must have. `target` is the type of the record it works on,
    or None. `args` is the struct that given arguments are converted to, `result` the declared result.
    `hidden` actions are not described to clients. `operator` actions answer on DIR/hub.sock only.
    """

    name: str
    needs: str
    target: RecordType | None
    args: type[msgspec.Struct]
    result: Any
    run: Callable[[Any, Any], Awaitable[Any]]
    doc: str
    operator: bool = False


_F = TypeVar("_F", bound=Callable[..., Awaitable[Any]])


def action(name: str, *, needs: str, target: type[Record] | None = None, operator: bool = False) -> Callable[[_F], _F]:
    """Declare a coroutine `(ctx, args) -> result` as an action; `args` is a msgspec struct.

    Raises `DeclarationError` where the name, the permission or the signature cannot work.
    """
    if not OPERATION.match(name) or not OPERATION.match(needs):
        raise DeclarationError(f"action {name!r}: name and `needs` have the form noun.verb")

    def declare(function: _F) -> _F:
        hints = get_type_hints(function)
        names = list(inspect.signature(function).parameters)
        is_coroutine: bool = inspect.iscoroutinefunction(function)
        if not is_coroutine or len(names) != 2 or "return" not in hints:
            raise DeclarationError(f"action {name}: write `async def …(ctx: Context, args: Args) -> Result`")
        arguments = hints[names[1]]
        if not (isinstance(arguments, type) and issubclass(arguments, msgspec.Struct)):
            raise DeclarationError(f"action {name}: args is a msgspec.Struct")
        if not arguments.__struct_config__.forbid_unknown_fields:
            raise DeclarationError(f"action {name}: declare {arguments.__name__} with forbid_unknown_fields=True")
        spec = ActionSpec(
            name=name,
            needs=needs,
            target=type_of(target) if target else None,
            args=arguments,
            result=hints["return"],
            run=function,
            doc=inspect.cleandoc(function.__doc__ or ""),
            operator=operator,
        )
        setattr(function, "__action__", spec)  # noqa: B010  # how the registry finds it
        return function

    return declare

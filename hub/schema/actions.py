"""Declaring actions. Values only: the hub collects them from the packs.

@action("journal.archive", needs="journal.update", target=Journal)
async def archive(ctx: Context, args: ArchiveArgs) -> ArchiveResult:
    "Move entries older than a date into an archive; reports progress."
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from hub.schema.fields import DeclarationError, Field
from hub.schema.record import Record, RecordType, type_of
from hub.wire.names import OPERATION

Open = Literal["guest", "identity"]
Price = Literal["cheap", "generate"]
"""What a call of an action costs beside a request: nothing, or one of what is dear to make."""
OPEN: Final = frozenset(get_args(Open))
"""What an action may need instead of a permission: nothing at all, or that the caller has signed in."""


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """An action as the hub works with it.

    `needs` is the permission that the caller must have, or a word of `OPEN`. `target` is the type of the record it
    works on, or None. `args` is the struct that given arguments are converted to, `result` the declared result.
    `operator` actions answer on DIR/hub.sock only. `secrets` are the arguments that hold secrets, and `shows_secrets`
    says that the result holds some.
    """

    name: str
    needs: str
    target: RecordType | None
    args: type[msgspec.Struct]
    result: Any
    run: Callable[[Any, Any], Awaitable[Any]]
    doc: str
    operator: bool = False
    secrets: frozenset[str] = frozenset()
    shows_secrets: bool = False
    cost: Price = "cheap"

    @property
    def is_open(self) -> bool:
        """Whether it can be called without an account: by guests, or by everybody who has signed in."""
        return self.needs in OPEN


_F = TypeVar("_F", bound=Callable[..., Awaitable[Any]])


def action(
    name: str, *, needs: str, target: type[Record] | None = None, operator: bool = False, cost: Price = "cheap"
) -> Callable[[_F], _F]:
    """Declare a coroutine `(ctx, args) -> result` as an action; `args` is a msgspec struct.

    `needs` is a permission (`event.update`), or `guest`: anybody may call it, without an account, or `identity`:
    whoever has signed in. What such an action answers is not kept under the caller's `key`. An argument that is
    `Annotated[str, Field(secret=True)]` is never logged nor kept; a result with such a field is shown once.

    With `cost="generate"` its calls are paid from the budgets of what is dear to make, such as an import.

    Raises `DeclarationError` where the name, the permission or the signature cannot work.
    """
    if not OPERATION.match(name) or not (needs in OPEN or OPERATION.match(needs)):
        raise DeclarationError(f"action {name!r}: name and `needs` have the form noun.verb")
    if needs in OPEN and (operator or target is not None):
        raise DeclarationError(f"action {name}: what needs {needs} only has no target, and is not the operator's")

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
            secrets=_secrets_of(arguments),
            shows_secrets=bool(_secrets_of(hints["return"])),
            cost=cost,
        )
        setattr(function, "__action__", spec)  # noqa: B010  # how the registry finds it
        return function

    return declare


def _secrets_of(declared: Any) -> frozenset[str]:
    """Return the wire names of a struct's fields that are declared `Field(secret=True)`; none of what is no struct."""
    if not (isinstance(declared, type) and issubclass(declared, msgspec.Struct)):
        return frozenset()
    return frozenset(f.encode_name for f in msgspec.structs.fields(declared) if _is_secret(f.type))


def _is_secret(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated and any(isinstance(n, Field) and n.secret for n in annotation.__metadata__):
        return True
    return any(_is_secret(part) for part in get_args(annotation))

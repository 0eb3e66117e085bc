"""The options of `aether serve`: one for every setting, made from the table of settings, so that none is missing."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
import typer

from hub.settings import Settings

Config = Annotated[Path | None, typer.Option(help="A TOML file with settings.")]
ROLES: Final = "viewer, member, editor, manager, owner, or a role of the account's own"
"""What may be given: the hub says which roles there are."""


def every_setting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes keywords an option per setting, all texts or None, and `config`."""
    parameters = []
    for field in msgspec.structs.fields(Settings):
        kind, meta = get_args(field.type)[:2]
        shown = {int: "INTEGER", float: "NUMBER", str: "TEXT"}.get(kind, "TEXT,TEXT…")
        if get_origin(kind) is Literal:
            shown = "|".join(get_args(kind))
        option = typer.Option(f"--{field.name.replace('_', '-')}", help=meta.description, metavar=shown)
        parameters.append(_keyword(field.name, Annotated[str | None, option]))
    parameters.append(_keyword("config", Config))
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]  # what typer and inspect read
    return command


def _keyword(name: str, annotation: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)

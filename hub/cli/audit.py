"""`aether audit`: who may do what, and that no internal key leaves the hub. Needs no hub that runs."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import typer

from hub.cli.link import hint, refusals, settings_for, stop
from hub.cli.options import Config

commands = typer.Typer(no_args_is_help=True, help="Look over what is declared, and what is answered.")
Packs = Annotated[str | None, typer.Option(help="The packs, as the setting has them; default: the hub's own.")]


@commands.command("access")
def access(
    form: Annotated[Literal["markdown", "json"], typer.Option("--format", help="How it is printed.")] = "markdown",
    packs: Packs = None,
    config: Config = None,
) -> None:
    """Print the matrix of role × operation × type, from what is declared."""
    from handlers.access_table import cells  # other commands need none of it
    from hub.app import registry_of
    from hub.schema.access import ROLES

    settings = settings_for(os.environ, config, packs=packs)
    try:
        found = list(cells(registry_of(settings)))
    except refusals() as error:
        stop(str(error))
    if form == "json":
        print(json.dumps(found, indent=1))
        return
    print("| operation | type | takes | " + " | ".join(ROLES) + " |\n" + "|---" * (3 + len(ROLES)) + "|")
    for n in range(0, len(found), len(ROLES)):
        row = found[n : n + len(ROLES)]
        held = " | ".join("yes" if cell["may"] else "" for cell in row)
        print(f"| `{row[0]['op']}` | `{row[0]['type']}` | {', '.join(row[0]['needs'])} | {held} |")


@commands.command("ids")
def ids(packs: Packs = None, config: Config = None) -> None:
    """Ask every operation about records of every type in a hub made for it, and look for internal keys in the answers.

    Ends with exit code 1 where one is found, or where a type or an operation could not be looked at.
    """
    from hub.cli.audit_ids import audit

    settings = settings_for(os.environ, config, packs=packs)
    with tempfile.TemporaryDirectory(prefix="aether-audit-") as folder:
        try:
            found = audit(settings, Path(folder))
        except refusals() as error:
            stop(str(error))
    for line in found.problems:
        hint(line)
    said = f"{found.answers} answers and {found.pushes} pushes of {found.operations} operations"
    print(f"{said} about {found.types} types: {len(found.problems)} problems")
    if found.problems:
        sys.exit(1)

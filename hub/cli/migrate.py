"""Commands about the schema of the database: where it stands, what is to be done, and doing it.

They work on the database itself, not through a hub: `hub.cli.main` mounts them as `aether migrate`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from hub.cli.link import call_of, hint, run, settings_for, stop

commands = typer.Typer(no_args_is_help=True, help="Changes of the database's tables.")

Data = Annotated[str | None, typer.Option(help="The hub's data folder.")]
Config = Annotated[Path | None, typer.Option(help="A TOML file with settings.")]
_NOTHING: Final = "Nothing is to be done: the database is as this hub needs it."


@commands.command()
def status(data: Data = None, config: Config = None) -> None:
    """Show where the database stands, branch by branch: the last step that was run, and those that are not.

    It changes nothing, and a hub may be running.
    """
    settings = settings_for(os.environ, config, data=data)

    async def work() -> None:
        from hub.app import migrator_of, registry_of

        migrator = migrator_of(settings, registry_of(settings))
        places = await migrator.status()
        plan = await migrator.plan()
        for place in places:
            waiting = f"  to be run: {', '.join(place.pending)}" if place.stamp and place.pending else ""
            print(f"{place.branch.label}  {place.stamp or 'no stamp yet'}  of {place.branch.head}{waiting}")
        print(_NOTHING if not plan else f"To be done: {call_of(settings, 'migrate plan')} shows it.")

    run(work)


@commands.command()
def plan(
    write: Annotated[
        str | None,
        typer.Option(metavar="TITLE", help="For developers: write the next step of each pack that declares more."),
    ] = None,
    pack: Annotated[
        str | None, typer.Option(metavar="PACKAGE", help="With --write: of this pack, also where it has no steps yet.")
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Print what is to be done to the database, as SQL. It changes nothing, and a hub may be running.

    With --write no database is looked at: what the declarations of a pack add to its steps is written as its next step.
    """
    settings = settings_for(os.environ, config, data=data)
    if pack is not None and write is None:
        stop("--pack goes with --write TITLE.")

    async def work() -> None:
        from hub.app import migrator_of, registry_of

        registry = registry_of(settings)
        if write is None:
            print("\n".join(await migrator_of(settings, registry).plan() or [_NOTHING]))
            return
        from storage.migrations.branches import branches_of
        from storage.migrations.drafts import draft

        packages = [pack] if pack is not None else [branch.package for branch in branches_of(registry)]
        files = [file for package in packages if (file := draft(registry, package, write)) is not None]
        for file in files:
            print(file)
        if files:
            hint("Read it, complete it, and try it: docs/migrations.md says how.")
        else:
            hint("Nothing was written: the steps make what is declared.")

    run(work)


@commands.command()
def apply(
    to: Annotated[
        str | None,
        typer.Option(metavar="STEP", help="Bring one branch to this step, back too, before an older hub is started."),
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Do what is to be done to the database. Make a backup first; a hub on SQLite has to be stopped.

    On SQLite all of it is done or nothing. MariaDB keeps what was done before a step failed; run the command again.
    """
    settings = settings_for(os.environ, config, data=data)

    async def work() -> None:
        from hub.app import migrator_of, registry_of

        migrator = migrator_of(settings, registry_of(settings))
        if to is not None:
            await migrator.apply_to(to, print)
            print(f"The database stands at {to}.")
        elif not await migrator.plan():
            print(_NOTHING)
        else:
            await migrator.apply(print)
            print("The database is as this hub needs it.")

    run(work)

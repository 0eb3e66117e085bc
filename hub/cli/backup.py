"""`aether backup`, `aether restore`, `aether gc`: all that a hub keeps as one file, and a new hub made of that.

A backup is made beside a running hub, or by one that is started here: the hub writes its database, this command
takes the files. A restore reads the whole backup before it touches anything, and fills only what is empty.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aether_client.client import Client
from hub.cli.link import call_of, console, hint, refusals, settings_for, stop, with_hub
from hub.settings import Settings
from hub.version import VERSION

if TYPE_CHECKING:
    from storage.backup.archive import Backup
    from storage.backup.manifest import Manifest

DUMP_SECONDS: Final = 3600
SHOWN: Final = 5
"""How many missing files are named."""

commands = typer.Typer(rich_markup_mode=None)
Data = Annotated[str | None, typer.Option(help="The hub's data folder.")]
Config = Annotated[Path | None, typer.Option(help="A TOML file with settings.")]


@commands.command()
def backup(
    target: Annotated[Path, typer.Argument(help="A new folder; or a new file, where the name ends in .tar.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Back up a hub while it serves: records, who changed them, and the files that they name.

    Exit code 1 also where the bytes of a file were missing or damaged; the backup then has everything else.
    """
    from hub.schema.times import from_millis
    from storage.backup import make

    settings = settings_for(os.environ, config, data=data)
    target = target.absolute()
    if target.exists() or target.is_symlink():
        stop(f"{target} is there already; name a new file or folder.")
    with _refusals(f"The backup cannot be written to {target.parent}"), make.staged(target) as stage:
        folder = stage / "database"
        folder.mkdir(mode=0o700)

        async def work(hub: Client) -> Any:
            dump = {"action": "database.dump", "args": {"folder": str(folder)}, "timeout": DUMP_SECONDS}
            return (await hub.call("action.call", within=DUMP_SECONDS + 60.0, **dump)).data["keeper"]

        made_at = from_millis(time.time_ns() // 1_000_000)
        with _bar("writing the database", None):
            keeper = with_hub(settings, None, work)
        blobs = Path(settings.data) / "blobs"
        times = 2 if target.suffix == make.ARCHIVE else 1
        with _bar("taking the files", times * make.bytes_to_take(blobs, folder)) as progress:
            manifest = make.finish(stage, target, blobs, (made_at, VERSION, keeper), progress)
    print(target)
    hint(f"{_about(manifest)}. Keep it where only you can read.")
    if manifest.missing:
        stop(_missing(manifest.missing))


@commands.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A backup: a folder or a file.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether the backup is whole; restore nothing.")
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make a hub of a backup, in a data folder (and a database) that is empty.

    The whole backup is read first: where one bit is not what it was, nothing is restored. Clients of before start
    anew; people and programs come in with the tokens and keys that were good when the backup was made.
    """
    from storage.backup.archive import open_backup, verify

    settings = settings_for(os.environ, config, data=data)
    with _refusals(f"{source} cannot be restored to {settings.data}"), contextlib.closing(open_backup(source)) as found:
        if not check:
            _refuse_full(settings, found.manifest.keeper)
        with _bar("checking the backup", found.manifest.size) as progress:
            verify(found, progress)
        about = _about(found.manifest)
        if check:
            print(f"{source} is whole: {about}.")
        else:
            with _bar("restoring", found.manifest.size) as progress:
                _restored(settings, found, progress)
            print(Path(settings.data).absolute())
            hint(f"{about}. Start the hub: {call_of(settings, 'serve')}")
    if found.manifest.missing:
        stop(_missing(found.manifest.missing))


@commands.command()
def gc(
    grace_hours: Annotated[
        float, typer.Option(min=1, max=87600, help="For how long no record must have named what is removed, in hours.")
    ] = 24.0,
    data: Data = None,
    config: Config = None,
) -> None:
    """Remove the bytes of files that no record names any more.

    The first time only notes which these are; a later time, when the grace is over, removes those that still are so.
    """
    settings = settings_for(os.environ, config, data=data)

    async def work(hub: Client) -> Any:
        call = {"action": "files.collect", "args": {"grace_hours": grace_hours}, "timeout": DUMP_SECONDS}
        return (await hub.call("action.call", within=DUMP_SECONDS + 60.0, **call)).data

    found = with_hub(settings, None, work)
    print(f"{_files(found['removed'])} removed ({found['bytes']:,} bytes)")
    print(f"{found['unnamed']} without a record, {found['named']} with one")


def _about(manifest: Manifest) -> str:
    return f"{_files(len(manifest.files))}, {manifest.size:,} bytes of {manifest.made_at}"


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"


def _missing(hashes: list[str]) -> str:
    named = ", ".join(hashes[:SHOWN]) + (", …" if len(hashes) > SHOWN else "")
    what = "1 file is" if len(hashes) == 1 else f"{len(hashes)} files are"
    return f"{what} not in the backup, since bytes were missing or damaged: {named}."


def _refuse_full(settings: Settings, keeper: str) -> None:
    """End the command where there is anything that a restore would have to replace."""
    from hub.app import DataFolder, sqlite_file

    folder = DataFolder(Path(settings.data))
    if not folder.is_empty:
        stop(f"{folder.path.absolute()} is not empty; name a new folder with --data.")
    file = sqlite_file(settings)
    if (file is None) != (keeper == "mariadb"):
        stop(f"The backup is of a hub on {keeper}; the setting database_url names another kind of database.")
    if file is not None and file.exists() and file.parent != folder.path:
        stop(f"{file} is there already; name another file, or move it away.")


def _restored(settings: Settings, found: Backup, progress: Callable[[int], None]) -> None:
    """Make the data folder and the database; where that fails, what was made is removed again."""
    from hub.app import DataFolder, registry_of, sqlite_file
    from storage.backup.make import unpack
    from storage.sql.dump import put

    folder = DataFolder(Path(settings.data))
    folder.take(restoring=True)
    try:
        with folder.restored() as stage:
            unpack(found, stage, progress)
            (stage / "files").rename(folder.blobs)
            file = sqlite_file(settings)
            if file is not None:
                put(stage / "database", file, _epoch)
            else:
                from storage.mariadb.dump import restore

                asyncio.run(restore(registry_of(settings), settings.database_url, stage / "database", _epoch))
    finally:
        folder.release()


def _epoch() -> str:
    return secrets.token_urlsafe(6)


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """End the command with one sentence where something stands against it."""
    from hub.wire.errors import HubError

    try:
        yield
    except HubError as error:
        stop(f"{error.message} ({error.code}{f' at {error.path}' if error.path else ''})")
    except OSError as error:
        stop(f"{what}: {error.strerror or error}.")
    except refusals() as error:
        stop(str(error))


@contextlib.contextmanager
def _bar(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show how far something is, on a terminal; yield what is told of every bytes that are done."""
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)

"""How a command reaches the hub of a data folder: over DIR/hub.sock, where a hub runs or is started here.

If no hub runs on the folder, one is started inside this process, listening on that socket only, and taken
down again afterwards; a folder that never had a hub is refused, since a mistyped one would become a second, empty hub.
Either way the command speaks the same wire, as the operator.

The hub itself is loaded only where one is started here: a command beside a running hub needs none of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import shutil
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from aether_client.client import Client
from aether_client.errors import HubError as ClientError
from hub.settings import Settings, SettingsError, load

ATTEMPTS: Final = 50
PAUSE_SECONDS: Final = 0.2
"""How often, and how soon again, a command looks for a hub that is just starting or stopping."""

_T = TypeVar("_T")
console = Console(stderr=True, highlight=False, soft_wrap=True)


def refusals() -> tuple[type[Exception], ...]:
    """Return what a start can be refused with; each text is a sentence for the person at the keyboard."""
    from hub import app
    from hub.edge.server import ListenError
    from hub.schema.fields import DeclarationError
    from storage.base import StorageRefused

    return (app.DataInUse, ListenError, StorageRefused, DeclarationError, SettingsError)


def stop(sentence: str) -> NoReturn:
    """End the command with one sentence on stderr and exit code 1; with AETHER_DEBUG, say first where it comes from."""
    if os.environ.get("AETHER_DEBUG") and sys.exc_info()[0] is not None:
        traceback.print_exc()
    console.print(Text.assemble(("aether:", "red"), f" {sentence}"))
    raise typer.Exit(1)


def hint(sentence: str) -> None:
    """Print a sentence for the person at the keyboard, beside what the command prints for programs."""
    console.print(sentence, markup=False)


def call_of(settings: Settings, words: str) -> str:
    """Return how the reader calls a command on the same data: what can be typed in this folder."""
    called = Path(sys.argv[0])
    found = shutil.which(called.name)
    if found is not None and Path(found).absolute() == called.absolute():
        name = called.name
    else:
        name = min(str(called), os.path.relpath(called), key=len)
    data = [] if settings.data == Settings().data else ["--data", settings.data]
    return f"{shlex.quote(name)} {shlex.join([*words.split(), *data])}"


def settings_for(environment: Any, file: Path | None = None, **options: Any) -> Settings:
    """Return the settings of a command, or end it with one sentence."""
    try:
        return load(environment, file, options)
    except SettingsError as error:
        stop(str(error))


@contextlib.asynccontextmanager
async def connected(settings: Settings, account: str | None = None) -> AsyncIterator[Client]:
    """Yield a client of the hub that holds the data folder, started here where none runs."""
    socket = Path(settings.data) / "hub.sock"
    async with contextlib.AsyncExitStack() as stack:
        if not await _answers(socket):
            _look_for_hub(settings)
            await _start_or_find(settings, socket, stack)
        client = Client(socket, account=account, name="aether-cli", reconnect=False)
        await stack.enter_async_context(client)
        async with asyncio.timeout(15):
            await client.online()
        yield client


def _look_for_hub(settings: Settings) -> None:
    """End the command where no hub was ever started on the data folder."""
    folder = Path(settings.data)
    if any((folder / name).exists() for name in ("hub.db", "secret", "hub.lock")):
        return
    stop(
        f"There is no hub in the data folder {folder.absolute()}. Name the folder of your hub with --data, "
        f"or start a new hub on this one: {call_of(settings, 'serve')}"
    )


async def _start_or_find(settings: Settings, socket: Path, stack: contextlib.AsyncExitStack) -> None:
    """Start a hub here, for as long as `stack` is open; where one is just starting or stopping, wait for that."""
    from hub.app import DataInUse

    for left in range(ATTEMPTS, -1, -1):
        try:
            await stack.enter_async_context(_own_hub(settings))
            return
        except DataInUse:
            if not left:
                raise
        await asyncio.sleep(PAUSE_SECONDS)
        if await _answers(socket):
            return


async def _answers(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    writer.close()
    return True


@contextlib.asynccontextmanager
async def _own_hub(settings: Settings) -> AsyncIterator[None]:
    from hub import app

    ready, until = asyncio.Event(), asyncio.Event()
    quiet = msgspec.structs.replace(settings, drain_seconds=0.5)
    logging.getLogger().setLevel(logging.WARNING)
    task = asyncio.create_task(app.serve(quiet, tcp=False, on_ready=lambda parts, url, link: ready.set(), until=until))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        if task.done():
            await task
        yield
    finally:
        until.set()
        await asyncio.gather(task, return_exceptions=True)


def run(work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Run a command's coroutine; every refusal becomes one sentence and exit code 1."""
    try:
        return asyncio.run(work())
    except ClientError as error:
        stop(sentence_of(error))
    except TimeoutError:
        stop("The hub does not answer; look at its log.")
    except KeyboardInterrupt:
        console.print("stopped")
        sys.exit(130)
    except refusals() as error:
        stop(str(error))


def sentence_of(error: ClientError) -> str:
    """Return what a refusal tells the person at the keyboard."""
    step = " Name another one with --account." if (error.code, error.path) == ("record.not_found", "account") else ""
    return f"{error}{step}"


Work = Callable[[Client], Awaitable[_T]]


def with_hub(settings: Settings, account: str | None, work: Callable[[Client], Coroutine[Any, Any, _T]]) -> _T:
    """Run a coroutine with a client of the hub."""

    async def inner() -> _T:
        async with connected(settings, account) as client:
            return await work(client)

    return run(inner)

"""`aether sync`: keep a folder equal to the files of a record."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from aether_client.cli.connect import Account, Data, Token, Url, find_hub, read_container
from aether_client.cli.show import show
from aether_client.sync.engine import FolderSync, SyncOptions


def sync_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder; it is made when it is not there.")],
    container: Annotated[str, typer.Option("--container", help="The record whose files it holds, like event:<id>.")],
    once: Annotated[bool, typer.Option("--once", help="End when the folder is equal, instead of following.")] = False,
    wait: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=1, help="With --once: how long to wait for an absent hub.")
    ] = 60.0,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    account: Account = None,
    verify_every: Annotated[
        float, typer.Option("--verify-every", metavar="SECONDS", min=1, help="How often every byte is looked at again.")
    ] = 3600.0,
) -> int:
    """Keep DIR equal to the files of a record.

    Goes on where it stopped after Ctrl-C, a restart or a lost connection. A file with wrong bytes is fetched again.
    Removes only what it had put there. Its own things are in DIR/.aether.
    """
    place = find_hub(url, token, data, account)
    options = SyncOptions(
        address=place.address,
        container=read_container(container),
        root=folder,
        token=place.token,
        account=place.account,
        once=once,
        wait_seconds=wait,
        verify_seconds=verify_every,
        look_seconds=min(10.0, verify_every),
    )
    return asyncio.run(_run(options))


async def _run(options: SyncOptions) -> int:
    """Run until it is done or somebody stops it; a stop is no failure of ours and loses nothing."""
    received: list[int] = []
    task = asyncio.current_task()

    def stop(number: int) -> None:
        if not received and task is not None:
            task.cancel()
        received.append(number)

    if sys.platform != "win32":
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
    with show() as report:
        try:
            equal = await FolderSync(options, report).run()
        except asyncio.CancelledError:
            if not received:
                raise
            report.say("Stopped.")
            return 128 + received[0]
    return 0 if equal else 1

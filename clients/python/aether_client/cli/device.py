"""`aether device`: become a device of an account by a code that a manager confirms."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Annotated, Any, Final

import typer

from aether_client.address import parse_address
from aether_client.cli.connect import DEFAULT_URL, UsageError
from aether_client.client import Client
from aether_client.device import Device, device_file, read_device, write_device
from aether_client.errors import AetherError

WAIT_SECONDS: Final = 15

device_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="This machine as a device of an account.")


@device_app.command("pair")
def device_pair(
    url: Annotated[str, typer.Option("--url", envvar="AETHER_URL", help="Address of the hub.")] = DEFAULT_URL,
    name: Annotated[str | None, typer.Option("--name", help="What a manager reads beside the code.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also where this machine is paired already.")] = False,
) -> None:
    """Show a code, wait until a manager has confirmed it on the page, and keep the key for `aether sync`.

    The key is kept in the file that AETHER_DEVICE names, else in ~/.config/aether/device.json.
    """
    file = device_file()
    if not again and (known := read_device(file)) is not None:
        raise UsageError(f"{file} has the key of {known.name} at {known.url} already; give --again for another.")
    if not os.access(next(p for p in (file.parent, *file.parents) if p.exists()), os.W_OK):
        raise UsageError(f"{file} cannot be written; name another file in AETHER_DEVICE.")
    device = asyncio.run(_paired(url, name or socket.gethostname()))
    write_device(file, device)
    typer.echo(f"Paired as {device.name}. Its key is in {file}; `aether sync` uses it.")


async def _paired(url: str, name: str) -> Device:
    """Return the device that this becomes; raise `AetherError` where nobody confirms."""
    async with Client(parse_address(url)) as hub:
        shown = await _act(hub, "device.pair", name=name)
        typer.echo(f"Code: {shown['code']}")
        typer.echo("A manager types it on the page of the hub, at Devices. It counts for ten minutes.")
        while True:
            answer = await _act(hub, "device.paired", secret=shown["secret"], wait=WAIT_SECONDS)
            if answer["paired"]:
                return Device(url, answer["key"], answer["device"], answer["account"], answer["name"])
            await asyncio.sleep(answer["every"])


async def _act(hub: Client, action: str, **args: Any) -> Any:
    answer = await hub.call("action.call", action=action, args=args)
    if not isinstance(answer.data, dict):
        raise AetherError("The hub answers what this version does not understand; upgrade it.")
    return answer.data

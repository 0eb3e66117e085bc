"""The options that say where the hub is, the same for every command, and what they mean together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from aether_client.address import SOCKET_NAME, Address, parse_address
from aether_client.device import device_file, read_device
from aether_client.errors import AetherError

DEFAULT_URL: Final = "http://127.0.0.1:8400"
DEFAULT_DATA: Final = Path("var")

Url = Annotated[str | None, typer.Option("--url", envvar="AETHER_URL", help=f"Address of the hub, else {DEFAULT_URL}.")]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="AETHER_TOKEN", show_envvar=True, help="API key or session token."),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data", envvar="AETHER_DATA", help="Data folder of a hub on this machine, else var; needs no token."
    ),
]
Account = Annotated[
    str | None,
    typer.Option("--account", envvar="AETHER_ACCOUNT", help="Id or name of the account, where there are several."),
]

_CONTAINER: Final = re.compile(r"([a-z][a-z0-9_]{0,47}):([A-Za-z0-9_-]{1,64})\Z")


class UsageError(AetherError):
    """Options that do not go together, or hold nothing that can be used."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the hub is and who we are there."""

    address: Address
    token: str | None
    account: str | None


def find_hub(url: str | None, token: str | None, data: Path | None, account: str | None) -> Place:
    """Decide: an address that was given, else a local hub's socket, else where this is paired, else the default one.

    Without a token the key of a paired device is taken for the hub that it is paired with, and for no other.
    """
    token = token.strip() if token else None
    if token is not None and not token.isprintable():
        raise UsageError("The token has characters that no token has; copy it again.")
    device = read_device(device_file()) if token is None and data is None else None
    if url:
        same = device is not None and device.url.rstrip("/") == url.rstrip("/")
        return Place(parse_address(url), device.key if device is not None and same else token, account)
    if data is not None:
        if not data.is_dir():
            raise UsageError(f"{data} is not the data folder of a hub; name another one, or give --url.")
        return Place(parse_address(data / SOCKET_NAME), None, account)
    socket = DEFAULT_DATA / SOCKET_NAME
    if socket.exists() and token is None:
        return Place(parse_address(socket), None, account)
    if device is not None:
        return Place(parse_address(device.url), device.key, account)
    return Place(parse_address(DEFAULT_URL), token, account)


def read_container(text: str) -> tuple[str, str]:
    """Read `event:<id>`; raise `UsageError`."""
    found = _CONTAINER.match(text)
    if found is None:
        raise UsageError(f"{text!r} names no record; write its type and id, like event:Xw3kP0aZ9dQ.")
    return found[1], found[2]

"""`aether secrets`: make a key of secret fields, and encrypt everything with a new one."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from aether_client.client import Client
from hub.cli.link import hint, settings_for, with_hub
from hub.cli.options import Config

commands = typer.Typer(no_args_is_help=True, help="The keys of secret fields.")


@commands.command("key")
def key() -> None:
    """Print a fresh key for the setting `secret_keys`."""
    from hub.vault import new_key  # other commands need no cipher

    print(new_key())


@commands.command("rotate")
def rotate(
    data: Annotated[str | None, typer.Option(help="The hub's data folder.")] = None, config: Config = None
) -> None:
    """Encrypt every secret field anew, while the hub goes on serving.

    Where the hub looks after its key itself, it makes a new one and forgets the old one when nothing needs it any more.
    Keys in the setting `secret_keys` you change yourself: put the new one first, restart every hub, run this, then take
    the old one out. It can be broken off and run again at any time.
    """
    settings = settings_for(os.environ, config, data=data)

    async def work(hub: Client) -> Any:
        answer = await hub.call("action.call", action="secrets.rotate", args={}, within=3600.0, timeout=3600)
        return answer.data

    done = with_hub(settings, None, work)
    print(f"sealed anew\t{done['sealed']}\nwere already\t{done['current']}\nunreadable\t{done['unreadable']}")
    if done["unreadable"]:
        hint("No key here opens some of them: put their key into secret_keys and run this again. No key was forgotten.")
    elif not done["made"] and not done["forgotten"]:
        hint("Keys other than the first one of secret_keys are not needed any more, once every hub has that one first.")

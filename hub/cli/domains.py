"""`aether domain`: host names under which people reach an account."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from aether_client.client import Client
from hub.cli.link import hint, settings_for, with_hub

domains = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Host names of accounts.")
Host = Annotated[str, typer.Argument(metavar="HOST", help="In small letters, without a port: camp.example.")]
Data = Annotated[str | None, typer.Option(help="The hub's data folder.")]
Config = Annotated[Path | None, typer.Option(help="A TOML file with settings.")]


@domains.command("add")
def domain_add(
    host: Host,
    account: Annotated[str, typer.Option(help="Id or name of the account.")] = "main",
    key: Annotated[bool, typer.Option("--key", help="Whoever asks for the account must show a key.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Let a host name lead to an account: the page names it before anybody signs in, and opens it by default."""
    done = _act("domain.add", {"host": host, "account": account, "keyed": key}, data, config)
    print(f"{done['host']}\t{done['account']}")
    if done["key"] is not None:
        print(done["key"])
        hint("Keep the key: it is shown once.")


@domains.command("list")
def domain_list(data: Data = None, config: Config = None) -> None:
    """List the host names that lead to accounts."""
    for domain in _act("domain.list", {}, data, config)["domains"]:
        print(f"{domain['host']}\t{domain['account']}")


@domains.command("remove")
def domain_remove(host: Host, data: Data = None, config: Config = None) -> None:
    """Let a host name lead to no account any more."""
    print(_act("domain.remove", {"host": host}, data, config)["host"])


def _act(action: str, args: dict[str, Any], data: str | None, config: Path | None) -> Any:
    async def work(hub: Client) -> Any:
        return (await hub.call("action.call", action=action, args=args)).data

    return with_hub(settings_for(os.environ, config, data=data), None, work)

"""Commands about people and keys that are there already: list them, change a role, remove, sign out, revoke.

`hub.cli.main` mounts `users` into `aether user` and `keys` into `aether key`, beside `create`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from aether_client.client import Client
from aether_client.sync.report import printable
from hub.cli.link import hint, settings_for, with_hub
from hub.cli.options import ROLES

sessions = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Where people are signed in.")
tokens = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Access tokens.")
users = typer.Typer(rich_markup_mode=None)
keys = typer.Typer(rich_markup_mode=None)
_OF_AN_ID = {"ignore_unknown_options": True}
"""An id may begin with `-`: what is no option of the command is an id."""

Data = Annotated[str | None, typer.Option(help="The hub's data folder.")]
Config = Annotated[Path | None, typer.Option(help="A TOML file with settings.")]
AccountName = Annotated[str, typer.Option(help="Id or name of the account.")]
Who = Annotated[str, typer.Argument(metavar="NAME|ID", help="The person: `aether user list` shows both.")]


@users.command("list")
def user_list(account: AccountName = "main", data: Data = None, config: Config = None) -> None:
    """List the people of the account: id, role, name and mail."""
    for person in _records("membership", "name", account, data, config):
        _print_row(person["user_id"], person["role"], person["name"], person["email"])


@users.command("role", context_settings=_OF_AN_ID)
def user_role(
    user: Who,
    role: Annotated[str, typer.Argument(help=f"What they may do from now on: {ROLES}.")],
    account: AccountName = "main",
    data: Data = None,
    config: Config = None,
) -> None:
    """Give a person another role; their pages come back with it."""
    done = _act("user.role", {"user": user, "role": role}, account, data, config)
    _print_row(done["id"], done["role"], done["name"])


@users.command("mail", context_settings=_OF_AN_ID)
def user_mail(
    user: Who,
    email: Annotated[str, typer.Argument(help="The address; nobody else has it.")],
    account: AccountName = "main",
    data: Data = None,
    config: Config = None,
) -> None:
    """Give a person the mail address with which they sign in, in every account.

    Links that they have not used yet are void.
    """
    done = _act("user.mail", {"user": user, "email": email}, account, data, config)
    _print_row(done["id"], done["name"], done["email"])


@users.command("remove", context_settings=_OF_AN_ID)
def user_remove(user: Who, account: AccountName = "main", data: Data = None, config: Config = None) -> None:
    """End a person's membership of the account, at once.

    Keys that they made stay: see `aether key list`.
    """
    done = _act("user.remove", {"user": user}, account, data, config)
    _print_row(done["id"], done["name"])
    hint("They are out of this account. Keys that they made go on: `aether key list` shows them.")


@users.command("sign-out", context_settings=_OF_AN_ID)
def user_sign_out(user: Who, account: AccountName = "main", data: Data = None, config: Config = None) -> None:
    """End a person's sessions everywhere, at once; a new link lets them in again."""
    done = _act("user.sign_out", {"user": user}, account, data, config)
    _print_row(done["id"], done["name"])
    hint(f"Sessions that ended: {done['ended']}.")


@users.command("disable", context_settings=_OF_AN_ID)
def user_disable(user: Who, account: AccountName = "main", data: Data = None, config: Config = None) -> None:
    """Let nobody in as this person, in no account, at once."""
    done = _act("user.disable", {"user": user}, account, data, config)
    _print_row(done["id"], done["name"])
    hint("They are shut out of every account: `aether user enable` takes it back.")


@users.command("enable", context_settings=_OF_AN_ID)
def user_enable(user: Who, account: AccountName = "main", data: Data = None, config: Config = None) -> None:
    """Let a person in again who was disabled."""
    done = _act("user.disable", {"user": user, "disabled": False}, account, data, config)
    _print_row(done["id"], done["name"])


@sessions.command("list", context_settings=_OF_AN_ID)
def session_list(user: Who, account: AccountName = "main", data: Data = None, config: Config = None) -> None:
    """List where a person is signed in: id, since when, until when, with what."""
    for seat in _act("session.list", {"user": user}, account, data, config)["sessions"]:
        _print_row(seat["id"], seat["created_at"], seat["expires_at"], seat["client"])


@sessions.command("end", context_settings=_OF_AN_ID)
def session_end(
    user: Who,
    session: Annotated[str, typer.Argument(metavar="ID", help="The session: `aether session list` shows it.")],
    account: AccountName = "main",
    data: Data = None,
    config: Config = None,
) -> None:
    """End one session of a person, at once."""
    done = _act("session.end", {"user": user, "id": session}, account, data, config)
    hint(f"Sessions that ended: {done['ended']}.")


@tokens.command("rotate")
def tokens_rotate(data: Data = None, config: Config = None) -> None:
    """Sign access tokens with a new key from now on.

    Tokens that are signed already stay valid until they end. Prints the names of the keys in force.
    """
    for name in _act("tokens.rotate", {}, None, data, config)["keys"]:
        print(name)


@keys.command("list")
def key_list(account: AccountName = "main", data: Data = None, config: Config = None) -> None:
    """List the API keys of the account: id, role, name, since when and until when."""
    for key in _records("api_key", "created_at", account, data, config):
        _print_row(key["id"], key["role"], key["name"], key["created_at"], key["expires_at"])


@keys.command("revoke", context_settings=_OF_AN_ID)
def key_revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="The key's id: `aether key list` shows it.")],
    account: AccountName = "main",
    data: Data = None,
    config: Config = None,
) -> None:
    """Revoke an API key; what was opened with it is closed at once."""

    async def work(hub: Client) -> Any:
        return (await hub.call("record.delete", type="api_key", rec=key)).data

    print(with_hub(settings_for(os.environ, config, data=data), account, work)["rec"])


def _print_row(*cells: str | None) -> None:
    print("\t".join(printable(cell or "-") for cell in cells))


def _act(action: str, args: dict[str, Any], account: str | None, data: str | None, config: Path | None) -> Any:
    async def work(hub: Client) -> Any:
        return (await hub.call("action.call", action=action, args=args)).data

    return with_hub(settings_for(os.environ, config, data=data), account, work)


def _records(kind: str, order: str, account: str, data: str | None, config: Path | None) -> list[dict[str, Any]]:
    async def work(hub: Client) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        page: dict[str, Any] = {}
        while True:
            answer = (await hub.call("record.find", type=kind, order=[order], limit=1000, **page)).data
            found += answer["records"]
            if answer.get("next") is None:
                return found
            page = {"after": answer["next"]}

    return with_hub(settings_for(os.environ, config, data=data), account, work)

"""The hub's commands: serve, import, account, key, signin-link, backup, restore, reindex, healthcheck, settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.error import URLError
from urllib.request import urlopen

import msgspec
import typer

from aether_client.address import parse_address
from aether_client.client import Client
from aether_client.errors import AddressError, HubError
from hub import logs
from hub.cli import audit, backup, domains, imports, migrate, people, secrets
from hub.cli.link import call_of, console, hint, refusals, settings_for, stop, with_hub
from hub.cli.options import ROLES, Config, every_setting
from hub.settings import page_url, without_password
from hub.version import VERSION

if TYPE_CHECKING:
    from hub.app import Assembled
    from hub.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Aether Hub.", pretty_exceptions_enable=False)
import_app = typer.Typer(no_args_is_help=True, help="Import data from files.")
account_app = typer.Typer(no_args_is_help=True, help="Accounts.")
key_app = typer.Typer(no_args_is_help=True, help="API keys.")
user_app = typer.Typer(no_args_is_help=True, help="People.")
app.add_typer(import_app, name="import")
app.add_typer(account_app, name="account")
app.add_typer(key_app, name="key")
app.add_typer(user_app, name="user")
app.add_typer(migrate.commands, name="migrate")
app.add_typer(people.sessions, name="session")
app.add_typer(people.tokens, name="tokens")
user_app.add_typer(people.users)
key_app.add_typer(people.keys)
app.add_typer(backup.commands)
app.add_typer(secrets.commands, name="secrets")
app.add_typer(audit.commands, name="audit")
app.add_typer(domains.domains, name="domain")
import_app.add_typer(imports.commands)

Data = Annotated[str | None, typer.Option(help="The hub's data folder.")]
AccountName = Annotated[str, typer.Option(help="Id or name of the account.")]


@app.command()
@every_setting
def serve(*, config: Path | None = None, **options: str | None) -> None:
    """Run a hub until Ctrl-C.

    Every setting is an option here, an AETHER_… variable, or a line in the TOML file of --config: see docs/settings.md.
    """
    settings = settings_for(os.environ, config, **options)
    logs.configure(settings.log_level, settings.log_format)

    def ready(parts: Assembled, url: str, link: str | None) -> None:
        lines = [f"Aether Hub {VERSION} is live at {url}", f"  data in {parts.folder.path.resolve()}"]
        if link is not None:
            lines.append(f"  sign in (once, within 15 minutes): {link}")
        else:
            lines.append(f"  sign in: `{call_of(settings, 'signin-link')}` prints a link")
        print("\n".join(lines), flush=True)

    try:
        import uvloop  # only a serving process needs it

        uvloop.run(_serve(settings, ready))
    except KeyboardInterrupt:
        pass  # the server has drained and closed by now
    except refusals() as error:
        stop(str(error))
    print("Aether Hub stopped.", flush=True)


async def _serve(settings: Settings, ready: Callable[[Assembled, str, str | None], None]) -> None:
    from hub import app as assembly  # other commands need none of it

    await assembly.serve(settings, on_ready=ready)


@app.command("signin-link")
def signin_link(
    account: AccountName = "main",
    user: Annotated[str | None, typer.Option(metavar="NAME|ID", help="Whom it signs in; default: the owner.")] = None,
    url: Annotated[str | None, typer.Option(help="Address of the page; default: where the hub listens.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Print a one-use sign-in link.

    It signs the account's owner in, or the person named with --user, once, within 15 minutes.
    """
    if url is not None:
        _check_page(url)
    settings = settings_for(os.environ, config, data=data)

    async def work(hub: Client) -> Any:
        args = {"account": account, "user": user}
        return (await hub.call("action.call", action="signin.link", args=args)).data

    _print_link(settings, with_hub(settings, None, work), url)


def _check_page(url: str) -> None:
    """End the command where this is no address of a page."""
    try:
        good = url.startswith(("http://", "https://")) and parse_address(url) is not None
    except AddressError:
        good = False
    if not good:
        stop("The --url of a page looks like https://hub.example, without a query or fragment.")


def _print_link(settings: Settings, made: Any, url: str | None) -> None:
    page = url or made["url"] or page_url(settings.host, settings.port)
    print(f"{page.rstrip('/')}/#signin={made['code']}")
    if made["url"] is None:
        hint(f"No hub runs on {settings.data} now; start it before you open the link: {call_of(settings, 'serve')}")


@account_app.command("create")
def account_create(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _.")],
    title: Annotated[str, typer.Option(help="Its name for people.")] = "",
    owner: Annotated[str, typer.Option(help="Name of its first owner.")] = "Owner",
    data: Data = None,
    config: Config = None,
) -> None:
    """Create an account and its owner."""
    settings = settings_for(os.environ, config, data=data)

    async def work(hub: Client) -> Any:
        args = {"name": name, "title": title, "owner": owner}
        try:
            return (await hub.call("action.call", action="account.create", args=args)).data
        except HubError as error:
            if (error.code, error.path) == ("data.invalid", "args.name"):
                stop("An account's name has lower-case letters, digits, - and _, and begins with a letter or digit.")
            raise

    made = with_hub(settings, None, work)
    print(f"{made['name']} {made['id']}")
    hint(f"Its owner signs in with the link of: {call_of(settings, 'signin-link --account ' + made['name'])}")


@user_app.command("create")
def user_create(
    name: Annotated[str, typer.Argument(help="The person's name, as others see it.")],
    account: AccountName = "main",
    role: Annotated[str, typer.Option(help=f"What they may do: {ROLES}.")] = "editor",
    email: Annotated[
        str | None, typer.Option(help="Mail address with which they sign in; without it, by links only.")
    ] = None,
    another: Annotated[bool, typer.Option("--another", help="Also where somebody has this name already.")] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Create a person, make them a member of the account, and print their sign-in link."""
    settings = settings_for(os.environ, config, data=data)

    async def work(hub: Client) -> Any:
        made = {"name": name, "role": role, "email": email, "another": another}
        user = (await hub.call("action.call", action="user.create", args=made)).data
        args = {"account": account, "user": user["id"]}
        return (await hub.call("action.call", action="signin.link", args=args)).data

    _print_link(settings, with_hub(settings, account, work), None)


@key_app.command("create")
def key_create(
    account: AccountName = "main",
    role: Annotated[str, typer.Option(help=f"What it may do: {ROLES}.")] = "viewer",
    name: Annotated[str, typer.Option(help="What the key is for.")] = "cli",
    scope: Annotated[
        list[str] | None, typer.Option(metavar="PERMISSION", help="What it may of that; several times; default: all.")
    ] = None,
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Until when, in UTC.")
    ] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Create an API key and print it, this once."""
    settings = settings_for(os.environ, config, data=data)

    async def work(hub: Client) -> Any:
        args: dict[str, Any] = {"role": role, "name": name, **({"scopes": scope} if scope else {})}
        if expires is not None:
            args["expires_at"] = expires.replace(tzinfo=UTC).isoformat()
        return (await hub.call("action.call", action="api_key.issue", args=args)).data

    made = with_hub(settings, account, work)
    print(made["key"])
    hint("This key is shown once; only its hash is kept.")


@import_app.command("conference")
def import_conference(
    file: Annotated[Path, typer.Argument(help="A schedule.json of frab, pretalx or another c3voc tool.")],
    account: AccountName = "main",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    allow_deletions: Annotated[
        bool, typer.Option("--allow-deletions", help="Import also what deletes most of what was imported before.")
    ] = False,
    data: Data = None,
    config: Config = None,
) -> None:
    """Import a conference programme; again, to bring in what changed in the file.

    What is gone from the file is deleted in the hub. A file that would delete every session, or most of what was
    imported before, is refused unless you allow it.
    """
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from packs import events  # only this command needs the pack and the bar

    settings = settings_for(os.environ, config, data=data)
    try:
        raw = file.read_bytes()
    except OSError as error:
        stop(f"{file} cannot be read: {error.strerror}. Name a schedule.json, as conference tools export it.")
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(f"reading {file.name}", total=1.0)
        try:
            reading = events.read_schedule(raw)
        except events.ScheduleError as error:
            bar.stop()
            hint(f"Nothing was imported. {file} cannot be used:")
            for line in str(error).splitlines():
                hint(f"  {line}")
            raise typer.Exit(1) from None
        bar.update(task, completed=0.3, description="comparing" if dry_run else "comparing and writing")

        async def work(hub: Client) -> Any:
            arguments = events.import_arguments(reading, dry_run=dry_run, allow_deletions=allow_deletions)
            answer = await hub.call(
                "action.call", action=events.IMPORT_ACTION, args=arguments, within=120.0, timeout=120
            )
            return answer.data

        result = with_hub(settings, account, work)
        bar.update(task, completed=1.0)
    summary = events.import_summary(result)
    print(events.render(summary, reading.warnings, reading.unlisted_warnings, dry_run=dry_run))
    if summary.event is not None:
        print(f"  its id:     event:{summary.event}")
    if dry_run and not allow_deletions and events.caution(summary) is not None:
        hint("It would be refused, since it deletes most of what was imported before; --allow-deletions does it.")


@app.command()
def reindex(
    type: Annotated[str | None, typer.Option("--type", help="One record type; default: all with full text.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Make the index of full text anew, of all accounts, while the hub goes on serving.

    A start does this by itself where it is needed; use it when searches miss what is there.
    """
    settings = settings_for(os.environ, config, data=data)

    async def work(hub: Client) -> Any:
        args = {"type": type}
        answer = await hub.call("action.call", action="search.reindex", args=args, within=3600.0, timeout=3600)
        return answer.data

    for name, count in with_hub(settings, None, work)["types"].items():
        print(f"{name}\t{count}")


@app.command()
def healthcheck(
    url: Annotated[str | None, typer.Option(help="Address of the hub; default: where the settings say.")] = None,
    config: Config = None,
) -> None:
    """Exit with 0 when the hub is ready, else with 1.

    For containers, which may have no curl.
    """
    settings = settings_for(os.environ, config)
    address = (url or page_url(settings.host, settings.port)).rstrip("/") + "/readyz"
    try:
        with urlopen(address, timeout=3) as answer:  # the operator's own address
            print(answer.read().decode().strip())
    except (URLError, OSError, ValueError) as error:
        stop(f"{address} does not answer as ready: {getattr(error, 'reason', error)}.")


@app.command()
def settings(config: Config = None) -> None:
    """Print every setting as it is in force here.

    What it prints is a TOML file that --config takes. Passwords in addresses, `cluster_secret` and keys are not shown.
    """
    for name, value in msgspec.to_builtins(settings_for(os.environ, config)).items():
        if name in {"database_url", "redis_url", "mail_url"}:
            value = without_password(value)
        elif name in {"cluster_secret", "secret_keys"} and value:
            value = "***" if name == "cluster_secret" else ["***"]
        elif name == "token_keys":
            value = [f"{key.partition(':')[0]}:***" for key in value]
        print(f"{name} = {msgspec.json.encode(value).decode()}")  # JSON's texts, numbers and lists are TOML's too


@app.command()
def version() -> None:
    """Print the version."""
    print(VERSION)

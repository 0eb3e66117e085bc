"""`aether files put` and `aether files list`."""

from __future__ import annotations

import asyncio
import mimetypes
import os
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aether_client.address import Address
from aether_client.backoff import Backoff
from aether_client.cli.connect import Account, Data, Place, Token, Url, UsageError, find_hub, read_container
from aether_client.cli.show import show
from aether_client.client import Client
from aether_client.errors import HubError
from aether_client.http import Away, hash_file, make_http, put_file
from aether_client.sync.report import human_bytes, printable

files_app = typer.Typer(
    help="Attach files to records, and list them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

TRIES: Final = 4
PAGE: Final = 1000


@files_app.command("put")
def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to attach.")],
    to: Annotated[str, typer.Option("--to", help="The record to attach it to, like event:<id>.")],
    name: Annotated[str | None, typer.Option("--name", help="Its name there, else that of FILE.")] = None,
    url: Url = None,
    token: Token = None,
    data: Data = None,
    account: Account = None,
) -> None:
    """Attach FILE to a record. A file of the same name there gets the new bytes."""
    container = read_container(to)
    if not file.is_file():
        raise UsageError(f"{file} is not a file." if file.exists() else f"There is no file {file}.")
    asyncio.run(_put(find_hub(url, token, data, account), file, container, name or file.name))


async def _put(place: Place, path: Path, container: tuple[str, str], name: str) -> None:
    """Hash, then send, and send again when the hub breaks off: the same bytes under the same name change nothing."""
    backoff = Backoff(first_seconds=1.0, most_seconds=8.0)
    with show() as report:
        expected = await asyncio.to_thread(os.path.getsize, path)
        report.begin("hash", f"Looking at {path.name}", expected, 0)
        sha256, size = await asyncio.to_thread(hash_file, path, lambda here: report.moved("hash", here))
        report.end("hash")

        async def send(http: httpx.AsyncClient) -> dict[str, Any]:
            report.begin("send", f"Sending {path.name}", size, 0)
            try:
                return await put_file(
                    http,
                    place.address,
                    path,
                    container=container,
                    name=name,
                    sha256=sha256,
                    size=size,
                    content_type=mimetypes.guess_type(name)[0],
                    moved=lambda here: report.moved("send", here),
                )
            finally:
                report.end("send")

        async with make_http(place.address, place.token, place.account) as http:
            for _ in range(TRIES - 1):
                try:
                    record = await send(http)
                    break
                except Away as error:
                    report.warn(f"{error} Trying again.")
                    await asyncio.sleep(max(backoff.lost(0.0), error.retry_after or 0.0))
            else:
                try:
                    record = await send(http)
                except Away as error:
                    raise HubError("server.unavailable", str(error)) from None
        stored = str(record.get("name", name))
        report.say(f"{stored} is attached to {':'.join(container)} ({human_bytes(size)}, sha256 {sha256[:12]}…).")


@files_app.command("list")
def list_files(
    of: Annotated[str, typer.Option("--of", help="The record whose files to list, like event:<id>.")],
    url: Url = None,
    token: Token = None,
    data: Data = None,
    account: Account = None,
) -> None:
    """List the files of a record: a table on a terminal, else tab-separated lines of size, SHA-256 and name."""
    container = read_container(of)
    place = find_hub(url, token, data, account)
    records = asyncio.run(_list(place.address, place, container))
    console = Console()
    if not console.is_terminal:
        for record in records:
            typer.echo("\t".join(printable(str(record[field])) for field in ("size", "sha256", "name")))
        return
    table = Table("Name", "Size", "Type", "SHA-256", box=None)
    for record in records:
        name, kind = (Text(printable(str(record.get(field) or ""))) for field in ("name", "content_type"))
        table.add_row(name, human_bytes(int(record["size"])), kind, Text(str(record["sha256"])[:12]))
    console.print(table if records else f"{of} has no files.")


async def _list(address: Address, place: Place, container: tuple[str, str]) -> list[dict[str, Any]]:
    """Read the file records of a container, page by page, in the order of their names."""
    kind, rec = container
    fields: dict[str, Any] = {"type": f"{kind}_file", "parent": {"type": kind, "rec": rec}, "limit": PAGE}
    found: list[dict[str, Any]] = []
    async with Client(address, token=place.token, account=place.account, name="aether-files", reconnect=False) as hub:
        while True:
            answer = await hub.call("record.find", **fields)
            found += answer.data["records"]
            if not answer.data.get("next"):
                return sorted(found, key=lambda record: str(record["name"]))
            fields["after"] = answer.data["next"]

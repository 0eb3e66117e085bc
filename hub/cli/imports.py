"""`aether import records`: records of an older system, under the ids that they had there.

The file is read twice, a stretch at a time: every line is checked before the first is written, so a broken file
changes nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
import typer

from aether_client.client import Client
from aether_client.sync.report import printable
from hub.cli.link import console, hint, settings_for, stop, with_hub

STRETCH_LINES: Final = 500
STRETCH_BYTES: Final = 4 * 1024 * 1024
LINE_BYTES: Final = 1024 * 1024
"""The longest line."""
SHOWN: Final = 20
"""How many problems are shown."""
SECONDS: Final = 300

commands = typer.Typer(rich_markup_mode=None)
_DECODER: Final = msgspec.json.Decoder()
Stretch = list[tuple[int, dict[str, Any]]]
"""Lines with their numbers."""


@dataclass
class Checked:
    """What is known of the lines so far."""

    ids: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Type and line of every id."""
    uniques: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    total: int = 0
    made: int = 0
    kept: int = 0

    def refuse(self, line: int, message: str, path: str | None = None) -> None:
        """Note what is wrong with a line."""
        self.total += 1
        if len(self.problems) < SHOWN:
            self.problems.append(f"line {line}{f', {path}' if path else ''}: {message}")


@commands.command("records")
def import_records(
    file: Annotated[Path, typer.Argument(help="A file of JSON lines: see docs/import.md.")],
    account: Annotated[str, typer.Option(help="Id or name of the account.")] = "main",
    check: Annotated[bool, typer.Option("--check", help="Only say whether the file can be imported.")] = False,
    data: Annotated[str | None, typer.Option(help="The hub's data folder.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
) -> None:
    """Import records of an older system under the ids that they had there, 11 to 22 characters.

    Every line is checked first; of a file with a fault nothing is imported. Records that are there already are left
    as they are, so the same file can be imported again.
    """
    settings = settings_for(os.environ, config, data=data)
    try:
        size = file.stat().st_size
        if not file.is_file():
            stop(f"{file} is no file; name a file of JSON lines.")
        file.open("rb").close()
    except OSError as error:
        stop(f"{file} cannot be read: {error.strerror}. Name a file of JSON lines.")
    state = Checked()

    async def work(hub: Client) -> None:
        with _bar("checking", size) as progress:
            await check_file(hub, file, state, progress)
        if state.total:
            _fail(file, state)
        if check:
            return
        with _bar("importing", size) as progress:
            state.made = state.kept = 0
            stretches = _stretches(file, Checked(), progress)
            while (stretch := await asyncio.to_thread(next, stretches, None)) is not None:
                await _write(hub, state, stretch)

    with_hub(settings, account, work)
    would = "would be " if check else ""
    print(f"{state.made} {would}imported, {state.kept} there already")


async def check_file(hub: Client, file: Path, state: Checked, progress: Callable[[int], None]) -> None:
    """Take in what stands against each line of a file."""
    stretches = _stretches(file, state, progress)
    while (stretch := await asyncio.to_thread(next, stretches, None)) is not None:
        await _check(hub, state, stretch)


def _stretches(file: Path, state: Checked, progress: Callable[[int], None]) -> Iterator[Stretch]:
    """Yield the lines of a file that are objects; refuse the others."""
    stretch: Stretch = []
    size = 0
    with file.open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(LINE_BYTES + 1), b""), 1):
            progress(len(line))
            if len(line) > LINE_BYTES:
                state.refuse(number, f"This line is longer than {LINE_BYTES} bytes; nothing behind it was looked at.")
                break
            if not line.strip():
                continue
            try:
                plain = _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                state.refuse(number, f"This is no JSON: {error}.")
                continue
            if not isinstance(plain, dict):
                state.refuse(number, "A line is a JSON object.")
                continue
            stretch.append((number, plain))
            size += len(line)
            if len(stretch) >= STRETCH_LINES or size >= STRETCH_BYTES:
                yield stretch
                stretch, size = [], 0
    if stretch:
        yield stretch


async def _ask(hub: Client, stretch: Stretch, *, check: bool) -> Any:
    args = {"lines": [plain for _, plain in stretch], "check": check}
    answer = await hub.call("action.call", action="records.import", args=args, within=SECONDS + 10.0, timeout=SECONDS)
    return answer.data


async def _check(hub: Client, state: Checked, stretch: Stretch) -> None:
    """Take in what is said of a stretch, and look up in the lines before it what it needs of them."""
    told = await _ask(hub, stretch, check=True)
    state.made += told["made"]
    state.kept += told["kept"]
    for problem in told["problems"]:
        state.refuse(stretch[problem["n"]][0], problem["message"], problem["path"])
    for wanted in told["wanted"]:
        kind, _ = state.ids.get(wanted["id"], ("", 0))
        if kind != wanted["type"]:
            text = f"There is no {wanted['type']} {wanted['id']} in the account or in a line before this one."
            state.refuse(stretch[wanted["n"]][0], text, wanted["path"])
    for n, digest in told["uniques"]:
        first = state.uniques.setdefault(digest, stretch[n][0])
        if first != stretch[n][0]:
            state.refuse(stretch[n][0], f"Line {first} has the same values, which are unique.", "data")
    for line, plain in stretch:
        rec = plain.get("id")
        if isinstance(rec, str):
            _, first = state.ids.setdefault(rec, (str(plain.get("type")), line))
            if first != line:
                state.refuse(line, f"Line {first} has the same id.", "id")


async def _write(hub: Client, state: Checked, stretch: Stretch) -> None:
    told = await _ask(hub, stretch, check=False)
    state.made += told["made"]
    state.kept += told["kept"]
    for problem in told["problems"]:
        line = stretch[problem["n"]][0]
        stop(
            f"Line {line} could not be written: {printable(problem['message'])} {state.made} records were imported; "
            "see what became of it, then import the same file again."
        )


def _fail(file: Path, state: Checked) -> NoReturn:
    hint(f"Nothing was imported. {file} cannot be used:")
    for problem in state.problems:
        hint(f"  {printable(problem)}")
    if state.total > len(state.problems):
        hint(f"  and {state.total - len(state.problems)} more")
    raise typer.Exit(1)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a file was read, on a terminal; yield what is told of every bytes that are done."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)

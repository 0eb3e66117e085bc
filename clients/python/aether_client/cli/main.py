"""Assemble the command `aether` and turn whatever goes wrong into one sentence on stderr.

Exit codes: 0 done, 1 refused or failed, 2 wrong use, 130 Ctrl-C, 143 SIGTERM. Further commands come from entry points
of the group `aether.commands`, each of which loads a `typer.Typer`; that of the entry point `hub` appears at top level.
They are loaded only when they are asked for, so that a broken one cannot keep a kiosk from syncing.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Final, NoReturn

import typer

from aether_client.cli.device import device_app
from aether_client.cli.files import files_app
from aether_client.cli.sync import sync_command
from aether_client.errors import AetherError, HubError
from aether_client.sync.report import printable
from aether_client.version import VERSION

GROUP: Final = "aether.commands"
OWN: Final = frozenset({"device", "files", "sync"})
"""The commands that need nobody else's code."""

_TOKEN_HINT: Final = " Give --token KEY; `aether key create` on the hub's machine makes one."
_HUB_HINT: Final = " Start it with `aether serve`, or name another one with --url or --data."

# What the library raises for wrong use; it shows its base class only through this one.
_Refusal: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aether {VERSION}")
        raise typer.Exit


def build(plug_ins: Sequence[EntryPoint]) -> typer.Typer:
    """Return the whole command with the plug-ins mounted; one that fails is named in a sentence on stderr."""
    app = typer.Typer(
        name="aether",
        help="Aether Hub from the command line.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def top(
        version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    ) -> None:
        pass

    app.add_typer(device_app, name="device")
    app.add_typer(files_app, name="files")
    app.command("sync")(sync_command)
    for entry in sorted(plug_ins, key=lambda entry: entry.name):
        mounted = _load(entry)
        if mounted is not None:
            app.add_typer(mounted, name=None if entry.name == "hub" else entry.name)
    return app


def _load(entry: EntryPoint) -> typer.Typer | None:
    """Load a plug-in; the code of strangers may fail in any way."""
    try:
        found = entry.load()
    except Exception as error:
        _say(f"The commands of {entry.name!r} cannot be loaded ({type(error).__name__}: {error}); the others work.")
        return None
    if not isinstance(found, typer.Typer):
        _say(f"The commands of {entry.name!r} cannot be loaded (they are no typer app); the others work.")
        return None
    return found


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(words))


def run(words: list[str]) -> int:
    """Run one command; return its exit code."""
    try:
        own = bool(words) and words[0] in OWN
        command = typer.main.get_command(build([] if own else list(entry_points(group=GROUP))))
        result = command.main(words, prog_name="aether", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        return 130
    except typer.Abort:
        _say("Stopped.")
        return 130
    except _Refusal as refusal:
        return _wrong_use(refusal)
    except HubError as error:
        hint = _TOKEN_HINT if error.code == "auth.required" else ""
        if error.code == "server.unavailable" and error.message.startswith("No hub listens at "):
            hint = _HUB_HINT
        return _failed(f"{error}{hint}")
    except AetherError as error:
        return _failed(str(error))
    except BrokenPipeError:
        # Whoever read our output has gone: nothing more to say, also not while Python closes its files.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _failed(f"{place}{error.strerror or error}.")
    except Exception as error:
        if os.environ.get("AETHER_DEBUG"):
            traceback.print_exc()
        sentence = f"An unexpected fault: {type(error).__name__}: {error}. With AETHER_DEBUG=1 it says where."
        return _failed(sentence)


def _wrong_use(refusal: Exception) -> int:
    """Say in one sentence what is wrong with the command line."""
    if type(refusal).__name__ == "NoArgsIsHelpError":
        typer.echo(str(getattr(refusal, "message", refusal)), err=True)
        return 2
    path = getattr(getattr(refusal, "ctx", None), "command_path", "aether")
    message = str(refusal.format_message()) if hasattr(refusal, "format_message") else str(refusal)
    message = " ".join(message.split())
    _say(f"{path}: {message}{'' if message.endswith(('.', '?', '!')) else '.'} See {path} --help.")
    code = getattr(refusal, "exit_code", 2)
    return code if isinstance(code, int) else 2


def _failed(sentence: str) -> int:
    _say(sentence)
    return 1


def _say(sentence: str) -> None:
    typer.echo(printable(sentence), err=True)

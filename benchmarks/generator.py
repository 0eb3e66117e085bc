"""The load generator in C (`native/load.c`): compile it where it is needed, give it its payloads, read what it saw.

The one in Python (`benchmarks.load`) needs more of its core for a message than the hub does; this one a fraction.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from benchmarks import servers
from benchmarks.load import Reading

NATIVE: Final = Path(__file__).parent / "native"
NUMBER: Final = "########"
"""Stands in a payload for a number that grows by one with each message: eight digits."""
UINT32: Final = int.from_bytes(b"####", "big")
"""The same in a MessagePack payload that this number was encoded into."""
TIMEOUT: Final = 120.0


class NotInstalledError(Exception):
    """A peer, or what it takes to build it, is not on this machine."""


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="aether-bench-native-")


@functools.cache
def compiled(name: str, *, deflate: bool = False) -> str:
    """Return the path of a program of `native/`; raise `NotInstalledError` where there is no C compiler.

    With `deflate` it understands compressed messages, for which the headers of zlib have to be there.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotInstalledError("there is no C compiler (cc)")
    program = Path(_folder().name) / (f"{name}-deflate" if deflate else name)
    command = [compiler, "-O2", "-std=c11", "-Wall", "-o", str(program), str(NATIVE / f"{name}.c")]
    done = subprocess.run([*command, *(["-DDEFLATE", "-lz"] if deflate else [])], check=False, capture_output=True)
    if done.returncode and deflate and b"zlib.h: No such file" in done.stderr:
        raise NotInstalledError("the headers of zlib are not installed (zlib1g-dev)")
    done.check_returncode()
    return str(program)


@dataclass(frozen=True, slots=True)
class Talk:
    """How clients talk to one server, as `native/load.c` needs to know it.

    `greeting` is sent by every connection, and `ready` times `ready_mark` is then read before it takes part; the
    publisher has its own. `send` are the payloads that are sent in turn, `mark` is what stands before the number in a
    delivery or an answer, `good` how a good answer begins (b"" where a publisher is not answered).
    """

    server: servers.Server
    send: Sequence[bytes]
    mark: bytes
    path: str = "/ws"
    protocol: str = ""
    binary: bool = False
    digits: bool = True
    """Whether the numbers are written as digits, not in MessagePack."""
    stream: bool = False
    """Whether frames are pieces of a stream, and not messages."""
    deflate: bool = False
    """Whether compression is offered, and must be accepted."""
    hello: Sequence[bytes] = ()
    """What each connection sends first, the first one the first of them and so on."""
    greeting: Sequence[bytes] = ()
    ready: int = 0
    ready_mark: bytes = b""
    good: bytes = b""
    aside: bytes = b""
    """How what else an asker may hear begins."""
    in_turn: bool = False
    """Whether each connection sends the payloads in their order, from the first one on."""
    publisher_port: int = 0
    """Where the publisher goes, if not to the same server."""
    publisher_path: str = ""
    publisher_greeting: Sequence[bytes] = ()
    publisher_ready: int = 0


def text(message: dict[str, Any]) -> bytes:
    """Return a message as JSON; a value NUMBER becomes digits, also where it is a number of the message."""
    return json.dumps(message, separators=(",", ":")).replace(f'"{NUMBER}"', NUMBER).encode()


def packed(message: dict[str, Any]) -> bytes:
    """Return a message as MessagePack, with UINT32 in the places of the number."""
    return msgspec.msgpack.encode(message)


@contextlib.contextmanager
def _command(mode: str, talk: Talk, **options: float) -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as name:
        folder = Path(name)
        program = compiled("load", deflate=talk.deflate)
        command = [program, mode, f"port={talk.server.port}", f"server={talk.server.pid}"]
        command += [f"packed={int(talk.deflate)}"]
        command += [f"path={talk.path}", f"protocol={talk.protocol}", f"binary={int(talk.binary)}"]
        command += [f"digits={int(talk.digits)}", f"stream={int(talk.stream)}", f"ready={talk.ready}"]
        command += [f"in_turn={int(talk.in_turn)}", f"publisher_port={talk.publisher_port}"]
        command += [f"publisher_path={talk.publisher_path or talk.path}", f"publisher_ready={talk.publisher_ready}"]
        command += [f"{option}={value}" for option, value in options.items()]
        for option in ("hello", "greeting", "publisher_greeting", "send"):
            payloads: Sequence[bytes] = getattr(talk, option)
            (folder / option).write_bytes(b"".join(len(p).to_bytes(4, "little") + p for p in payloads))
            command.append(f"{option}={folder / option}")
        for option in ("ready_mark", "mark", "good", "aside"):
            (folder / option).write_bytes(getattr(talk, option))
            command.append(f"{option}={folder / option}")
        yield command


def run(mode: Literal["fan", "pipe", "open"], talk: Talk, **options: float) -> Reading:
    """Run the load to its end; raise RuntimeError where anything was lost, doubled, disordered or refused.

    `options` are those of `native/load.c`: `connections`, `window`, `rate`, `depth`, `seconds`, `warm`, `settle`.
    """
    with _command(mode, talk, **options) as command:
        done = subprocess.run(command, check=False, capture_output=True, timeout=TIMEOUT, preexec_fn=_on_load_core)
    if done.returncode:
        raise RuntimeError(f"the load failed: {done.stderr.decode(errors='replace').strip()}")
    seen = json.loads(done.stdout.decode(errors="replace"))
    wrong = {key: seen.get(key) for key in ("missing", "disordered", "bad", "unanswered") if seen.get(key)}
    if wrong:
        raise RuntimeError(f"the load saw {wrong}: {seen.get('first_bad')}")
    return Reading(
        seen["messages"],
        seen["seconds"],
        seen["cpu"],
        [microseconds / 1e6 for microseconds in seen["latencies"]],
        seen.get("grown", 0),
        seen.get("largest", 0),
        seen["own_cpu"],
    )


@contextlib.contextmanager
def held(talk: Talk, connections: int) -> Iterator[None]:
    """Have connections open, each greeted; raise RuntimeError where they cannot be, or one of them was closed."""
    with _command("hold", talk, connections=connections) as command:
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        servers.pin(servers.LOAD_CORE, holder.pid)
        try:
            assert holder.stdout is not None
            if holder.stdout.readline() == b"open\n":
                yield
        finally:
            holder.terminate()
            trouble = holder.communicate(timeout=10)[1]
        if trouble:
            raise RuntimeError(f"connections could not be held: {trouble.decode(errors='replace').strip()}")


def _on_load_core() -> None:
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {servers.LOAD_CORE})

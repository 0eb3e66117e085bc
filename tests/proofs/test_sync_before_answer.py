"""An answered write is on disk: the kernel is asked to sync before the socket is written to.

The hub runs under strace. With `durability = full` no answer may come before its sync; with `normal`, which
promises less, the same check must find that they do.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.proofs.figures import SCALE, report
from tests.proofs.syscalls import CALLS, Verdict, judge, token
from tests.wire.hubprocess import REPOSITORY
from tests.wire.talk import connected

WRITES: Final = 200
"""How many writes one traced hub acknowledges."""
ROUNDS: Final = SCALE
CLIENTS: Final = 4
START_SECONDS: Final = 60.0
LONGEST: Final = 16384
"""How many bytes of a call's data the trace shows: a page of the log, and more answers than are in flight."""


@contextmanager
def traced_hub(folder: Path, durability: str) -> Iterator[Path]:
    """Run a hub under strace until the end of the block; yield its data folder. The trace is folder/trace."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AETHER_")}
    environment["AETHER_DURABILITY"] = durability
    strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-y", "-s", str(LONGEST), "-e", f"trace={CALLS}"]
    hub = [str(Path(sys.executable).with_name("aether")), "serve", "--port", "0", "--data", str(folder / "data")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*strace, "-o", str(folder / "trace"), *hub],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert re.search("live at", line), (line, (folder / "log").read_text()[-2000:])
        yield folder / "data"
    finally:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split()
        for child in children:
            os.kill(int(child), signal.SIGTERM)
        try:
            process.wait(START_SECONDS)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


async def _write(socket: Path, numbers: range) -> None:
    async with connected("ws://localhost/ws", unix=socket) as client:
        await client.greet()
        for number in numbers:
            await client.create("event", title=token(number))


async def _write_all(socket: Path) -> None:
    share = WRITES // CLIENTS
    await asyncio.gather(*(_write(socket, range(n * share, (n + 1) * share)) for n in range(CLIENTS)))


def _trace(folder: Path, durability: str) -> Verdict:
    folder.mkdir()
    with traced_hub(folder, durability) as data:
        asyncio.run(_write_all(data / "hub.sock"))
    with (folder / "trace").open(encoding="utf-8", errors="replace") as trace:
        verdict = judge(trace)
    (folder / "trace").unlink()
    return verdict


@pytest.mark.timeout(120 + 30 * ROUNDS)
def test_every_answer_is_preceded_by_the_sync_of_its_commit(tmp_path: Path) -> None:
    acknowledged = early = syncs = 0
    for n in range(ROUNDS):
        verdict = _trace(tmp_path / str(n), "full")
        acknowledged += len(verdict.acknowledged)
        early += len(verdict.early)
        syncs += verdict.syncs
    report("sync_before_answer", f"{acknowledged} answers, {syncs} syncs, {early} answers before their sync")
    assert acknowledged == WRITES * ROUNDS
    assert early == 0


def test_with_less_durability_the_same_check_finds_early_answers(tmp_path: Path) -> None:
    verdict = _trace(tmp_path / "normal", "normal")
    assert len(verdict.acknowledged) == WRITES
    assert len(verdict.early) > WRITES / 2


GOOD = """\
7 pwrite64(9</x/hub.db-wal>, "..sync-000001...", 4096, 0) = 4096
7 fdatasync(9</x/hub.db-wal>) = 0
8 write(5<socket:[12]>, "{\\"title\\":\\"sync-000001.\\"}", 30) = 30
"""


@pytest.mark.parametrize(
    ("replaced", "by"),
    [
        ("7 fdatasync(9</x/hub.db-wal>) = 0\n", ""),
        ("7 fdatasync(9</x/hub.db-wal>) = 0", "7 fdatasync(9</x/hub.db-wal>) = -1 EIO (Input/output error)"),
        ("7 fdatasync(9</x/hub.db-wal>) = 0", "7 fdatasync(9</x/hub.db-wal> <unfinished ...>"),
        ("7 fdatasync(9</x/hub.db-wal>) = 0", "7 fdatasync(9</x/hub.db>) = 0"),
        ("7 pwrite64", "6 fdatasync(9</x/hub.db-wal> <unfinished ...>\n7 pwrite64"),
    ],
    ids=["none", "failed", "unfinished", "another file", "begun before the write"],
)
def test_a_sync_that_does_not_count_is_seen(replaced: str, by: str) -> None:
    assert judge(GOOD.splitlines()).early == set()
    trace = GOOD.replace(replaced, by)
    if "6 fdatasync" in by:
        trace = trace.replace("7 fdatasync(9</x/hub.db-wal>) = 0", "6 <... fdatasync resumed>) = 0")
    assert judge(trace.splitlines()).early == {"sync-000001."}

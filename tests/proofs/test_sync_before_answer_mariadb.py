"""On MariaDB too an answered write is on disk: the server syncs its redo log before the hub answers.

The hub and its server run under one strace, so that what both do has one order. With
`innodb_flush_log_at_trx_commit = 2` the server promises less, and the same check must find answers that come too early.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.forked import COMMAND, without_settings
from tests.proofs.figures import SCALE, report
from tests.proofs.syscalls import MARIADB_CALLS, Verdict, judge_mariadb, token
from tests.storage.mariadb_server import DURABLE, MariadbServer
from tests.wire.hubprocess import REPOSITORY
from tests.wire.talk import connected

ROUNDS: Final = max(1, SCALE // 10)
WRITES: Final = 200 * SCALE // ROUNDS
"""How many writes one traced server commits durably."""
LAZY: Final = 100
"""How many it commits afterwards without waiting for the disk."""
CLIENTS: Final = 4
WAIT_SECONDS: Final = 60.0
LONGEST: Final = 1 << 21
"""How many bytes of a call's data the trace shows: more than the server writes to its log at once."""


@contextmanager
def traced(folder: Path) -> Iterator[tuple[MariadbServer, Path]]:
    """Run a server and a hub under one strace; yield the server and the hub's socket. The trace is folder/trace."""
    server = MariadbServer(*DURABLE)
    strace = ["strace", "-f", "-qq", "--seccomp-bpf", "-yy", "-s", str(LONGEST), "-e", f"trace={MARIADB_CALLS}"]
    hub = [COMMAND, "serve", "--port", "0", "--data", str(folder / "data")]
    script = f"{shlex.join(server.command)} & read -r AETHER_DATABASE_URL; export AETHER_DATABASE_URL; "
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*strace, "-o", str(folder / "trace"), "sh", "-c", f"{script} exec {shlex.join(hub)}"],
            cwd=REPOSITORY,
            env=without_settings(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _wait(server.answers, process)
        process.stdin.write(f"{server.url(server.new_database())}\n")
        process.stdin.flush()
        line = process.stdout.readline()
        assert "live at" in line, (line, (folder / "log").read_text("utf-8", "replace")[-2000:])
        yield server, folder / "data" / "hub.sock"
        # The shell became the hub; the server is its child, and the trace ends when both have ended.
        pid = int((server.folder / "pid").read_text("ascii"))
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("ascii").split():
            os.kill(int(child), signal.SIGTERM)
        os.kill(pid, signal.SIGTERM)
        process.wait(WAIT_SECONDS)
    finally:
        _kill(process)
        server.remove()


def _wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < until, "the server did not start"
        time.sleep(0.02)


def _kill(process: subprocess.Popen[str]) -> None:
    """End what a failure left running: strace, what it traces, and the server below that."""
    left = [process.pid] if process.poll() is None else []
    for pid in left:
        children = Path(f"/proc/{pid}/task/{pid}/children")
        left += map(int, children.read_text("ascii").split()) if children.exists() else []
    for pid in reversed(left):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


async def _write(socket: Path, numbers: range) -> None:
    async with connected("ws://localhost/ws", unix=socket) as client:
        await client.greet()
        for number in numbers:
            await client.create("event", title=token(number))


async def _write_all(socket: Path, numbers: range) -> None:
    await asyncio.gather(*(_write(socket, numbers[n::CLIENTS]) for n in range(CLIENTS)))


def _trace(folder: Path) -> Verdict:
    folder.mkdir()
    with traced(folder) as (server, socket):
        asyncio.run(_write_all(socket, range(WRITES)))
        server.run("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        asyncio.run(_write_all(socket, range(WRITES, WRITES + LAZY)))
    with (folder / "trace").open(encoding="utf-8", errors="replace") as trace:
        verdict = judge_mariadb(trace)
    (folder / "trace").unlink()
    return verdict


@pytest.mark.timeout(120 + 60 * ROUNDS)
def test_every_answer_is_preceded_by_a_sync_of_the_redo_log(tmp_path: Path) -> None:
    durable = {token(number) for number in range(WRITES)}
    acknowledged = early = syncs = lazily = 0
    for n in range(ROUNDS):
        verdict = _trace(tmp_path / str(n))
        acknowledged += len(verdict.acknowledged & durable)
        early += len(verdict.early & durable)
        syncs += verdict.syncs
        # The negative control: the same check, once the server does not wait for the disk.
        assert len(verdict.acknowledged - durable) == LAZY
        assert len(verdict.early - durable) > LAZY * 3 / 4
        lazily += len(verdict.early - durable)
    report(
        "sync_before_answer_mariadb",
        f"{acknowledged} answers, {syncs} syncs of the redo log, {early} answers before the sync of their commit; "
        f"with innodb_flush_log_at_trx_commit = 2 {lazily} of {LAZY * ROUNDS}",
    )
    assert acknowledged == WRITES * ROUNDS
    assert early == 0


GOOD = """\
7 recvfrom(43<TCP:[a->b]>, "\\3INSERT INTO `change` (..) VALUES (sync-000001.)", 40, 0, NULL, NULL) = 40
7 recvfrom(43<TCP:[a->b]>,  <unfinished ...>
5 write(20<UNIX-STREAM:[1->2,"/x/hub.sock"]>, "something else", 14) = 14
7 <... recvfrom resumed>"\\3COMMIT", 7, MSG_DONTWAIT, NULL, NULL) = 7
7 pwrite64(11</x/ib_logfile0>, "..sync-000001...", 4096, 0) = 4096
7 fdatasync(11</x/ib_logfile0>) = 0
5 write(20<UNIX-STREAM:[1->2,"/x/hub.sock"]>, "{\\"title\\":\\"sync-000001.\\"}", 30) = 30
"""
SYNC = "7 fdatasync(11</x/ib_logfile0>) = 0\n"
WRITE = '7 pwrite64(11</x/ib_logfile0>, "..sync-000001...", 4096, 0) = 4096\n'


@pytest.mark.parametrize(
    ("replaced", "by"),
    [
        (SYNC, ""),
        (SYNC, "7 fdatasync(11</x/ib_logfile0>) = -1 EIO (Input/output error)\n"),
        (SYNC, "7 fdatasync(11</x/ib_logfile0> <unfinished ...>\n"),
        (SYNC, "7 fdatasync(12</x/ibdata1>) = 0\n"),
        (WRITE, ""),
        (WRITE, WRITE.replace("sync-000001.", "sync-000002.")),
        (
            WRITE + SYNC,
            "6 fdatasync(11</x/ib_logfile0> <unfinished ...>\n" + WRITE + "6 <... fdatasync resumed>) = 0\n",
        ),
        ('7 <... recvfrom resumed>"\\3COMMIT"', '7 <... recvfrom resumed>"\\3ROLLBACK"'),
    ],
    ids=["none", "failed", "unfinished", "another file", "nothing written", "another write", "begun before", "undone"],
)
def test_a_sync_of_the_redo_log_that_does_not_count_is_seen(replaced: str, by: str) -> None:
    assert judge_mariadb(GOOD.splitlines()).early == set()
    assert replaced in GOOD
    assert judge_mariadb(GOOD.replace(replaced, by).splitlines()).early == {"sync-000001."}


def test_a_trace_that_was_cut_is_no_proof() -> None:
    with pytest.raises(ValueError, match="was cut"):
        judge_mariadb(GOOD.replace('..sync-000001..."', '.."...').splitlines())


def test_what_the_server_writes_for_itself_is_no_matter() -> None:
    own = WRITE.replace("sync-000001.", "its own") + SYNC
    assert judge_mariadb(GOOD.replace(WRITE, own + WRITE).splitlines()).early == set()
    assert judge_mariadb(GOOD.replace(WRITE + SYNC, own + WRITE).splitlines()).early == {"sync-000001."}


def test_what_was_written_and_synced_before_its_commit_arrived_is_early() -> None:
    lines = GOOD.splitlines()
    commit = [line for line in lines if "COMMIT" in line or "unfinished" in line]
    before = [line for line in lines if line not in commit]
    assert judge_mariadb([*before[:-1], *commit, before[-1]]).early == {"sync-000001."}

"""Sync on a disk that is full or breaks: one sentence, the other files go on, and it goes on when there is room."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aether_client.address import parse_address
from aether_client.sync import engine
from aether_client.sync.engine import FolderSync, SyncOptions
from aether_client.sync.folder import Folder
from aether_client.sync.partial import Partial
from tests.clients.reference_harness import TOKEN, PeerProcess, contents, noise

MIB = 1024 * 1024


class Heard:
    """A report that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def warn(self, sentence: str) -> None:
        self.warned.append(sentence)

    def begin(self, what: str, title: str, size: int, here: int) -> None:
        assert here <= size

    def moved(self, what: str, here: int) -> None:
        pass

    def end(self, what: str) -> None:
        pass


@pytest.fixture(scope="module")
def peer_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    process = PeerProcess(tmp_path_factory.mktemp("peer"))
    yield process
    process.kill()


@pytest.fixture
def peer(peer_process: PeerProcess) -> PeerProcess:
    return peer_process.fresh()


def options(peer: PeerProcess, folder: Path, **more: Any) -> SyncOptions:
    return SyncOptions(parse_address(peer.url), ("event", "e1"), folder, token=TOKEN, **{"look_seconds": 0.1, **more})


async def until(fact: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "did not happen"
        await asyncio.sleep(0.01)


async def test_a_disk_without_room_is_one_sentence_and_sync_goes_on_when_there_is_some(
    peer: PeerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.put("large.bin", noise(3 * MIB))
    peer.put("small.txt", b"small")
    room = [2 * MIB]
    monkeypatch.setattr(Folder, "free_bytes", lambda self: room[0])
    monkeypatch.setattr(engine, "ROOM_SECONDS", 0.1)
    heard, folder = Heard(), tmp_path / "files"
    sync = asyncio.create_task(FolderSync(options(peer, folder), heard).run())
    await until(lambda: heard.warned and contents(folder) == {"small.txt": b"small"})
    looks = len(peer.seen["gets"])
    await asyncio.sleep(0.5)  # long enough for several more looks
    assert [sentence.split(":")[0] for sentence in heard.warned] == ["large.bin has no room"]
    assert len(peer.seen["gets"]) == looks
    room[0] = 100 * MIB
    await until(lambda: contents(folder) == {"small.txt": b"small", "large.bin": noise(3 * MIB)})
    sync.cancel()
    await asyncio.gather(sync, return_exceptions=True)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_a_write_that_fails_midway_keeps_what_is_here_and_the_next_run_goes_on(
    peer: PeerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    data = noise(3 * MIB)
    peer.put("large.bin", data)
    peer.put("small.txt", b"small")
    whole = Partial.write

    def write(self: Partial, start: int, part: bytes) -> list[int]:
        if start + len(part) > MIB:
            raise OSError(number, os.strerror(number))
        return whole(self, start, part)

    heard, folder = Heard(), tmp_path / "files"
    with monkeypatch.context() as broken:
        broken.setattr(Partial, "write", write)
        assert await FolderSync(options(peer, folder, once=True), heard).run() is False
    warning, closing = heard.warned
    assert closing.endswith("is not equal to event:e1: 1 file could not be brought (see above).")
    assert warning.startswith("large.bin ")
    assert ("has no room: the disk is full" in warning) == (number != errno.EIO)
    assert contents(folder) == {"small.txt": b"small"}
    here = (folder / ".aether/partial" / hashlib.sha256(data).hexdigest()).stat().st_size
    assert here > MIB // 2
    assert await FolderSync(options(peer, folder, once=True), heard).run() is True
    assert contents(folder)["large.bin"] == data
    assert peer.seen["gets"][-1]["range"] == f"bytes={here}-{len(data) - 1}"


async def test_the_check_of_the_whole_is_what_keeps_wrong_bytes_out(
    peer: PeerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: without the check the lie of test_python_sync.py would be placed."""
    record = peer.put("real.bin", noise(1000))
    lie = hashlib.sha256(b"something else").hexdigest()
    (peer.folder / "blobs" / lie).write_bytes(noise(1000))
    peer.control(more_files=[{"path": "lie.bin", "sha256": lie, "size": 1000, "pieces": [record["sha256"]]}])
    monkeypatch.setattr("aether_client.sync.bring.is_right", lambda folder, file: True)
    await FolderSync(options(peer, tmp_path / "files", once=True), Heard()).run()
    assert sorted(contents(tmp_path / "files")) == ["lie.bin", "real.bin"]


async def test_a_file_that_changes_while_it_is_fetched_ends_as_the_new_one(peer: PeerProcess, tmp_path: Path) -> None:
    old, new = noise(8 * MIB, seed=1), noise(2 * MIB, seed=2)
    peer.put("a.bin", old)
    peer.control(rate=4 * MIB)
    heard, folder = Heard(), tmp_path / "files"
    sync = asyncio.create_task(FolderSync(options(peer, folder), heard).run())
    partial = folder / ".aether/partial" / hashlib.sha256(old).hexdigest()
    await until(lambda: partial.exists() and partial.stat().st_size > MIB)
    await asyncio.to_thread(peer.put, "a.bin", new)
    await until(lambda: contents(folder) == {"a.bin": new})
    await until(lambda: not partial.exists())
    assert peer.seen["bytes"] < len(old) + len(new)
    sync.cancel()
    await asyncio.gather(sync, return_exceptions=True)
    assert heard.warned == []


async def test_bytes_that_rot_without_any_trace_are_found_by_the_full_look(
    peer: PeerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.put("a.bin", noise(1000))
    # A disk whose files never look changed: size and times say nothing, as after a bit that flipped by itself.
    monkeypatch.setattr("aether_client.sync.folder._stamp", lambda found: (1000, 0, 0, 0))
    heard, folder = Heard(), tmp_path / "files"
    sync = asyncio.create_task(FolderSync(options(peer, folder, verify_seconds=0.5), heard).run())
    await until(lambda: contents(folder) == {"a.bin": noise(1000)} and heard.said)
    await asyncio.to_thread((folder / "a.bin").write_bytes, noise(1000, seed=2))
    await until(lambda: "a.bin holds wrong bytes; it is fetched again." in heard.warned)
    await until(lambda: contents(folder) == {"a.bin": noise(1000)})
    sync.cancel()
    await asyncio.gather(sync, return_exceptions=True)

"""`aether files` and `aether sync` with a real hub: killed mid-file, restarted, changed while everything runs."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from aether_client import Backoff, Change, Client, HubError, parse_address
from aether_client.codec import CodecName
from aether_client.http import make_http, put_file
from tests.clients.real_hub_harness import HubProcess, SlowRoad
from tests.clients.reference_harness import Aether, contents, noise, wait_for

MIB = 1024 * 1024
BIG = 48 * MIB


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path_factory.mktemp("hub"))
    yield process
    process.kill()


@pytest.fixture(scope="module")
def token(hub: HubProcess) -> str:
    return hub.key()


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[list[Aether]]:
    started: list[Aether] = []
    yield started
    for command in started:
        command.stop()


def put(hub: HubProcess, folder: Path, event: str, name: str, data: bytes) -> None:
    """Attach a file as a new user would."""
    source = folder / "sources"
    source.mkdir(exist_ok=True)
    (source / name).write_bytes(data)
    command = Aether(source, "files", "put", name, "--to", f"event:{event}", "--data", str(hub.data))
    assert command.ends() == 0, command.text
    assert f"{name} is attached to event:{event}" in command.text


def test_a_hub_that_is_killed_mid_file_costs_nothing_but_time(
    hub: HubProcess, token: str, tmp_path: Path, commands: list[Aether]
) -> None:
    event = hub.event()
    wanted = {"big.bin": noise(BIG), "small.txt": b"small"}
    for name, data in wanted.items():
        put(hub, tmp_path, event, name, data)
    road = SlowRoad(hub.port, 24 * MIB)
    target, url = tmp_path / "files", f"http://127.0.0.1:{road.port}"
    words = ("sync", "--container", f"event:{event}", str(target), "--once", "--url", url)
    sync = Aether(tmp_path, *words, env={"AETHER_TOKEN": token})
    commands.append(sync)
    partial = target / ".aether/partial" / hashlib.sha256(wanted["big.bin"]).hexdigest()
    wait_for(lambda: partial.exists() and partial.stat().st_size > 10 * MIB, "a part of the big file")
    hub.kill()
    sync.says("Waiting for it.")
    assert "big.bin" not in contents(target)
    hub.start()
    assert sync.ends(60) == 0, sync.text
    road.close()
    assert contents(target) == wanted
    assert BIG < road.passed < BIG + 2 * MIB, "the download began again from the start"

    damaged = bytearray(wanted["big.bin"])
    damaged[BIG // 2] ^= 1
    (target / "big.bin").write_bytes(damaged)
    again = Aether(tmp_path, *words[:-2], "--data", str(hub.data))
    commands.append(again)
    assert again.ends() == 0
    assert "big.bin holds wrong bytes; it is fetched again." in again.text
    assert contents(target) == wanted


def test_a_running_sync_follows_what_is_put_replaced_and_deleted(
    hub: HubProcess, tmp_path: Path, commands: list[Aether]
) -> None:
    event, target = hub.event(), tmp_path / "files"
    put(hub, tmp_path, event, "first.txt", b"1")
    sync = Aether(tmp_path, "sync", "--container", f"event:{event}", str(target), "--data", str(hub.data))
    commands.append(sync)
    sync.says(f"is equal to event:{event}")
    put(hub, tmp_path, event, "second.bin", noise(9 * MIB))
    wait_for(lambda: contents(target).get("second.bin") == noise(9 * MIB), "the second file")
    put(hub, tmp_path, event, "first.txt", b"one")
    wait_for(lambda: contents(target).get("first.txt") == b"one", "the new bytes")
    found = hub.call("record.find", type="event_file", parent={"type": "event", "rec": event})["records"]
    (first,) = (record for record in found if record["name"] == "first.txt")
    hub.call("record.delete", type="event_file", rec=first["id"])
    wait_for(lambda: list(contents(target)) == ["second.bin"], "the first file is gone")
    hub.kill()
    sync.says("Waiting for it.")
    hub.start()
    put(hub, tmp_path, event, "third.txt", b"3")
    wait_for(lambda: contents(target).get("third.txt") == b"3", "the file that came after the restart", 60)
    listing = Aether(tmp_path / "list", "files", "list", "--of", f"event:{event}", "--data", str(hub.data))
    commands.append(listing)
    assert listing.ends() == 0
    assert [line.split("\t")[2] for line in listing.text.splitlines()] == ["second.bin", "third.txt"]
    sync.interrupt()
    assert sync.ends() == 130


TRICKS = [
    "../up.txt",
    "/abs.txt",
    "a/b.txt",
    "a\\b.txt",
    "C:x",
    "nul",
    "x\ny",
    ".aether",
    ".aether/state.json",
    "",
    ".",
]


async def test_names_that_play_tricks_leave_everything_outside_the_folder_whole(
    hub: HubProcess, tmp_path: Path, commands: list[Aether]
) -> None:
    event, target = await asyncio.to_thread(hub.event), tmp_path / "files"
    address, source = parse_address(hub.data / "hub.sock"), tmp_path / "source"
    source.write_bytes(b"payload")
    sha256 = hashlib.sha256(b"payload").hexdigest()
    taken: list[str] = []
    refused: list[str] = []
    async with make_http(address, None, None) as http:
        for name in [*TRICKS, "fine.txt"]:
            try:
                await put_file(
                    http, address, source, container=("event", event), name=name, sha256=sha256, size=7,
                    content_type=None, moved=lambda _: None,
                )  # fmt: skip
                taken.append(name)
            except HubError as error:
                refused.append(error.code)
    sync = Aether(tmp_path, "sync", "--container", f"event:{event}", str(target), "--once", "--data", str(hub.data))
    commands.append(sync)
    code = await asyncio.to_thread(sync.ends)
    assert set(refused) <= {"data.invalid"}
    assert sorted(os.listdir(tmp_path)) == ["aether.log", "files", "source"]
    assert "fine.txt" in contents(target)
    assert sync.text.count("is not brought here: ") == len([name for name in taken if name not in contents(target)])
    assert code == (0 if len(contents(target)) == len(taken) else 1)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sync", "--container", "event:AAAAAAAAAAA", "files"], "record.not_found"),
        (["files", "put", "source", "--to", "event:AAAAAAAAAAA"], "record.not_found"),
        (["files", "put", "missing", "--to", "event:AAAAAAAAAAA"], "There is no file missing."),
    ],
)
def test_what_is_not_there_is_one_sentence(
    hub: HubProcess, tmp_path: Path, commands: list[Aether], words: list[str], sentence: str
) -> None:
    (tmp_path / "source").write_bytes(b"payload")
    command = Aether(tmp_path, *words, "--data", str(hub.data))
    commands.append(command)
    assert command.ends() == 1
    assert sentence in command.text.splitlines()[-1]


@pytest.mark.parametrize("words", [["sync", "files", "--container"], ["files", "list", "--of"]])
def test_a_token_that_is_not_valid_is_one_sentence(
    hub: HubProcess, tmp_path: Path, commands: list[Aether], words: list[str]
) -> None:
    command = Aether(tmp_path, *words, "event:AAAAAAAAAAA", "--url", hub.url, env={"AETHER_TOKEN": "wrong"})
    commands.append(command)
    assert command.ends() == 1
    (line,) = command.text.splitlines()
    assert "auth." in line


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_client_resumes_over_a_kill_and_its_writes_happen_once(
    hub: HubProcess, token: str, codec: CodecName
) -> None:
    title = f"Kill {codec}"
    backoff = Backoff(first_seconds=0.05, most_seconds=0.5)
    async with Client(hub.url, token=token, codec=codec, backoff=backoff, request_seconds=60) as client:
        seen: list[Change] = []
        async with client.watch("event", where={"title": {"$starts": title}}) as watch:

            async def read() -> None:
                async for change in watch:
                    seen.append(change)

            reader = asyncio.create_task(read())
            for n in range(20):
                write = asyncio.create_task(client.call("record.create", type="event", data={"title": f"{title} {n}"}))
                if n in (5, 12):
                    await asyncio.to_thread(hub.kill)
                    await asyncio.to_thread(hub.start)
                await write
            found = await client.call("record.find", type="event", where={"title": {"$starts": title}})
            titles = sorted(record["title"] for record in found.data["records"])
            assert titles == sorted(f"{title} {n}" for n in range(20))
            while len(watch.records) < 20 or sum(len(change.entered) for change in seen) < 20:
                await asyncio.sleep(0.01)
            assert sum(len(change.entered) for change in seen) == 20
            assert dict(watch.records) == {record["id"]: record for record in found.data["records"]}
            reader.cancel()
        with pytest.raises(HubError) as refused:
            await client.call("record.update", type="event", rec="AAAAAAAAAAA", data={"title": "x"})
        assert refused.value.code == "record.not_found"

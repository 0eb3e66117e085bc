"""`aether sync` against the reference peer: killed, cut, interrupted, lied to; the folder ends equal every time."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aether_client.cli import main as cli
from aether_client.sync.manifest import PIECE_BYTES
from tests.clients.reference_harness import TOKEN, Aether, PeerProcess, contents, noise, wait_for

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def peer_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PeerProcess]:
    process = PeerProcess(tmp_path_factory.mktemp("peer"))
    yield process
    process.kill()


@pytest.fixture
def peer(peer_process: PeerProcess) -> PeerProcess:
    return peer_process.fresh()


class Room:
    """A folder and the syncs that run on it."""

    def __init__(self, place: Path, peer: PeerProcess) -> None:
        self.folder, self.place, self.peer = place / "files", place, peer
        self.running: list[Aether] = []

    def sync(self, *more: str, container: str = "event:e1", env: dict[str, str] | None = None) -> Aether:
        words = ("sync", "--container", container, "--url", self.peer.url, str(self.folder), *more)
        self.running.append(Aether(self.place, *words, env=env))
        return self.running[-1]

    def once(self, *more: str) -> int:
        """Run the same command in this process, until the folder is equal."""
        to = ["--container", "event:e1", "--url", self.peer.url, "--token", TOKEN]
        words = ["sync", *to, str(self.folder), "--once"]
        self.place.mkdir(exist_ok=True)
        heard = io.StringIO()
        with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
            code = cli.run([*words, *more])
        with (self.place / "aether.log").open("a") as log:
            log.write(heard.getvalue())
        assert "Traceback" not in self.text
        return code

    def partial(self, data: bytes) -> Path:
        return self.folder / ".aether/partial" / hashlib.sha256(data).hexdigest()

    @property
    def text(self) -> str:
        return (self.place / "aether.log").read_text()


@pytest.fixture
def room(tmp_path: Path, peer: PeerProcess) -> Iterator[Room]:
    made = Room(tmp_path / "room", peer)
    yield made
    for process in made.running:
        process.stop()


def test_the_folder_becomes_equal_and_a_second_run_moves_no_byte(peer: PeerProcess, room: Room) -> None:
    wanted = {"a.txt": b"hello", "talks/b.bin": noise(9 * MIB), "empty": b"", "copy.txt": b"hello"}
    for name, data in wanted.items():
        peer.put(name, data)
    assert room.once() == 0
    assert contents(room.folder) == wanted
    moved = peer.seen["bytes"]
    assert moved == 5 + 9 * MIB  # equal bytes travel once
    assert room.once() == 0
    assert peer.seen["bytes"] == moved
    assert "is equal to event:e1 (4 files, 9.4 MB)" in room.text


def test_a_file_that_comes_later_appears_and_one_that_goes_disappears(peer: PeerProcess, room: Room) -> None:
    first = peer.put("first.txt", b"1")
    sync = room.sync()
    sync.says("Fetched first.txt")
    peer.put("deep/second.txt", b"22")
    wait_for(lambda: contents(room.folder) == {"first.txt": b"1", "deep/second.txt": b"22"}, "the second file")
    peer.put("first.txt", b"one")
    wait_for(lambda: contents(room.folder).get("first.txt") == b"one", "the new bytes of the first file")
    _delete(peer, first["id"])
    wait_for(lambda: contents(room.folder) == {"deep/second.txt": b"22"}, "the first file is gone")
    sync.interrupt()
    assert sync.ends() == 130


def test_a_renamed_file_is_copied_and_not_fetched_again(peer: PeerProcess, room: Room) -> None:
    data = noise(MIB)
    old = peer.put("old/name.bin", data)
    assert room.once() == 0
    peer.put("new/name.bin", data)
    _delete(peer, old["id"])
    assert room.once() == 0
    assert contents(room.folder) == {"new/name.bin": data}
    assert not (room.folder / "old").exists()
    assert peer.seen["bytes"] == MIB


def test_a_server_that_is_killed_mid_file_is_waited_for(peer: PeerProcess, room: Room) -> None:
    data = noise(24 * MIB)
    peer.put("big.bin", data)
    peer.control(rate=12 * MIB)
    sync = room.sync("--once")
    partial = room.partial(data)
    wait_for(lambda: partial.exists() and partial.stat().st_size > 5 * MIB, "a part of the file")
    peer.kill()
    sync.says("Waiting for it.")
    assert not (room.folder / "big.bin").exists()
    here = partial.stat().st_size
    peer.start()
    assert sync.ends() == 0
    assert contents(room.folder) == {"big.bin": data}
    assert peer.seen["bytes"] == len(data) - here  # the restarted peer counts from zero
    assert "is there." in room.text


def test_ctrl_c_at_any_moment_leaves_a_state_from_which_the_next_start_goes_on(peer: PeerProcess, room: Room) -> None:
    data = noise(18 * MIB)
    peer.put("big.bin", data)
    peer.control(rate=16 * MIB)
    partial = room.partial(data)
    stops = 5
    for n in range(stops):
        before = partial.stat().st_size if partial.exists() else 0
        sync = room.sync("--once")
        goal = before + (n + 1) * MIB // 2 + 4321
        wait_for(lambda goal=goal: partial.exists() and partial.stat().st_size > goal, "more of the file")  # type: ignore[misc]  # a late-bound lambda
        sync.interrupt()
        assert sync.ends() == 130
        assert partial.stat().st_size > before
        assert not (room.folder / "big.bin").exists()
    peer.control(rate=0)
    here, gets = partial.stat().st_size, len(peer.seen["gets"])
    assert room.once() == 0
    assert contents(room.folder) == {"big.bin": data}
    assert peer.seen["gets"][gets:] == [{"sha256": partial.name, "range": f"bytes={here}-{len(data) - 1}"}]
    assert room.text.count("the next start goes on there.") == stops
    assert room.text.count("Stopped.") == stops


@pytest.mark.parametrize("when", ["at once", "while nothing is to do"])
def test_a_stop_by_the_system_is_clean_too(peer: PeerProcess, room: Room, when: str) -> None:
    peer.put("a.txt", b"a")
    sync = room.sync()
    if when == "at once":
        wait_for((room.folder / ".aether/lock").exists, "the start of sync")
    else:
        sync.says("is equal to")
    sync.process.send_signal(signal.SIGTERM)
    assert sync.ends() == 143
    assert room.once() == 0


def test_a_resumed_download_drops_only_the_bad_pieces(peer: PeerProcess, room: Room) -> None:
    data = noise(5 * PIECE_BYTES + 1000)
    peer.put("big.bin", data)
    part = bytearray(data[: 4 * PIECE_BYTES + 500])
    part[PIECE_BYTES + 7] ^= 1
    partial = room.partial(data)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(part)
    assert room.once() == 0
    assert contents(room.folder) == {"big.bin": data}
    ranges = [get["range"] for get in peer.seen["gets"]]
    assert ranges == [
        f"bytes={PIECE_BYTES}-{2 * PIECE_BYTES - 1}",
        f"bytes={4 * PIECE_BYTES + 500}-{len(data) - 1}",
    ]


def test_a_server_without_ranges_is_listened_to_from_the_start_and_nothing_good_is_overwritten(
    peer: PeerProcess, room: Room
) -> None:
    data = noise(2 * PIECE_BYTES)
    peer.put("big.bin", data)
    peer.control(no_ranges=True)
    partial = room.partial(data)
    partial.parent.mkdir(parents=True)
    partial.write_bytes(data[: PIECE_BYTES + 5])
    assert room.once() == 0
    assert contents(room.folder) == {"big.bin": data}


def test_connections_that_are_cut_again_and_again_only_cost_time(peer: PeerProcess, room: Room) -> None:
    data = noise(3 * MIB)
    peer.put("big.bin", data)
    peer.control(cut_after=MIB, busy=1)
    assert room.once() == 0
    assert contents(room.folder) == {"big.bin": data}


def test_a_piece_that_comes_wrong_once_is_asked_for_again(peer: PeerProcess, room: Room) -> None:
    data = noise(3 * PIECE_BYTES)
    peer.put("big.bin", data)
    peer.control(wrong_at=PIECE_BYTES + 3, wrong=1)
    assert room.once() == 0
    assert contents(room.folder) == {"big.bin": data}
    assert [get["range"] for get in peer.seen["gets"]] == [None, f"bytes={PIECE_BYTES}-{2 * PIECE_BYTES - 1}"]


def test_bytes_that_stay_wrong_are_never_placed_and_the_others_are(peer: PeerProcess, room: Room) -> None:
    peer.put("bad.bin", noise(1000))
    peer.put("good.bin", noise(10, seed=2))
    peer.control(wrong_at=500, wrong=99)
    assert room.once() == 1
    assert list(contents(room.folder)) == ["good.bin"]
    assert "bad.bin came with wrong bytes from the hub several times and was not taken." in room.text
    assert f"{room.folder} is not equal to event:e1: 1 file could not be brought (see above)." in room.text


def test_pieces_that_fit_and_a_whole_that_does_not_are_not_placed(peer: PeerProcess, room: Room) -> None:
    record = peer.put("real.bin", noise(1000))
    lie = hashlib.sha256(b"something else").hexdigest()
    (peer.folder / "blobs" / lie).write_bytes(noise(1000))
    peer.control(more_files=[{"path": "lie.bin", "sha256": lie, "size": 1000, "pieces": [record["sha256"]]}])
    assert room.once() == 1
    assert list(contents(room.folder)) == ["real.bin"]
    assert "lie.bin came with bytes that are not what its SHA-256 says and was not taken." in room.text
    assert list((room.folder / ".aether/partial").iterdir()) == []


def test_bytes_that_the_server_does_not_have_are_named(peer: PeerProcess, room: Room) -> None:
    record = peer.put("gone.bin", b"gone")
    peer.control(missing=[record["sha256"]])
    sync = room.sync()
    sync.says("gone.bin is not served by the hub: There are no such bytes.")
    peer.control(missing=[])
    wait_for(lambda: contents(room.folder) == {"gone.bin": b"gone"}, "the file, on a later try")


def test_a_corrupted_file_is_noticed_at_the_start(peer: PeerProcess, room: Room) -> None:
    data = noise(MIB)
    peer.put("a.bin", data)
    assert room.once() == 0
    _corrupt_in_secret(room.folder / "a.bin")
    assert room.once() == 0
    assert contents(room.folder) == {"a.bin": data}
    assert "a.bin holds wrong bytes; it is fetched again." in room.text


def test_a_corrupted_file_is_noticed_while_sync_runs(peer: PeerProcess, room: Room) -> None:
    data = noise(MIB)
    peer.put("a.bin", data)
    sync = room.sync("--verify-every", "1")
    sync.says("is equal to")
    _corrupt_in_secret(room.folder / "a.bin")
    sync.says("a.bin holds wrong bytes; it is fetched again.")
    wait_for(lambda: contents(room.folder) == {"a.bin": data}, "the right bytes")
    (room.folder / "a.bin").unlink()
    wait_for(lambda: contents(room.folder) == {"a.bin": data}, "the file that was deleted")


def _corrupt_in_secret(path: Path) -> None:
    """Flip a bit and leave size and time of change as they were."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_sync_did_not_put_there_is_never_deleted(peer: PeerProcess, room: Room) -> None:
    record = peer.put("set/a.txt", b"theirs")
    room.folder.mkdir(parents=True)
    (room.folder / "mine.txt").write_bytes(b"mine")
    (room.folder / "set").mkdir()
    (room.folder / "set/a.txt").write_bytes(b"a stranger's")
    assert room.once() == 0
    assert contents(room.folder) == {"mine.txt": b"mine", "set/a.txt": b"theirs"}
    assert [path.read_bytes() for path in (room.folder / ".aether/aside").iterdir()] == [b"a stranger's"]
    assert "what stood there is in .aether/aside now" in room.text
    _delete(peer, record["id"])
    (room.folder / "set/note").write_bytes(b"mine too")
    assert room.once() == 0
    assert contents(room.folder) == {"mine.txt": b"mine", "set/note": b"mine too"}


def test_a_file_that_somebody_changed_stays_when_it_is_no_longer_wanted(peer: PeerProcess, room: Room) -> None:
    record = peer.put("a.txt", b"a")
    assert room.once() == 0
    (room.folder / "a.txt").write_bytes(b"edited")
    _delete(peer, record["id"])
    assert room.once() == 0
    assert contents(room.folder) == {"a.txt": b"edited"}
    assert "a.txt is no longer wanted but was changed by somebody; it stays." in room.text


def test_tricks_in_names_are_refused_with_a_sentence_and_the_rest_is_brought(peer: PeerProcess, room: Room) -> None:
    data = b"payload"
    record = peer.put("good.txt", data)
    tricks = [
        *("/abs.txt", "../up.txt", "a/../../up.txt", "a\\b.txt", "bell\a.txt", "C:\\x", "D:x", "nul", "a/COM1.txt"),
        *(".aether/state.json", ".AETHER/x", "Good.txt", "a//b", "", "a/.", "good.txt/under", "x" * 300),
    ]
    peer.control(
        more_files=[{"path": path, "sha256": record["sha256"], "size": len(data), "pieces": []} for path in tricks]
    )
    assert room.once() == 1
    assert [path.casefold() for path in contents(room.folder)] == ["good.txt"]
    assert sorted(path.name for path in room.place.iterdir()) == ["aether.log", "files"]
    assert room.text.count("is not brought here: ") == len(tricks)
    for sentence in ("lead out of the folder", "backslash", "control character", "drive"):
        assert sentence in room.text
    closing = f"{room.folder} is not equal to event:e1: {len(tricks)} files cannot have that name here (see above)."
    assert room.text.splitlines()[-1] == closing


@pytest.mark.parametrize("when", ["before the start", "while it runs"])
def test_a_run_that_is_to_end_does_not_wait_for_ever_for_an_absent_hub(
    peer: PeerProcess, room: Room, when: str
) -> None:
    data = noise(6 * MIB)
    peer.put("a.bin", data)
    if when == "before the start":
        peer.kill()
        assert room.once("--wait", "1") == 1
    else:
        peer.control(rate=2 * MIB)
        sync = room.sync("--once", "--wait", "1")
        partial = room.partial(data)
        wait_for(lambda: partial.exists() and partial.stat().st_size > MIB, "a part of the file")
        peer.kill()
        assert sync.ends() == 1
    peer.start()
    assert room.text.splitlines()[-1].startswith("No hub listens at ")
    assert "It was waited for 1 seconds; what was fetched stays, and the next run goes on from there." in room.text
    assert room.once() == 0


def test_a_link_inside_the_folder_leads_nowhere(peer: PeerProcess, room: Room, tmp_path: Path) -> None:
    peer.put("sub/a.txt", b"a")
    peer.put("b.txt", b"b")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.txt").write_bytes(b"precious")
    room.folder.mkdir(parents=True)
    (room.folder / "sub").symlink_to(outside)
    (room.folder / "b.txt").symlink_to(outside / "b.txt")
    assert room.once() == 1
    assert [path.name for path in outside.iterdir()] == ["b.txt"]
    assert (outside / "b.txt").read_bytes() == b"precious"
    assert not (room.folder / "b.txt").is_symlink()
    assert "'sub/a.txt' is not brought here: something that is no folder stands on the way to it." in room.text


def test_a_file_may_become_a_folder_and_back(peer: PeerProcess, room: Room) -> None:
    plain = peer.put("a", b"a")
    assert room.once() == 0
    _delete(peer, plain["id"])
    below = peer.put("a/b", b"b")
    assert room.once() == 0
    assert contents(room.folder) == {"a/b": b"b"}
    _delete(peer, below["id"])
    peer.put("a", b"again")
    assert room.once() == 0
    assert contents(room.folder) == {"a": b"again"}


def test_two_syncs_of_one_folder_are_kept_apart(peer: PeerProcess, room: Room) -> None:
    peer.put("a.txt", b"a")
    first = room.sync()
    first.says("is equal to")
    assert room.once() == 1
    assert f"Another aether sync (process {first.process.pid}) keeps this folder already." in room.text
    first.process.kill()
    assert first.ends() == -signal.SIGKILL
    assert room.once() == 0  # a lock never outlives its holder


def test_a_folder_of_another_record_is_refused(peer: PeerProcess, room: Room) -> None:
    peer.put("a.txt", b"a")
    assert room.once() == 0
    assert room.sync("--once", container="event:other").ends() == 1
    assert "This folder is kept equal to event:e1, not to event:other" in room.text
    assert contents(room.folder) == {"a.txt": b"a"}


def test_a_broken_state_is_begun_anew_and_costs_no_file(peer: PeerProcess, room: Room) -> None:
    peer.put("a.txt", b"a")
    assert room.once() == 0
    (room.folder / ".aether/state.json").write_text('{"container": 7')
    assert room.once() == 0
    assert "cannot be read and is begun anew" in room.text
    assert peer.seen["bytes"] == 1


def test_a_crash_between_placing_and_remembering_leaves_the_file_ours(peer: PeerProcess, room: Room) -> None:
    record = peer.put("a.txt", b"a")
    assert room.once() == 0
    file = room.folder / ".aether/state.json"
    state: dict[str, Any] = json.loads(file.read_text())
    assert state["placed"] == {"a.txt": record["sha256"]}
    file.write_text(json.dumps({**state, "placed": {}, "intended": state["placed"]}))
    _delete(peer, record["id"])
    assert room.once() == 0
    assert contents(room.folder) == {}


@pytest.mark.parametrize(
    ("env", "container", "sentence"),
    [
        ({"AETHER_TOKEN": "wrong"}, "event:e1", "The token is not valid here. (auth.invalid)"),
        ({}, "event:nobody", "There is no such record. (record.not_found)"),
        ({}, "../x", "names no record"),
    ],
)
def test_what_waiting_does_not_help_against_is_one_sentence(
    room: Room, env: dict[str, str], container: str, sentence: str
) -> None:
    assert room.sync(container=container, env=env).ends() == 1
    (line,) = room.text.splitlines()
    assert sentence in line


def test_a_hub_that_is_not_there_yet_is_waited_for(peer: PeerProcess, room: Room) -> None:
    peer.put("a.txt", b"a")
    peer.kill()
    sync = room.sync("--once")
    sync.says(f"No hub listens at {peer.url}. Waiting for it.")
    peer.start()
    assert sync.ends() == 0
    assert contents(room.folder) == {"a.txt": b"a"}


def _delete(peer: PeerProcess, rec: str) -> None:
    """Delete a record as somebody else."""
    peer.control(delete=rec)

"""A backup is read only where every bit of it is what was written; whatever else it claims means nothing."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from hub.wire.errors import HubError
from storage.backup import archive, make, manifest
from storage.backup.base import write_named

PROOF = "AETHER_PROOF" in os.environ
FILES = [b"", b"a small file", b"x" * 700]
DATABASE = {"hub.db": b"not really a database" * 40, "rows.jsonl": b"[1]\n"}
ABOUT: tuple[str, str, Literal["sqlite", "mariadb"]] = ("2026-11-21T10:00:00.000Z", "0.1.0", "sqlite")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stored(blobs: Path, *contents: bytes) -> list[str]:
    """Put files into a blob folder."""
    for data in contents:
        target = blobs / sha(data)[:2] / sha(data)[2:4] / sha(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return [sha(data) for data in contents]


def made(folder: Path, name: str, *, also: set[str] = frozenset()) -> manifest.Manifest:  # type: ignore[assignment]
    """Make a backup `name` of a small dump; `also` are files that are named and not there."""
    hashes = stored(folder / "blobs", *FILES)
    with make.staged(folder / name) as stage:
        database = stage / "database"
        database.mkdir()
        for part, data in DATABASE.items():
            (database / part).write_bytes(data)
        write_named(database, {*hashes, *also})
        return make.finish(stage, folder / name, folder / "blobs", ABOUT, lambda count: None)


def read(path: Path) -> dict[str, bytes]:
    """Read a whole backup, twice: first to check it, as a restore does."""
    found = archive.open_backup(path)
    try:
        archive.verify(found)
        return {part.path: b"".join(chunks) for part, chunks in found.parts()}
    finally:
        found.close()


def whole() -> dict[str, bytes]:
    """What is in the backup that `made` makes."""
    parts = {f"database/{name}": data for name, data in DATABASE.items()}
    return parts | {manifest.file_path(sha(data)): data for data in FILES}


@pytest.mark.parametrize("name", ["backup.tar", "backup"])
def test_what_is_backed_up_is_read_again(tmp_path: Path, name: str) -> None:
    about = made(tmp_path, name)
    assert read(tmp_path / name) == whole()
    assert about.missing == []
    assert not (tmp_path / f"{name}.part").exists()
    assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_any_tar_lists_an_archive(tmp_path: Path) -> None:
    made(tmp_path, "backup.tar")
    with tarfile.open(tmp_path / "backup.tar") as tar:
        names = tar.getnames()
        assert names[:2] == ["manifest.json", "manifest.sha256"]
        assert {n: tar.extractfile(n).read() for n in names[2:]} == whole()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["backup.tar", "backup"])
def test_bytes_that_are_gone_or_damaged_are_left_out_and_named(tmp_path: Path, name: str) -> None:
    (other,) = stored(tmp_path / "blobs", b"about to be damaged")
    (tmp_path / "blobs" / other[:2] / other[2:4] / other).write_bytes(b"about to be damageD")
    about = made(tmp_path, name, also={"a" * 64, other})
    assert sorted(about.missing) == sorted(["a" * 64, other])
    assert read(tmp_path / name) == whole()


def test_one_flipped_bit_anywhere_in_an_archive_is_noticed(tmp_path: Path) -> None:
    made(tmp_path, "backup.tar")
    path = tmp_path / "backup.tar"
    good, rng = path.read_bytes(), random.Random(7)
    for offset in range(0, len(good), 1 if PROOF else 5):
        bad = bytearray(good)
        bad[offset] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        with pytest.raises(HubError) as refusal:
            read(path)
        assert refusal.value.code in {"file.mismatch", "data.invalid"}
        assert refusal.value.path
        assert refusal.value.message.endswith(".")
    path.write_bytes(good)
    assert read(path) == whole()


def test_one_flipped_bit_in_any_file_of_a_folder_is_noticed_and_the_file_named(tmp_path: Path) -> None:
    made(tmp_path, "backup")
    files = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    rng = random.Random(8)
    for path in files:
        good = path.read_bytes()
        for offset in range(0, len(good), 1 if len(good) < 500 else 17):
            bad = bytearray(good)
            bad[offset] ^= 1 << rng.randrange(8)
            path.write_bytes(bad)
            with pytest.raises(HubError) as refusal:
                read(tmp_path / "backup")
            named = "manifest.json" if path.name.startswith("manifest.") else str(path.relative_to(tmp_path / "backup"))
            assert (refusal.value.code, refusal.value.path) == ("file.mismatch", named)
        path.write_bytes(good)
    assert read(tmp_path / "backup") == whole()


def test_a_backup_that_ends_anywhere_too_early_or_goes_on_is_refused(tmp_path: Path) -> None:
    made(tmp_path, "backup.tar")
    path = tmp_path / "backup.tar"
    good = path.read_bytes()
    for end in [*range(0, len(good), 61), len(good) - 1]:
        path.write_bytes(good[:end])
        with pytest.raises(HubError):
            read(path)
    for more in (b"\0", bytes(512), good):
        path.write_bytes(good + more)
        with pytest.raises(HubError, match="bytes and not"):
            read(path)


@pytest.mark.parametrize("gone", ["database/hub.db", f"{manifest.file_path(sha(FILES[1]))}", "manifest.sha256"])
def test_a_file_that_is_missing_from_a_folder_is_named(tmp_path: Path, gone: str) -> None:
    made(tmp_path, "backup")
    (tmp_path / "backup" / gone).unlink()
    with pytest.raises(HubError) as refusal:
        read(tmp_path / "backup")
    assert (refusal.value.code, refusal.value.path) == ("file.mismatch", gone)


@pytest.mark.parametrize("name", ["link", "folder", "pipe"])
def test_only_files_are_read_from_a_folder(tmp_path: Path, name: str) -> None:
    made(tmp_path, "backup")
    part = tmp_path / "backup" / "database" / "hub.db"
    part.rename(tmp_path / "elsewhere")  # the same bytes
    make_it: dict[str, Callable[[], None]] = {
        "link": lambda: part.symlink_to(tmp_path / "elsewhere"),
        "folder": part.mkdir,
        "pipe": lambda: os.mkfifo(part),
    }
    make_it[name]()
    with pytest.raises(HubError) as refusal:
        read(tmp_path / "backup")
    assert (refusal.value.code, refusal.value.path) == ("file.mismatch", "database/hub.db")


def forged(about: dict[str, object]) -> bytes:
    """Return an archive with a manifest of somebody's choice and its true hash, and the files of `DATABASE`."""
    text = msgspec.json.encode(about)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        members = {"manifest.json": text, "manifest.sha256": manifest.check_text(sha(text))}
        for name, data in {**members, **{f"database/{n}": d for n, d in DATABASE.items()}}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o600
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


GOOD = {
    "format": 1,
    "made_at": ABOUT[0],
    "hub": "0.1.0",
    "keeper": "sqlite",
    "database": [{"name": n, "size": len(d), "sha256": sha(d)} for n, d in DATABASE.items()],
    "files": [],
    "missing": [],
}
ONE = {"name": "hub.db", "size": 1, "sha256": "a" * 64}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"keeper": "oracle"},
        {"more": 1},
        {"database": []},
        {"database": [{**ONE, "name": "../hub.db"}]},
        {"database": [{**ONE, "name": "/etc/passwd"}]},
        {"database": [{**ONE, "name": ".."}]},
        {"database": [{**ONE, "name": "a/b"}]},
        {"database": [{**ONE, "name": "hub.db\0"}]},
        {"database": [{**ONE, "name": "hub.db\n"}]},
        {"database": [{**ONE, "name": "x" * 65}]},
        {"database": [{**ONE, "size": -1}]},
        {"database": [{**ONE, "size": 2**60}]},
        {"database": [{**ONE, "size": 2**52}]},
        {"database": [{**ONE, "sha256": "A" * 64}]},
        {"database": [ONE, ONE]},
        {"files": [["../" + "a" * 61, 1]]},
        {"files": [["a" * 65, 1]]},
        {"files": [["a" * 64, 1], ["a" * 64, 1]]},
        {"files": [["a" * 64, 1.5]]},
        {"missing": ["../x"]},
    ],
    ids=str,
)
def test_a_forged_manifest_leads_nowhere(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "forged.tar"
    path.write_bytes(forged({**GOOD, **change}))
    with pytest.raises(HubError) as refusal:
        read(path)
    assert refusal.value.code in {"data.invalid", "file.mismatch"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["forged.tar"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_member_of_another_kind_is_refused(tmp_path: Path, kind: bytes) -> None:
    made(tmp_path, "backup.tar")
    path = tmp_path / "backup.tar"
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        member = tar.getmember("database/hub.db")
    at = member.offset
    member.type, member.linkname = kind, "/etc/passwd"
    size, member.size = member.size, member.size
    data[at : at + 512] = member.tobuf(tarfile.GNU_FORMAT)[:512]
    assert size
    path.write_bytes(data)
    with pytest.raises(HubError) as refusal:
        read(path)
    assert (refusal.value.code, refusal.value.path) == ("file.mismatch", "database/hub.db")


@pytest.mark.parametrize(
    "content", [b"", b"hello", bytes(5000), os.urandom(3000)], ids=["empty", "text", "zeros", "noise"]
)
def test_what_is_no_backup_is_refused_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file", tmp_path / "folder"):
        with pytest.raises(HubError, match="is no backup"):
            archive.open_backup(path)
    with pytest.raises(HubError, match="cannot be read: No such file"):
        archive.open_backup(tmp_path / "nowhere")


def test_remains_of_a_killed_backup_are_removed_and_a_running_one_is_left_alone(tmp_path: Path) -> None:
    stage = tmp_path / "backup.part"
    (stage / "database").mkdir(parents=True)
    (stage / "database" / "hub.db").write_bytes(b"half")
    made(tmp_path, "backup")
    assert read(tmp_path / "backup") == whole()
    shutil.rmtree(tmp_path / "backup")
    with make.staged(tmp_path / "backup") as running:
        (running / "mine").touch()
        with pytest.raises(HubError, match="is being made"), make.staged(tmp_path / "backup"):
            raise AssertionError("two at once")
        assert (running / "mine").exists()
    assert not stage.exists()

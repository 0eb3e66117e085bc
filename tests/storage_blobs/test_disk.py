"""The keeper of blobs on disk: what is stored, what is refused, what never appears."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from hub.wire.errors import HubError
from storage.blobs.base import BlobCorrupt, BlobMissing, BlobStore
from storage.blobs.disk import GATHER_BYTES, DiskBlobs
from storage.blobs.pieces import PIECE_BYTES
from tests.storage_blobs.support import MEGABYTE, files, pieces_of, place, put, random_bytes, read, sha256


@pytest.mark.parametrize("size", [0, 1, GATHER_BYTES - 1, GATHER_BYTES, 3 * GATHER_BYTES + 5, PIECE_BYTES + 1])
async def test_what_was_stored_is_read_back(blobs: BlobStore, root: Path, size: int) -> None:
    data = random_bytes(size, size)
    stored = await put(blobs, data, expected=sha256(data))
    assert (stored.sha256, stored.size, stored.pieces) == (sha256(data), size, pieces_of(data))
    assert await read(blobs, stored.sha256) == data
    assert await blobs.stat(stored.sha256) == size
    assert await blobs.pieces(stored.sha256) == pieces_of(data)
    assert await blobs.verify(stored.sha256)
    side = {place(stored.sha256) + ".pieces"} if size > PIECE_BYTES else set()
    assert files(root) == {place(stored.sha256)} | side


async def test_any_range_is_read_back(blobs: BlobStore) -> None:
    data = random_bytes(3, 5 * GATHER_BYTES + 3)
    stored = await put(blobs, data)
    draw = random.Random(3)
    async with await blobs.open(stored.sha256) as blob:
        for _ in range(50):
            start = draw.randrange(len(data))
            stop = draw.randrange(start, len(data) + 1)
            assert b"".join([part async for part in blob.chunks(start, stop)]) == data[start:stop]
        assert await blob.read(7, 11) == data[7:18]
        assert b"".join([part async for part in blob.chunks(len(data))]) == b""


async def test_bytes_may_arrive_one_at_a_time(blobs: BlobStore) -> None:
    data = random_bytes(1, 3000)
    assert (await put(blobs, data, chunk=1)).sha256 == sha256(data)


async def test_nothing_blocks_the_loop(blobs: BlobStore) -> None:
    data = random_bytes(2, PIECE_BYTES + 3)
    with blockbuster_ctx():
        stored = await put(blobs, data)
        assert await read(blobs, stored.sha256) == data
        assert await blobs.verify(stored.sha256)
        assert await blobs.pieces(stored.sha256) == stored.pieces
        with pytest.raises(HubError):
            await put(blobs, data, expected=sha256(b"other"))


@pytest.mark.parametrize("cut", range(100))
async def test_an_upload_cut_at_any_offset_leaves_nothing(blobs: BlobStore, root: Path, cut: int) -> None:
    data = random_bytes(11, PIECE_BYTES + 2 * GATHER_BYTES)
    draw = random.Random(cut)
    offset = draw.choice([0, 1, draw.randrange(len(data)), draw.randrange(2 * GATHER_BYTES), len(data)])

    async def cut_off() -> None:
        async with blobs.receive(sha256(data), MEGABYTE * 10, len(data)) as upload:
            for n in range(0, offset, 65_536):
                await upload.write(data[n : min(offset, n + 65_536)])
            raise ConnectionError("cut")

    with pytest.raises(ConnectionError):
        await cut_off()
    assert files(root) == set()


@pytest.mark.parametrize("turn", range(30))
async def test_an_upload_cancelled_at_any_moment_leaves_nothing_or_the_whole(
    blobs: BlobStore, root: Path, turn: int
) -> None:
    data = random_bytes(12, PIECE_BYTES + GATHER_BYTES)
    task = asyncio.create_task(put(blobs, data))
    for _ in range(turn * 3):
        await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        await blobs.close()  # what was begun ends first
    there = files(root)
    assert there in (set(), {place(sha256(data)), place(sha256(data)) + ".pieces"})


async def test_every_flipped_bit_is_a_mismatch(blobs: BlobStore, root: Path) -> None:
    data = random_bytes(13, 10_000)
    expected, draw = sha256(data), random.Random(13)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        with pytest.raises(HubError) as refusal:
            await put(blobs, bytes(damaged), expected=expected)
        assert refusal.value.code == "file.mismatch"
        assert expected in refusal.value.message
    assert files(root) == set()


@pytest.mark.parametrize("delta", [-1, 1, -10_000])
async def test_a_shorter_or_longer_body_is_a_mismatch(blobs: BlobStore, root: Path, delta: int) -> None:
    data = random_bytes(14, 10_000)
    with pytest.raises(HubError, match=r"file\.mismatch"):
        await put(blobs, data[:delta] if delta < 0 else data + b"x", expected=sha256(data))
    assert files(root) == set()


async def test_more_than_the_limit_is_refused_at_the_first_byte_too_many(blobs: BlobStore, root: Path) -> None:
    async with blobs.receive(None, max_bytes=MEGABYTE) as upload:
        await upload.write(bytes(MEGABYTE))
        with pytest.raises(HubError) as refusal:
            await upload.write(b"x")
    assert refusal.value.code == "file.too_large"
    assert files(root) == set()


async def test_more_than_the_limit_is_refused_before_the_first_byte_when_announced(
    blobs: BlobStore, root: Path
) -> None:
    with pytest.raises(HubError, match=r"file\.too_large"):
        async with blobs.receive(None, max_bytes=10, announced=11):
            pass
    assert files(root) == set()


async def test_two_hundred_uploads_of_the_same_bytes_at_once_store_them_once(blobs: BlobStore, root: Path) -> None:
    data = random_bytes(15, 2 * GATHER_BYTES)
    stored = await asyncio.gather(*(put(blobs, data, chunk=32_768 + n) for n in range(200)))
    assert {s.sha256 for s in stored} == {sha256(data)}
    assert files(root) == {place(sha256(data))}
    assert await blobs.verify(sha256(data))


async def test_a_reader_keeps_its_bytes_while_the_same_blob_is_stored_again(blobs: BlobStore) -> None:
    data = random_bytes(16, 8 * GATHER_BYTES)
    stored = await put(blobs, data)
    async with await blobs.open(stored.sha256) as blob:
        parts = []
        async for part in blob.chunks():
            parts.append(part)
            await put(blobs, data)
        assert b"".join(parts) == data


async def test_an_upload_heals_a_damaged_blob(blobs: BlobStore, root: Path) -> None:
    data = random_bytes(17, PIECE_BYTES + 10)
    stored = await put(blobs, data)
    with open(root / place(stored.sha256), "r+b") as file:  # noqa: ASYNC230  # damage, not product code
        file.seek(1000)
        file.write(b"damage")
    assert not await blobs.verify(stored.sha256)
    await put(blobs, data)
    assert await blobs.verify(stored.sha256)


@pytest.mark.parametrize("damage", ["missing", "empty", "torn", "flipped", "foreign"])
async def test_a_lost_or_damaged_side_file_is_made_anew(blobs: BlobStore, root: Path, damage: str) -> None:
    data = random_bytes(18, 2 * PIECE_BYTES + 10)
    stored = await put(blobs, data)
    side = root / (place(stored.sha256) + ".pieces")
    good = side.read_bytes()
    if damage == "missing":
        side.unlink()
    elif damage == "foreign":
        side.write_bytes((root / (place((await put(blobs, bytes(PIECE_BYTES + 1))).sha256) + ".pieces")).read_bytes())
    else:
        side.write_bytes({"empty": b"", "torn": good[:-30], "flipped": b"f" + good[1:]}[damage])
    assert await blobs.pieces(stored.sha256) == pieces_of(data)
    assert side.read_bytes() == good


async def test_pieces_of_damaged_bytes_are_not_made_up(blobs: BlobStore, root: Path) -> None:
    data = random_bytes(19, PIECE_BYTES + 10)
    stored = await put(blobs, data)
    path = root / place(stored.sha256)
    path.with_suffix(".pieces").unlink()
    path.write_bytes(data[:-1] + b"?")
    with pytest.raises(BlobCorrupt):
        await blobs.pieces(stored.sha256)
    os.truncate(path, 100)
    assert not await blobs.verify(stored.sha256)


async def test_a_file_that_shrinks_under_a_reader_is_noticed(blobs: BlobStore, root: Path) -> None:
    stored = await put(blobs, bytes(4 * GATHER_BYTES))
    async with await blobs.open(stored.sha256) as blob:
        os.truncate(root / place(stored.sha256), 100)
        with pytest.raises(BlobCorrupt):
            async for _ in blob.chunks():
                pass


async def test_what_is_not_there_is_missing(blobs: BlobStore) -> None:
    assert await blobs.stat(sha256(b"no")) is None
    for asked in (blobs.open, blobs.pieces, blobs.verify):
        with pytest.raises(BlobMissing):
            await asked(sha256(b"no"))


PATH_TRICKS = [
    "", ".", "..", "../../etc/passwd", "..%2f" * 8, "/etc/passwd", "a" * 63, "a" * 65, "A" * 64, "g" * 64,
    "a" * 64 + "\n", "\n" + "a" * 64, "a" * 64 + "\0", "a" * 63 + "/", "../" + "a" * 61, "incoming/" + "a" * 55,
    "ａ" * 64, "٣" * 64, "a" * 60 + ".png", " " + "a" * 63, "a" * 32 + "\\" + "a" * 31, "~" + "a" * 63,
    "a" * 64 + ".pieces",
]  # fmt: skip


@pytest.mark.parametrize("trick", PATH_TRICKS)
async def test_only_a_hash_ever_becomes_a_path(blobs: DiskBlobs, trick: str) -> None:
    for asked in (blobs.open, blobs.stat, blobs.pieces, blobs.verify):
        with pytest.raises(ValueError):
            await asked(trick)
    with pytest.raises(ValueError):
        blobs.receive(trick, 10)


async def test_an_upload_takes_nothing_after_its_end(blobs: BlobStore, root: Path) -> None:
    async with blobs.receive(None, MEGABYTE) as upload:
        await upload.write(b"once")
        await upload.commit()
        with pytest.raises(RuntimeError):
            await upload.commit()
    assert files(root) == {place(sha256(b"once"))}


async def test_no_descriptor_stays_open(blobs: BlobStore) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for n in range(20):
        stored = await put(blobs, random_bytes(n, PIECE_BYTES + 1))
        assert await blobs.verify(stored.sha256)
        with pytest.raises(HubError):
            await put(blobs, b"x", expected=stored.sha256)
        async with await blobs.open(stored.sha256) as blob:
            async for _ in blob.chunks():
                break
    assert len(os.listdir("/proc/self/fd")) <= before + 1

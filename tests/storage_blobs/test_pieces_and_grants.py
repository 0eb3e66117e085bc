"""The pure parts of the blob store: hashing by pieces, the side file, grants."""

from __future__ import annotations

import base64
import random

import pytest

from storage.blobs.grants import GRANT_SECONDS, check_grant, make_grant
from storage.blobs.pieces import PIECE_BYTES, PieceHasher, format_pieces, parse_pieces, piece_count
from tests.storage_blobs.support import pieces_of, random_bytes, sha256

HASH = sha256(b"something")
OTHER = sha256(b"something else")
SECRET = b"0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000.5


@pytest.mark.parametrize(
    "size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 3 * PIECE_BYTES + 77]
)
def test_pieces_are_those_of_the_whole_however_the_bytes_arrive(size: int) -> None:
    data = random_bytes(size, size)
    for seed in range(3):
        draw = random.Random(seed)
        hasher, at = PieceHasher(), 0
        while at < size:
            step = draw.choice([1, 1000, 65_536, PIECE_BYTES - 1, PIECE_BYTES, 2 * PIECE_BYTES + 1])
            hasher.update(data[at : at + step])
            at += step
        assert hasher.size == size
        assert hasher.sha256() == sha256(data)
        assert hasher.pieces() == pieces_of(data)
        assert len(hasher.pieces()) == piece_count(size)


def test_a_side_file_is_read_back_and_a_damaged_one_is_not() -> None:
    size = 2 * PIECE_BYTES + 1
    pieces = (sha256(b"1"), sha256(b"2"), sha256(b"3"))
    text = format_pieces(pieces)
    assert parse_pieces(text, size) == pieces
    assert parse_pieces(text, size + PIECE_BYTES) is None
    assert parse_pieces("", size) is None
    draw = random.Random(7)
    for _ in range(500):
        at = draw.randrange(len(text) - 1)
        damaged = text[:at] + chr(ord(text[at]) ^ (1 << draw.randrange(7))) + text[at + 1 :]
        assert parse_pieces(damaged, size) != pieces[::-1]
        assert parse_pieces(damaged, size) in {None, pieces}, damaged
        assert parse_pieces(text[:at], size) is None


def test_a_grant_opens_its_hash_until_it_expires() -> None:
    expires = int(NOW) + 60
    grant = make_grant(HASH, expires, SECRET)
    assert check_grant(grant, HASH, NOW, SECRET)
    assert check_grant(grant, HASH, expires - 0.01, SECRET)
    assert not check_grant(grant, HASH, expires, SECRET)
    assert not check_grant(grant, HASH, expires + 1000, SECRET)


def test_a_grant_opens_nothing_else() -> None:
    grant = make_grant(HASH, int(NOW) + 60, SECRET)
    assert not check_grant(grant, OTHER, NOW, SECRET)
    assert not check_grant(grant, HASH.upper(), NOW, SECRET)
    assert not check_grant(grant, HASH, NOW, SECRET[::-1])


def test_a_grant_for_too_long_is_refused_even_when_it_is_genuine() -> None:
    assert not check_grant(make_grant(HASH, int(NOW) + GRANT_SECONDS + 2, SECRET), HASH, NOW, SECRET)


def test_every_change_of_a_grant_is_noticed() -> None:
    grant = make_grant(HASH, int(NOW) + 60, SECRET)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
    for at, kept in enumerate(grant):
        for letter in alphabet:
            if letter != kept:
                assert not check_grant(grant[:at] + letter + grant[at + 1 :], HASH, NOW, SECRET)
    prolonged = f"{int(NOW) + 61}.{grant.partition('.')[2]}"
    unpadded = base64.urlsafe_b64decode(grant.partition(".")[2] + "=")
    for forged in ("", ".", grant + "=", grant + "\n", " " + grant, "0" + grant, prolonged, f"-{grant}", "٣" + grant):
        assert not check_grant(forged, HASH, NOW, SECRET)
    assert len(unpadded) == 32


def test_no_grant_is_made_for_what_is_no_hash() -> None:
    for text in ("", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n"):
        with pytest.raises(ValueError):
            make_grant(text, int(NOW) + 60, SECRET)

"""The pure parts of sync: names, manifests, plans and pieces, held to their rules by generated cases."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aether_client.sync import manifest as manifests
from aether_client.sync import pieces as pieces_module
from aether_client.sync.manifest import BadManifest, Manifest, Wanted, read_manifest
from aether_client.sync.names import collision_key, refusal
from aether_client.sync.pieces import Pieces, Span
from aether_client.sync.plan import Plan, Seen, adopt, make_plan

NAMES = st.text(st.sampled_from("aAbB./\\:~ \u00e9\u202e\u200d\x00\ncon1²ſK"), max_size=12) | st.text(max_size=30)


@given(NAMES)
def test_a_name_that_is_taken_stays_below_the_folder_on_every_system(name: str) -> None:
    if refusal(name) is not None:
        return
    for kind in (PurePosixPath, PureWindowsPath):
        path = kind(name)
        assert not path.is_absolute()
        assert path.drive == ""
        assert ".." not in path.parts
        assert path.parts
    assert os.path.normpath(f"base/{name}").startswith(f"base{os.sep}")
    assert os.path.normpath(name) == name
    assert collision_key(name.split("/", maxsplit=1)[0]) != ".aether"
    assert "\\" not in name
    assert name.isprintable() or all(ord(character) > 31 for character in name)


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "talks/day 1/What is X?.pdf",
        "Grüße.md",
        "家族👨\u200d👩\u200d👧.png",
        "console.log",
        "a.nul",
        ".hidden",
        "a.",
        "COM10",
    ],
)
def test_ordinary_names_are_taken(name: str) -> None:
    assert refusal(name) is None


@pytest.mark.parametrize("name", ["a?b", 'a"b', "a.", "a ", "x/y. "])
def test_what_windows_cannot_hold_is_refused_there(name: str) -> None:
    assert refusal(name, windows=True) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [("a", "A"), ("straße", "STRASSE"), ("\u00e9", "e\u0301"), ("fi", "\ufb01"), ("a", "a\u200d"), ("K", "\u212a")],
)
def test_names_that_some_file_system_takes_for_one_collide(one: str, other: str) -> None:
    assert collision_key(one) == collision_key(other)
    read = read_manifest({"revision": 1, "files": [_item(one), _item(other)]})
    assert len(read.files) == 1
    assert len(read.refused) == 1
    assert "collides with" in read.refused[0].why


def _item(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "sha256": "0" * 64, "size": 5, "pieces": ["0" * 64], **more}


@given(st.lists(NAMES.map(_item), max_size=8))
def test_a_manifest_has_no_two_files_in_one_place_and_loses_none_without_a_word(items: list[dict[str, Any]]) -> None:
    read = read_manifest({"revision": 1, "files": items})
    keys = [collision_key(file.path) for file in read.files]
    assert len(set(keys)) == len(keys)
    assert not any(other.startswith(f"{key}/") for key in keys for other in keys)
    told = [file.path for file in read.files] + [item.path for item in read.refused]
    assert sorted(told) == sorted(item["path"] for item in items)


@pytest.mark.parametrize(
    "more",
    [{"sha256": "0" * 63}, {"sha256": "G" * 64}, {"sha256": None}, {"size": -1}, {"size": 1.5}, {"size": True},
     {"size": 2**53}, {"pieces": ["x"]}, {"pieces": ["0" * 64] * 2}, {"pieces": 7}, {"pieces": [None]}],
)  # fmt: skip
def test_a_file_with_impossible_figures_is_refused_alone(more: dict[str, Any]) -> None:
    read = read_manifest({"revision": 1, "files": [_item("good"), _item("bad", **more)]})
    assert [file.path for file in read.files] == ["good"]
    assert [item.path for item in read.refused] == ["bad"]


NO_MANIFESTS: list[Any] = [None, [], {}, {"revision": 1}, {"files": []}, {"revision": None, "files": []}]
NO_FILES: list[Any] = [7, None, {"path": 5}, {}]


@pytest.mark.parametrize(
    "data", [*NO_MANIFESTS, {"revision": 1, "files": [7]}, {"revision": 1, "files": [{"path": 5}]}]
)
def test_what_is_no_manifest_is_said_to_be_none(data: Any) -> None:
    with pytest.raises(BadManifest):
        read_manifest(data)


# Plans

HASHES = st.sampled_from("pqr").map(lambda letter: letter * 64)
PATHS = st.sampled_from(["a", "b", "c", "d/e"])
SEEN = st.builds(Seen, st.just("file"), HASHES | st.none()) | st.sampled_from(
    [Seen("folder"), Seen("other"), Seen("blocked")]
)


def _manifest(wanted: dict[str, str]) -> Manifest:
    return Manifest(1, tuple(Wanted(path, sha256, 5) for path, sha256 in sorted(wanted.items())))


def _carry_out(plan: Plan, seen: dict[str, Seen], placed: dict[str, str]) -> tuple[dict[str, Seen], dict[str, str]]:
    """Do to a picture of the disk what the plan says."""
    seen, placed = dict(seen), dict(placed)
    for item in plan.fetch:
        for path in item.paths:
            seen[path] = Seen("file", item.file.sha256)
            placed[path] = item.file.sha256
    for path in plan.remove:
        del seen[path], placed[path]
    return seen, placed


@given(st.dictionaries(PATHS, HASHES), st.dictionaries(PATHS, SEEN), st.dictionaries(PATHS, HASHES), st.sets(HASHES))
def test_a_plan_makes_the_folder_equal_and_deletes_nothing_of_a_stranger(
    wanted: dict[str, str], seen: dict[str, Seen], placed: dict[str, str], partials: set[str]
) -> None:
    plan = make_plan(_manifest(wanted), seen, placed, partials)
    after, placed_after = _carry_out(plan, seen, placed)
    refused = {item.path for item in plan.refused}
    for path, sha256 in wanted.items():
        assert path in refused or after[path].sha256 == sha256
    assert refused == {path for path in wanted if path in seen and seen[path].kind in ("folder", "blocked")}
    for path in plan.remove:
        assert path not in wanted
        assert seen[path] == Seen("file", placed[path])
    overwritten = {path for item in plan.fetch for path in item.paths if path in seen}
    for path in overwritten - plan.aside:
        assert path in placed
        assert seen[path].kind == "file"
    assert plan.aside <= overwritten
    assert set(plan.stale) == partials - {item.file.sha256 for item in plan.fetch}
    again = make_plan(_manifest(wanted), after, placed_after, ())
    assert (again.fetch, again.remove, again.spoiled) == ((), (), ())


@given(st.dictionaries(PATHS, HASHES), st.dictionaries(PATHS, SEEN), st.dictionaries(PATHS, HASHES))
def test_bytes_that_are_here_are_not_fetched(
    wanted: dict[str, str], seen: dict[str, Seen], placed: dict[str, str]
) -> None:
    plan = make_plan(_manifest(wanted), seen, placed, ())
    here = {item.sha256 for item in seen.values()}
    assert len({item.file.sha256 for item in plan.fetch}) == len(plan.fetch)
    for item in plan.fetch:
        assert (item.source is not None) == (item.file.sha256 in here)
        assert item.source is None or seen[item.source].sha256 == item.file.sha256


@given(st.dictionaries(PATHS, HASHES), st.dictionaries(PATHS, HASHES), st.dictionaries(PATHS, SEEN))
def test_after_a_crash_only_what_really_happened_is_remembered(
    placed: dict[str, str], intended: dict[str, str], seen: dict[str, Seen]
) -> None:
    adopted = adopt(placed, intended, seen)
    for path, sha256 in adopted.items():
        assert placed.get(path) == sha256 or (intended.get(path) == sha256 and seen[path].sha256 == sha256)
    assert placed.keys() <= adopted.keys()


# Pieces, with pieces of 8 bytes


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifests, "PIECE_BYTES", 8)
    monkeypatch.setattr(pieces_module, "PIECE_BYTES", 8)


class Medium:
    """Bytes as a disk has them, and a hub that sends them, sometimes wrong."""

    def __init__(self, right: bytes, here: bytes) -> None:
        self.right, self.here = right, bytearray(here)
        digests = [hashlib.sha256(right[at : at + 8]).hexdigest() for at in range(0, len(right), 8)]
        self.pieces = Pieces(Wanted("f", hashlib.sha256(right).hexdigest(), len(right), tuple(digests)))
        self.pieces.survey(len(here), self.read)

    def read(self, start: int, end: int) -> bytes:
        return bytes(self.here[start:end])

    def receive(self, start: int, data: bytes) -> list[int]:
        self.here[start : start + len(data)] = data
        return self.pieces.take(start, data, self.read)


@pytest.mark.usefixtures("small_pieces")
@given(data=st.data(), right=st.binary(max_size=50))
def test_whatever_is_here_and_however_it_comes_the_end_is_right(data: st.DataObject, right: bytes) -> None:
    torn = bytearray(right[: data.draw(st.integers(0, len(right)))])
    for at in data.draw(st.lists(st.integers(0, max(0, len(torn) - 1)), max_size=3)):
        if torn:
            torn[at] ^= 0x55
    medium = Medium(right, bytes(torn))
    intact = {n for n in range(len(torn) // 8) if torn[n * 8 : n * 8 + 8] == right[n * 8 : n * 8 + 8]}
    asked: set[int] = set()
    lies = data.draw(st.integers(0, 2))
    while (span := medium.pieces.next_span()) is not None and not medium.pieces.is_hopeless:
        asked |= set(range(span.start, span.end))
        place = span.start
        stop = data.draw(st.integers(span.start + 1, span.end))
        while place < stop:
            part = bytearray(right[place : place + data.draw(st.integers(1, 20))][: stop - place])
            if lies and data.draw(st.booleans()):
                lies -= 1
                part[0] ^= 1
            medium.receive(place, bytes(part))
            place += len(part)
    if medium.pieces.is_hopeless:
        assert max(medium.pieces.wrong.values()) == pieces_module.MOST_TRIES
        return
    assert bytes(medium.here) == right
    assert medium.pieces.is_complete
    assert medium.pieces.here == len(right)
    assert not asked & {at for piece in intact for at in range(piece * 8, piece * 8 + 8)}


@pytest.mark.usefixtures("small_pieces")
def test_a_download_goes_on_at_the_byte_where_it_stopped() -> None:
    right = bytes(range(40))
    medium = Medium(right, right[:21])
    assert medium.pieces.next_span() == Span(21, 40)
    assert medium.pieces.here == 21


@pytest.mark.usefixtures("small_pieces")
def test_bytes_out_of_place_are_a_fault_and_not_taken() -> None:
    medium = Medium(bytes(20), b"")
    with pytest.raises(ValueError, match="byte 3"):
        medium.receive(3, b"x")


def test_the_length_of_a_piece_is_that_of_the_design() -> None:
    assert manifests.PIECE_BYTES == 4 * 1024 * 1024
    assert Path(pieces_module.__file__).name == "pieces.py"

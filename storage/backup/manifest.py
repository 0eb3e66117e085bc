"""What a backup says of itself: its parts in order, each with its size and SHA-256.

    manifest.json         this
    manifest.sha256       the hash of manifest.json, as `sha256sum -c` reads it
    database/<name>       the parts that a keeper wrote
    files/ab/cd/<hash>    the bytes of a file

Whatever is read from a backup is held to this, and this to its hash, so that no bit of it goes unseen. The
secret that signs cursors and grants is not in a backup. Knows names and numbers; opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from hub.wire.errors import HubError

MANIFEST: Final = "manifest.json"
CHECK: Final = "manifest.sha256"
MANIFEST_BYTES: Final = 256 * 1024 * 1024
"""The largest manifest that is read: of about 3 million files."""
FORMAT: Final = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}\Z")

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Size = Annotated[int, Meta(ge=0, le=2**53)]


class Part(msgspec.Struct, frozen=True, array_like=True):
    """One stretch of bytes in a backup: where it is, how many bytes, and their SHA-256."""

    path: str
    size: int
    sha256: str


class DatabasePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part that a keeper wrote, and that only that kind of keeper reads."""

    name: str
    size: Size
    sha256: Digest


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A backup. `files` are hash and size of each file; `missing` are files whose bytes were not there to be taken."""

    format: int
    made_at: str
    hub: str
    keeper: Literal["sqlite", "mariadb"]
    database: list[DatabasePart]
    files: list[tuple[Digest, Size]] = []
    missing: list[Digest] = []

    def parts(self) -> Iterator[Part]:
        """Yield what follows the manifest, in the order in which it stands in an archive."""
        for one in self.database:
            yield Part(f"database/{one.name}", one.size, one.sha256)
        for sha256, size in self.files:
            yield Part(file_path(sha256), size, sha256)

    @property
    def size(self) -> int:
        """How many bytes its parts have together."""
        return sum(part.size for part in self.parts())


_DECODER = msgspec.json.Decoder(Manifest)


def file_path(sha256: str) -> str:
    """Return where the bytes of a file stand in a backup."""
    return f"files/{sha256[:2]}/{sha256[2:4]}/{sha256}"


def check_text(sha256: str) -> bytes:
    """Return the content of `manifest.sha256`."""
    return f"{sha256}  {MANIFEST}\n".encode("ascii")


def encode(manifest: Manifest) -> bytes:
    """Return the content of `manifest.json`."""
    return msgspec.json.encode(manifest) + b"\n"


def decode(text: bytes) -> Manifest:
    """Return a manifest whose hash was checked; raise `data.invalid` for what this version cannot restore."""
    try:
        manifest = _DECODER.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HubError("data.invalid", f"This is no manifest of a backup: {error}.", path=MANIFEST) from None
    if manifest.format != FORMAT:
        raise HubError(
            "data.invalid",
            f"The backup has format {manifest.format}, this hub reads format {FORMAT}; use the version that made it.",
            path=MANIFEST,
        )
    names = [one.name for one in manifest.database]
    hashes = [sha256 for sha256, _ in manifest.files]
    if not names or not all(_NAME.match(name) for name in names):
        raise HubError("data.invalid", "The parts of the database have no good names.", path=f"{MANIFEST}.database")
    if len({*names, *hashes}) != len(names) + len(hashes):
        raise HubError("data.invalid", "A part is named twice.", path=MANIFEST)
    return manifest


def damaged(path: str, why: str) -> HubError:
    """Return the refusal of a part that is not what the manifest says."""
    return HubError(
        "file.mismatch", f"The backup is damaged: {path} {why}. Nothing was restored; use another backup.", path=path
    )

"""What instances say to each other: one kind of message, versioned, signed, and strict in what it takes.

    version (1 byte) | HMAC-SHA256 over version and body (32 bytes) | body (MessagePack of `Message`)

The key is made of the cluster's secret and the epoch of its database, and so are the names of the channels: hubs of
another cluster, or over another database, are neither heard nor believed. What says who may do what is never told,
only up to which commit; whoever hears of it reads it from the database.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from typing import Final, Literal
from zlib import crc32

import msgspec

from hub.schema.core.credentials import ApiKey, Invitation, Login, Pairing, Session
from hub.schema.core.identity import Account, Device, Domain, Membership, Role, ServiceAccount, User
from hub.schema.record import type_of
from hub.schema.writes import ChangeSet

VERSION: Final = 1
"""Of the form above, and of `ChangeSet` and `ChangeRow` as they stand in it; a change of either makes it another."""
BUCKETS: Final = 64
"""Over how many channels the accounts are spread."""
MESSAGE_BYTES: Final = 512 * 1024
"""The largest message; of a commit that does not fit in one, only the number is told."""
MESSAGE_COMMITS: Final = 64
RIGHTS: Final = frozenset(
    type_of(kind).name
    for kind in (
        *(Account, User, Membership, Role, ServiceAccount, Device, Domain),
        *(ApiKey, Session, Login, Invitation, Pairing),
    )
)
"""The types that say who may do what."""
_MAC: Final = 32


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One message. `heads` maps accounts to the number of the last commit that the sender knows of.

    `beat` and `bye` say that the sender is there, and that it goes on purpose.
    """

    sender: str
    kind: Literal["news", "beat", "bye"] = "news"
    commits: tuple[ChangeSet, ...] = ()
    heads: dict[str, int] = {}


class Untrusted(Exception):
    """A message that nothing may be taken from. `why`: `forged`, `garbled`, or `version` where it is well signed."""

    def __init__(self, why: Literal["forged", "garbled", "version"]) -> None:
        super().__init__(why)
        self.why = why


def bucket_of(account: str) -> int:
    """Return the bucket of an account."""
    return crc32(account.encode()) % BUCKETS


class Seal:
    """Signs and opens the messages of one cluster over one database."""

    def __init__(self, secret: bytes, realm: str) -> None:
        self._key = hmac.digest(secret, b"aether bus key " + realm.encode(), "sha256")
        name = hmac.digest(secret, b"aether bus name " + realm.encode(), "sha256").hex()[:16]
        self.channels: Final = tuple(f"aether:{name}:{bucket}".encode() for bucket in range(BUCKETS))
        """The channel of each bucket."""
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Message)

    def close(self, message: Message) -> bytes:
        """Return a message as it is sent."""
        body = self._encoder.encode(message)
        return b"".join((bytes((VERSION,)), self._sign(VERSION, body), body))

    def open(self, data: bytes) -> Message:
        """Return the message that was sent; raise `Untrusted`."""
        if not 1 + _MAC <= len(data) <= 2 * MESSAGE_BYTES:
            raise Untrusted("garbled")
        version, mac, body = data[0], data[1 : 1 + _MAC], data[1 + _MAC :]
        if not hmac.compare_digest(mac, self._sign(version, body)):
            raise Untrusted("forged")
        if version != VERSION:
            raise Untrusted("version")
        try:
            message = self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise Untrusted("garbled") from None
        if any(told_by_number(commit) or commit.seq < 1 for commit in message.commits):
            raise Untrusted("garbled")
        return message

    def _sign(self, version: int, body: bytes) -> bytes:
        return hmac.digest(self._key, bytes((version,)) + body, "sha256")

    def news(self, sender: str, commits: Iterable[ChangeSet]) -> Iterator[tuple[int, bytes]]:
        """Yield the messages that tell of commits, each with its bucket; those of an account in their order."""
        buckets: dict[int, list[ChangeSet]] = {}
        for commit in commits:
            buckets.setdefault(bucket_of(commit.account), []).append(commit)
        for bucket, mine in buckets.items():
            for first in range(0, len(mine), MESSAGE_COMMITS):
                for data in self._fitting(sender, mine[first : first + MESSAGE_COMMITS]):
                    yield bucket, data

    def _fitting(self, sender: str, commits: list[ChangeSet]) -> Iterator[bytes]:
        """Yield as few messages as it takes for none to be too large."""
        told = tuple(commit for commit in commits if not told_by_number(commit))
        heads = {commit.account: commit.seq for commit in commits if told_by_number(commit)}
        data = self.close(Message(sender, commits=told, heads=heads))
        if len(data) <= MESSAGE_BYTES:
            yield data
        elif len(commits) == 1:
            yield self.close(Message(sender, heads={commits[0].account: commits[0].seq}))
        else:
            middle = len(commits) // 2
            yield from self._fitting(sender, commits[:middle])
            yield from self._fitting(sender, commits[middle:])


def told_by_number(commit: ChangeSet) -> bool:
    """Say whether a commit says who may do what, so that only its number is told."""
    return any(row.type in RIGHTS for row in commit.rows)

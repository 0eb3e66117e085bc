"""file.grant and manifest.get, and what uploads and downloads over HTTP have in common.

A file is a record of a type that links a name in a container to bytes by their hash. Bytes are read only
through such a link, or with a grant that was made through one; a hash without a readable link answers as
one that does not exist. Knows records, rights and the blob store; knows no HTTP.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from handlers import people
from handlers.base import Answer, Call, Needs, Services, handles
from handlers.standing import rights_in
from hub.access import Identity, Rights
from hub.schema.query import Query
from hub.schema.record import Image, RecordType
from hub.schema.rows import within
from hub.schema.times import from_millis, to_millis
from hub.schema.where import equals
from hub.schema.writes import Upsert
from hub.wire.errors import HubError
from hub.wire.names import SHA256
from hub.wire.requests import FileGrant, ManifestGet
from storage.blobs.base import BlobCorrupt, BlobMissing, Stored
from storage.blobs.grants import make_grant
from storage.blobs.pieces import PIECE_BYTES

log = logging.getLogger("hub.files")

NAME_BYTES: Final = 255
"""The longest name, in bytes of UTF-8: what a file system of a device holds."""

_BYTES: Final = frozenset({"name", "sha256", "size"})
"""The fields that lead to the bytes of a file: where one of them is hidden, so are the bytes."""
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What is no text on the wire, or makes a name look like another one."""


def not_found(path: str | None = None) -> HubError:
    """Return the one refusal for bytes that are not there, and for those that the caller may not know of."""
    return HubError("record.not_found", "There is no such file, or this session may not know of it.", path=path)


def damaged(sha256: str, error: Exception) -> HubError:
    """Log that linked bytes are missing or damaged, and return what the caller is told."""
    log.error("the bytes of %s are missing or damaged: %r", sha256, error)
    return HubError(
        "server.unavailable",
        "The bytes of this file are missing or damaged on the server; upload the file again.",
        retry_after=60,
    )


# -- links -------------------------------------------------------------------------------------------


async def entered(services: Services, identity: Identity, wanted: str | None) -> list[tuple[str, Rights]]:
    """Return the accounts in which somebody may look for a link, with their rights there.

    `wanted` names one; without it these are all that the identity may enter, for the operator `main`.
    """
    if wanted is not None or identity.source == "operator":
        account, _ = await people.enter(services, identity, wanted)
        return [(account["id"], await rights_in(services, identity, account["id"]))] if account is not None else []
    return [(name, await rights_in(services, identity, name)) for name, _ in identity.roles if name != "*"]


async def readable_link(
    services: Services, identity: Identity, places: Iterable[tuple[str, Rights]], sha256: str
) -> Image | None:
    """Return a live file record with these bytes that somebody may read with one of the rights, or None."""
    for account, rights in places:
        for kind in services.registry.types.values():
            readable = kind.file and not kind.system and rights.allows(f"{kind.name}.read")
            if readable and rights.hidden(kind).isdisjoint(_BYTES):
                query = within(
                    Query(kind, equals(kind, "sha256", sha256), limit=1), rights.rules_for(identity, account)
                )
                found = await services.storage.find(account, query)
                if found.records:
                    return found.records[0]
    return None


async def file_record(call: Call, type_name: str, rec: str) -> Image:
    """Return a file record that the caller may read; raise `record.not_found` and the like."""
    kind = call.kind(type_name, "read")
    if not kind.file:
        raise HubError("data.invalid", f"A {kind.name} is no file; name a record of a file type.", path="type")
    image = (await call.get(kind, [rec])).get(rec)
    if image is None or not call.rights.hidden(kind).isdisjoint(_BYTES):
        raise HubError("record.not_found", f"There is no {kind.name} with this id.", path="rec")
    return image


# -- uploads -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an upload will be linked: the container, the type of its file records, the file's name."""

    container: RecordType
    rec: str
    kind: RecordType
    unique: tuple[str, ...]
    name: str


def check_name(name: str) -> str:
    """Return the name of a file, which is text and never a path; raise `data.invalid`."""
    if not name or not name.strip():
        raise HubError("data.invalid", "A file needs a name.", path="name")
    if name in {".", ".."} or "/" in name or "\\" in name:
        raise HubError(
            "data.invalid", "A name is not a path: leave out / and \\, and do not use . or .. alone.", path="name"
        )
    if _UNSEEN.search(name):
        text = "A name holds no control character, no line end and no change of direction."
        raise HubError("data.invalid", text, path="name")
    if len(name.encode("utf-8")) > NAME_BYTES:
        raise HubError("data.invalid", f"A name has at most {NAME_BYTES} bytes in UTF-8.", path="name")
    return name


async def admit(call: Call, type_name: str, rec: str, name: str) -> Slot:
    """Return where an upload goes, before its bytes are read; raise what stands against it."""
    container = call.kind(type_name, "update")
    kind = call.services.registry.file_type(container)
    if kind is None:
        raise HubError("data.invalid", f"Records of type {container.name} hold no files.", path="type")
    call.rights.require(f"{kind.name}.read")
    unique = kind.names_of_unique(["name"])
    if unique is None:
        raise HubError("data.invalid", f"{kind.name} declares no unique name within {container.name}.", path="type")
    kind.accept_change({"name": check_name(name)}, trusted=True, path="")
    if rec not in await call.get(container, [rec], verb="update"):
        raise HubError("record.not_found", f"There is no {container.name} with this id.", path="rec")
    return Slot(container, rec, kind, unique, name)


async def link(call: Call, slot: Slot, stored: Stored, content_type: str) -> tuple[Image, bool]:
    """Link stored bytes: a new file record, or the one of the same name with other bytes.

    Returns the record as the caller sees it, and whether it is new.
    """
    bytes_now = {"sha256": stored.sha256, "size": stored.size, "content_type": content_type}
    data = slot.kind.accept_create({"name": slot.name, **bytes_now}, trusted=True)
    change = {field: data[field] for field in bytes_now}
    write = Upsert(slot.kind, call.services.new_id(), data, change, slot.unique, slot.rec)
    result = (await call.services.storage.submit(call.commit((write,)))).results[0]
    return call.seen(slot.kind, result.image), result.created


# -- operations --------------------------------------------------------------------------------------


@handles(Needs.ACCOUNT)
async def grant(call: Call, request: FileGrant) -> Answer:
    """Get a signed relative URL for the bytes of one hash, which needs no token."""
    by_record = request.type is not None or request.rec is not None
    if by_record == (request.hash is not None):
        raise HubError("data.invalid", "Give either `hash`, or `type` and `rec` of a file record.")
    if request.hash is None:
        if request.type is None or request.rec is None:
            missing = "type" if request.type is None else "rec"
            raise HubError("data.invalid", "`type` and `rec` go together.", path=missing)
        sha256 = str((await file_record(call, request.type, request.rec))["sha256"])
    else:
        sha256 = request.hash
        if not SHA256.match(sha256):
            raise HubError("data.invalid", "A hash is a SHA-256 as 64 lower-case hex digits.", path="hash")
        if await readable_link(call.services, call.identity, [(call.account, call.rights)], sha256) is None:
            raise not_found("hash")
    expires = to_millis(call.services.clock()) // 1000 + request.ttl
    signed = make_grant(sha256, expires, call.services.secret)
    return Answer({"url": f"/files/sha256/{sha256}?grant={signed}", "expires_at": from_millis(expires * 1000)})


@handles(Needs.ACCOUNT)
async def manifest(call: Call, request: ManifestGet) -> Answer:
    """Get the files of a container with the hashes that a device needs to fetch and check them."""
    container = call.kind(request.container.type, "read", "container.type")
    kind = call.services.registry.file_type(container)
    if kind is None or kind.parent_wire is None:
        raise HubError("data.invalid", f"Records of type {container.name} hold no files.", path="container.type")
    call.rights.require(f"{kind.name}.read")
    if not call.rights.hidden(kind).isdisjoint(_BYTES):
        raise HubError(
            "access.denied", f"Not all of what names the files of a {kind.name} is shown to you.", path="container"
        )
    rec = request.container.rec
    if rec not in await call.get(container, [rec]):
        raise HubError("record.not_found", f"There is no {container.name} with this id.", path="container.rec")
    found = await call.find(Query(kind, equals(kind, kind.parent_wire, rec)))
    if found.more:
        raise HubError("data.invalid", f"This {container.name} holds too many files for a manifest.", path="container")
    images = sorted(found.records, key=lambda image: str(image["name"]))
    files: list[dict[str, Any]] = [
        {
            "path": image["name"],
            "sha256": image["sha256"],
            "size": image["size"],
            "pieces": await _pieces(call.services, image["sha256"], image["size"]),
        }
        for image in images
    ]
    return Answer({"revision": revision(files), "files": files})


async def _pieces(services: Services, sha256: str, size: int) -> list[str]:
    if size <= PIECE_BYTES:
        return [sha256] if size else []
    try:
        return list(await services.blobs.pieces(sha256))
    except (BlobMissing, BlobCorrupt) as error:
        raise damaged(sha256, error) from None


def revision(files: list[dict[str, Any]]) -> str:
    """Return what names a manifest: equal exactly for the same paths with the same bytes."""
    plain = [[file["path"], file["sha256"], file["size"]] for file in files]
    return hashlib.sha256(msgspec.json.encode(plain)).hexdigest()[:16]

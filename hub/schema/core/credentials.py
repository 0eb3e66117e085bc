"""What lets somebody in: keys, sessions, foreign sign-ins, invitations, pairings. Only hashes are kept of secrets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from hub.schema.access import Access
from hub.schema.core.identity import ONLY_HUB, Account, Device, Name, Permission, RoleName, ServiceAccount, User
from hub.schema.fields import Field, Ref
from hub.schema.record import Record

Digest = Annotated[str, Meta(max_length=64), Field(hashed=True, read_only=True)]
"""The SHA-256 of a secret of 256 random bits, in hex."""
Mail = Annotated[str, Meta(max_length=254)]


class ApiKey(
    Record,
    parent=Account,
    access=Access(read="owner", create="owner", update="owner", delete="owner"),
    indexes=(("digest",),),
):
    """A key for a program; only the hash of its secret is kept.

    `scopes` narrow what its role may. It acts for a service account or a device where it names one: it may at most
    what that one may, and ends with it.
    """

    name: Name
    role: RoleName
    digest: Digest
    expires_at: datetime | None = None
    scopes: Annotated[list[Permission], Meta(max_length=100)] = ["*"]  # copied for each record
    service: Annotated[Ref[ServiceAccount], Field(write_once=True, on_delete="cascade")] | None = None
    device: Annotated[Ref[Device], Field(write_once=True, on_delete="cascade")] | None = None
    last_used_at: Annotated[datetime, Field(read_only=True)] | None = None


class Session(
    Record,
    system=True,
    access=ONLY_HUB,
    indexes=(("digest",), ("family",)),
):
    """A sign-in of a user: a one-use link, or one token of the chain that it was exchanged for.

    Tokens that came from one another by refreshing are a `family`: one that is shown again after it was exchanged
    was stolen, and ends them all. `used_at` says when it was exchanged.
    """

    user: Ref[User]
    kind: Literal["link", "token", "refresh", "reset"]
    digest: Digest
    expires_at: datetime
    family: Annotated[str, Meta(max_length=64)] | None = None
    used_at: datetime | None = None
    client: Annotated[str, Meta(max_length=200)] = ""
    """What the sign-in was made with, as it called itself."""


class Login(Record, system=True, access=ONLY_HUB, unique=(("issuer", "subject"),), indexes=(("user",),)):
    """A user as a foreign issuer knows them."""

    user: Annotated[Ref[User], Field(on_delete="cascade")]
    issuer: Annotated[str, Meta(max_length=255)]
    subject: Annotated[str, Meta(max_length=255)]
    email: Mail | None = None


class Invitation(
    Record,
    parent=Account,
    access=Access(read="manager", create="manager", update="nobody", delete="manager"),
    indexes=(("digest",),),
):
    """That somebody may become a member of this account, once."""

    name: Name
    email: Mail
    role: RoleName
    digest: Digest
    expires_at: datetime
    used_at: Annotated[datetime, Field(read_only=True)] | None = None


class Pairing(Record, system=True, access=ONLY_HUB, indexes=(("code",), ("digest",))):
    """A device that shows a code and waits until somebody confirms it.

    `code` is the hash of what it shows, `digest` that of the secret with which it asks. Once it is confirmed the
    record names the account and the device.
    """

    name: Name
    code: Digest
    digest: Digest
    expires_at: datetime
    tenant: Annotated[Ref[Account], Field(on_delete="cascade")] | None = None
    device_id: Annotated[str, Meta(max_length=64)] | None = None

"""Accounts and people. Users and accounts live in account `system`; the rest in the account it concerns.

An account sees people only through `membership`, which carries their name and mail.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from hub.schema.access import Access
from hub.schema.fields import Field, Ref
from hub.schema.record import Record

Name = Annotated[str, Meta(min_length=1, max_length=200)]
AccountName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
_ONLY_HUB = Access(read="owner", create="nobody", update="nobody", delete="nobody", purge="nobody")


class Account(Record, system=True, access=_ONLY_HUB, unique=(("name",),)):
    """A tenant: every record, channel and file belongs to exactly one."""

    name: AccountName
    title: Annotated[str, Meta(max_length=200)] = ""


class User(Record, system=True, access=_ONLY_HUB):
    """A person, once for all accounts."""

    name: Name
    email: Annotated[str, Meta(max_length=254)] | None = None
    disabled: bool = False


class Membership(
    Record,
    parent=Account,
    access=Access(read="viewer", create="nobody", update="nobody", delete="nobody", purge="nobody"),
    unique=(("user",),),
):
    """That a user belongs to this account, with which role; carries the name for lists."""

    user: Annotated[Ref[User], Field(write_once=True)]
    role: Literal["viewer", "member", "editor", "manager", "owner"]
    name: Name
    email: Annotated[str, Meta(max_length=254)] | None = None


class ApiKey(
    Record,
    parent=Account,
    access=Access(read="owner", create="owner", update="owner", delete="owner"),
    indexes=(("digest",),),
):
    """A key for a program; only the hash of its secret is kept."""

    name: Name
    role: Literal["viewer", "member", "editor", "manager", "owner"]
    digest: Annotated[str, Meta(max_length=64), Field(secret=True, read_only=True)]
    expires_at: datetime | None = None


class Session(
    Record,
    system=True,
    access=_ONLY_HUB,
    indexes=(("digest",),),
):
    """A sign-in of a user: a one-use link, or the token that it was exchanged for."""

    user: Ref[User]
    kind: Literal["link", "token"]
    digest: Annotated[str, Meta(max_length=64), Field(secret=True, read_only=True)]
    expires_at: datetime

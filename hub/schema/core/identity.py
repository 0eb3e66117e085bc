"""Accounts and who acts in them. Users and accounts live in account `system`; the rest in the account it concerns.

An account sees people only through `membership`, which carries their name and mail.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from hub.schema.access import Access
from hub.schema.fields import Field, Ref
from hub.schema.record import Record

Name = Annotated[str, Meta(min_length=1, max_length=200)]
AccountName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9_-]*$")]
RoleName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_-]*$")]
"""A role of the ladder, or the name of a `role` of the account."""
Permission = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[a-z*][a-z0-9_*]*(\.[a-z*][a-z0-9_*]*)?$")]
"""A permission such as `event.update`, or a pattern of them: `event.*`, `*.read`, `*`."""
Host = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
ONLY_HUB = Access(read="owner", create="nobody", update="nobody", delete="nobody", purge="nobody")


class Account(Record, system=True, access=ONLY_HUB, unique=(("name",),)):
    """A tenant: every record, channel and file belongs to exactly one."""

    name: AccountName
    title: Annotated[str, Meta(max_length=200)] = ""


class User(Record, system=True, access=ONLY_HUB, unique=(("email",),)):
    """A person, once for all accounts; signs in with `email`, which is kept in small letters."""

    name: Name
    email: Annotated[str, Meta(max_length=254)] | None = None
    disabled: bool = False
    password: Annotated[str, Meta(max_length=300), Field(hashed=True, read_only=True)] | None = None
    """What is kept of it (Argon2id; of migrated people bcrypt or scrypt until they sign in); None: no password."""


class Membership(
    Record,
    parent=Account,
    access=Access(read="viewer", create="nobody", update="manager", delete="manager", purge="nobody"),
    unique=(("user",),),
):
    """That a user belongs to this account, with which role; carries the name for lists. There is always an owner."""

    user: Annotated[Ref[User], Field(write_once=True)]
    role: RoleName
    name: Annotated[Name, Field(read_only=True)]
    email: Annotated[str, Meta(max_length=254), Field(read_only=True)] | None = None


class Role(
    Record,
    parent=Account,
    access=Access(read="manager", create="owner", update="owner", delete="owner"),
    unique=(("name",),),
):
    """A role of this account's own: a set of permissions beside the built-in ladder."""

    name: Annotated[RoleName, Field(write_once=True)]
    title: Annotated[str, Meta(max_length=200)] = ""
    permissions: Annotated[list[Permission], Meta(max_length=200)]


class ServiceAccount(
    Record,
    parent=Account,
    access=Access(read="manager", create="owner", update="owner", delete="owner"),
    unique=(("name",),),
):
    """Who acts where no person does: an integration, a job. It has keys, and no other way in."""

    name: Name
    role: RoleName
    disabled: bool = False


class Device(
    Record,
    parent=Account,
    access=Access(read="viewer", create="manager", update="manager", delete="manager"),
):
    """A kiosk, a launcher, a screen: it has a key, which it got when it was paired."""

    name: Name
    role: RoleName = "viewer"
    disabled: bool = False


class Domain(Record, system=True, access=ONLY_HUB, unique=(("host",),)):
    """A host name under which people reach an account, so that it is known before they sign in."""

    host: Host
    tenant: Ref[Account]
    digest: Annotated[str, Meta(max_length=64), Field(hashed=True, read_only=True)] | None = None
    """Of the key that whoever asks for the account by this host must show; None: nobody need."""

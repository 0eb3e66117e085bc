"""The layers of lookups that an account keeps itself, as records: rows, policies, and sites, which have a layer each.

A row is for one lookup and for the account, or, with `for_type` and `for_id`, for one record of it: a site, an event,
any other. Who asks for that record or for one below it is shown the row. The global layer is declared
(`hub.schema.lookups`); how layers lie over each other is in `hub.schema.layers`.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from hub.schema.access import Access
from hub.schema.fields import Field
from hub.schema.listed import Listed
from hub.schema.lookups import Lookup, LookupEntry, is_declared
from hub.schema.record import Image, Record
from hub.wire.errors import HubError
from hub.wire.names import PUBLIC_ID, TYPE

_KEPT = Access(read="viewer", create="manager", update="manager", delete="manager")

Code = Annotated[str, Meta(min_length=1, max_length=64)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
LookupName = Annotated[str, Meta(min_length=1, max_length=48), Field(write_once=True)]
Target = Annotated[str, Meta(max_length=64), Field(write_once=True)]

CODES: Final = 1000
"""How many codes a policy lists."""


class Site(Listed, Record, access=_KEPT):
    """A place where an account shows itself, such as a website; records that refer to it have its lookup rows too."""

    name: Annotated[Name, Field(folded=True)]


def _for_something(image: Image) -> None:
    """Raise `data.invalid` for an unknown lookup, or half of a target."""
    if not is_declared(image["lookup"]):
        raise HubError(
            "data.invalid", "There is no such lookup; schema.describe lists those that there are.", path="data.lookup"
        )
    kind, rec = image["for_type"], image["for_id"]
    if not kind and not rec:
        return
    if not TYPE.match(kind):
        raise HubError("data.invalid", "Name a record type here, or leave out for_id.", path="data.for_type")
    if not PUBLIC_ID.match(rec):
        raise HubError("data.invalid", "The id of a record is expected here, or no for_type.", path="data.for_id")


class LookupRow(
    Listed,
    Record,
    access=_KEPT,
    check=_for_something,
    unique=(("lookup", "for_type", "for_id", "code"),),
    indexes=(("lookup", "for_id"),),
):
    """An entry of a lookup in the layer of the account, or of one record (`for_type`, `for_id`); it hides farther ones.

    `part_of` is the code of what it belongs to, `aliases` are other names by which it is found.
    """

    lookup: LookupName
    code: Code
    name: Annotated[Name, Field(folded=True)]
    aliases: Annotated[list[Name], Meta(max_length=50)] = []
    part_of: Annotated[str, Meta(max_length=64)] = ""
    for_type: Annotated[str, Meta(max_length=48), Field(write_once=True)] = ""
    for_id: Target = ""


class LookupPolicy(Record, access=_KEPT, check=_for_something, unique=(("lookup", "for_type", "for_id"),)):
    """That only these codes of a lookup are in force, for the account or for one record; the nearest policy decides."""

    lookup: LookupName
    codes: Annotated[list[Code], Meta(max_length=CODES)]
    for_type: Annotated[str, Meta(max_length=48), Field(write_once=True)] = ""
    for_id: Target = ""


user_status = Lookup(
    "user_status",
    "What has become of a person's membership.",
    (
        LookupEntry("invited", "Invited", sort=10),
        LookupEntry("active", "Active", sort=20),
        LookupEntry("suspended", "Suspended", sort=30),
        LookupEntry("left", "Left", sort=40),
    ),
)

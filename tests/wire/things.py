"""What an account has and what nobody has, and one way to point at it: what the account matrix is made of."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from hub.schema.registry import Registry
from hub.wire.names import public_id

Fields = dict[str, Any]


@dataclass
class Things:
    """What an account has, or what nobody has. `records` is one record of each type."""

    account: str
    name: str
    records: dict[str, str]
    acronym: str
    guid: str
    person: str
    sha256: str
    watch: str = ""
    mark: str = ""
    resume: str = ""
    session: str = ""
    key: str = ""
    token: str = ""

    @property
    def marks(self) -> dict[str, str]:
        """Every value, and how it reads in a comparison."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "records"} | self.records
        return {value: f"<{name}>" for name, value in plain.items() if value}

    @property
    def secrets(self) -> list[str]:
        """What nobody outside the account may ever be shown."""
        found = [self.account, self.name, self.sha256, self.watch, self.resume, *self.records.values()]
        return [value for value in found if value]


def nothing(registry: Registry) -> Things:
    """Return things of the right form that no account has."""

    def fresh() -> str:
        return public_id(secrets.token_bytes(8))

    return Things(
        account=fresh(),
        name=f"no-account-{secrets.token_hex(4)}",
        records={name: fresh() for name in registry.types},
        acronym=f"none-{secrets.token_hex(4)}",
        guid=f"guid-{secrets.token_hex(8)}",
        person=f"person-{secrets.token_hex(8)}",
        sha256=secrets.token_hex(32),
        watch=fresh(),
        mark=secrets.token_urlsafe(24),
        resume=fresh() + fresh(),
        session=fresh(),
        key=f"key-{secrets.token_hex(8)}",
        token="aek_" + secrets.token_urlsafe(32),
    )


@dataclass(frozen=True)
class Case:
    """One way to point at something: an operation and the fields of its request, by what is pointed at."""

    op: str
    vector: str
    build: Callable[[Things], Fields]

    @property
    def label(self) -> str:
        """How a failing test names it."""
        return f"{self.op}: {self.vector}"

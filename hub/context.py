"""What an action sees of the hub: the Context protocol. The shells behind it live above.

Everything here is already limited to the caller's account and rights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from hub.access import Identity, Rights
from hub.schema.record import Image, Record
from hub.schema.writes import Committed
from hub.wire.requests import ItemRef


class NewRecord(msgspec.Struct, frozen=True):
    """A write of an action: create a record. `parent` is a public id or the item that creates it.

    `rec` is the id that it gets, where the hub's own actions have to know it before; others leave it out.
    """

    kind: type[Record]
    data: dict[str, Any]
    parent: str | ItemRef | None = None
    rec: str | None = None


class ChangeRecord(msgspec.Struct, frozen=True):
    """A write of an action: replace the given fields."""

    kind: type[Record]
    rec: str
    data: dict[str, Any]
    if_version: int | None = None


class DeleteRecord(msgspec.Struct, frozen=True):
    """A write of an action: delete a record softly."""

    kind: type[Record]
    rec: str
    if_version: int | None = None


ActionWrite = NewRecord | ChangeRecord | DeleteRecord
_R = TypeVar("_R")


class Context(Protocol):
    """The hub as an action sees it. Data in writes uses wire names (`location_id`).

    Row rules bind what an action reads and writes as they bind its caller; where it says `trusted`, it decides itself.
    An action sees every field but secret ones, and sets those that are read-only.
    """

    identity: Identity
    target: Image | None

    @property
    def rights(self) -> Rights:
        """The rights in the chosen account; raise `account.required` where an action that needs none has none."""

    @property
    def account(self) -> str:
        """The chosen account; raise likewise."""

    def now(self) -> str:
        """Return the time in wire form."""

    def random(self, count: int) -> bytes:
        """Return fresh random bytes for a secret."""

    async def get(self, kind: type[Record], rec: str, *, trusted: bool = False) -> Image:
        """Return a live record; raise `record.not_found`."""

    async def find(
        self,
        kind: type[Record],
        where: dict[str, Any] | None = None,
        *,
        parent: str | None = None,
        order: list[str] | None = None,
        deleted: bool = False,
        trusted: bool = False,
    ) -> list[Image]:
        """Return every live record that matches (≤ 100,000); with `deleted`, tombstones too."""

    async def secret(self, record: Image, field: str) -> Any:
        """Return a secret of a record, None where it is empty or the record gone. An audit entry says who had it read.

        Raises `secret.unreadable` where no key of this hub opens it.
        """

    async def submit(
        self,
        writes: Sequence[ActionWrite],
        answer: Callable[[Committed], _R],
        *,
        shown_once: bool = False,
        trusted: bool = False,
    ) -> _R:
        """Commit the writes together as one `seq`, and return what `answer` makes of them: the action's result.

        The result is kept with the caller's `key` in that same transaction, and is what the caller is answered, now
        and whenever the call is repeated. So `answer` is pure and quick (it is called on another thread, perhaps
        twice, with results whose images it leaves as they are); where it raises, nothing is committed. Of a result
        that is `shown_once`, because it holds a secret, only that it was given is kept.

        An action submits once. It is run again from its beginning when an `if_version` did not hold
        (`record.conflict`); other refusals are those of the writes, without a path.
        """

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Tell the caller how far the action is (0 to 1)."""

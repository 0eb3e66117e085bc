"""The promise of the post between instances: small letters from one instance to another, or to all of them.

A letter is a hint as everything between instances is: it may be lost, and come late. It comes at most once, those from
one instance to another come in the order in which they were sent, and only hubs of one cluster over one database read
each other's. `Alone` is the post of a hub that has nobody to write to; `storage/redis` has the one between instances.
Held to this by `tests/storage/contract_post.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final, Protocol

LETTER_BYTES: Final = 192 * 1024
"""The longest letter."""

OnLetter = Callable[[str, bytes], None]
"""Told of a letter: the instance that sent it, and what it wrote; must not wait for anything."""


class Lost(Exception):
    """Whether a letter was delivered is not known."""


class Away(Exception):
    """Letters cannot be sent at the moment; the one in question was not."""


class Post(Protocol):
    """Carries letters between the instances of one cluster."""

    @property
    def name(self) -> str:
        """What this instance is called by the others; another name after each start."""

    @property
    def alone(self) -> bool:
        """Whether there can be no other instance."""

    @property
    def ready(self) -> bool:
        """Whether letters can be sent and would be received."""

    def listen(self, on_letter: OnLetter, on_ready: Callable[[], None]) -> None:
        """Set who reads the letters, and is told whenever they can be received (again); before `start`."""

    async def start(self) -> None:
        """Begin to connect, without waiting for it."""

    async def close(self) -> None:
        """Send what waits, where that can be done at once, and disconnect."""

    async def send(self, to: str | None, letter: bytes) -> int:
        """Send a letter to an instance, or to all others; return how many it reached, so 0: nobody is there.

        Raises `Away` where it was not sent, `Lost` where that is not known. Sent letters keep their order even if
        nobody waits for this to return.
        """


class Alone:
    """The post of a hub that is alone."""

    alone = True
    ready = True

    def __init__(self) -> None:
        self.name = secrets.token_hex(8)

    def listen(self, on_letter: OnLetter, on_ready: Callable[[], None]) -> None:
        """Nobody writes."""

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to disconnect from."""

    async def send(self, to: str | None, letter: bytes) -> int:
        """Nobody is there."""
        return 0

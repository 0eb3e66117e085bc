"""What can go wrong between a client and a hub, under the hub's own codes.

The code is the contract, the message is prose for people. The tree:

    AetherError                 everything this package raises on purpose
    ├── HubError                a refusal: `code`, `message`, `path`, `details`, `retry_after`
    └── AddressError            an address that cannot be one of a hub

A client makes a `HubError` of its own where no answer can come: `server.unavailable` (nothing was done),
`write.unknown` (the outcome is not known), `auth.invalid` and `access.denied` (the socket was closed for good).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PASSING: Final = frozenset({"server.draining", "server.unavailable", "rate.limited", "write.unknown", "storage.full"})
"""Codes after which the same request can succeed later, although it was not wrong."""

NOT_RUN: Final = frozenset({"server.draining"})
"""Codes that promise that the request was not begun: it belongs on the next socket."""


class AetherError(Exception):
    """Whatever this package raises on purpose; its text is a sentence for people."""


class AddressError(AetherError):
    """An address that cannot be one of a hub."""


class HubError(AetherError):
    """A request was refused.

    `path` names the field at fault, `details` is a small object, `retry_after` is in seconds; each is None
    where the hub said nothing of it.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        path: str | None = None,
        details: Any = None,
        retry_after: float | None = None,
    ) -> None:
        self.code = code
        self.message = message
        self.path = path
        self.details = details
        self.retry_after = retry_after
        super().__init__(code, message)

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        return f"{self.message} ({self.code}{where})"

    @property
    def may_pass(self) -> bool:
        """Whether waiting helps and the request itself was right."""
        return self.code in PASSING or self.retry_after is not None

    @property
    def is_about_identity(self) -> bool:
        """Whether another token is needed."""
        return self.code.startswith("auth.")


def from_body(body: Mapping[str, Any]) -> HubError:
    """Read an `error` answer, from the socket or from HTTP; what is missing or odd is left out."""
    path, retry = body.get("path"), body.get("retry_after")
    return HubError(
        str(body.get("code", "server.error")),
        str(body.get("message", "The hub gave no reason.")),
        path=path if isinstance(path, str) else None,
        details=body.get("details"),
        retry_after=float(retry) if isinstance(retry, int | float) and retry >= 0 else None,
    )

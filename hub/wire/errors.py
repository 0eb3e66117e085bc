"""The table of error codes, and the one exception that carries a code to a client.

The code is the contract, the message is prose. Adding a code is adding a row here; a code is never
reused. `docs/errors.md` is generated from this table. Source: DESIGN.md section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table.

    `retry` says whether the same request may succeed later unchanged; `http` is the status that the
    HTTP side answers with.
    """

    code: str
    meaning: str
    retry: bool
    http: int


def _kinds(*rows: tuple[str, int, bool, str]) -> dict[str, ErrorKind]:
    return {code: ErrorKind(code, meaning, retry, http) for code, http, retry, meaning in rows}


KINDS: dict[str, ErrorKind] = _kinds(
    ("frame.malformed", 400, False, "The frame could not be decoded, or breaks a limit at the door."),
    ("frame.too_large", 413, False, "The frame is larger than the limit; the socket closes with 1009."),
    ("op.unknown", 404, False, "There is no such operation in this version of the hub."),
    (
        "data.invalid",
        422,
        False,
        "A field is missing, unknown, not writable or has a wrong value; see `path`.",
    ),
    ("type.unknown", 404, False, "There is no such record type."),
    ("where.invalid", 422, False, "The filter names an unknown field or operator, or has a wrong value."),
    ("where.not_watchable", 422, False, "This filter or option works for find but not for watch."),
    ("order.invalid", 422, False, "A sort key is unknown, not sortable or given twice."),
    ("cursor.invalid", 422, False, "The cursor is not one of ours, or belongs to another query."),
    ("key.reused", 409, False, "The idempotency key was used for a different request."),
    ("account.required", 400, False, "Choose an account in session.hello before this operation."),
    ("auth.required", 401, False, "Sign in first: send a token in session.hello."),
    ("auth.invalid", 401, False, "The token or code is not valid here."),
    ("auth.expired", 401, False, "The token or code has expired; get a new one."),
    ("access.denied", 403, False, "The roles of this session do not allow it."),
    ("record.not_found", 404, False, "There is no such record, or this session may not know of it."),
    (
        "record.conflict",
        409,
        False,
        "The record has another version than `if_version`; read it and decide again.",
    ),
    ("record.exists", 409, False, "Another record already has these unique values."),
    ("relation.restricted", 409, False, "Other records still depend on this one."),
    ("batch.too_large", 413, False, "More operations or records than one request may change."),
    ("watch.too_many", 429, False, "This socket holds as many watches as it may; stop one first."),
    ("watch.too_large", 422, False, "The query matches more records than an unlimited watch may hold."),
    ("lookup.unknown", 404, False, "There is no such lookup."),
    ("lookup.too_large", 422, False, "More rows lie over this lookup here than one question may read."),
    ("channel.unknown", 404, False, "There is no such channel, or this session may not know of it."),
    ("message.too_large", 413, False, "The data of a channel message is larger than its namespace allows."),
    ("state.too_large", 413, False, "The presence state is larger than its limit."),
    ("command.unknown", 404, False, "There is no such command."),
    ("command.failed", 422, False, "The other client refused the command; `details` say why."),
    ("command.absent", 404, True, "The client that the command is for is not connected; it was told nothing."),
    ("command.timeout", 504, True, "The other client was told and did not answer in time; it may have obeyed."),
    ("call.unknown", 404, False, "There is no such running call."),
    ("lock.held", 409, True, "Somebody else holds the lock."),
    ("action.unknown", 404, False, "There is no such action."),
    ("action.failed", 422, False, "The action refused; `details` say why."),
    ("action.cancelled", 409, False, "The action was cancelled before it had an effect."),
    ("action.timeout", 504, True, "The action did not finish within its deadline."),
    ("file.mismatch", 422, False, "The bytes do not have the announced hash; nothing was stored."),
    ("file.too_large", 413, False, "The file is larger than the limit; nothing was stored."),
    ("file.type", 415, False, "Files of this type are not accepted here."),
    ("secret.unreadable", 500, True, "No key of this hub opens the secret: put the key back, or write it anew."),
    ("storage.full", 507, True, "The disk of the server is full; reading goes on, writing waits for room."),
    ("write.unknown", 503, True, "The outcome of the write is not known; ask again with the same key."),
    ("rate.limited", 429, True, "Too many requests; wait for `retry_after` seconds."),
    (
        "server.unavailable",
        503,
        True,
        "A part that this needs is not available; wait for `retry_after` seconds.",
    ),
    ("server.draining", 503, True, "This instance is about to stop; come back after `retry_after` seconds."),
    (
        "server.error",
        500,
        True,
        "An unexpected fault; the message names the incident for the operator's log.",
    ),
)


NEXT: dict[str, str] = {
    "auth.required": "Send a token: in session.hello, or over HTTP as `Authorization: Bearer <token>`.",
    "auth.invalid": "Sign in again, or ask for another key or link.",
    "auth.expired": "Get a new token; session.auth takes it before the old one ends, session.hello afterwards.",
    "access.denied": "Ask somebody who manages this account.",
}
"""What to do next where somebody is not let in, unless the refusal itself knows better: its `details.next`."""


class HubError(Exception):
    """A refusal that a client may see.

    `code` must be a row of `KINDS`, and those of `NEXT` say in `details.next` what to do; `path` names the field at
    fault as the client wrote it (`data.title`, `where.$or.1.age`); `details` is a small JSON object; `retry_after` is
    in seconds.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        path: str | None = None,
        details: dict[str, Any] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.kind = KINDS[code]
        self.code = code
        self.message = message or self.kind.meaning
        self.path = path
        if code in NEXT and (details is None or "next" not in details):
            details = {**(details or {}), "next": NEXT[code]}
        self.details = details
        self.retry_after = retry_after
        super().__init__(code, self.message)

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        return f"{self.code}{where}: {self.message}"

    def at(self, prefix: str) -> HubError:
        """Return the same refusal with `prefix` put before its path (`ops.3` + `data.title`)."""
        path = f"{prefix}.{self.path}" if self.path else prefix
        return HubError(self.code, self.message, path=path, details=self.details, retry_after=self.retry_after)

    def body(self) -> dict[str, Any]:
        """Return the fields of the `error` message, without `op` and `id`."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.path is not None:
            body["path"] = self.path
        if self.details is not None:
            body["details"] = self.details
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        return body

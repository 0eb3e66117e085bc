"""What a client is told of an error, and what the operator finds of it in the log.

A refusal stands as it is. What nobody foresaw, and what storage says `server.error` of, is an incident: the client
gets its number, the log a line with the same number, the ids of request and session, and the traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from hub.logs import naming
from hub.wire.errors import HubError

log = logging.getLogger("hub.edge")


def told(
    error: Exception, new_id: Callable[[], str], where: str, request: int | None = None, session: str | None = None
) -> HubError:
    """Return what a client is told of an error that ended its request; log it where it is a fault."""
    if isinstance(error, HubError) and error.code != "server.error":
        if error.code == "server.unavailable" and error.__cause__ is not None:
            with naming(request, session):
                cause = error.__cause__
                log.error("%s is not available: %s: %s", where, type(cause).__name__, cause)
        return error
    return incident(error, new_id(), where, request, session)


def incident(
    error: Exception, number: str, where: str, request: int | None = None, session: str | None = None
) -> HubError:
    """Log an error with its traceback as the incident of this number; return what the client is told."""
    with naming(request, session):
        log.error("incident %s in %s", number, where, exc_info=error)
    return HubError("server.error", f"An unexpected fault; the log has it as incident {number}.")

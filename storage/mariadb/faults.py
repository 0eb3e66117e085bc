"""What MariaDB's errors mean: whether a transaction may be run again, and what a client is told.

Numbers: https://mariadb.com/kb/en/mariadb-error-code-reference/
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.exc import DBAPIError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hub.wire.errors import HubError

AGAIN: Final = frozenset({1020, 1205, 1213})
"""Record changed, lock wait, deadlock: nothing was done, and the whole transaction may be run again."""
LOST: Final = frozenset({1053, 1077, 1079, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2003, 2006, 2013, 2014, 2055})
"""The connection is gone, or the server is going."""
READ_ONLY: Final = frozenset({1290, 1792, 1836})
"""The server takes no writes, as a replica that is not promoted yet; another connection may reach another server."""
SLOW: Final = frozenset({1317, 1969, 3024})
FULL: Final = frozenset({1021, 1114, 1041, 1037})
TAKEN: Final = frozenset({1062, 1586})
_GONE: Final = (OSError, EOFError, PendingRollbackError)


def code_of(error: BaseException) -> int:
    """Return MariaDB's number of an error, or 0 where it is not one of the server's."""
    if isinstance(error, DBAPIError) and error.orig is not None and error.orig.args:
        number = error.orig.args[0]
        return number if isinstance(number, int) else 0
    return 0


def is_lost(error: BaseException) -> bool:
    """Say whether the connection is at fault, not the statement."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or code_of(error) in LOST or "sequence number" in str(error.orig)
    return isinstance(error, _GONE)


def unavailable() -> HubError:
    """Return what a client is told while the database does not answer."""
    return HubError("server.unavailable", "The database does not answer; try again shortly.", retry_after=1)


def refusal(error: BaseException) -> HubError:
    """Return what a client is told of an error of the database."""
    if isinstance(error, HubError):
        return error
    code = code_of(error)
    if code in TAKEN:
        answer = HubError("record.exists")
    elif code in FULL:
        answer = HubError("storage.full", retry_after=5)
    elif code in SLOW:
        answer = HubError("server.unavailable", "This took too long; ask for less at a time.", retry_after=5)
    elif code in READ_ONLY:
        answer = HubError("server.unavailable", "The database takes no writes at the moment.", retry_after=2)
    elif code in AGAIN:
        answer = HubError("server.unavailable", retry_after=1)
    elif is_lost(error) or isinstance(error, PoolTimeout | TimeoutError):
        answer = unavailable()
    else:
        answer = HubError("server.error")
    answer.__cause__ = error
    return answer


def sentence(error: BaseException) -> str:
    """Say why a database that answers cannot be used, and what to do."""
    code = code_of(error)
    said = error.orig.args[-1] if isinstance(error, DBAPIError) and error.orig is not None else error
    if code in {1044, 1045, 1698, 1142, 1227}:
        return f"The database server refuses the hub's user: {said}; see database_url and the user's rights."
    if code == 1049:
        return f"The database is not there: {said}; create it, and give the hub's user every right on it."
    return f"The database cannot be used: {said}."

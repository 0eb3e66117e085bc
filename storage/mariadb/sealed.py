"""What records hold encrypted, in MariaDB: the statements are those of `storage.sql.sealed`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from sqlalchemy.engine import Connection

from storage.mariadb.connection import begin, rolled_back
from storage.mariadb.faults import AGAIN, code_of
from storage.sql.compile import Text
from storage.sql.sealed import SealedFields

TRIES: Final = 3
"""How often a step is tried that a deadlock stands in the way of."""
_T = TypeVar("_T")


class MariadbSealed(SealedFields[Connection]):
    """That part of the keeper on MariaDB."""

    def _run_sealed(self, connection: Connection, text: Text, values: dict[str, Any]) -> tuple[Sequence[Any], int]:
        done = connection.exec_driver_sql(text.sql, tuple(text.arguments(values)))
        return (done.all() if done.returns_rows else ()), done.rowcount

    async def _write(self, work: Callable[[Connection], _T]) -> _T:
        def within(connection: Connection) -> _T:
            for tries in range(1, TRIES + 1):
                try:
                    with rolled_back(connection):
                        begin(connection)
                        done = work(connection)
                        connection.exec_driver_sql("COMMIT")
                    return done
                except Exception as error:
                    if code_of(error) not in AGAIN or tries == TRIES:
                        raise
            raise AssertionError("the last try returns or raises")

        return await self._ask(within)

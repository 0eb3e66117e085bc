"""A request that needs no task: what its handler waits for wakes it.

Most requests of a busy socket are such, and a task for each would cost more than their work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from handlers.base import Answer, Call, Written
from hub.edge.step import Drive
from hub.wire.errors import HubError
from hub.wire.requests import Request
from storage.base import Outcome

if TYPE_CHECKING:
    from hub.edge.connection import Connection


class Light(Drive):
    """One light request on its way, from what its handler returned to its answer. `weight` is what it counts for."""

    __slots__ = ("_answer", "_call", "_connection", "_request", "_weight", "_written")

    _written: Written
    """The write that it waits for, where it waits for one."""

    def __init__(self, connection: Connection, request: Request, weight: int, call: Call) -> None:
        self._connection = connection
        self._request = request
        self._weight = weight
        self._call = call
        self._answer: Answer | None = None

    def begin(self, answer: Awaitable[Answer] | Answer) -> None:
        """Go on from what the handler returned, as far as the first wait."""
        if type(answer) is Written:
            self._written = answer
            try:
                self._call.services.storage.tell(answer.commit, self._told)
            except Exception as fault:
                self._end(fault)
        elif isinstance(answer, Answer):
            self.returned(answer)
        else:
            self.coroutine = cast("Coroutine[Any, Any, Answer]", answer)
            self()

    def _told(self, outcome: Outcome) -> None:
        """Go on from what became of the write."""
        if isinstance(outcome, HubError):
            self._end(outcome)
            return
        written = self._written
        connection, call = self._connection, self._call
        try:
            answer = written.make(call, written.write, outcome)
            may_go = connection.hub.operations.may_go(call, answer)
        except Exception as fault:
            self._end(fault)
            return
        if may_go:
            connection.finished(self._request, self._weight, answer, None)
        else:
            self.returned(answer)

    def returned(self, value: Any) -> None:
        """Answer, or wait for the pushes that are owed before the answer."""
        if self._answer is None:
            answer: Answer = value
            self._answer = answer
            operations = self._connection.hub.operations
            if not operations.may_go(self._call, answer):
                self.coroutine = operations.pushed(self._call, self._request, answer)
                self()
                return
        self._end(None)

    def raised(self, error: BaseException) -> None:
        """Refuse the request."""
        # What it waited for was given up: the hub is stopping.
        self._end(error if isinstance(error, Exception) else HubError("server.unavailable", retry_after=1))

    def _end(self, error: Exception | None) -> None:
        self._connection.finished(self._request, self._weight, self._answer, error)

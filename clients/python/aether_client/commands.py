"""Commands: what other clients ask of this one, and what it answers.

A command is obeyed in a task of its own, so a slow one keeps nothing else waiting; tasks begin in the order in which
the commands came. Its reply belongs to the session that was told: it waits for a socket of that session, and is
forgotten where the session is over.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aether_client.codec import Message
from aether_client.connection import Connection
from aether_client.errors import HubError
from aether_client.requests import Answer

Handler = Callable[[Any, Mapping[str, Any]], Any | Awaitable[Any]]
"""Obeys one command: gets its data and who asked, returns what is answered (or an awaitable of it)."""

_log = logging.getLogger("aether_client")


class Commands:
    """What this client obeys; a listener of its connection."""

    def __init__(self, connection: Connection) -> None:
        self.handlers: dict[str, Handler] = {}
        self._connection = connection
        self._tasks: set[asyncio.Task[None]] = set()
        self._replies: dict[tuple[str, int], dict[str, Any]] = {}
        """What is not known to have reached the hub, by session and number of the command."""
        connection.listeners.append(self)

    @property
    def _session(self) -> str:
        return str((self._connection.session or {}).get("session"))

    async def _obey(self, session: str, push: Message) -> None:
        reply: dict[str, Any] = {"command": push["command"]}
        handler = self.handlers.get(push["name"])
        try:
            if handler is None:
                raise HubError("command.unknown", f"This client does not know {push['name']}.")
            answer = handler(push.get("data"), push.get("from") or {})
            reply["data"] = await answer if inspect.isawaitable(answer) else answer
        except HubError as refusal:
            reply |= {"code": refusal.code, "message": refusal.message[:1000]}
        except Exception:  # a fault of the handler is answered like a refusal, or who asked would wait
            _log.exception("the handler of %s failed", push["name"])
            reply |= {"code": "client.error", "message": f"{push['name']} failed at the client."}
        self._replies[session, push["command"]] = reply
        self._reply(session, reply)

    def _reply(self, session: str, reply: dict[str, Any]) -> None:
        if self._connection.state != "online" or session != self._session:
            return
        key = session, reply["command"]

        def ok(answer: Answer) -> None:
            self._replies.pop(key, None)

        def fail(error: HubError) -> None:
            if not error.may_pass:  # the hub does not wait for it any more, or does not take it
                self._replies.pop(key, None)

        self._connection.ask("client.reply", reply, ok, fail)

    def online(self, session: Mapping[str, Any]) -> None:
        """Send what waits for this session; forget what waits for another."""
        waiting, self._replies = self._replies, {}
        for key, reply in waiting.items():
            if key[0] == session["session"]:
                self._replies[key] = reply
                self._reply(key[0], reply)

    def push(self, message: Message) -> None:
        """Take a command."""
        if message["op"] == "command":
            task = asyncio.ensure_future(self._obey(self._session, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def offline(self) -> None:
        """Nothing: what is being obeyed goes on."""

    def horizon(self, seq: int) -> None:
        """Nothing: commands have no place in the account's order."""

    def ended(self, error: HubError) -> None:
        """Stop what is being obeyed."""
        for task in self._tasks:
            task.cancel()

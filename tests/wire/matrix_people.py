"""The cases of people and their sessions in the matrix of two accounts.

Of what asks a guard or sends mail only what is refused before: `tests/wire/test_signing_in.py` holds the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.wire.things import Fields, Things

PASSWORD = "a password of many words"
Build = Callable[[Things], Fields]


def people_cases() -> Iterator[tuple[str, str, Build]]:
    """Yield action, what is tried, and how its arguments are built."""
    yield "session.sign_in", "a user", lambda x: {"email": f"{x.records['user']}@people.example", "password": ""}
    yield "session.redeem", "a user as code", lambda x: {"code": x.records["user"]}
    yield "session.refresh", "a session as token", lambda x: {"token": x.records["session"]}
    yield "session.send_link", "a user", lambda x: {"email": f"{x.records['user']}@people.example"}
    yield "session.accounts", "an account", lambda x: {"account": x.account}
    yield "session.list", "a user", lambda x: {"user": x.records["user"]}
    yield "session.end", "a session", lambda x: {"id": x.records["session"]}
    yield "session.end", "a session of a user", lambda x: {"id": x.records["session"], "user": x.records["user"]}
    yield "session.end_all", "a user", lambda x: {"user": x.records["user"]}
    yield "tokens.rotate", "an account", lambda x: {"account": x.account}
    yield "user.send_reset", "a user", lambda x: {"email": f"{x.records['user']}@people.example"}
    yield "user.reset", "a user as code", lambda x: {"code": x.records["user"], "password": PASSWORD}
    yield "user.set_password", "an account", lambda x: {"new": PASSWORD, "account": x.account}
    yield "user.mail", "a user", lambda x: {"user": x.records["user"], "email": "mine@people.example"}
    yield "user.register", "a name", lambda x: {"email": "mine@people.example", "name": x.name}
    yield "invitation.create", "a role", lambda x: {"email": "a@people.example", "name": "mine", "role": x.acronym}
    yield "invitation.accept", "an invitation as code", lambda x: {"code": x.records["invitation"]}

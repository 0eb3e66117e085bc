"""What happens to a password while somebody signs in by it: whoever comes in by an old one does not stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from handlers import people, tokens
from handlers.base import Services
from handlers.tokens import SESSION, USER
from hub.schema.query import Query
from hub.schema.writes import Update
from tests.wire.inside import Inside, assembled_in_memory
from tests.wire.signing import OTHER_PASSWORD, PASSWORD, act, refusal
from tests.wire.talk import Client, connected

EMAIL = "ada@people.example"


class Person:
    """Somebody with a password, in a hub in this process, and a socket of nobody."""

    def __init__(self, services: Services, rec: str, guest: Client) -> None:
        self.services, self.rec, self.guest = services, rec, guest

    async def change(self, **data: Any) -> None:
        """Change them as the hub does."""
        await tokens.submit(self.services, Update(USER, self.rec, USER.accept_change(data, trusted=True)))

    async def sessions(self) -> list[str]:
        """Return the ids of every session that there is."""
        found = await self.services.storage.find("system", Query(SESSION))
        return [image["id"] for image in found.records if image["user_id"] == self.rec]


@pytest.fixture
async def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Person]:
    """Ada, whose password is PASSWORD."""
    inside: Inside = await asyncio.to_thread(
        assembled_in_memory, tmp_path / "data", monkeypatch, password_memory_kib="19456", password_passes="2"
    )
    async with inside.running(), connected(inside.socket_url) as guest:
        services = inside.parts.hub.services
        account, _ = await inside.make_account("house")
        rec = (await people.create_user(services, account, "Ada", "editor"))["id"]
        ada = Person(services, rec, guest)
        await ada.change(email=EMAIL, password=await services.ways.hashing.kept(PASSWORD))
        await guest.greet()
        yield ada


async def test_a_password_that_is_changed_while_it_is_looked_at_lets_nobody_in(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashing, change = person.services.ways.hashing, {"name": "Ada L."}
    right, other = hashing.is_right, await hashing.kept(OTHER_PASSWORD)

    async def is_right(kept: str | None, password: str) -> bool:
        found = await right(kept, password)
        await person.change(**change)
        return found

    monkeypatch.setattr(hashing, "is_right", is_right)
    given = {"email": EMAIL, "password": PASSWORD}
    assert (await act(person.guest, "session.sign_in", **given))["user"] == person.rec, "only the name was changed"
    before = await person.sessions()
    change["password"] = other
    assert await refusal(person.guest, "session.sign_in", **given) == ("auth.invalid", "args.password")
    assert await person.sessions() == before


@pytest.mark.parametrize("way", ["user.set_password", "user.reset"])
async def test_who_signs_in_just_before_a_password_changes_does_not_stay(
    way: str, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, stolen = tokens.submit, []

    async def late(services: Services, *writes: Any, actor: str | None = None) -> Any:
        if any(isinstance(write, Update) and "password" in write.change for write in writes):
            stolen.append(await tokens.open_session(services, person.rec, "a thief"))
        return await submit(services, *writes, actor=actor)

    if way == "user.set_password":
        made = await act(person.guest, "session.sign_in", email=EMAIL, password=PASSWORD)
        await person.guest.greet(made["access"])
        monkeypatch.setattr(tokens, "submit", late)
        assert await act(person.guest, way, new=OTHER_PASSWORD, old=PASSWORD) == {"ended": 1}
    else:
        code, _ = await tokens.issue_code(person.services, person.rec, "reset")
        monkeypatch.setattr(tokens, "submit", late)
        await act(person.guest, way, code=code, password=OTHER_PASSWORD)
    assert len(stolen) == 1
    assert len(await person.sessions()) == 1
    assert await refusal(person.guest, "session.refresh", token=stolen[0].refresh) == ("auth.invalid", "args.token")

"""Links that come by mail, from a real mail server: to sign in, to set a password, to come in. Each is used once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.wire.hubprocess import HubProcess
from tests.wire.mail_server import MailServer
from tests.wire.signing import (
    AT_ONCE,
    OTHER_PASSWORD,
    PASSWORD,
    act,
    at_once,
    enter,
    guests,
    keep,
    make_person,
    numbers,
    refusal,
)
from tests.wire.talk import Client, connected
from tests.wire.tenant import Tenant, make_tenant


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    """A mail server."""
    server = MailServer(tmp_path_factory.mktemp("mail"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, mail: MailServer) -> Iterator[HubProcess]:
    """A hub that sends mail and lets people register; its log is looked at, at its end."""
    started = HubProcess(
        tmp_path_factory.mktemp("links") / "data",
        mail_url=mail.url,
        mail_from="Hub <hub@mail.example>",
        mail_authority=str(mail.certificate),
        register="main",
        password_memory_kib="19456",
        password_passes="2",
    )
    started.secrets |= {PASSWORD, OTHER_PASSWORD}
    yield started
    started.stop()


@pytest.fixture(scope="module")
def tenant(hub: HubProcess) -> Tenant:
    """An account in it."""
    return asyncio.run(make_tenant(hub))


@pytest.fixture
async def guest(hub: HubProcess, codec: str) -> AsyncIterator[Client]:
    """A greeted socket of nobody."""
    async with connected(hub.socket_url, codec) as client:
        await client.greet()
        yield client


# -- links by mail -----------------------------------------------------------------------------------


async def test_a_sign_in_link_comes_by_mail_and_of_many_who_use_it_one_gets_in(
    tenant: Tenant, guest: Client, mail: MailServer
) -> None:
    email = await make_person(tenant, None)
    asked = await act(guest, "session.send_link", email=email.upper())
    assert asked == await act(guest, "session.send_link", email="nobody-at-all@people.example")
    code = await asyncio.to_thread(mail.code, email, "signin")
    tenant.process.secrets.add(code)
    async with guests(tenant.process) as clients:
        answers = await at_once(clients, "session.redeem", code=code)
    assert sorted(answer["op"] for answer in answers) == ["error"] * (AT_ONCE - 1) + ["ok"]
    (won,) = [answer["data"] for answer in answers if answer["op"] == "ok"]
    assert (await guest.greet(keep(tenant, won)["access"]))["roles"] == ["editor"]
    assert mail.mails("nobody-at-all@people.example") == []
    letter = mail.wait(email)
    assert (letter["From"], letter["Subject"]) == ("Hub <hub@mail.example>", "Sign in")


async def test_a_reset_link_sets_a_password_once_and_ends_every_session(
    tenant: Tenant, guest: Client, mail: MailServer
) -> None:
    email = await make_person(tenant)
    await guest.greet((await enter(tenant, guest, email))["access"])
    async with guests(tenant.process) as clients:
        asked = await act(clients[0], "user.send_reset", email=email)
        assert asked == await act(clients[0], "user.send_reset", email="nobody@people.example")
        code = await asyncio.to_thread(mail.code, email, "reset")
        tenant.process.secrets.add(code)
        assert (await refusal(clients[0], "session.redeem", code=code))[0] == "auth.invalid", "another kind of code"
        answers = await at_once(clients, "user.reset", code=code, password=OTHER_PASSWORD)
        (won,) = [answer["data"] for answer in answers if answer["op"] == "ok"]
        assert {a["code"] for a in answers if a["op"] == "error"} == {"auth.invalid"}
        assert await guest.closed() == 4505
        assert (await clients[0].greet(keep(tenant, won)["access"]))["roles"] == ["editor"]
        assert (await refusal(clients[0], "session.sign_in", email=email, password=PASSWORD))[0] == "auth.invalid"


async def test_nobodys_inbox_is_filled(tenant: Tenant, guest: Client, mail: MailServer) -> None:
    email = await make_person(tenant, None)
    for _ in range(20):
        await act(guest, "session.send_link", email=email)
    await act(guest, "user.send_reset", email=email)
    await asyncio.to_thread(mail.code, email, "reset", 2)
    assert len(mail.mails(email)) == 2


async def test_asking_takes_as_long_whether_or_not_there_is_anybody(tenant: Tenant, guest: Client) -> None:
    there = [await make_person(tenant, None) for _ in range(10)]
    nobody = [f"nobody{n}@people.example" for n in range(10)]

    async def seconds(email: str) -> float:
        begun = time.perf_counter()
        await act(guest, "session.send_link", email=email)
        return time.perf_counter() - begun

    times = [(await seconds(one), await seconds(other)) for one, other in zip(there, nobody, strict=True)]
    known, unknown = (sorted(column)[4] for column in zip(*times, strict=True))
    assert abs(known - unknown) < 0.02


# -- invitations -------------------------------------------------------------------------------------


async def test_an_invitation_brings_one_new_person_in(tenant: Tenant, guest: Client, mail: MailServer) -> None:
    email = f"new{next(numbers)}@people.example"
    async with tenant.client("owner") as owner:
        made = await act(owner, "invitation.create", email=email.title(), name="Newcomer", role="member")
        assert (made["mailed"], made["link"]) == (True, None)
        code = await asyncio.to_thread(mail.code, email, "invite")
        tenant.process.secrets.add(code)
        async with guests(tenant.process) as clients:
            short = await refusal(clients[0], "invitation.accept", code=code, password="short")
            assert short == ("data.invalid", "args.password")
            answers = await at_once(clients, "invitation.accept", code=code, password=PASSWORD)
        (won,) = [answer["data"] for answer in answers if answer["op"] == "ok"]
        assert (won["account"], won["role"]) == (tenant.account, "member")
        assert {a["code"] for a in answers if a["op"] == "error"} <= {"auth.invalid", "auth.required"}
        found = (await owner.ok("record.find", type="membership", where={"email": email}))["records"]
        assert [(m["name"], m["role"], m["user_id"]) for m in found] == [("Newcomer", "member", won["user"])]
        used = await owner.ok("record.get", type="invitation", rec=made["id"])
        assert used["used_at"] is not None
        assert "digest" not in used
    assert (await guest.greet(keep(tenant, won)["access"]))["roles"] == ["member"]
    assert (await enter(tenant, guest, email))["user"] == won["user"]


async def test_somebody_who_is_here_accepts_an_invitation_as_themselves(
    tenant: Tenant, guest: Client, hub: HubProcess, mail: MailServer
) -> None:
    email = await make_person(tenant)
    other = await make_tenant(hub)
    async with other.client("owner") as owner:
        await act(owner, "invitation.create", email=email, name="Grace", role="viewer")
    code = await asyncio.to_thread(mail.code, email, "invite")
    assert await refusal(guest, "invitation.accept", code=code) == ("auth.required", "args.code")
    tokens = await enter(tenant, guest, email)
    await guest.greet(tokens["access"])
    joined = await act(guest, "invitation.accept", code=code)
    assert (joined["account"], joined["user"], joined["access"]) == (other.account, tokens["user"], None)
    assert (await guest.greet(account=other.account, token=tokens["access"]))["roles"] == ["viewer"]
    assert await refusal(guest, "invitation.accept", code=code) == ("auth.invalid", "args.code")


async def test_who_invites_gives_no_more_than_they_have(tenant: Tenant) -> None:
    email = "more@people.example"
    async with tenant.client("viewer") as viewer, tenant.client("owner") as owner:
        assert (await refusal(viewer, "invitation.create", email=email, name="N"))[0] == "access.denied"
        unknown = await refusal(owner, "invitation.create", email=email, name="N", role="unheard-of")
        assert unknown == ("data.invalid", "args.role")
        assert (await owner.refused("record.create", type="invitation", data={"name": "N"}))[0] == "data.invalid"
        made = await act(owner, "invitation.create", email=email, name="N")
        await owner.ok("record.delete", type="invitation", rec=made["id"])


async def test_whoever_registers_is_mailed_a_way_in(tenant: Tenant, guest: Client, mail: MailServer) -> None:
    email, known = f"self{next(numbers)}@people.example", await make_person(tenant)
    asked = await act(guest, "user.register", email=email, name="Myself")
    assert asked == await act(guest, "user.register", email=known, name="Myself")
    code = await asyncio.to_thread(mail.code, email, "invite")
    tenant.process.secrets.add(code)
    made = keep(tenant, await act(guest, "invitation.accept", code=code, password=PASSWORD))
    hello = await guest.greet(made["access"])
    assert (hello["display"]["account"], hello["roles"]) == ("main", ["viewer"])
    assert await asyncio.to_thread(mail.code, known, "signin")

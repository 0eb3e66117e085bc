"""Signing in by password, and with what renews a session; sessions listed and ended; keys and their use."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator

import bcrypt
import httpx
import pytest

from hub.auth import REFRESH_TOKEN, make_token, read
from tests.forked import aether
from tests.wire.hubprocess import HubProcess
from tests.wire.signing import OTHER_PASSWORD, PASSWORD, act, at_once, enter, guests, keep, make_person, refusal
from tests.wire.talk import Client, connected
from tests.wire.tenant import Tenant, make_tenant, operator


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub without mail; its log is looked at, at its end."""
    started = HubProcess(
        tmp_path_factory.mktemp("signing") / "data",
        key_use_seconds="300",
        audit_days="1",
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


# -- passwords ---------------------------------------------------------------------------------------


async def test_a_password_signs_in_and_the_token_opens_a_socket(tenant: Tenant, guest: Client) -> None:
    email = await make_person(tenant)
    tokens = await enter(tenant, guest, email.title())
    assert set(tokens) == {"user", "access", "access_expires_at", "refresh", "refresh_expires_at"}
    hello = await guest.greet(tokens["access"])
    assert (hello["user"], hello["account"], hello["roles"]) == (tokens["user"], tenant.account, ["editor"])
    async with httpx.AsyncClient(base_url=tenant.process.url, trust_env=False) as http:
        body = {"op": "record.find", "id": 1, "type": "event"}
        header = {"authorization": f"Bearer {tokens['access']}"}
        assert (await http.post("/rpc", json=body, headers=header)).status_code == 200
    assert await guest.ok("session.auth", token=tokens["access"])


async def test_whatever_is_wrong_is_told_in_one_way(tenant: Tenant, guest: Client) -> None:
    email, without = await make_person(tenant), await make_person(tenant, None)
    async with operator(tenant.process, tenant.name) as desk:
        user = (await desk.ok("record.find", type="membership", where={"email": without}))["records"][0]
        await act(desk, "user.remove", user=user["user_id"])
    told = []
    for who, password in ((email, "wrong password"), ("nobody@people.example", PASSWORD), (without, PASSWORD)):
        message = await guest.call("action.call", action="session.sign_in", args={"email": who, "password": password})
        told.append({name: message[name] for name in ("code", "path", "message", "details")})
    assert told[0] == told[1] == told[2]
    assert (told[0]["code"], told[0]["path"]) == ("auth.invalid", "args.password")


async def test_bad_input_names_its_field(tenant: Tenant, guest: Client) -> None:
    for given, path in (
        ({"email": "no address", "password": PASSWORD}, "args.email"),
        ({"email": "a@b,c@d", "password": PASSWORD}, "args.email"),
        ({"email": "a@b", "password": ""}, "args.password"),
        ({"email": "a@b", "password": "x" * 1025}, "args.password"),
        ({"email": "a@b", "password": 1}, "args.password"),
        ({"email": "a@b"}, "args.password"),
        ({"email": "a@b", "password": PASSWORD, "more": 1}, "args.more"),
    ):
        assert await refusal(guest, "session.sign_in", **given) == ("data.invalid", path), given
    for code in ("", "x" * 101):
        assert await refusal(guest, "session.redeem", code=code) == ("data.invalid", "args.code")
    for action, path in (("session.redeem", "code"), ("session.refresh", "token"), ("invitation.accept", "code")):
        assert await refusal(guest, action, **{path: "no-code"}) == ("auth.invalid", f"args.{path}")
    reset = {"code": "no-code", "password": PASSWORD}
    assert await refusal(guest, "user.reset", **reset) == ("auth.invalid", "args.code")
    assert await refusal(guest, "user.reset", code="x", password="short") == ("data.invalid", "args.password")
    assert await refusal(guest, "user.set_password", new=PASSWORD) == ("auth.required", None)


async def test_a_password_is_changed_by_who_knows_it_and_ends_the_other_sessions(tenant: Tenant, guest: Client) -> None:
    email = await make_person(tenant)
    here = await enter(tenant, guest, email)
    async with connected(tenant.process.socket_url) as other:
        await other.greet()
        await other.greet((await enter(tenant, other, email))["access"])
        await guest.greet(here["access"])
        new = OTHER_PASSWORD
        assert await refusal(guest, "user.set_password", new=new) == ("auth.invalid", "args.old")
        assert await refusal(guest, "user.set_password", new=new, old="wrong") == ("auth.invalid", "args.old")
        assert await refusal(guest, "user.set_password", new="short", old=PASSWORD) == ("data.invalid", "args.new")
        assert (await act(guest, "user.set_password", new=new, old=PASSWORD))["ended"] == 2
        assert await other.closed() == 4505
    assert (await refusal(guest, "session.sign_in", email=email, password=PASSWORD))[0] == "auth.invalid"
    assert (await enter(tenant, guest, email, new))["user"] == here["user"]


async def test_the_operator_gives_people_a_mail_address_which_is_theirs_in_every_account(
    tenant: Tenant, guest: Client, hub: HubProcess
) -> None:
    old, taken, other = await make_person(tenant), await make_person(tenant, None), await make_tenant(hub)
    new = f"mended-{guest.codec}@people.example"
    made = await enter(tenant, guest, old)
    async with operator(hub, other.name) as desk:
        link = (await act(desk, "invitation.create", email=old, name="Grace"))["link"]
        code = link.partition("=")[2]
        hub.secrets.add(code)
        async with connected(hub.socket_url) as grace:
            await grace.greet(made["access"])
            await act(grace, "invitation.accept", code=code)
    async with operator(hub, tenant.name) as desk:
        unused = (await act(desk, "signin.link", account=tenant.name, user=made["user"]))["code"]
        hub.secrets.add(unused)
        for wrong in ("", "grace", "a b@people.example", None):
            assert await refusal(desk, "user.mail", user=made["user"], email=wrong) == ("data.invalid", "args.email")
        assert await refusal(desk, "user.mail", user=made["user"], email=taken.upper()) == (
            "record.exists", "args.email",
        )  # fmt: skip
        person = {"name": "Somebody", "role": "viewer", "email": taken.upper(), "another": True}
        assert await refusal(desk, "user.create", **person) == ("record.exists", "args.email")
        assert await refusal(desk, "user.mail", user="nobody", email=new) == ("record.not_found", "args.user")
        assert (await enter(tenant, guest, old))["user"] == made["user"], "nothing is half done"
        for _ in range(2):
            assert (await act(desk, "user.mail", user=made["user"], email=new.upper()))["email"] == new
    for place in (tenant, other):
        async with operator(hub, place.name) as desk:
            found = await desk.ok("record.find", type="membership", where={"user_id": made["user"]})
            assert [member["email"] for member in found["records"]] == [new]
    assert (await enter(tenant, guest, new))["user"] == made["user"]
    assert (await refusal(guest, "session.sign_in", email=old, password=PASSWORD))[0] == "auth.invalid"
    assert (await refusal(guest, "session.redeem", code=unused))[0] == "auth.invalid"
    assert await guest.greet(made["access"]), "who is in stays in"
    assert (await act(guest, "session.accounts"))["email"] == new


async def test_a_key_has_no_password_and_no_sessions(tenant: Tenant) -> None:
    async with tenant.client("editor") as client:
        assert (await refusal(client, "user.set_password", new=PASSWORD))[0] == "access.denied"
        assert await refusal(client, "session.list") == ("data.invalid", "args.user")
        assert (await refusal(client, "session.list", user="Ada"))[0] == "access.denied"


async def test_a_password_from_elsewhere_signs_in_and_is_kept_anew(tenant: Tenant, guest: Client) -> None:
    email = f"moved-{guest.codec}@people.example"
    kept = bcrypt.hashpw(b"short", bcrypt.gensalt(4)).decode()
    person = {"name": email, "role": "viewer", "email": email, "another": True}
    async with operator(tenant.process, tenant.name) as desk:
        wrong = await refusal(desk, "user.create", **person, password_hash="$2b$31$" + "a" * 53)
        assert wrong == ("data.invalid", "args.password_hash")
        await act(desk, "user.create", **person, password_hash=kept)
    tenant.process.secrets.add(kept)
    assert (await refusal(guest, "session.sign_in", email=email, password="shore"))[0] == "auth.invalid"
    first = await enter(tenant, guest, email, "short")
    assert await enter(tenant, guest, email, "short") != first
    with sqlite3.connect(f"file:{tenant.process.data / 'hub.db'}?mode=ro", uri=True) as database:
        (now,) = database.execute("SELECT password FROM user WHERE email = ?", (email,)).fetchone()
    assert now.startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_back_off_holds_whoever_guesses(tenant: Tenant, guest: Client) -> None:
    email = await make_person(tenant)
    answers = []
    for n in range(12):
        answers.append(
            await guest.call("action.call", action="session.sign_in", args={"email": email, "password": f"{n}"})
        )
    codes = [answer["code"] for answer in answers]
    assert "rate.limited" in codes
    assert set(codes) == {"auth.invalid", "rate.limited"}
    assert all(answer["retry_after"] > 0 for answer in answers if answer["code"] == "rate.limited")


# -- renewing ----------------------------------------------------------------------------------------


async def test_a_session_is_renewed_over_and_over_and_nothing_is_dropped(tenant: Tenant, guest: Client) -> None:
    tokens = await enter(tenant, guest, await make_person(tenant))
    await guest.greet(tokens["access"])
    watch = (await guest.ok("watch.start", type="event", where={"title": "renewed"}))["watch"]
    for _ in range(3):
        later = keep(tenant, await act(guest, "session.refresh", token=tokens["refresh"]))
        assert later["refresh_expires_at"] == tokens["refresh_expires_at"]
        assert later["refresh"] != tokens["refresh"]
        tokens = later
    renewed = await guest.ok("session.auth", token=tokens["access"])
    assert renewed["expires_at"] == tokens["access_expires_at"]
    await guest.create("event", title="renewed")
    assert [event["kind"] for event in await guest.changes(watch)] == ["enter"]
    assert len((await act(guest, "session.list"))["sessions"]) == 2, "the sign-in by link, and this one"


async def test_a_token_that_was_exchanged_ends_the_session_of_whoever_has_it(tenant: Tenant, guest: Client) -> None:
    first = await enter(tenant, guest, await make_person(tenant))
    second = keep(tenant, await act(guest, "session.refresh", token=first["refresh"]))
    async with connected(tenant.process.socket_url) as victim:
        await victim.greet(second["access"])
        assert await refusal(guest, "session.refresh", token=first["refresh"]) == ("auth.invalid", "args.token")
        assert await victim.closed() == 4505
    assert await refusal(guest, "session.refresh", token=second["refresh"]) == ("auth.invalid", "args.token")
    assert await guest.refused("session.hello", token=second["access"]) == ("auth.invalid", "token")


async def test_of_many_who_renew_with_one_token_one_wins(tenant: Tenant, guest: Client) -> None:
    tokens = await enter(tenant, guest, await make_person(tenant))
    async with guests(tenant.process) as clients:
        answers = await at_once(clients, "session.refresh", token=tokens["refresh"])
    won = [answer["data"] for answer in answers if answer["op"] == "ok"]
    assert len(won) == 1
    assert {answer["code"] for answer in answers if answer["op"] == "error"} == {"auth.invalid"}
    keep(tenant, won[0])
    assert (await refusal(guest, "session.refresh", token=won[0]["refresh"]))[0] == "auth.invalid", "it was stolen"


async def test_what_happened_is_in_the_audit_of_the_account(tenant: Tenant, guest: Client) -> None:
    email = await make_person(tenant)
    assert (await refusal(guest, "session.sign_in", email=email, password="wrong password"))[0] == "auth.invalid"
    tokens = await enter(tenant, guest, email)
    keep(tenant, await act(guest, "session.refresh", token=tokens["refresh"]))
    await refusal(guest, "session.refresh", token=tokens["refresh"])
    async with tenant.client("owner") as owner, tenant.client("editor") as editor:
        query = {"type": "audit_entry", "where": {"actor": tokens["user"]}}
        async with asyncio.timeout(10):
            while "session.stolen" not in (
                what := {entry["what"]: entry for entry in (await owner.ok("record.find", **query))["records"]}
            ):
                await asyncio.sleep(0.1)
        assert set(what) == {"session.signed_in", "session.stolen", "password.changed"}, "failures come later, counted"
        assert what["session.signed_in"]["details"] == {"client": "tests"}
        assert (await editor.refused("record.find", **query))[0] == "access.denied"


async def test_a_forged_token_ends_nobodys_session(tenant: Tenant, guest: Client) -> None:
    tokens = await enter(tenant, guest, await make_person(tenant))
    form = read(tokens["refresh"])
    assert form is not None
    for forged in (make_token(REFRESH_TOKEN, bytes(32), form.rec), make_token(REFRESH_TOKEN, bytes(32), "A" * 11)):
        assert (await refusal(guest, "session.refresh", token=forged))[0] == "auth.invalid"
    assert keep(tenant, await act(guest, "session.refresh", token=tokens["refresh"]))["user"] == tokens["user"]


# -- sessions ----------------------------------------------------------------------------------------


async def test_sessions_are_listed_and_ended_by_oneself_and_by_who_manages_members(
    tenant: Tenant, guest: Client
) -> None:
    email = await make_person(tenant)
    first, second, third = [await enter(tenant, guest, email) for _ in range(3)]
    async with connected(tenant.process.socket_url) as other:
        await other.greet(second["access"])
        await guest.greet(first["access"])
        listed = (await act(guest, "session.list"))["sessions"]
        assert [seat["client"] for seat in listed] == ["tests"] * 4
        assert sum(seat["current"] for seat in listed) == 1
        assert "digest" not in listed[0]
        theirs = (await act(other, "session.list"))["sessions"]
        (mine,) = [seat["id"] for seat in theirs if seat["current"]]
        assert await act(guest, "session.end", id=mine) == {"ended": 1}
        assert await other.closed() == 4505
    assert await refusal(guest, "session.end", id=mine) == ("record.not_found", "args.id")
    assert await act(guest, "session.end_all", others=True) == {"ended": 2}
    assert (await refusal(guest, "session.refresh", token=third["refresh"]))[0] == "auth.invalid"
    async with tenant.client("owner") as owner, tenant.client("viewer") as viewer:
        seats = (await act(owner, "session.list", user=first["user"]))["sessions"]
        assert len(seats) == 1
        assert (await refusal(viewer, "session.list", user=first["user"]))[0] == "access.denied"
        assert (await refusal(viewer, "session.end_all", user=first["user"]))[0] == "access.denied"
        assert await refusal(owner, "session.end", id=seats[0]["id"], user="Ada") == ("record.not_found", "args.id")
        assert await act(owner, "session.end_all", user=first["user"]) == {"ended": 1}
        assert await guest.closed() == 4505


async def test_nobody_ends_the_sessions_of_another_account(tenant: Tenant, guest: Client, hub: HubProcess) -> None:
    other = await make_tenant(hub)
    tokens = await enter(tenant, guest, await make_person(tenant))
    async with other.client("owner") as owner:
        for action in ("session.list", "session.end_all"):
            assert await refusal(owner, action, user=tokens["user"]) == ("record.not_found", "args.user")


async def test_without_mail_links_are_handed_over_by_whoever_makes_them(tenant: Tenant, guest: Client) -> None:
    for action in ("session.send_link", "user.send_reset"):
        message = await guest.call("action.call", action=action, args={"email": "a@people.example"})
        assert (message["code"], "aether signin-link" in message["details"]["next"]) == ("action.failed", True)
    assert (await refusal(guest, "user.register", email="a@people.example", name="A"))[0] == "access.denied"
    async with tenant.client("owner") as owner:
        made = await act(owner, "invitation.create", email=f"handed-{guest.codec}@people.example", name="Handed")
    assert made["mailed"] is False
    assert made["link"].startswith(f"{tenant.process.url}/#invite=")
    code = made["link"].partition("=")[2]
    tenant.process.secrets.add(code)
    assert (await act(guest, "invitation.accept", code=code))["role"] == "viewer"


# -- keys --------------------------------------------------------------------------------------------


async def test_a_use_of_a_key_is_written_once_in_a_while(tenant: Tenant) -> None:
    async with tenant.client("owner") as owner:
        made = await act(owner, "api_key.issue", role="viewer", name="used", scopes=["event.read"])
        tenant.process.secrets.add(made["key"])
        assert made["key"].startswith(f"aek_{made['id']}_")
        for _ in range(3):
            async with connected(tenant.process.socket_url) as client:
                await client.greet(made["key"])
        async with asyncio.timeout(10):
            while (key := await owner.ok("record.get", type="api_key", rec=made["id"]))["last_used_at"] is None:
                await asyncio.sleep(0.1)
        async with connected(tenant.process.socket_url) as client:
            await client.greet(made["key"])
            assert await client.refused("record.find", type="membership") == ("access.denied", None)
        await asyncio.sleep(1.5)
        assert (await owner.ok("record.get", type="api_key", rec=made["id"]))["version"] == key["version"] == 2


async def test_the_keys_of_tokens_are_replaced_and_older_tokens_stay_valid(tenant: Tenant, guest: Client) -> None:
    tokens = await enter(tenant, guest, await make_person(tenant))
    async with operator(tenant.process, tenant.name) as desk:
        before = await act(desk, "tokens.rotate")
        assert await act(desk, "tokens.rotate") != before
    later = keep(tenant, await act(guest, "session.refresh", token=tokens["refresh"]))
    assert later["access"].split(".")[0] != tokens["access"].split(".")[0]
    for token in (tokens["access"], later["access"]):
        assert (await guest.greet(token))["user"] == tokens["user"]


async def test_the_operator_does_it_from_the_command_line(tenant: Tenant, guest: Client) -> None:
    def run(*words: str) -> list[list[str]]:
        done = aether(*words, "--data", str(tenant.process.data))
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    here = ("--account", tenant.name)
    scopes = ("--scope", "event.read", "--scope", "event_*.read")
    ((key,),) = await asyncio.to_thread(run, "key", "create", *here, *scopes, "--expires", "2031-01-01")
    tenant.process.secrets.add(key)
    await guest.greet(key)
    assert (await guest.refused("record.find", type="membership"))[0] == "access.denied"
    async with tenant.client("owner") as owner:
        made = (await owner.ok("record.find", type="api_key", where={"name": "cli"}))["records"][-1]
    assert (made["scopes"], made["expires_at"]) == (["event.read", "event_*.read"], "2031-01-01T00:00:00.000Z")
    tokens = await enter(tenant, guest, await make_person(tenant))
    seats = await asyncio.to_thread(run, "session", "list", tokens["user"], *here)
    assert [seat[3] for seat in seats] == ["tests", "tests"]
    await guest.greet(tokens["access"])
    mine = next(s["id"] for s in (await act(guest, "session.list"))["sessions"] if s["current"])
    await asyncio.to_thread(run, "session", "end", tokens["user"], mine, *here)
    assert await guest.closed() == 4505
    assert len(await asyncio.to_thread(run, "tokens", "rotate")) >= 2

"""Signed tokens at a real hub: of its own sessions and of another issuer. None of the forged ones lets anybody in."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from handlers.issuers import FRESH_SECONDS, STALE_SECONDS, Issuer, Issuers, IssuersError, may_ask, read
from handlers.outward import NoAnswer, Outward, is_public
from hub import auth
from hub.passwords import Passwords
from hub.wire.errors import HubError
from tests.core.forged import Draft, by_rsa, by_secret, draft_of, forged, public_jwk, public_pem
from tests.wire.hubprocess import HubProcess
from tests.wire.key_server import KeyServer
from tests.wire.signing import act, keep
from tests.wire.talk import connected
from tests.wire.tenant import Tenant, make_tenant, operator

THEIRS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NEXT = rsa.generate_private_key(public_exponent=65537, key_size=2048)
RULES = """
[[issuer]]
issuer = "{url}/known"
audience = "us"
internal = true
link = "mail"

[[issuer]]
issuer = "{url}/new"
audience = "us"
jwks = "{url}/keys"
internal = true
provision = {{ account = "main", role = "viewer" }}
"""


@pytest.fixture(scope="module")
def keys() -> Iterator[KeyServer]:
    """The server of two issuers, one found by its configuration."""
    server = KeyServer()
    server.documents = {
        "/known/.well-known/openid-configuration": {"issuer": f"{server.url}/known", "jwks_uri": f"{server.url}/keys"},
        "/keys": {"keys": [public_jwk(THEIRS, "one")]},
    }
    yield server
    server.stop()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, keys: KeyServer) -> Iterator[HubProcess]:
    """A hub that believes them."""
    folder = tmp_path_factory.mktemp("signed")
    (folder / "issuers.toml").write_text(RULES.format(url=keys.url))
    started = HubProcess(folder / "data", issuers_file=str(folder / "issuers.toml"))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def tenant(hub: HubProcess) -> Tenant:
    """An account in it."""
    return asyncio.run(make_tenant(hub))


def theirs(keys: KeyServer, who: str, **claims: object) -> Draft:
    """Return a good token of one of the two, before it is signed."""
    return draft_of("one", by_rsa(THEIRS), time.time(), "RS256", iss=f"{keys.url}/{who}", aud="us", **claims)


async def own(tenant: Tenant) -> tuple[Draft, bytes, str]:
    """Sign somebody in; return a good token like theirs before it is signed, the hub's key, and what renews it."""
    async with operator(tenant.process, tenant.name) as desk:
        code = (await act(desk, "signin.link", account=tenant.name))["code"]
        made = keep(tenant, await act(desk, "session.redeem", code=code))
    kid, _, text = (tenant.process.data / "token-keys").read_text().splitlines()[0].partition(":")
    form = auth.read(made["refresh"])
    assert form is not None
    good = draft_of(kid, by_secret(bytes.fromhex(text)), time.time(), sub=made["user"], sid=form.rec)
    return good, text.encode(), made["refresh"]


async def refused_all(tenant: Tenant, tokens: dict[str, str]) -> None:
    """Fail where one of these lets anybody in, over the socket or HTTP."""
    header_safe = {what: token for what, token in tokens.items() if token.isascii() and token.isprintable()}
    async with connected(tenant.process.socket_url) as client:
        await client.greet()
        for what, token in tokens.items():
            answer = await client.call("session.hello", token=token)
            assert answer.get("code") in {"auth.invalid", "auth.expired", "data.invalid", "frame.malformed"}, what
            assert (await client.ok("session.beat"))["seq"] is None, what
    async with httpx.AsyncClient(base_url=tenant.process.url, trust_env=False) as http:
        for what in list(header_safe)[::8]:
            headers = {"authorization": f"Bearer {header_safe[what]}"}
            posted = await http.post("/rpc", json={"op": "session.beat", "id": 1}, headers=headers)
            assert posted.status_code >= 400, what


async def test_no_forged_token_opens_a_socket(tenant: Tenant) -> None:
    good, key, _ = await own(tenant)
    async with connected(tenant.process.socket_url) as client:
        assert (await client.greet(good.token()))["account"] == tenant.account
    wrong = forged(good, key, time.time())
    wrong |= {
        "a session that there is not": good.claim(sid="AAAAAAAAAAA"),
        "a session of somebody else": good.claim(sub="AAAAAAAAAAA"),
        "no session": good.claim(sid=None),
        "a session as a path": good.claim(sid="../../x"),
        "no jti": good.claim(jti=None),
    }
    assert len(wrong) >= 60
    await refused_all(tenant, wrong)


async def test_no_forged_token_of_another_issuer_does(tenant: Tenant, keys: KeyServer) -> None:
    good = theirs(keys, "new", email="ada@new.example", email_verified=True, name="Ada")
    async with connected(tenant.process.socket_url) as client:
        hello = await client.greet(good.token())
        assert (hello["display"], hello["roles"]) == ({"user": "Ada", "account": "main"}, ["viewer"])
    await refused_all(tenant, forged(good, public_pem(THEIRS), time.time()))


async def test_an_issuer_vouches_for_who_is_known_and_for_nobody_else(tenant: Tenant, keys: KeyServer) -> None:
    async with operator(tenant.process, tenant.name) as desk:
        person = {"name": "Known", "role": "editor", "email": "known@people.example"}
        made = await act(desk, "user.create", **person, password_hash=Passwords().kept("of who made the user"))
    proven = {"email": "Known@People.example", "email_verified": True}
    async with connected(tenant.process.socket_url) as client:
        for claims in ({}, {"email": "known@people.example"}, {**proven, "email_verified": "true"},
                       {"email": "nobody@people.example", "email_verified": True}):  # fmt: skip
            token = theirs(keys, "known", **{"sub": "k", **claims}).token()
            assert (await client.refused("session.hello", token=token))[0] == "access.denied", claims
        hello = await client.greet(theirs(keys, "known", sub="k", **proven).token())
        assert (hello["user"], hello["account"], hello["roles"]) == (made["id"], tenant.account, ["editor"])
        assert (await client.greet(theirs(keys, "known", sub="k").token()))["user"] == made["id"], "linked from now on"
        tried = {"email": "known@people.example", "password": "of who made the user"}
        assert (await client.refused("action.call", action="session.sign_in", args=tried))[0] == "auth.invalid"
        async with operator(tenant.process, tenant.name) as desk:
            await act(desk, "user.remove", user="Known")
        assert await client.closed() == 4505


async def test_a_socket_ends_with_its_token_and_comes_back_with_another_only(tenant: Tenant) -> None:
    good, _, _ = await own(tenant)
    now = int(time.time())
    async with connected(tenant.process.socket_url) as client:
        resume = (await client.greet(good.claim(iat=now - 10, exp=now + 2)))["resume"]
        assert await client.closed() == 4503
    async with connected(tenant.process.socket_url) as client:
        assert (await client.refused("session.hello", resume=resume))[0] == "auth.expired"
        assert (await client.greet(good.token()))["account"] == tenant.account


async def test_the_database_holds_no_key_and_no_token_that_can_be_used(tenant: Tenant) -> None:
    _, _, refresh = await own(tenant)
    with sqlite3.connect(f"file:{tenant.process.data / 'hub.db'}?mode=ro", uri=True) as database:
        texts = {value for line in database.iterdump() for value in line.split("'") if value.isascii()}
    assert auth.digest(refresh) in texts, "what is kept is found"
    assert auth.digest(tenant.keys["owner"]) in texts
    given = {*tenant.process.secrets, *tenant.keys.values(), refresh}
    assert [secret[:6] for secret in given if any(secret in text for text in texts)] == []
    digests = [text for text in texts if len(text) == 64 and set(text) <= set("0123456789abcdef")]
    async with connected(tenant.process.socket_url) as client:
        await client.greet()
        for text in digests:
            assert (await client.refused("session.hello", token=text))[0] == "auth.invalid"
            assert (await client.refused("session.hello", token=f"aek_{text[:43]}000000"))[0] == "auth.invalid"


# -- the keys of issuers, without a hub --------------------------------------------------------------


class Watch:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


async def test_keys_are_read_seldom_kept_while_they_may_and_replaced_when_they_are(keys: KeyServer) -> None:
    clock = Watch()
    issuers = Issuers((Issuer(issuer="there", audience="us", jwks=f"{keys.url}/own", internal=True),), clock)
    keys.documents["/own"] = {"keys": [public_jwk(THEIRS, "one")]}
    before = len(keys.asked)

    async def code(kid: str = "one", key: rsa.RSAPrivateKey = THEIRS) -> str:
        token = draft_of(kid, by_rsa(key), time.time(), "RS256", iss="there", aud="us").token()
        try:
            await issuers.verified(token, time.time(), "token")
        except HubError as refusal:
            return refusal.code
        return "ok"

    assert await asyncio.gather(*(code() for _ in range(20))) == ["ok"] * 20
    assert len(keys.asked) - before == 1
    assert await asyncio.gather(*(code(f"unknown{n}") for n in range(50))) == ["auth.invalid"] * 50
    assert len(keys.asked) - before == 1, "within thirty seconds it is not asked again"
    keys.documents["/own"] = {"keys": [public_jwk(NEXT, "two")]}
    assert await code("two", NEXT) == "auth.invalid"
    clock.now = 30
    assert await code("two", NEXT) == "ok"
    assert await code() == "auth.invalid", "the old one is published no more"
    assert len(keys.asked) - before == 2
    keys.status = 500
    clock.now += FRESH_SECONDS + 1
    assert await code("two", NEXT) == "ok"
    clock.now += STALE_SECONDS
    assert await code("two", NEXT) == "server.unavailable"
    keys.status = 200
    clock.now += 31
    assert await code("two", NEXT) == "ok"
    await issuers.close()


async def test_an_issuer_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    monkeypatch.setattr("handlers.outward.SECONDS", 0.2)
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    issuers = Issuers((Issuer(issuer="silent", audience="us", jwks=url, internal=True),))
    token = draft_of("one", by_rsa(THEIRS), time.time(), "RS256", iss="silent", aud="us").token()
    begun = time.monotonic()
    with pytest.raises(HubError) as refusal:
        await issuers.verified(token, time.time(), "token")
    assert refusal.value.code == "server.unavailable"
    assert time.monotonic() - begun < 2
    await issuers.close()
    async with asyncio.timeout(5):
        await left.wait()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True), ("2606:4700::1111", True), ("127.0.0.1", False), ("127.8.8.8", False), ("10.0.0.1", False),
        ("172.16.5.4", False), ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False),
        ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False), ("192.0.2.1", False), ("::1", False),
        ("::", False), ("fe80::1%eth0", False), ("fd00::1", False), ("::ffff:127.0.0.1", False),
        ("::ffff:10.0.0.1", False), ("64:ff9b::7f00:1", False), ("2002:7f00:1::", False), ("ff02::1", False),
        ("2001:db8::1", False), ("localhost", False), ("", False),
    ],
)  # fmt: skip
def test_only_public_addresses_are_asked(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/keys", "https://127.0.0.1:{port}/keys", "https://localhost:{port}/keys", "https://0/keys",
        "https://0x7f000001:{port}/", "https://2130706433:{port}/", "https://127.1:{port}/", "https://[::1]:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/", "https://0.0.0.0:{port}/", "file:///etc/passwd", "gopher://127.0.0.1/",
        "https://", "https://[", "ftp://127.0.0.1/", "https://127.0.0.1:99999/",
    ],
)  # fmt: skip
async def test_addresses_of_this_machine_are_not_connected_to(url: str) -> None:
    seen = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(True)
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    outward = Outward()
    with pytest.raises(NoAnswer):
        await outward.get_public(url.format(port=server.sockets[0].getsockname()[1]))
    await outward.close()
    server.close()
    assert seen == []


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("https://login.example/keys", True), ("https://login.example:443/keys", False),
        ("https://other.example/keys", False), ("http://login.example/keys", False),
        ("https://user@login.example/keys", False), ("https://login.example/keys?x=1", False),
        ("https://login.example.evil.example/keys", False), ("https://login.example:bad/", False), ("nothing", False),
    ],
)  # fmt: skip
def test_a_configuration_leads_to_no_other_host(url: str, may: bool) -> None:
    assert may_ask(Issuer(issuer="https://login.example", audience="us"), url) is may


@pytest.mark.parametrize(
    "text",
    [
        "[[issuer]]\nissuer = 'https://a.example'\n",
        "[[issuer]]\nissuer = 'http://a.example'\naudience = 'us'\n",
        "[[issuer]]\nissuer = 'aether-hub'\naudience = 'us'\njwks = 'https://a.example/keys'\n",
        "[[issuer]]\nissuer = 'https://a.example'\naudience = 'us'\nalgorithms = ['HS256']\n",
        "[[issuer]]\nissuer = 'https://a.example'\naudience = 'us'\nalgorithms = []\n",
        "[[issuer]]\nissuer = 'http://127.0.0.1:1'\naudience = 'us'\n",
        "[[issuers]]\n",
        "no toml",
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "issuers.toml"
    file.write_text(text)
    with pytest.raises(IssuersError) as refusal:
        read(str(file))
    assert str(refusal.value).endswith(".")
    with pytest.raises(IssuersError, match="cannot be read"):
        read(str(tmp_path / "nowhere.toml"))

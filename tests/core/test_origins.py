"""Which pages may: 24 origins with and without credentials, over HTTP and for a socket; headers on every answer."""

from __future__ import annotations

import itertools
from typing import Final

import pytest
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from hub.edge.guard import Guard
from hub.edge.origins import Origins
from hub.settings import SettingsError, load

HOST: Final = "hub.example:8400"
LISTED: Final = frozenset({"https://app.example", "https://xn--bcher-kva.example", "http://[2001:db8::1]:3000"})
GOOD: Final = (
    "http://hub.example:8400",
    "https://app.example",
    "https://xn--bcher-kva.example",
    "http://[2001:db8::1]:3000",
)
BAD: Final = (
    "null", "", "https://evil.example", "http://app.example", "https://app.example:8443", "https://x.app.example",
    "https://app.example.evil.example", "https://evilapp.example", "https://app.exampl", "https://app.example.",
    "https://APP.example", "https://app.example/", "https://app.example/x", "https://user@app.example",
    "https://app.example@evil.example", "https://app.example,https://evil.example",
    "https://app.example https://evil.example", "https://bücher.example", "http://[2001:db8::2]:3000",
    "http://[2001:db8::1]", "http://hub.example", "https://hub.example:8400", "http://hub.example.:8400",
    "http://hub.example:8401", "http://sub.hub.example:8400", "http://evil@hub.example:8400", "http://[", "*",
    "file://", "https://*.example",
)  # fmt: skip
assert len(GOOD) + len(BAD) >= 24


async def answered(guard: Guard, method: str, headers: dict[str, str], path: str = "/rpc") -> tuple[int, Headers]:
    """Return the status and the headers of an answer of a guard."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    raw = [(name.lower().encode(), value.encode("utf-8")) for name, value in ({"Host": HOST} | headers).items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw, "scheme": "http", "query_string": b""}
    await guard(scope, receive, send)
    return sent[0]["status"], Headers(raw=sent[0]["headers"])


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"done"})


def guard_of(*, credentials: bool, listed: frozenset[str] = LISTED) -> Guard:
    return Guard(app, app, Origins(listed, credentials=credentials))


CASES: Final = list(itertools.product((*GOOD, *BAD), (False, True)))


@pytest.mark.parametrize(("origin", "credentials"), CASES)
async def test_a_page_may_or_may_not(origin: str, credentials: bool) -> None:  # a column of a table
    guard, good = guard_of(credentials=credentials), origin in GOOD
    own = origin == GOOD[0]
    for method, more in (
        ("POST", {"Authorization": "Bearer x", "Cookie": "a=b"}),
        ("PUT", {}),
        ("OPTIONS", {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}),
        ("GET", {}),
    ):
        status, headers = await answered(guard, method, {"Origin": origin, **more})
        allowed = headers.get("access-control-allow-origin")
        if good:
            assert status == (204 if method == "OPTIONS" else 200)
            assert allowed == (None if own else origin)
            assert headers.get("access-control-allow-credentials") == ("true" if credentials and not own else None)
            assert "Origin" in headers.getlist("vary")
        else:
            assert status == (200 if method == "GET" else 403), method
            assert allowed is None
            assert "access-control-allow-credentials" not in headers
    sent = Headers({"host": HOST, "origin": origin.encode("utf-8").decode("latin-1")})
    assert Origins(LISTED, credentials=credentials).allowed(sent, "ws") is good


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example"])
async def test_all_pages_may_without_credentials_and_never_with(origin: str) -> None:
    guard = guard_of(credentials=False, listed=frozenset({"*"}))
    status, headers = await answered(guard, "POST", {"Origin": origin, "Cookie": "a=b"})
    assert (status, headers["access-control-allow-origin"]) == (200, "*"), "never the origin itself"
    assert "access-control-allow-credentials" not in headers
    with pytest.raises(ValueError, match="cookies"):
        Origins(frozenset({"*"}), credentials=True)
    with pytest.raises(SettingsError, match="do not go together"):
        load({"AETHER_ORIGINS": "*", "AETHER_CORS_CREDENTIALS": "on"})
    assert load({"AETHER_ORIGINS": "*"}).origins == ("*",)


@pytest.mark.parametrize(
    "origin", ["https://*.example", "https://app.example/x", "app.example", "https://a@b", "ftp://a"]
)
def test_an_origin_that_can_match_nothing_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(SettingsError, match="origins"):
        load({"AETHER_ORIGINS": origin})


def test_a_listed_origin_is_one_however_it_is_written() -> None:
    origins = Origins(frozenset({"https://App.Example:443"}), own="https://hub.example")
    for sent in ("https://app.example", "https://hub.example"):
        assert origins.allowed(Headers({"host": HOST, "origin": sent}), "ws")


def test_two_origins_are_none() -> None:
    two: list[tuple[bytes, bytes]] = [(b"host", HOST.encode()), *[(b"origin", b"https://app.example")] * 2]
    assert not Origins(LISTED).allowed(Headers(raw=two), "ws")


async def test_who_sends_no_origin_is_no_page() -> None:
    status, headers = await answered(guard_of(credentials=True), "POST", {})
    assert status == 200
    assert not any(name.startswith("access-control") for name in headers)


@pytest.mark.parametrize("seconds", [0, 31_536_000])
async def test_https_only_is_said_where_it_is_set(seconds: int) -> None:
    _, headers = await answered(Guard(app, app, Origins(), seconds), "GET", {})
    assert headers.get("strict-transport-security") == (f"max-age={seconds}; includeSubDomains" if seconds else None)

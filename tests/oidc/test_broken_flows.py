"""Sign-ins with a provider that are broken somewhere: none is accepted, each is refused with a code and a next step."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from jwt.algorithms import RSAAlgorithm

from hub.edge.oidc import attempts
from tests.oidc.conftest import Back, Browser, Doors, asked
from tests.oidc.crooked import CLIENT, SECRET, Claims, Key, Lies, hs256, unsigned
from tests.wire.tenant import operator

ADA: Claims = {"sub": "ada", "email": "ada@people.example", "email_verified": True, "name": "Ada"}
NEXT = ("begin", "sign in", "ask", "tell", "verify", "try again", "pass paths on")


def person(name: str) -> Claims:
    """Return somebody whom the hub has not seen."""
    return {"sub": name, "email": f"{name}@people.example", "email_verified": True}


def refused(back: Back, *codes: str) -> str:
    """Fail unless nobody was let in, and the person was told a code and what to do; return the code."""
    code, message = back.data("error"), back.data("message")
    assert back.data("code") is None, back.page
    assert back.status >= 400
    assert code in codes
    assert message is not None
    assert any(step in message for step in NEXT), message
    assert back.headers["cache-control"] == "no-store"
    return code


# -- what the browser brings ---------------------------------------------------------------------------

Bring = Callable[[Doors, Browser, str, str], Back]


def _bring(change: Callable[[dict[str, str]], dict[str, str] | str]) -> Bring:
    def bring(doors: Doors, browser: Browser, code: str, state: str) -> Back:
        return browser.back("strict", change({"code": code, "state": state, "iss": doors.issuer("strict").url}))

    return bring


def _another_browser(doors: Doors, browser: Browser, code: str, state: str) -> Back:
    return doors.browser().back("strict", {"code": code, "state": state, "iss": doors.issuer("strict").url})


def _another_browser_that_signs_in_too(doors: Doors, browser: Browser, code: str, state: str) -> Back:
    other = doors.browser()
    other.start("strict")
    return other.back("strict", {"code": code, "state": state, "iss": doors.issuer("strict").url})


def _a_later_attempt(doors: Doors, browser: Browser, code: str, state: str) -> Back:
    browser.start("strict")
    return browser.back("strict", {"code": code, "state": state, "iss": doors.issuer("strict").url})


def _the_code_of_another(doors: Doors, browser: Browser, code: str, state: str) -> Back:
    victim = doors.issuer("strict").code(doors.browser().start("strict"), ADA)
    return browser.back("strict", {"code": victim, "state": state, "iss": doors.issuer("strict").url})


def _at_another_provider(doors: Doors, browser: Browser, code: str, state: str) -> Back:
    return browser.back("new", {"code": code, "state": state})


def _with_cookie(make: Callable[[Doors, attempts.Attempt], str]) -> Bring:
    def bring(doors: Doors, browser: Browser, code: str, state: str) -> Back:
        honest = attempts.Attempt(state, "strict", "redirect", doors.process.url, int(time.time()) + 60)
        browser.http.cookies.clear()
        browser.http.cookies.set(attempts.COOKIE, make(doors, honest), "127.0.0.1", attempts.PATH)
        return browser.back("strict", {"code": code, "state": state, "iss": doors.issuer("strict").url})

    return bring


def _without(query: dict[str, str], name: str) -> dict[str, str]:
    return {given: value for given, value in query.items() if given != name}


def _extended(doors: Doors, honest: attempts.Attempt) -> str:
    late = attempts.seal(doors.secret, attempts.Attempt(honest.state, "strict", "redirect", honest.origin, 1))
    early = attempts.seal(doors.secret, honest)
    return f"{early.partition('.')[0]}.{late.partition('.')[2]}"


BROUGHT: dict[str, tuple[Bring, tuple[str, ...]]] = {
    "another browser": (_another_browser, ("auth.invalid",)),
    "another browser that signs in too": (_another_browser_that_signs_in_too, ("auth.invalid",)),
    "a later attempt of the same browser": (_a_later_attempt, ("auth.invalid",)),
    "the code of somebody else": (_the_code_of_another, ("auth.invalid",)),
    "an answer for another provider": (_at_another_provider, ("auth.invalid",)),
    "no state": (_bring(lambda q: _without(q, "state")), ("auth.invalid",)),
    "a made-up state": (_bring(lambda q: q | {"state": "A" * 43}), ("auth.invalid",)),
    "a state that is no ASCII": (_bring(lambda q: q | {"state": "ä€"}), ("auth.invalid",)),
    "two states": (_bring(lambda q: f"code={q['code']}&state={q['state']}&state=x&iss={q['iss']}"), ("data.invalid",)),
    "two codes": (_bring(lambda q: f"code=x&code=y&state={q['state']}&iss={q['iss']}"), ("data.invalid",)),
    "no code": (_bring(lambda q: _without(q, "code")), ("data.invalid",)),
    "a code that nobody gave": (_bring(lambda q: q | {"code": "made-up"}), ("auth.invalid",)),
    "another issuer": (_bring(lambda q: q | {"iss": "https://accounts.example"}), ("auth.invalid",)),
    "the issuer with a slash": (_bring(lambda q: q | {"iss": q["iss"] + "/"}), ("auth.invalid",)),
    "no issuer where one is always named": (_bring(lambda q: _without(q, "iss")), ("auth.invalid",)),
    "a refusal of the provider": (_bring(lambda q: _without(q, "code") | {"error": "x"}), ("access.denied",)),
    "a refusal beside a code": (_bring(lambda q: q | {"error": "login_required"}), ("access.denied",)),
    "an endless query": (_bring(lambda q: q | {"more": "x" * 9000}), ("data.invalid",)),
    "a cookie of another hub": (_with_cookie(lambda doors, it: attempts.seal(b"another", it)), ("auth.invalid",)),
    "a cookie that was made longer": (_with_cookie(_extended), ("auth.invalid",)),
    "a cookie that is none": (_with_cookie(lambda doors, honest: "e30.e30"), ("auth.invalid",)),
    "an attempt of eleven minutes ago": (
        _with_cookie(
            lambda doors, it: attempts.seal(
                doors.secret, attempts.Attempt(it.state, "strict", "redirect", it.origin, int(time.time()) - 60)
            )
        ),
        ("auth.expired",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROUGHT)
def test_what_a_browser_brings_back_otherwise_is_refused(doors: Doors, name: str) -> None:
    bring, codes = BROUGHT[name]
    browser = doors.browser()
    away = browser.start("strict")
    code = doors.issuer("strict").code(away, ADA)
    refused(bring(doors, browser, code, asked(away)["state"]), *codes)


def test_the_same_way_unbroken_is_accepted(doors: Doors) -> None:
    back = doors.sign_in("strict", ADA)
    assert back.status == 200
    doors.redeem(back)


def test_an_answer_counts_once_also_where_the_provider_takes_its_code_twice(doors: Doors) -> None:
    browser, issuer = doors.browser(), doors.issuer("strict")
    away = browser.start("strict")
    cookies = dict(browser.http.cookies)
    brought = {
        "code": issuer.code(away, ADA, Lies(codes_count_once=False)),
        "state": asked(away)["state"],
        "iss": issuer.url,
    }
    outcomes: list[Back] = []

    def come() -> None:
        same = doors.browser()
        same.http.cookies.update(cookies)
        outcomes.append(same.back("strict", brought))

    together = [threading.Thread(target=come) for _ in range(4)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    come()
    accepted = [back for back in outcomes if back.data("code") is not None]
    assert len(accepted) == 1
    for back in outcomes:
        if back is not accepted[0]:
            refused(back, "auth.invalid")
    doors.redeem(accepted[0])
    again = httpx.post(f"{doors.process.url}/auth/signin", json={"code": accepted[0].data("code")}, trust_env=False)
    assert (again.status_code, again.json()["code"]) == (401, "auth.invalid")
    assert browser.back("strict", brought).data("code") is None


async def test_the_audit_says_with_whom_somebody_signed_in(doors: Doors) -> None:
    back = await asyncio.to_thread(doors.sign_in, "new", person("audited"))
    await asyncio.to_thread(doors.redeem, back)
    async with operator(doors.process, "main") as desk, asyncio.timeout(10):
        query = {"type": "audit_entry", "where": {"what": "session.signed_in"}, "limit": 100}
        while "new" not in {
            entry["details"].get("client") for entry in (await desk.ok("record.find", **query))["records"]
        }:
            await asyncio.sleep(0.1)


def test_an_answer_takes_its_cookie_with_it(doors: Doors) -> None:
    browser = doors.browser()
    browser.start("strict")
    assert attempts.COOKIE in browser.http.cookies
    refused(browser.back("strict", {"code": "x", "state": "y"}), "auth.invalid")
    assert attempts.COOKIE not in browser.http.cookies


# -- what the provider answers -------------------------------------------------------------------------


def _said(**changes: Any) -> Lies:
    return Lies(claims=lambda claims: {n: v for n, v in (claims | changes).items() if v is not None})


def _signed(sign: Callable[[Claims, Key], str]) -> Lies:
    return Lies(sign=sign)


def _public_pem(key: Key) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


STRANGER = Key("first")
LONG = {"sub": "l" * 256}
ANSWERED: dict[str, Lies] = {
    "the nonce of another attempt": _said(nonce="A" * 43),
    "no nonce": _said(nonce=None),
    "a nonce that is a list": _said(nonce=["x"]),
    "another audience": _said(aud="somebody-else"),
    "no audience": _said(aud=None),
    "several audiences, and nobody asked": _said(aud=[CLIENT, "somebody-else"]),
    "somebody else asked": _said(azp="somebody-else"),
    "another issuer": _said(iss="https://accounts.example"),
    "no issuer": _said(iss=None),
    "it has expired": _said(exp=int(time.time()) - 60),
    "it never expires": _said(exp=None),
    "it expires in three hundred years": _said(exp=int(time.time()) + 300 * 365 * 86400),
    "it expires at a text": _said(exp=str(int(time.time()) + 300)),
    "it was made in the future": _said(iat=int(time.time()) + 3600),
    "it is not valid yet": _said(nbf=int(time.time()) + 3600),
    "no subject": _said(sub=None),
    "an empty subject": _said(sub=""),
    "a subject that is a number": _said(sub=7),
    "an endless subject": _said(**LONG),
    "the hash of another access token": _said(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "a mail address that is not verified": _said(email_verified=False),
    "a mail address of which nobody says that": _said(email_verified=None),
    "a mail address that is verified in words": _said(email_verified="true"),
    "no mail address": _said(email=None),
    "more about somebody else": Lies(
        claims=lambda claims: {n: v for n, v in claims.items() if n != "email"},
        userinfo={"sub": "somebody-else", "email": "ceo@people.example", "email_verified": True},
    ),
    "nobody signed it": _signed(lambda claims, key: unsigned(claims)),
    "nobody signed it, in capitals": _signed(lambda claims, key: unsigned(claims, "NONE")),
    "signed with the secret of the client": _signed(lambda claims, key: hs256(claims, SECRET.encode())),
    "signed with the public key as a secret": _signed(lambda claims, key: hs256(claims, _public_pem(key))),
    "signed by a stranger": _signed(lambda claims, key: STRANGER.sign(claims)),
    "signed by a key that it brings itself": _signed(
        lambda claims, key: STRANGER.sign(claims, jwk=json.loads(RSAAlgorithm.to_jwk(STRANGER.private.public_key())))
    ),
    "signed by a key at an address": _signed(lambda claims, key: STRANGER.sign(claims, jku="http://127.0.0.1:9/keys")),
    "it demands what nobody knows": _signed(lambda claims, key: key.sign(claims, crit=["urgent"], urgent=True)),
    "its signature is cut": _signed(lambda claims, key: key.sign(claims)[:-8]),
    "its claims were changed": _signed(lambda claims, key: _changed(key.sign(claims), key.sign(claims | {"sub": "x"}))),
    "its name of a key is a path": _signed(lambda claims, key: key.sign(claims, kid="../../dev/null")),
    "it is endless": _said(more="x" * 9000),
    "no id token": Lies(token=lambda answer: {"access_token": answer["access_token"]}),
    "an id token that is none": Lies(token=lambda answer: answer | {"id_token": "a.b"}),
    "no access token": Lies(token=lambda answer: {"id_token": answer["id_token"]}),
}  # fmt: skip


def _changed(token: str, other: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{other.split('.')[1]}.{signature}"


@pytest.mark.parametrize("name", ANSWERED)
def test_what_a_provider_answers_otherwise_is_refused(doors: Doors, name: str) -> None:
    code = refused(
        doors.sign_in("new", person(name.replace(" ", "-")), ANSWERED[name]), "auth.invalid", "access.denied"
    )
    assert code == ("access.denied" if "mail address" in name else "auth.invalid")


@pytest.mark.parametrize(
    "lies", [Lies(status=500), Lies(status=302), Lies(size=1100 * 1024)], ids=["broken", "led elsewhere", "too large"]
)
def test_a_provider_that_does_not_answer_as_it_should_is_said_so(doors: Doors, lies: Lies) -> None:
    refused(doors.sign_in("new", ADA, lies), "server.unavailable", "auth.invalid")


@pytest.mark.parametrize("name", ["other-issuer", "only-plain", "no-code", "far-http", "other-algorithm"])
def test_nobody_is_sent_to_a_provider_that_does_not_keep_to_the_protocol(doors: Doors, name: str) -> None:
    answer = doors.browser().http.get(f"{doors.process.url}/auth/oidc/{name}/start")
    refused(Back(answer.status_code, answer.text, answer.headers), "server.unavailable")
    assert "does not answer as it should" in answer.text


def test_what_is_wrong_is_told_to_the_operator_and_never_to_the_person(doors: Doors) -> None:
    back = doors.sign_in("new", ADA, _said(aud="somebody-else"))
    assert "somebody-else" not in back.page
    assert "the id token does not hold: InvalidAudienceError" in doors.process.log


# -- who somebody is here ------------------------------------------------------------------------------


def test_who_is_not_known_is_nobody_here(doors: Doors) -> None:
    refused(doors.sign_in("known", ADA | {"sub": "nobody"}), "access.denied")
    refused(doors.sign_in("mail", person("x")), "access.denied")


def test_a_mail_address_of_somebody_else_takes_nobody_over_unless_a_rule_says_so(doors: Doors) -> None:
    grace: Claims = {"sub": "grace", "email": "Grace@People.example", "email_verified": True, "name": "Grace"}
    before = doors.redeem(doors.sign_in("new", grace))
    assert doors.is_somebody(before)
    refused(doors.sign_in("strict", grace | {"sub": "not-grace"}), "access.denied")
    refused(doors.sign_in("mail", grace | {"email_verified": False}), "access.denied")
    first = doors.redeem(doors.sign_in("mail", grace | {"sub": "grace at mail"}))  # to be linked
    assert not doors.is_somebody(before), "nobody had proven the address: who came in before is out"
    doors.redeem(doors.sign_in("mail", grace | {"sub": "grace at mail"}))  # because she is
    assert doors.is_somebody(first)


# -- keys, addresses, origins --------------------------------------------------------------------------


def test_keys_that_were_rotated_are_read_again_and_those_withdrawn_count_no_more(doors: Doors) -> None:
    issuer, old, fresh = doors.issuer("rotating"), doors.crooked.key, Key("second")
    issuer.keys = [fresh]  # the hub has read none yet
    doors.redeem(doors.sign_in("rotating", person("r")))
    refused(doors.sign_in("rotating", ADA, _signed(lambda claims, key: old.sign(claims))), "auth.invalid")
    read = issuer.reads.count("/keys")
    refused(doors.sign_in("rotating", ADA, _signed(lambda claims, key: old.sign(claims))), "auth.invalid")
    assert issuer.reads.count("/keys") == read, "keys are asked for again at most every ten seconds"


@pytest.mark.parametrize(
    "path",
    [
        "/auth%252Foidc%252Fnew%252Fcallback",
        "/auth/oidc/new%252Fcallback",
        "/auth/oidc%25252Fnew/callback",
        "/auth%252Foidc%252Fnew%252Fcallback%253Fcode%253DCODE%2526state%253DSTATE",
    ],
)
def test_a_callback_that_a_proxy_encoded_twice_is_understood(doors: Doors, path: str) -> None:
    browser = doors.browser()
    away = browser.start("new")
    code, state = doors.issuer("new").code(away, person("proxied")), asked(away)["state"]
    query = {} if "STATE" in path else {"code": code, "state": state}
    twice = quote(quote(quote(code, safe=""), safe=""), safe="")
    doors.redeem(browser.back("new", query, path.replace("CODE", twice).replace("STATE", state)))


@pytest.mark.parametrize(
    "path",
    [
        "/auth%252Foidc%252Fnobody%252Fcallback",
        "/auth%252Foidc%252Fnew%252Fstart",
        "/auth%252Foidc%252Fnew%252F..%252Fcallback",
        "/%252Fauth%252Foidc%252Fnew%252Fcallback",
        "/auth%252Foidc%252Fnew%252Fcallback%253Fcode%253Dx",
    ],
)
def test_any_other_address_that_is_encoded_twice_is_refused(doors: Doors, path: str) -> None:
    browser = doors.browser()
    browser.start("new")
    back = browser.back("new", {"code": "x", "state": "y"}, path)
    refused(back, "data.invalid")
    assert back.status == 400
    assert browser.http.get(f"{doors.process.url}/nothing%252Fhere").json()["code"] == "op.unknown"


def test_the_redirect_address_is_the_configured_one_whatever_host_a_browser_names(doors: Doors) -> None:
    answer = doors.browser().http.get(
        f"{doors.process.url}/auth/oidc/new/start", headers={"host": "evil.example", "x-forwarded-host": "evil.example"}
    )
    query = asked(answer.headers["location"])
    assert query["redirect_uri"] == f"{doors.process.url}/auth/oidc/new/callback"
    assert (query["code_challenge_method"], query["response_type"]) == ("S256", "code")
    assert len(query["code_challenge"]) == 43
    cookie = answer.headers["set-cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=lax", "Path=/auth/oidc", "Max-Age=600"))
    assert "evil.example" not in answer.headers["location"] + cookie


def test_only_a_listed_origin_gets_what_a_popup_hands_over(doors: Doors) -> None:
    browser = doors.browser()
    for query in (
        {"mode": "popup", "origin": "https://evil.example"},
        {"mode": "popup", "origin": "https://app.example.evil.example"},
        {"mode": "popup", "origin": "null"},
        {"mode": "popup", "origin": "*"},
        {"mode": "redirect", "origin": "https://app.example"},
        {"mode": "frame"},
    ):
        answer = browser.http.get(f"{doors.process.url}/auth/oidc/new/start", params=query)
        assert (answer.status_code, "location" in answer.headers) == (422, False)
        assert 'data-error="data.invalid"' in answer.text
    browser.start("new", mode="popup", origin="https://app.example")


def test_the_cookie_signs_nobody_in(doors: Doors) -> None:
    browser = doors.browser()
    browser.start("new")
    browser.http.cookies.set(attempts.COOKIE, dict(browser.http.cookies)[attempts.COOKIE], "127.0.0.1", "/")
    answer = browser.http.post(f"{doors.process.url}/rpc", json={"op": "record.find", "id": 1, "type": "event"})
    assert (answer.status_code, answer.json()["code"]) == (401, "auth.required")


def test_the_page_learns_which_providers_there_are_and_nothing_else_of_them(doors: Doors) -> None:
    said = doors.browser().http.get(f"{doors.process.url}/auth/providers").json()["providers"]
    assert said[0] == {"name": "known", "title": "Known", "start": f"{doors.process.url}/auth/oidc/known/start"}
    assert SECRET not in json.dumps(said)

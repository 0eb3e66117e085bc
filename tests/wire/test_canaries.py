"""A secret that is planted wherever a credential may stand is in no log, answer, push, history, metric or file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from hub.app import CORE
from hub.schema.registry import Registry
from hub.wire.requests import REQUESTS, op_name
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import connected
from tests.wire.tenant import make_tenant, operator

CANARY: Final = "canary5b1e7d9c"
FORMS: Final = (
    CANARY, f"aek_{CANARY}", f"aes_{CANARY}", f"aec_{CANARY}", f"eyJhbGciOiJub25lIn0.{CANARY}.x", f"Bearer {CANARY}",
    f"{CANARY}\n", f"\x00{CANARY}", f"é{CANARY}", CANARY * 200, [CANARY], {"a": CANARY},
)  # fmt: skip
NAMES: Final = ("token", "resume", "key", "code", "secret", "password", "old", "new", "refresh", "access", "api_key")
PACKS: Final = ("packs.events", "tests.wire.safes")
ACTIONS: Final = sorted(name for name, spec in Registry.of((*CORE, *PACKS)).actions.items() if not spec.operator)
"""Every action that is not the operator's own."""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub at debug level that keeps an audit, with a field for secrets."""
    started = HubProcess(tmp_path_factory.mktemp("canaries") / "data", audit_days="1", packs=",".join(PACKS))
    started.secrets.add(CANARY)
    yield started
    started.stop()
    assert hits(started.data) == []


def hits(folder: Path) -> list[str]:
    """Return the files of a data folder that hold the canary."""
    return [file.name for file in folder.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "hub.db").write_bytes(b"x" + CANARY.encode())
    assert hits(tmp_path) == ["hub.db"]


def test_a_handler_that_logs_its_arguments_turns_red(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data", packs="tests.wire.blabs")
    hub.secrets.add(CANARY)
    asyncio.run(blab(hub))
    with pytest.raises(AssertionError, match=CANARY[:12]):
        hub.stop()


async def blab(hub: HubProcess) -> None:
    """Call an action that logs what it is given."""
    async with operator(hub, "main") as client:
        await client.ok("action.call", action="blab.out", args={"password": CANARY})


async def test_no_credential_in_any_operation_is_shown_or_kept(hub: HubProcess, codec: str) -> None:
    tenant = await make_tenant(hub)
    heard: list[Any] = []
    for form in FORMS:
        for name in ("token", "resume"):
            async with connected(hub.socket_url, codec) as stranger:
                heard.append(await stranger.call("session.hello", **{name: form}))
    async with tenant.client("owner", codec) as owner, connected(hub.socket_url, codec) as guest:
        await guest.greet()
        await owner.ok("watch.start", type="safe")
        await owner.ok("feed.start", name=f"canary{codec}")
        for request in REQUESTS:
            op = op_name(request)
            if op == "session.hello":
                continue
            for form in FORMS[:4]:
                asked = {name: form for name in ("token", "key") if name in fields(request)}
                heard.append(await owner.call(op, **asked))
                heard.append(await owner.call(op, unknown_secret=form))
        for action in ACTIONS:
            args = {name: FORMS[n % len(FORMS)] for n, name in enumerate(NAMES)}
            heard.append(await guest.call("action.call", action=action, args=args))
            for name in NAMES:
                heard.append(await owner.call("action.call", action=action, args={name: CANARY}))
        made = await owner.create("safe", name=f"s{codec}", password=CANARY, login={"k": CANARY})
        heard.append(made)
        heard.append(await owner.call("record.update", type="safe", rec=made["id"], data={"password": f"{CANARY}2"}))
        heard.append(await owner.call("record.history", type="safe", rec=made["id"]))
        heard += [await owner.settled(), await guest.settled(), owner.log, guest.log]
    assert CANARY not in json.dumps(heard, default=str)


async def test_no_credential_in_a_header_or_address_is_shown(hub: HubProcess) -> None:
    texts = [form for form in FORMS if isinstance(form, str) and form.isascii() and form.isprintable()]
    seen: list[str] = []
    async with httpx.AsyncClient(base_url=hub.url, trust_env=False) as http:
        for text in texts:
            for headers in (
                {"Authorization": text},
                {"Authorization": f"Bearer {text}"},
                {"Authorization": f"Basic {text}"},
                {"Cookie": f"session={text}"},
                {"X-Api-Key": text},
                {"X-Aether-Account": text},
            ):
                for place in ("/rpc", "/files", "/auth/signout", "/files/sha256/x"):
                    body = {"op": "record.find", "id": 1, "type": "event"}
                    answer = await http.request(
                        "GET" if "x" in place[-1:] else "POST", place, json=body, headers=headers
                    )
                    seen.append(f"{answer.headers} {answer.text}")
            seen.append((await http.post("/auth/signin", json={"code": text})).text)
            seen.append((await http.post("/auth/signin", content=f'{{"code": {text}')).text)
            for name in ("token", "key", "access_token", "password"):
                refused = await http.get("/", params={name: text})
                assert refused.status_code == 400
                seen.append(f"{refused.headers} {refused.text}")
            for path in ("start", "callback", f"callback%3Fcode={quote(text)}", f"callback%253Fstate={quote(text)}"):
                for name in ("code", "state", "origin", "error", "iss"):
                    cookie = {"cookie": f"aether_oidc={quote(text)}"}
                    told = await http.get(f"/auth/oidc/{path}", params={name: text}, headers=cookie)
                    seen.append(f"{told.headers} {told.text}")
        for place in ("/", "/console/main.js", "/health", "/readyz", "/livez", "/metrics"):
            seen.append((await http.get(place)).text)
    assert not [text for text in seen if CANARY in text]


def fields(request: type[Any]) -> tuple[str, ...]:
    """Return the names of a request's fields."""
    return tuple(request.__struct_fields__)


async def test_the_operators_own_actions_log_none(hub: HubProcess) -> None:
    async with operator(hub) as client:
        for action in ("signin.link", "account.create", "api_key.issue"):
            told = await client.call("action.call", action=action, args={"code": CANARY, "password": CANARY})
            assert CANARY not in json.dumps(told)

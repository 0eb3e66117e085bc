"""Guessing: of keys, which never reaches the database, and of passwords, which back-off makes pointless.

`AETHER_PROOF` multiplies the guesses: at 100 they are a million keys and a hundred thousand passwords. The controls, a
checksum that is right and a guard that lets everybody try, are found out.
"""

from __future__ import annotations

import base64
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from handlers import people
from handlers.guard import Attempt
from handlers.hashing import Hashing
from hub import auth
from hub.wire.errors import HubError
from tests.proofs.figures import SCALE, report
from tests.wire.inside import Inside, assembled_in_memory
from tests.wire.talk import connected

KEYS: Final = 10_000 * SCALE
PASSWORDS: Final = 1_000 * SCALE
OPEN: Final = 64
"""How many guesses are on their way at a time."""
RIGHT: Final = "the one right password"


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """A hub over the keeper in memory."""
    return assembled_in_memory(tmp_path / "data", monkeypatch)


def counted(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is read from the keeper, by the kind of question."""
    reads: Counter[str] = Counter()
    storage = inside.parts.hub.services.storage

    def watched(name: str) -> Callable[..., Awaitable[Any]]:
        ask = getattr(storage, name)

        async def asked(*args: Any, **more: Any) -> Any:
            reads[name] += 1
            return await ask(*args, **more)

        return asked

    for name in ("get", "find", "lookup", "secret"):
        monkeypatch.setattr(storage, name, watched(name))
    return reads


def guess(random: Random) -> str:
    """Return a key of either form that nobody has, with the checksum of another."""
    named = f"{base64.urlsafe_b64encode(random.randbytes(8))[:11].decode()}_" if random.random() < 0.5 else ""
    body = f"aek_{named}{base64.urlsafe_b64encode(random.randbytes(32))[:43].decode()}"
    return f"{body}{random.getrandbits(24):06x}"


async def test_keys_with_a_wrong_checksum_are_read_nowhere(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    random, services = Random(1), inside.parts.hub.services
    async with inside.running():
        _, key = await inside.make_account("mine")
        reads = counted(inside, monkeypatch)
        accepted, begun = 0, time.process_time()
        for _ in range(KEYS):
            token = guess(random)
            if auth.read(token) is not None:
                continue  # one in 16 million is right by chance
            try:
                await people.authenticate(services, token)
                accepted += 1
            except HubError:
                continue
        seconds = time.process_time() - begun
        assert (accepted, sum(reads.values())) == (0, 0)
        altered = [key[:n] + ("A" if key[n] != "A" else "B") + key[n + 1 :] for n in range(4, len(key) - 6)]
        for token in altered:
            with pytest.raises(HubError):
                await people.authenticate(services, token)
        assert sum(reads.values()) == 0, "a typing error is seen by the checksum"
        with pytest.raises(HubError):  # the control
            await people.authenticate(services, auth.make_token("aek", bytes(32)))
        assert reads["lookup"] == 1
        assert (await people.authenticate(services, key)).source == "key"
    report("guesses", f"{KEYS} keys: 0 accepted, 0 reads, {seconds / KEYS * 1e6:.1f} us each")


async def guessed(inside: Inside, count: int, email: str) -> tuple[Counter[str], int]:
    """Guess a password so often, from one socket; return the answers and how many passwords were looked at."""
    answers: Counter[str] = Counter()
    looked = 0
    hashing = inside.parts.hub.services.ways.hashing
    is_right = hashing.is_right

    async def counting(kept: str | None, password: str) -> bool:
        nonlocal looked
        looked += 1
        return await is_right(kept, password)

    hashing.is_right = counting  # type: ignore[method-assign]  # the only way to see what is looked at
    async with connected(inside.socket_url) as client:
        await client.greet()
        for first in range(0, count, OPEN):
            asked = [
                await client.send(
                    "action.call", action="session.sign_in", args={"email": email, "password": f"guess {n}"}
                )
                for n in range(first, min(first + OPEN, count))
            ]
            for number in asked:
                message = await client.answer(number)
                answers[message.get("code", "ok")] += 1
    return answers, looked


async def test_passwords_are_not_guessed(inside: Inside) -> None:
    services = inside.parts.hub.services
    services.ways.hashing = Hashing()
    async with inside.running():
        await inside.make_account("mine")
        kept = await services.ways.hashing.kept(RIGHT)
        await people.create_person(services, "Ada", "owner", "ada@people.example", kept)
        begun = time.monotonic()
        answers, looked = await guessed(inside, PASSWORDS, "ada@people.example")
        seconds = time.monotonic() - begun
        assert answers["ok"] == 0
        assert set(answers) == {"auth.invalid", "rate.limited"}
        # Some are free, then the wait doubles from a second on.
        assert looked == answers["auth.invalid"] <= 12 + seconds / 30
        async with connected(inside.socket_url) as client:
            await client.greet()
            args = {"email": "ada@people.example", "password": RIGHT}
            late = await client.call("action.call", action="session.sign_in", args=args)
            assert (late["code"], late["retry_after"] > 0) == ("rate.limited", True)
    report("guesses", f"{PASSWORDS} passwords in {seconds:.1f} s: 0 accepted, {looked} looked at")


async def test_a_guard_that_lets_everybody_try_is_found_out(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    services = inside.parts.hub.services
    services.ways.hashing = Hashing()
    attempt = services.guard

    async def open_to_all(user: str, address: str | None) -> Attempt:
        return Attempt(attempt.back_off, ())

    monkeypatch.setattr(type(services.guard), "sign_in", lambda self, user, address: open_to_all(user, address))
    async with inside.running():
        answers, looked = await guessed(inside, 24, "nobody@people.example")
    assert looked == answers["auth.invalid"] == 24, "each of them is looked at"

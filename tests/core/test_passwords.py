"""What is kept of passwords: Argon2id of ours, bcrypt and scrypt of people who come from elsewhere, nothing cut."""

from __future__ import annotations

import time

import pytest

from hub.passwords import Passwords, is_known, problem_of

# Made by the libraries that sites use: bcrypt, passlib and Werkzeug, all for the password below, at their least cost.
WORDS = "correct horse battery"
FROM_ELSEWHERE = {
    "bcrypt 2b": "$2b$04$MbsqE.5fQHOF3BmYdKFx0.TDl3zU6RlRONW/2NP/w7bRAW8/EzkcK",
    "bcrypt 2y": "$2y$04$FCCKJbr3JNNCySR7/JjZK.RnUrjNC.U8boASXMAsRhdWiAxJ4Bx5m",
    "scrypt, passlib": "$scrypt$ln=10,r=8,p=1$MDEyMzQ1Njc4OWFiY2RlZg$xXt6EAFzAOlee5Hgl8R5.kLA6sDARjRcMGtm6fZJsa8",
    "scrypt, Werkzeug": "scrypt:1024:8:1$saltsaltsaltsalt$7d79d2e40c23e9e302fb3d526cf069cb110a6d6ec61c6ca"
    "e09e563c3b20948c2d23a15515df5cf27c35c46a5bbb24e8d89f9abda291957452ad3f5384dea60b4",
}


@pytest.fixture(scope="module")
def passwords() -> Passwords:
    """At the least cost that is taken."""
    return Passwords()


def test_a_password_is_right_or_wrong_as_a_whole(passwords: Passwords) -> None:
    long = "a" * 71 + "ä" + "b" * 900
    for password in (WORDS, "pässwörter sind schön", long, "x" * 1024):
        kept = passwords.kept(password)
        assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert password not in kept
        assert passwords.is_right(kept, password)
        assert not passwords.is_right(kept, password[:-1])
        assert not passwords.is_right(kept, password + "x")
        assert not passwords.is_outdated(kept)
    assert passwords.kept(WORDS) != passwords.kept(WORDS)


@pytest.mark.parametrize("kept", FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
def test_passwords_from_elsewhere_are_recognised_and_are_to_be_kept_anew(passwords: Passwords, kept: str) -> None:
    assert is_known(kept)
    assert passwords.is_right(kept, WORDS)
    assert not passwords.is_right(kept, WORDS + "x")
    assert not passwords.is_right(kept, "")
    assert passwords.is_outdated(kept)


def test_a_cheaper_argon2_is_kept_anew_when_the_cost_has_risen(passwords: Passwords) -> None:
    dearer = Passwords(passes=3)
    kept = passwords.kept(WORDS)
    assert dearer.is_right(kept, WORDS)
    assert dearer.is_outdated(kept)
    assert not dearer.is_outdated(dearer.kept(WORDS))


def test_what_bcrypt_would_cut_is_wrong(passwords: Passwords) -> None:
    import bcrypt

    whole = "a" * 72
    kept = bcrypt.hashpw(whole.encode(), bcrypt.gensalt(4)).decode()
    assert passwords.is_right(kept, whole)
    assert not passwords.is_right(kept, whole + "anything")


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "plain",
        "$2b$31$" + "a" * 53,  # would take days
        "$2b$04$short",
        "$argon2id$v=19$m=4194304,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",  # 4 GiB
        "$argon2id$v=19$m=19456,t=99,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
        "$argon2id$nonsense",
        "$scrypt$ln=30,r=8,p=1$c2FsdA$aGFzaGhhc2hoYXNoaGFzaA",  # 1 TiB
        "scrypt:32767:8:1$salt$" + "a" * 128,
        "$5$rounds=1000$salt$hash",
        "x" * 301,
        "$2b$04$" + "ä" * 53,
    ],
)
def test_a_form_that_is_not_known_or_costs_too_much_lets_nobody_in(passwords: Passwords, kept: str) -> None:
    assert not is_known(kept)
    begun = time.process_time()
    assert not passwords.is_right(kept, WORDS)
    assert time.process_time() - begun < 2


def test_nobody_takes_as_long_as_a_wrong_password(passwords: Passwords) -> None:
    kept = passwords.kept(WORDS)

    def cost(of: str | None, password: str) -> float:
        times = []
        for _ in range(5):
            begun = time.process_time()
            assert not passwords.is_right(of, password)
            times.append(time.process_time() - begun)
        return min(times)

    cost(None, "wrong")  # makes what nobody's password is compared with
    wrong = cost(kept, "wrong password")
    for other in (cost(None, "wrong password"), cost(None, "y" * 5000), cost(kept, "y" * 5000)):
        assert 0.5 < other / wrong < 2


@pytest.mark.parametrize(
    ("password", "wrong"),
    [("short", True), ("x" * 9, True), ("x" * 10, False), ("ä" * 5, False), ("x" * 1024, False), ("x" * 1025, True)],
)
def test_the_length_is_counted_in_bytes(password: str, wrong: bool) -> None:
    problem = problem_of(password)
    assert (problem is not None) is wrong
    assert problem is None or problem.endswith(".")


def test_less_than_the_least_cost_does_not_start() -> None:
    for memory, passes in ((19_455, 2), (19_456, 1)):
        with pytest.raises(ValueError, match="cheaper"):
            Passwords(memory, passes)

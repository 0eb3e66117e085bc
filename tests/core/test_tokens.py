"""Signed tokens: our own and those of other issuers; none of the forged ones is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from hub.tokens import TokenKeys, Trust, claimed, derived_key, foreign_keys, new_key, verified
from hub.wire.errors import HubError
from tests.core.forged import by_rsa, by_secret, draft_of, encoded, forged, public_jwk, public_pem

NOW = 1_800_000_000.0
KEY = bytes(range(32))
RING = TokenKeys((f"own:{KEY.hex()}",))
THEIRS = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ISSUED_BY = "https://login.example"
OWN = draft_of("own", by_secret(KEY), NOW)
FOREIGN = draft_of("their", by_rsa(THEIRS), NOW, "RS256", iss=ISSUED_BY, aud="us")
RS256 = frozenset({"RS256"})
TRUST = Trust(ISSUED_BY, "us", RS256, foreign_keys({"keys": [public_jwk(THEIRS, "their")]}, RS256))
OWN_FORGED = forged(OWN, KEY.hex().encode(), NOW)
FOREIGN_FORGED = forged(FOREIGN, public_pem(THEIRS), NOW)


def test_there_are_at_least_sixty_of_them() -> None:
    assert len(set(OWN_FORGED.values())) >= 60
    assert len(set(FOREIGN_FORGED.values())) >= 60


def test_the_good_ones_that_they_are_made_of_are_accepted() -> None:
    assert RING.verified(OWN.token(), NOW)["sub"] == "u"
    assert verified(FOREIGN.token(), TRUST, NOW)["sub"] == "u"
    assert RING.verified(OWN.claim(aud=["aether-hub", "another"]), NOW), "one audience of several is us"
    assert RING.verified(OWN.claim(nbf=int(NOW)), NOW)
    assert RING.verified(OWN.head(kid=None), NOW), "with one key alone a token need not name it"


@pytest.mark.parametrize("what", OWN_FORGED)
def test_no_forged_token_of_ours_is_accepted(what: str) -> None:
    with pytest.raises(HubError) as refusal:
        RING.verified(OWN_FORGED[what], NOW)
    assert refusal.value.code == ("auth.expired" if what.startswith("exp passed") else "auth.invalid")
    assert refusal.value.path == "token"


@pytest.mark.parametrize("what", FOREIGN_FORGED)
def test_no_forged_token_of_another_issuer_is_accepted(what: str) -> None:
    with pytest.raises(HubError) as refusal:
        verified(FOREIGN_FORGED[what], TRUST, NOW)
    assert refusal.value.code == ("auth.expired" if what.startswith("exp passed") else "auth.invalid")


def test_a_token_of_one_issuer_is_none_of_another() -> None:
    for token, check in ((FOREIGN.token(), RING.verified), (OWN.token(), lambda t, now: verified(t, TRUST, now))):
        with pytest.raises(HubError):
            check(token, NOW)
    with pytest.raises(HubError):
        RING.verified(OWN.claim(sid=None), NOW)


def test_the_hub_signs_what_it_accepts_until_it_ends() -> None:
    token = RING.signed("user", "session", "j", NOW, 60)
    claims = RING.verified(token, NOW + 59)
    assert (claims["sub"], claims["sid"], claims["exp"]) == ("user", "session", int(NOW) + 60)
    assert claimed(token).kid == "own"
    with pytest.raises(HubError) as refusal:
        RING.verified(token, NOW + 60)
    assert refusal.value.code == "auth.expired"


def test_an_older_key_still_checks_and_a_key_that_is_gone_does_not() -> None:
    old = RING.signed("user", "session", "j", NOW, 60)
    fresh = new_key(bytes(36))
    both, later = TokenKeys((fresh, *RING.texts)), TokenKeys((fresh,))
    assert both.verified(old, NOW)["sub"] == "user"
    assert claimed(both.signed("user", "session", "j", NOW, 60)).kid == fresh.partition(":")[0]
    with pytest.raises(HubError):
        later.verified(old, NOW)


@pytest.mark.parametrize("keys", [(), ("short:abcd",), ("no-name",), (f"a:{KEY.hex()}", f"a:{bytes(32).hex()}")])
def test_keys_that_are_no_keys_do_not_start(keys: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"keys? of tokens"):
        TokenKeys(keys)


def test_hubs_with_one_secret_have_one_key() -> None:
    assert derived_key(b"secret") == derived_key(b"secret") != derived_key(b"another")
    TokenKeys((derived_key(b"secret"),))


# -- the keys of other issuers -----------------------------------------------------------------------


def test_only_keys_that_signatures_are_checked_with_are_taken() -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    good = public_jwk(THEIRS, "good")
    entries: list[Any] = [
        good,
        {**good, "kid": "good", "alg": "PS256"},  # a name that is taken
        {**good, "kid": "for encryption", "use": "enc"},
        {**good, "kid": "another algorithm", "alg": "HS256"},
        {**good, "kid": "not allowed", "alg": "RS512"},
        {**good, "kid": 7},
        {**good, "kid": "no key", "n": "AQAB", "e": ""},
        {**good, "kid": "no number", "n": 1},
        public_jwk(short, "short"),
        {"kty": "oct", "kid": "secret", "k": encoded(KEY), "alg": "RS256"},
        {"kty": "EC", "kid": "of another kind", "alg": "RS256"},
        "nothing",
        None,
    ]
    assert set(foreign_keys({"keys": entries}, RS256)) == {"good"}
    documents: list[Any] = [None, [], "x", {}, {"keys": None}, {"keys": {"a": 1}}]
    for document in documents:
        assert foreign_keys(document, RS256) == {}
    many = [{**good, "kid": str(n)} for n in range(100)]
    assert len(foreign_keys({"keys": many}, RS256)) == 32


def test_curves_and_ed25519_are_checked_as_well() -> None:
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    published = [
        {**json.loads(ECAlgorithm.to_jwk(curve.public_key())), "kid": "curve"},
        {**json.loads(OKPAlgorithm.to_jwk(edwards.public_key())), "kid": "edwards"},
    ]
    algorithms = frozenset({"ES256", "EdDSA"})
    trust = Trust(ISSUED_BY, "us", algorithms, foreign_keys({"keys": published}, algorithms))
    es, ed = ECAlgorithm(ECAlgorithm.SHA256), OKPAlgorithm()
    for kid, alg, sign in (
        ("curve", "ES256", lambda text: es.sign(text, curve)),
        ("edwards", "EdDSA", lambda text: ed.sign(text, edwards)),
    ):
        good = draft_of(kid, sign, NOW, alg, iss=ISSUED_BY, aud="us")
        assert verified(good.token(), trust, NOW)["sub"] == "u"
        with pytest.raises(HubError):
            verified(good.signed(sign, kid="curve" if kid == "edwards" else "edwards"), trust, NOW)

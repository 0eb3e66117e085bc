"""What a close code asks a client to do. The range is the contract, so codes of later versions are obeyed too.

4400-4499: come back. 4500-4999: not unchanged. Source: DESIGN.md section 4, "Close codes".
"""

from __future__ import annotations

from typing import Final, Literal

from aether_client.errors import HubError

Verdict = Literal["return", "sign-in", "stay-away"]

_STAY_AWAY: Final = frozenset({1002, 1003, 1007, 1009})
_SIGN_IN: Final = frozenset({4503, 4505})

_WORDS: Final = {
    1002: "The hub did not understand this client.",
    1003: "The hub does not take this kind of frame.",
    1007: "The hub was sent text that is not valid.",
    1009: "The hub was sent a message that is too large.",
    4503: "The token is not valid any more; use a new one.",
    4504: "The hub does not accept this client.",
    4505: "The token was revoked; use a new one.",
    4506: "There are too many connections for this identity.",
}


def verdict(code: int) -> Verdict:
    """Say what follows from a close code: come back, come back with a new token, or stay away."""
    if code in _SIGN_IN:
        return "sign-in"
    if code in _STAY_AWAY or 4500 <= code <= 4999:
        return "stay-away"
    return "return"


def final_error(code: int) -> HubError:
    """Return the refusal that a final close code stands for."""
    words = _WORDS.get(code, f"The hub ended the connection for good (close code {code}).")
    return HubError("auth.invalid" if verdict(code) == "sign-in" else "access.denied", words)

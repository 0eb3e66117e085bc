"""A record of each type that the matrix of two accounts can create, from what an account has."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from tests.wire.things import Fields, Things


def for_own(own: Things) -> Fields:
    """Return what makes a record one for a track of the account."""
    return {"for_type": "event_track", "for_id": own.records["event_track"]}


SAMPLES: Final[dict[str, Callable[[Things], Fields]]] = {
    "event": lambda own: {"title": "mine"},
    "event_location": lambda own: {"name": f"mine {secrets.token_hex(4)}"},
    "event_track": lambda own: {"name": f"mine {secrets.token_hex(4)}"},
    "event_person": lambda own: {"name": "mine"},
    "event_session": lambda own: {"title": "mine"},
    "event_presenter": lambda own: {
        "session_id": own.records["event_session"],
        "person_id": own.records["event_person"],
    },
    "lookup_row": lambda own: {"lookup": "country", "code": secrets.token_hex(4), "name": "mine"},
    "lookup_policy": lambda own: {"lookup": "user_status", "codes": ["mine"], **for_own(own)},
    "event_contact": lambda own: {
        "kind": "email",
        "value": secrets.token_hex(4),
        "for_type": "event",
        "for_id": own.records["event"],
    },
    "role": lambda own: {"name": f"r{secrets.token_hex(4)}", "permissions": ["event.read"]},
    "service_account": lambda own: {"name": f"mine {secrets.token_hex(4)}", "role": "viewer"},
    "device": lambda own: {"name": "mine"},
    "event_import": lambda own: {"entity": "event", "key": secrets.token_hex(8), "rec": "mine", "values": {}},
}
"""Data with which a record of the type can be created."""

"""Two cores at the ends of one wire, once per codec."""

from __future__ import annotations

import pytest

from hub.wire.codec import CODECS, Codec
from tests.core.client_core import Wire


@pytest.fixture(params=list(CODECS))
def codec(request: pytest.FixtureRequest) -> Codec:
    """Each of the two codecs."""
    return CODECS[request.param]


@pytest.fixture
def wire(codec: Codec) -> Wire:
    """A fresh session and its client."""
    return Wire(codec)


@pytest.fixture
def ready(wire: Wire) -> Wire:
    """A session that was greeted."""
    wire.greet()
    wire.started.clear()
    wire.client.heard.clear()
    return wire

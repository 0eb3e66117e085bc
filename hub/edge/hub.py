"""The hub as an edge sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from handlers.base import Operations, Services
from hub.edge.addresses import Addresses
from hub.edge.admission import Admission
from hub.edge.budget import Budgets
from hub.edge.crowd import Crowd
from hub.edge.wheel import Wheel

if TYPE_CHECKING:
    from hub.edge.connection import Connection


@dataclass(slots=True)
class Hub:
    """The hub as an edge sees it: its services, its operations, and who is connected."""

    services: Services
    operations: Operations
    connections: set[Connection]
    draining: bool = False
    wheel: Wheel = field(default_factory=lambda: Wheel(20.0))
    """Asks the sockets whether they live."""
    admission: Admission = field(default_factory=lambda: Admission(0, 1))
    """Lets sockets in."""
    addresses: Addresses = field(default_factory=Addresses)
    """Lets in those of one address."""
    crowd: Crowd = field(default_factory=Crowd)
    """How many there are of one address, of one user or key."""
    budgets: Budgets = field(default_factory=Budgets)
    """How many requests may come from one socket, and from one account."""

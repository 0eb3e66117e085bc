"""What each operation costs: one table of who pays in which class, and how much.

An operation that is not here costs one request, as all do. Single writes cost more only where the operator has set a
budget for them: as delivered they are bounded as requests, and nothing is added to their way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from handlers.base import Call, Toll
from handlers.rates import Cost, Rates
from hub.wire.requests import (
    ActionCall,
    RecordAggregate,
    RecordBatch,
    RecordCreate,
    RecordDelete,
    RecordDeleteWhere,
    RecordMove,
    RecordRestore,
    RecordRevert,
    RecordSearch,
    RecordUpdate,
    RecordUpdateWhere,
    RecordUpsert,
    Request,
)

Units = Callable[[Request], int]


def _one(request: Request) -> int:
    return 1


def _items(request: Request) -> int:
    return len(request.ops) if isinstance(request, RecordBatch) else 1


def _at_most(request: Request) -> int:
    """Return how many records a bulk change may change: what it finds is known only when it is done."""
    return request.limit if isinstance(request, RecordUpdateWhere | RecordDeleteWhere) else 1


WRITES: Final[tuple[type[Request], ...]] = (
    RecordCreate, RecordUpsert, RecordUpdate, RecordMove, RecordDelete, RecordRestore, RecordRevert,
)  # fmt: skip
PRICES: Final[dict[type[Request], tuple[Cost, Units]]] = {
    RecordSearch: ("search", _one),
    RecordAggregate: ("search", _one),
    **{request: ("write", _one) for request in WRITES},
    RecordBatch: ("write", _items),
    RecordUpdateWhere: ("write", _at_most),
    RecordDeleteWhere: ("write", _at_most),
}


def tolls_of(rates: Rates) -> dict[type[Request], Toll]:
    """Return what is to be paid before an operation runs, for those of a class with a budget."""
    tolls = {request: _toll(rates, cost, units) for request, (cost, units) in PRICES.items() if rates.limits(cost)}
    if rates.limits("generate") or rates.limits("sign-in"):
        tolls[ActionCall] = _of_action(rates)
    return tolls


def _toll(rates: Rates, cost: Cost, units: Units) -> Toll:
    def toll(call: Call, request: Request) -> None:
        rates.charge(call.peer, cost, units(request))

    return toll


def _of_action(rates: Rates) -> Toll:
    """Return what an action costs: what it says itself; what guests call is a way to sign in."""

    def toll(call: Call, request: Request) -> None:
        spec = call.services.registry.actions.get(request.action) if isinstance(request, ActionCall) else None
        if spec is None:
            return
        if spec.cost != "cheap":
            rates.charge(call.peer, spec.cost)
        if spec.needs == "guest":
            rates.charge(call.peer, "sign-in")

    return toll

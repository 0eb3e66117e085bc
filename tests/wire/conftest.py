"""One hub process for the whole room; each test gets an account of its own in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.prepared import prepared_once
from tests.wire.hubprocess import HubProcess
from tests.wire.talk import Client
from tests.wire.tenant import Tenant, make_tenant


@pytest.fixture(scope="session", autouse=True)
def _prepared() -> Iterator[None]:
    with prepared_once():
        yield


@pytest.fixture(scope="session")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A running hub. At its end its log is looked at."""
    started = HubProcess(tmp_path_factory.mktemp("wire") / "data", fresh=True, origins="https://app.example")
    yield started
    started.stop()


@pytest.fixture(params=["json", "msgpack"])
def codec(request: pytest.FixtureRequest) -> str:
    """Each of the two subprotocols."""
    name: str = request.param
    return name


@pytest.fixture
async def tenant(process: HubProcess) -> Tenant:
    """A fresh account with keys of three roles."""
    return await make_tenant(process)


@pytest.fixture(scope="module")
def shared(process: HubProcess) -> Tenant:
    """An account for all the tests of a module that leave nothing behind."""
    return asyncio.run(make_tenant(process))


@pytest.fixture
async def editor(tenant: Tenant, codec: str) -> AsyncIterator[Client]:
    """A greeted socket of an editor, once per codec."""
    async with tenant.client("editor", codec) as client:
        yield client

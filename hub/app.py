"""Assemble a hub from its settings, run it, and take it down again. The only reader of settings but the CLI."""

from __future__ import annotations

import asyncio
import gc
import hmac
import logging
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from channels.after import AfterCommit
from channels.live import Live
from handlers import issuers, people
from handlers.audit import AUDITED
from handlers.base import Operations, Services, system_clock
from handlers.hashing import Hashing
from handlers.issuers import Issuers
from handlers.mail import Mailer, server_of
from handlers.modules import MODULES
from handlers.secrets import check_keys
from handlers.standing import judges
from handlers.tolls import tolls_of
from handlers.uses import Uses
from handlers.visits import SETTLE_SECONDS, Visits
from handlers.ways import Ways
from hub.access import SYSTEM, RightsTable
from hub.edge import http
from hub.edge.addresses import Addresses
from hub.edge.admission import Admission
from hub.edge.budget import Budgets
from hub.edge.connection import Hub
from hub.edge.crowd import Crowd
from hub.edge.guard import Guard
from hub.edge.health import Check, Health
from hub.edge.oidc import rules
from hub.edge.oidc.side import OidcSide
from hub.edge.origins import Origins
from hub.edge.server import listen_tcp, listen_unix, make_server
from hub.edge.wheel import Wheel
from hub.folder import DataFolder, DataInUse
from hub.parts import between_hubs, budgets_of, keyring_of
from hub.passwords import Passwords
from hub.schema.core.identity import Account
from hub.schema.query import Query
from hub.schema.record import type_of
from hub.schema.registry import Registry
from hub.schema.times import format_time
from hub.schema.writes import ChangeSet
from hub.settings import Settings, SettingsError, page_url
from hub.tokens import TokenKeys, derived_key
from hub.vault import Shut
from hub.version import VERSION
from hub.wire.errors import HubError
from storage.base import Storage, StorageRefused
from storage.blobs.disk import DiskBlobs
from storage.migrations.base import Migrator
from storage.retention import Retention
from storage.sql.sqlite import SqliteStorage

log = logging.getLogger("hub")

CORE: Final = (
    "hub.schema.core",
    "handlers.operator",
    "handlers.imports",
    "handlers.secrets",
    "handlers.signing",
    "handlers.seats",
    "handlers.invitations",
    "handlers.pairing",
    "handlers.domains",
)
"""Where the types and actions of every hub are declared."""

LATE_SECONDS: Final = 0.25
"""How often a hub that started without its database looks whether it can be used."""
GC_THRESHOLDS: Final = (20_000, 5, 200)
"""After how many new objects the collector looks at the young, the middle-aged and the old."""


@dataclass(slots=True)
class Assembled:
    """The parts of one hub, wired up and not yet started."""

    settings: Settings
    folder: DataFolder
    storage: Storage
    hub: Hub
    health: Health
    app: Guard
    visits: Visits
    oidc: OidcSide


def ago(days: int) -> Callable[[], str]:
    """Return what tells the time so many days ago, in wire form."""
    return lambda: format_time(datetime.now(UTC) - timedelta(days=days))


def registry_of(settings: Settings) -> Registry:
    """Return the registry of the core and the packs."""
    return Registry.of((*CORE, *settings.packs))


def sqlite_file(settings: Settings) -> Path | None:
    """Return the file of the database that the settings name, or None where it is none of SQLite's."""
    url = settings.database_url
    if url.startswith("mysql"):
        return None
    return Path(url.removeprefix("sqlite:///")) if url else DataFolder(Path(settings.data)).database


def keeper_of(settings: Settings, registry: Registry) -> Storage:
    """Return the keeper of the database that the settings name."""
    file, durability, migrate = sqlite_file(settings), settings.durability, settings.migrate
    if file is None:
        from storage.mariadb.keeper import MariadbStorage  # a hub on SQLite needs no driver

        return MariadbStorage(registry, settings.database_url, system_clock, durability=durability, migrate=migrate)
    return SqliteStorage(registry, file, system_clock, durability=durability, migrate=migrate)


def migrator_of(settings: Settings, registry: Registry) -> Migrator:
    """Return what looks after the schema of the database that the settings name."""
    file = sqlite_file(settings)
    if file is None:
        from storage.mariadb.migrator import MariadbMigrator

        return MariadbMigrator(registry, settings.database_url)
    from storage.sql.migrator import SqliteMigrator

    return SqliteMigrator(registry, file)


def ways_of(settings: Settings, folder: DataFolder, storage: Storage) -> Ways:
    """Return what the ways into a hub need; raise `SettingsError`."""
    shared = settings.cluster_secret.encode()
    keys = settings.token_keys or ((derived_key(shared),) if shared else folder.token_keys())
    try:
        ring = TokenKeys(keys)
    except ValueError as error:
        raise SettingsError(f"The setting token_keys cannot be used: {error}.") from None
    try:
        others = issuers.read(settings.issuers_file)
    except issuers.IssuersError as error:
        raise SettingsError(str(error)) from None
    mail = Mailer()
    if settings.mail_url:
        try:
            mail = Mailer(server_of(settings.mail_url, settings.mail_from, settings.mail_authority or None))
        except ValueError as error:
            raise SettingsError(f"The setting mail_url cannot be used: {error}.") from None
    own = not (settings.token_keys or shared)
    return Ways(
        ring=ring,
        hashing=Hashing(Passwords(settings.password_memory_kib, settings.password_passes)),
        mail=mail,
        access_seconds=settings.access_seconds,
        session_seconds=settings.session_days * 86_400,
        register=settings.register,
        register_role=settings.register_role,
        rotate=(lambda: TokenKeys(folder.token_keys(rotated=True))) if own else None,
        uses=Uses(storage, settings.key_use_seconds),
        issuers=Issuers(others),
    )


def assemble(settings: Settings, folder: DataFolder) -> Assembled:
    """Wire up a hub over a data folder that is held."""
    registry = registry_of(settings)
    storage = keeper_of(settings, registry)
    bus, said, locks, calls, line = between_hubs(settings, storage)
    shared = settings.cluster_secret.encode()

    def saw(commits: list[ChangeSet]) -> None:
        services.audit.saw(commits)

    live = Live(
        storage,
        bus,
        after=AfterCommit(registry, saw, AUDITED) if settings.audit_days else AfterCommit(registry),
        resume_from=ago(settings.resume_days),
        log=said,
        locks=locks,
        calls=calls,
        line=line,
    )
    blobs = DiskBlobs(folder.blobs, reserve_bytes=settings.reserve_bytes)
    services = Services(
        registry=registry,
        rights=RightsTable(registry),
        storage=storage,
        live=live,
        blobs=blobs,
        secret=hmac.digest(shared, b"aether signs", "sha256") if shared else folder.secret(),
        version=VERSION,
        instance=secrets.token_hex(4),
        max_file_bytes=settings.max_file_bytes,
        ways=ways_of(settings, folder, storage),
    )
    live.reviews.by(judges(services))
    services.keyring = keyring_of(settings, folder.path, registry)
    registry.vault = services.keyring.vault if services.keyring else None
    services.audit.on = settings.audit_days > 0
    live.reviews.ruled = frozenset(name for name, kind in registry.types.items() if kind.access.rows)
    services.rates, services.guard = budgets_of(settings, storage)
    operations = Operations(MODULES, tolls_of(services.rates))
    visits = Visits(services, operations, SETTLE_SECONDS if settings.redis_url else 0.0)
    live.rosters.happened = visits.happened
    hub = Hub(
        services,
        operations,
        set(),
        wheel=Wheel(settings.ping_seconds),
        admission=Admission(settings.admit_per_second, settings.admit_burst),
        addresses=Addresses(settings.admit_address_per_second),
        crowd=Crowd(settings.sockets_per_address, settings.sockets_per_identity),
        budgets=Budgets(settings.requests_per_second, settings.account_requests_per_second),
    )
    checks = [
        Check("storage", storage.probe, needed=True),
        Check("storage:writing", storage.probe_writing, needed=False),
    ]
    if settings.redis_url:
        checks.append(Check("redis", bus.probe, needed=False))
    health = Health(VERSION, services.instance, checks, lambda: hub.draining)
    origins = frozenset(settings.origins)
    try:
        providers = rules.read(settings.oidc_file)
    except rules.RulesError as error:
        raise SettingsError(str(error)) from None
    oidc = OidcSide(services, providers, settings.public_url, origins)
    pages = Origins(origins, settings.public_url, credentials=settings.cors_credentials == "on")
    app = http.build(hub, health, pages, oidc, settings.hsts_seconds)
    return Assembled(settings, folder, storage, hub, health, app, visits, oidc)


async def first_start(services: Services, account: str = "main") -> bool:
    """Create account `main` and its owner where there is no account yet; say whether it was so."""
    found = await services.storage.find(SYSTEM, Query(type_of(Account), limit=1))
    if found.records:
        return False
    created = await people.create_account(services, account, "Main")
    await people.create_user(services, created["id"], "Owner", "owner")
    return True


async def first_code(services: Services) -> str | None:
    """Do what a first start does, and return the code that signs its owner in; None where it is not the first."""
    try:
        if not await first_start(services):
            return None
    except HubError as error:
        if error.code != "record.exists":
            raise
        return None  # another hub over the same database was quicker
    account = await people.find_account(services, "main")
    owner = await people.owner_of(services, account["id"] if account else "")
    code, _ = await people.create_signin_code(services, owner)
    return code


async def _when_ready(services: Services, done: Callable[[str | None], None]) -> None:
    """Do what a first start does as soon as the database can be used."""
    while True:
        await asyncio.sleep(LATE_SECONDS)
        if not services.storage.ready:
            continue
        try:
            await check_keys(services)
            done(await first_code(services))
        except StorageRefused as wrong:
            log.error("%s Until the hub is started anew with it, no secret is read or written.", wrong)
            services.keyring, services.registry.vault = None, Shut()
            return
        except HubError as error:
            log.warning("the first start is tried again: %s", error)
        else:
            return


def retention_of(storage: Storage, registry: Registry, settings: Settings) -> Retention | None:
    """Return what forgets the past, None where all of it is kept.

    What may still be resumed from is kept, however short the history is meant to be.
    """
    kept = settings.history_days
    days = {kind: kind.history_days for kind in registry.types.values() if kind.history_days is not None}
    types = {kind: ago(max(least, settings.resume_days)) for kind, least in days.items() if not 0 < kept <= least}
    if not kept and not types:
        return None
    return Retention(storage, ago(max(kept, settings.resume_days)) if kept else None, types)


async def serve(
    settings: Settings,
    *,
    tcp: bool = True,
    on_ready: Callable[[Assembled, str, str | None], None] = lambda hub, url, link: None,
    until: asyncio.Event | None = None,
) -> None:
    """Run a hub until it is told to stop; raise `DataInUse`, `ListenError`, `StorageRefused`, `SettingsError`.

    `on_ready` gets the page's address, and the sign-in link of a first start; it is called again with the link where
    the database only came later. Without `tcp` only DIR/hub.sock is listened on; `until` ends the hub from the same
    process.
    """
    os.umask(0o077)  # records, files and the secret are for the hub's own user
    folder = DataFolder(Path(settings.data))
    folder.take()
    parts: Assembled | None = None
    background: list[asyncio.Task[None]] = []
    try:
        sockets = [listen_tcp(settings.host, settings.port)] if tcp else []
        parts = assemble(settings, folder)
        services = parts.hub.services
        for lookup in services.registry.checked_lookups():
            await asyncio.to_thread(lookup.load)  # a write that is checked against it does not wait for files
        await parts.storage.start()
        await services.blobs.start()
        await services.live.start()
        background.append(asyncio.create_task(parts.health.run()))
        if settings.audit_days:
            background.append(asyncio.create_task(services.audit.keep(ago(settings.audit_days))))
        if (retention := retention_of(parts.storage, services.registry, settings)) is not None:
            background.append(asyncio.create_task(retention.run()))
        late = not parts.storage.ready
        if not late:
            await check_keys(services)
        code = None if late else await first_code(services)
        sockets.append(listen_unix(folder.socket))
        url, ready = str(folder.socket), parts
        if tcp:
            url = page_url(*sockets[0].getsockname()[:2])
            services.url = settings.public_url or url

        def said(code: str | None) -> None:
            on_ready(ready, url, f"{url}/#signin={code}" if code else None)

        server = make_server(
            parts.app,
            parts.hub,
            drain_seconds=settings.drain_seconds,
            on_started=lambda: said(code),
            compress=settings.compression == "once",
        )
        if late:
            background.append(asyncio.create_task(_when_ready(services, lambda code: said(code) if code else None)))
        if until is not None:
            asyncio.create_task(_stop(server, until)).add_done_callback(lambda task: None)
        for check in parts.health.checks:
            await parts.health.look(check)
        # What the start made lives as long as the hub: looking through it again and again for cycles costs a
        # sixth of every write. Requests leave no cycles behind, so looking rarely is enough.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        try:
            await server.serve(sockets=sockets)
        finally:
            for task in background:
                task.cancel()
    finally:
        if parts is not None:
            await parts.oidc.close()
            await parts.visits.close()
            await parts.hub.services.audit.close()
            await parts.hub.services.ways.close()
            await parts.hub.services.rates.close()
            await parts.hub.services.live.close()
            await parts.storage.close()
            await parts.hub.services.live.bus.close()
            await parts.hub.services.blobs.close()
        folder.release()


async def _stop(server: object, until: asyncio.Event) -> None:
    await until.wait()
    setattr(server, "should_exit", True)  # noqa: B010  # uvicorn's own switch


__all__ = ["Assembled", "DataFolder", "DataInUse", "HubError", "assemble", "first_start", "registry_of", "serve"]

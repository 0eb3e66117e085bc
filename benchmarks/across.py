"""From a write at one hub to the watchers at another, over MariaDB and Redis: how late is what they see?

One update at a time; the next one follows when every watcher has the one before. A latency runs from the moment that
the update is sent at the first hub to the moment that its push is read by a watcher of the second. So it holds the
commit (on disk), the way over Redis, and the fan-out to all watchers before this one.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import servers
from benchmarks.creates import parent_event
from benchmarks.generator import NUMBER, Talk, run, text
from benchmarks.load import Reading
from benchmarks.stored import Mariadb
from tests.storage import redis_server

SECRET = "the-secret-of-the-cluster-of-benchmarks"


@contextlib.contextmanager
def pair(mariadb: Mariadb, folder: Path) -> Iterator[tuple[servers.Server, servers.Server]]:
    """Run two hubs over one database and one Redis: the second on the server's core, all else on the other."""
    with redis_server.running() as redis:
        servers.pin(servers.LOAD_CORE, redis.pid)
        url = mariadb.server.url(mariadb.server.new_database())
        settings = {
            "database_url": url,
            "redis_url": redis.url,
            "cluster_secret": SECRET,
            "admit_per_second": "0",
            "admit_address_per_second": "0",
        }
        with contextlib.ExitStack() as stack:
            hubs = []
            for name in ("one", "two"):
                (folder / name).mkdir()
                hubs.append(stack.enter_context(servers.hub(folder / name, **settings)))
            servers.pin(servers.LOAD_CORE, hubs[0].pid)
            yield hubs[0], hubs[1]


def run_hubs(mariadb: Mariadb, watchers: int, seconds: float) -> Reading:
    """Measure once, on an empty database."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as name, pair(mariadb, Path(name)) as (one, two):
        key = servers.api_key(one.data)
        event, good = parent_event(one.port, key), b'{"op":"ok"'
        hello = text({"op": "session.hello", "id": 1, "token": key})
        watch = text({"op": "watch.start", "id": 2, "type": "event"})
        data = {"title": "Title number @"}
        update = text({"op": "record.update", "id": NUMBER, "type": "event", "rec": event, "data": data})
        talk = Talk(
            two, [update.replace(b"@", NUMBER.encode())], b'"seq":', protocol="aether.v1.json",
            greeting=[hello, watch], ready=2, ready_mark=good, good=good,
            publisher_port=one.port, publisher_greeting=[hello], publisher_ready=1,
        )  # fmt: skip
        return run("fan", talk, connections=watchers, seconds=seconds)

"""A MariaDB server of our own: made in a temporary folder, on a free port, run by an unprivileged user.

Nothing of a server that runs on this machine is used or touched. Where MariaDB is not installed the tests
that need it fail; they are never left out.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import itertools
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql

from tests.storage.own_server import OwnServer

START_SECONDS = 60.0
DURABLE = ("--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1")
FAST = ("--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--innodb-doublewrite=0")
"""For tests that do not ask what survives: nothing waits for the disk."""
_SMALL = (
    "--innodb-buffer-pool-size=64M",
    "--innodb-log-file-size=32M",
    "--skip-name-resolve",
    "--character-set-server=latin1",  # the hub has to say itself what it needs
    "--performance-schema=OFF",
)
_PORTS = range(20_000, 32_768)
_names = itertools.count(1)


class MariadbServer(OwnServer):
    """One server process and its folder."""

    def __init__(self, *options: str) -> None:
        memory = _memory() if FAST[0] in options else None
        super().__init__(Path(tempfile.mkdtemp(prefix="aether-mariadb-", dir=memory)), kept_port())
        self.options = options
        self._user = _unprivileged()
        try:
            self._install()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def url(self, database: str, port: int | None = None) -> str:
        """Return what the hub's setting `database_url` would be."""
        return f"mysql+aiomysql://aether:secret@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.begin()
        until = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.died or time.monotonic() > until:
                self.stop()
                raise AssertionError(f"mariadbd did not start:\n{self.log()}")
            time.sleep(0.02)
        self.connect().close()

    def answers(self) -> bool:
        """Say whether the server takes connections."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.folder / "sock")) == 0

    @property
    def command(self) -> list[str]:
        """What runs the server."""
        return [
            _program("mariadbd", "mysqld"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'sock'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--tmpdir={self.folder / 'tmp'}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            *([f"--user={self._user}"] if self._user else []),
            *_SMALL,
            *self.options,
        ]

    def begin(self) -> None:
        """Start the server without waiting for it."""
        self.run_command(self.command)

    def connect(self, database: str | None = None) -> Any:
        """Return a connection of the server's administrator."""
        return pymysql.connect(
            unix_socket=str(self.folder / "sock"), user="root", database=database, autocommit=True, charset="utf8mb4"
        )

    def run(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements as administrator and return the rows of the last one."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def new_database(self) -> str:
        """Create an empty database, for which the hub's user has every right, and return its name."""
        name = f"hub_{next(_names)}"
        self.run(f"CREATE DATABASE {name}", f"GRANT ALL ON {name}.* TO 'aether'@'127.0.0.1' IDENTIFIED BY 'secret'")
        return name

    def _install(self) -> None:
        (self.folder / "log").touch()
        # A server that starts removes the temporary tables that it finds, also those of another one.
        (self.folder / "tmp").mkdir()
        if self._user:
            for path in (self.folder, self.folder / "log", self.folder / "tmp"):
                shutil.chown(path, self._user)
        subprocess.run(["cp", "-a", _template(self._user), str(self.folder / "data")], check=True)


@contextlib.contextmanager
def running(*options: str) -> Iterator[MariadbServer]:
    """Run a server of its own for as long as the context lasts."""
    server = MariadbServer(*options)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@functools.cache
def _template(user: str | None) -> str:
    """Return the files of a server that never ran; they are made once, and removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="aether-mariadb-"))
    atexit.register(shutil.rmtree, folder)
    (folder / "tmp").mkdir()
    if user:
        for path in (folder, folder / "tmp"):
            shutil.chown(path, user)
    command = [
        _program("mariadb-install-db", "mysql_install_db"),
        "--no-defaults",
        f"--datadir={folder / 'data'}",
        f"--tmpdir={folder / 'tmp'}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--innodb-log-file-size=32M",
        *([f"--user={user}"] if user else []),
    ]
    made = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return str(folder / "data")


def _program(*names: str) -> str:
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    for name in names:
        found = shutil.which(name, path=path)
        if found is not None:
            return found
    raise AssertionError(f"{names[0]} is missing; on Debian or Ubuntu: sudo apt-get install -y mariadb-server")


def _unprivileged() -> str | None:
    """Return the user that runs the server where we are root, which MariaDB refuses."""
    if os.geteuid() != 0:
        return None
    users = {user.pw_name for user in pwd.getpwall()}
    return "mysql" if "mysql" in users else "nobody"


def _memory() -> str | None:
    """Return a folder in memory with room for a server, where there is one."""
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() and shutil.disk_usage(shared).free > 2 << 30 else None


def kept_port() -> int:
    """Return a port that no connection gets by itself while the server is down, also none to that very port."""
    for port in random.SystemRandom().sample(_PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")

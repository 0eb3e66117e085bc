"""The README's five minutes, done as a new user does them: a fresh folder, a hub, a second terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.tour import REPOSITORY, Step, section, steps

README = (REPOSITORY / "README.md").read_text("utf-8")
START_SECONDS = 30.0
TOUR_SECONDS = 100.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Terminals:
    """Two terminals in one folder that looks like a clone: the first runs the hub, the second everything else."""

    def __init__(self, clone: Path, port: int) -> None:
        self.clone = clone
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("AETHER_")}
        clone.mkdir()
        (clone / ".venv").symlink_to(sys.prefix)
        for name in ("examples", "docs"):
            (clone / name).symlink_to(REPOSITORY / name)
        # Only the hub knows the port; the second terminal has to learn it from the hub.
        self._log = (clone / "hub.log").open("wb")
        self._hub = subprocess.Popen(
            [".venv/bin/aether", "serve"],
            cwd=clone,
            env=self._environment | {"AETHER_PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def greeting(self) -> str:
        """Return what the hub prints when it is live."""
        assert self._hub.stdout is not None
        lines: list[str] = []
        begun = time.monotonic()
        while time.monotonic() - begun < START_SECONDS:
            lines.append(self._hub.stdout.readline())
            if "sign in" in lines[-1] or not lines[-1]:
                break
        return "".join(lines)

    def second(self, walk: list[Step]) -> list[str]:
        """Do steps in one shell; return what each printed, on both streams. A refused command says `@exit CODE`."""
        lines = ["exec 2>&1"]
        for step in walk:
            for command in step.commands:
                lines += [command, 'code=$?; [ "$code" = 0 ] || echo "@exit $code"']
            lines.append("echo @next")
        script = self.clone / "tour.sh"
        script.write_text("\n".join(lines) + "\n", "utf-8")
        done = subprocess.run(
            ["bash", "-u", script.name],
            cwd=self.clone,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=TOUR_SECONDS,
            check=True,
        )
        return done.stdout.split("@next\n")[:-1]

    def stop(self) -> tuple[int, str]:
        """Press Ctrl-C in the first terminal; return the exit code and the last words."""
        self._hub.send_signal(signal.SIGINT)
        try:
            last, _ = self._hub.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._hub.kill()
            self._hub.communicate()
            raise
        finally:
            self._log.close()
        return self._hub.returncode, last


@pytest.fixture
def port() -> int:
    """The port that stands for 8400."""
    return free_port()


@pytest.fixture
def terminals(tmp_path: Path, port: int) -> Iterator[Terminals]:
    """Two terminals; the hub is stopped at the end whatever happened."""
    opened = Terminals(tmp_path / "clone", port)
    yield opened
    if opened._hub.poll() is None:
        opened.stop()


def post(url: str, body: object) -> tuple[int, dict[str, object]]:
    """Post JSON; return status and answer."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, json.load(refusal)


def test_every_step_of_the_readme_prints_what_the_readme_says(terminals: Terminals, port: int) -> None:
    start, *walk = steps(section(README, "Five minutes").replace(":8400", f":{port}"))

    assert start.commands == ("make run",)
    greeting = terminals.greeting()
    assert start.claims(greeting), greeting

    printed = terminals.second(walk)
    assert len(printed) == len(walk)
    for step, output in zip(walk, printed, strict=True):
        text, _, code = output.partition("@exit ")
        assert bool(code) is step.refused, output
        assert step.claims(text), f"{step.commands} printed\n{output}\nbut the README says\n{step.printed}"

    # Each link opens the page, and once.
    links = [greeting, *(output for output in printed if "#signin=" in output)]
    assert len(links) == 3
    for text in links:
        found = re.search(rf"{terminals.url}/#signin=(\S+)", text)
        assert found is not None
        assert post(f"{terminals.url}/auth/signin", {"code": found[1]})[0] == 200
        assert post(f"{terminals.url}/auth/signin", {"code": found[1]})[0] == 401
    with urllib.request.urlopen(f"{terminals.url}/", timeout=10) as page:
        assert "Aether Hub" in page.read().decode()

    kiosk = terminals.clone / "var" / "kiosk" / "console.png"
    assert kiosk.read_bytes() == (REPOSITORY / "docs" / "images" / "console.png").read_bytes()
    assert terminals.stop() == (0, "Aether Hub stopped.\n")


def test_make_run_and_make_test_are_the_scripts_that_the_readme_names() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    for target in ("run", "test"):
        assert re.search(rf"^{target}:.*\n\t@scripts/{target}\.sh$", makefile, re.MULTILINE)
        assert f"`scripts/{target}.sh`" in README
    # The tour above starts the hub as this line does, without making an environment first.
    run = (REPOSITORY / "scripts" / "run.sh").read_text("utf-8")
    assert run.endswith('exec .venv/bin/aether serve "$@"\n')


def test_a_step_that_prints_something_else_is_noticed() -> None:
    (step,) = steps("```sh\naether x\n```\n\n```text\nkey …\nonce\n```\n")
    assert step.claims("key abc\nonce\n")
    assert not step.claims("key abc\ntwice\n")
    assert not step.claims("key abc\nmore\nonce\n")

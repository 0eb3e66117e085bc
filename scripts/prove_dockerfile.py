"""Run the steps of the Dockerfile on layers over this machine's system; see scripts/prove-dockerfile.sh.

Knows the instructions that our Dockerfile uses and stops at any other. Must run as root in a mount and
process namespace of its own, with the name of an empty folder. That script says what is proven and what not.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import NoReturn

REPOSITORY = Path(__file__).resolve().parents[1]
# Stands in for the interpreter of the base image, which has pip.
BASE_PYTHON = "/usr/local/base-python"
BASE_PATH = f"{BASE_PYTHON}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What an image would not have: hidden from every step, the repository as well.
HIDDEN = ("/root", "/home", "/tmp", "/opt", "/srv", "/var/cache", "/run", str(REPOSITORY))
CACHE = REPOSITORY / "var/cache/prove-dockerfile"
START_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass
class Stage:
    """One FROM, with the state that the instructions after it have built up."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": BASE_PATH, "HOME": "/"})
    workdir: str = "/"
    user: str = "root"
    healthcheck: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    stop_signal: signal.Signals = signal.SIGTERM

    def inside(self, path: str) -> Path:
        """Where `path` of this stage, absolute or below its WORKDIR, is found from outside."""
        return self.root / os.path.normpath(os.path.join(self.workdir, path)).lstrip("/")

    def start(self, argv: list[str], **more: str) -> subprocess.Popen[bytes]:
        """Start `argv` in this stage as its user; `more` is what `docker run -e` would add."""
        user = ["--groups=", f"--userspec={self.user}:{self.user}"] if self.user != "root" else []
        line = f"cd {shlex.quote(self.workdir)} && exec {shlex.join(argv)}"
        return subprocess.Popen(["chroot", *user, self.root, "/bin/sh", "-c", line], env=self.env | more)

    def run(self, argv: list[str], **more: str) -> int:
        """Run `argv` to its end; return the exit status."""
        return self.start(argv, **more).wait()


class Builder:
    """Carries out instructions, one method for each."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._args: dict[str, str] = {}
        self._named: dict[str, Stage] = {}
        _call("mount", "-t", "tmpfs", "tmpfs", str(work))
        self.stage = self._layer("base", "/")
        python = next(name for name in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(name).exists())
        if self.stage.run([python, "-m", "venv", BASE_PYTHON]) != 0:
            fail(f"{python} cannot make the stand-in for the base image: python3-venv is needed")

    def step(self, line: str) -> None:
        """Carry out one instruction."""
        word, _, rest = line.partition(" ")
        method = getattr(self, f"_{word.lower()}", None)
        if not word.isupper() or method is None:
            fail(f"the instruction {word} is not understood here")
        print(f"-- {line}", flush=True)
        method(rest.strip())

    def _layer(self, name: str, lower: str) -> Stage:
        """Mount an empty layer over `lower`, with devices and processes, without what no image would have."""
        upper, work, root = (self._work / name / part for part in ("upper", "work", "root"))
        for folder in (upper, work, root):
            folder.mkdir(parents=True)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        _call("mount", "-t", "overlay", "overlay", "-o", options, str(root))
        for hidden in HIDDEN:
            if (root / hidden[1:]).is_dir():
                mode = "1777" if hidden == "/tmp" else "0755"
                _call("mount", "-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", str(root / hidden[1:]))
        _call("mount", "--rbind", "/dev", str(root / "dev"))
        _call("mount", "--bind", "/proc", str(root / "proc"))
        resolver = Path("/etc/resolv.conf").resolve()  # may point into a hidden folder
        if resolver.is_file() and resolver.is_relative_to("/run"):
            target = root / str(resolver)[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(resolver, target)
        return Stage(root)

    def _expand(self, text: str, values: dict[str, str]) -> str:
        return string.Template(text).safe_substitute(values)

    def _arg(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self._args[name] = value

    def _from(self, rest: str) -> None:
        image, _, name = self._expand(rest, self._args).partition(" AS ")
        print(f"   (this machine's system stands in for {image})")
        self.stage = self._layer(f"stage{len(list(self._work.iterdir()))}", f"{self._work}/base/upper:/")
        self._named[name] = self.stage

    def _workdir(self, rest: str) -> None:
        self.stage.workdir = os.path.normpath(os.path.join(self.stage.workdir, rest))
        self.stage.inside(".").mkdir(parents=True, exist_ok=True)

    def _env(self, rest: str) -> None:
        for pair in shlex.split(rest):
            name, _, value = pair.partition("=")
            self.stage.env[name] = self._expand(value, self.stage.env)

    def _user(self, rest: str) -> None:
        self.stage.user = rest
        accounts = (line.split(":") for line in self.stage.inside("/etc/passwd").read_text().splitlines())
        self.stage.env["HOME"] = next(account[5] for account in accounts if account[0] == rest)

    def _run(self, rest: str) -> None:
        while found := re.match(r"--mount=type=cache,target=(\S+)\s+", rest):
            CACHE.mkdir(parents=True, exist_ok=True)
            target = self.stage.inside(found[1])
            target.mkdir(parents=True, exist_ok=True)
            _call("mount", "--bind", str(CACHE), str(target))
            rest = rest[found.end() :]
        passed = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.lower().endswith("_proxy")}
        if self.stage.run(["/bin/sh", "-c", rest], **passed) != 0:
            fail("that step failed")

    def _copy(self, rest: str) -> None:
        *options, target = shlex.split(rest)
        stage, sources = None, options
        if options[0].startswith("--from="):
            stage, sources = self._named[options[0].removeprefix("--from=")], options[1:]
        folder = len(sources) > 1 or target.endswith("/")
        for source in sources:
            into = self.stage.inside(target)
            if stage is not None:
                shutil.copytree(stage.inside(source), into, symlinks=True, dirs_exist_ok=True)
                continue
            names = [name for name in context() if source in (".", name) or name.startswith(f"{source}/")]
            if not names:
                fail(f"{source} is not in the build context: see .dockerignore")
            for name in names:
                below = os.path.basename(name) if name == source and folder else os.path.relpath(name, source)
                end = into if below == "." else into / below
                end.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, end)

    def _volume(self, rest: str) -> None:
        if not self.stage.inside(rest).is_dir():
            fail(f"the volume {rest} has no folder whose owner it could take over")

    def _expose(self, rest: str) -> None:
        self.stage.env.setdefault("AETHER_PORT", rest)

    def _stopsignal(self, rest: str) -> None:
        self.stage.stop_signal = signal.Signals[rest]

    def _healthcheck(self, rest: str) -> None:
        self.stage.healthcheck = json.loads(rest.partition("CMD ")[2])

    def _entrypoint(self, rest: str) -> None:
        self.stage.entrypoint = json.loads(rest)

    def _cmd(self, rest: str) -> None:
        self.stage.command = json.loads(rest)


def instructions(text: str) -> Iterator[str]:
    """Yield the instructions of a Dockerfile, each as one line."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", " ", kept).splitlines():
        if line.strip():
            yield line.strip()


def context() -> list[str]:
    """The files that .dockerignore lets through to the builder: the last pattern that fits a file decides."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = []
    for line in (line.strip() for line in lines if line.strip() and not line.startswith("#")):
        pattern = line.removeprefix("!").replace("**/", "\0")
        body = translate(pattern).replace(".*", "[^/]*").replace("\\\0", "\0").replace("\0", "(?:.*/)?")
        body = body.removesuffix(r"\Z").removesuffix(r"\z") + "(?:/.*)?$"
        rules.append((not line.startswith("!"), re.compile(body)))
    names = []
    for folder, folders, files in os.walk(REPOSITORY):
        if folder == str(REPOSITORY):
            folders[:] = [name for name in folders if name not in {".git", ".venv", "var"}]
        for file in files:
            name = os.path.relpath(os.path.join(folder, file), REPOSITORY)
            ignored = False
            for ignore, pattern_of in rules:
                if pattern_of.match(name):
                    ignored = ignore
            if not ignored:
                names.append(name)
    return sorted(names)


def prove(stage: Stage) -> None:
    """Start the image as an engine would, and hold its promises against it."""
    port = _free_port()
    address = f"http://127.0.0.1:{port}/"
    page = f"from urllib.request import urlopen; assert b'<script' in urlopen('{address}').read()"
    home = "import hub; assert hub.__file__.startswith('/opt/aether/'), hub.__file__"
    run = {"AETHER_PORT": str(port)}
    python = "/opt/aether/bin/python"
    if stage.run([*stage.healthcheck], **run) == 0:
        fail("HEALTHCHECK is green although nothing runs")
    hub = stage.start(stage.entrypoint + stage.command, **run)
    try:
        end = time.monotonic() + START_SECONDS
        while stage.run(stage.healthcheck, **run) != 0:
            if hub.poll() is not None:
                fail(f"the hub ended by itself, exit status {hub.returncode}")
            if time.monotonic() > end:
                fail(f"HEALTHCHECK is not green after {START_SECONDS:g} seconds")
            time.sleep(0.2)
        owner = Path(f"/proc/{hub.pid}").stat().st_uid
        if owner == 0:
            fail("the hub runs as root")
        print(f"ok: HEALTHCHECK is green; the hub runs as user {owner} on port {port}")
        if stage.run([python, "-c", home], **run) or stage.run([python, "-c", page], **run):
            fail("the installed hub does not serve its page from its own wheel")
        print("ok: the page comes out of the installed wheel")
        hub.send_signal(stage.stop_signal)
        status = hub.wait(STOP_SECONDS)
        if status not in {0, -stage.stop_signal}:
            fail(f"the hub ended with exit status {status} on {stage.stop_signal.name}")
        if stage.run(stage.healthcheck, **run) == 0:
            fail("HEALTHCHECK is green although the hub was stopped")
        print(f"ok: {stage.stop_signal.name} ends it (exit status {status}); HEALTHCHECK is red then")
    finally:
        hub.kill()


def fail(text: str) -> NoReturn:
    """End with a sentence."""
    raise SystemExit(f"prove-dockerfile: {text}")


def _call(*argv: str) -> None:
    subprocess.run(argv, check=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Build every stage, then prove the last one."""
    builder = Builder(Path(sys.argv[1]))
    for line in instructions((REPOSITORY / "Dockerfile").read_text()):
        builder.step(line)
    carried = (path.lstat() for path in builder.stage.inside("/opt/aether").rglob("*"))
    size = sum(stat.st_size for stat in carried)
    print(f"ok: all steps ran; the environment that the image carries is {size / 2**20:.0f} MiB")
    prove(builder.stage)


if __name__ == "__main__":
    main()

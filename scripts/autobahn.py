"""What scripts/autobahn.sh runs: the echo with and without the hub's bounds, and the suite against each."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ALLOWED: Final = frozenset({"7.1.5"})
"""Cases that may fail."""
GOOD: Final = frozenset({"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"})
START_SECONDS: Final = 20.0
RUNS: Final = {
    "bounds": ["9.*", "12.*", "13.*"],
    "lifted": ["12.*", "13.*"],
    "compressed": [f"{n}.*" for n in range(1, 11)],
}
"""How the echo is run, and which cases are left out for it."""


@contextlib.contextmanager
def echo(name: str) -> Iterator[int]:
    """Run the echo; yield its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen([sys.executable, "-m", "tests.wire.echo", str(port), name])
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("autobahn: the echo does not listen")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def run(folder: Path, name: str, left_out: list[str]) -> list[str]:
    """Run the suite against the echo; return the cases that failed."""
    reports = folder / name
    with echo(name) as port:
        server = {"agent": name, "url": f"ws://127.0.0.1:{port}/ws"}
        spec = {"outdir": str(reports), "servers": [server], "cases": ["*"], "exclude-cases": left_out}
        (folder / f"{name}.json").write_text(json.dumps({**spec, "exclude-agent-cases": {}}), encoding="utf-8")
        with (folder / f"{name}.log").open("wb") as log:
            command = [str(folder / "env/bin/wstest"), "-m", "fuzzingclient", "-s", str(folder / f"{name}.json")]
            subprocess.run(command, check=True, stdout=log, stderr=log)
    cases = json.loads((reports / "index.json").read_text("utf-8"))[name]
    found = Counter(case["behavior"] for case in cases.values())
    print(f"{name}: {len(cases)} cases, {', '.join(f'{count} {what}' for what, count in found.most_common())}")
    return [number for number, case in cases.items() if {case["behavior"], case["behaviorClose"]} - GOOD]


def main(folder: Path) -> int:
    """Run the suite both ways; return the exit code."""
    failed = {name: run(folder, name, left_out) for name, left_out in RUNS.items()}
    for name, cases in failed.items():
        print(f"{name}: failed {', '.join(sorted(cases)) or 'none'}")
    return 1 if any(set(cases) - ALLOWED for cases in failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

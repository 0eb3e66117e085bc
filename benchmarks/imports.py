"""Import of the larger sample programme through the command a person types, into an empty hub."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import servers
from benchmarks.load import Reading, cpu_seconds

SAMPLES = Path(__file__).resolve().parent.parent / "examples" / "data"


def larger_sample() -> Path:
    """Return the sample with the most bytes."""
    return max(SAMPLES.glob("*.json"), key=lambda path: path.stat().st_size)


def run_import() -> Reading:
    """Import once; a message is one record that was written."""
    with tempfile.TemporaryDirectory(prefix="aether-bench-") as folder, servers.hub(Path(folder)) as server:
        command = [sys.executable, "-c", "from hub.cli.main import app; app()", "import", "conference"]
        cpu, begun = cpu_seconds(server.pid), time.perf_counter()
        arguments = [*command, str(larger_sample()), "--data", str(server.data)]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        elapsed, used = time.perf_counter() - begun, cpu_seconds(server.pid) - cpu
        words = done.stdout.split()
        records = int(words[words.index("created") - 1])
        return Reading(records, elapsed, used, [])

"""What a run of a benchmark measured, and where the processor time of a server is read."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """What a run measured: messages, seconds, the server's CPU seconds, and by how many bytes it grew.

    `frame` is the size of the largest whole frame that was delivered, `load_cpu` the CPU seconds of the load; 0 where
    it is not said.
    """

    messages: int
    seconds: float
    cpu: float
    latencies: list[float]
    grown: int = 0
    frame: int = 0
    load_cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's CPU time for a message, in microseconds."""
        return self.cpu / max(1, self.messages) * 1e6

    def percentile(self, share: float) -> float:
        """A percentile of the latencies in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, in seconds."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""How large a proof is, and where its figures go.

`AETHER_PROOF` multiplies the size; then each proof also writes its figures to a file under var/proof/.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

SCALE: Final = int(os.environ.get("AETHER_PROOF", "1"))
FOLDER: Final = Path(__file__).resolve().parents[2] / "var" / "proof"


def report(proof: str, text: str) -> None:
    """Print the figures of a proof; keep them where the size was asked for."""
    line = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} scale {SCALE} {proof}: {text}"
    print(line)
    if "AETHER_PROOF" in os.environ:
        FOLDER.mkdir(parents=True, exist_ok=True)
        with (FOLDER / f"{proof}.log").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

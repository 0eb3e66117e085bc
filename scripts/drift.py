"""Say where the tables that the steps make are not the tables that are declared; exit with 1 where that is so.

Without arguments the core and the packs that a hub loads by default are looked at, else the packages that are named.
"""

from __future__ import annotations

import sys

from hub.app import CORE
from hub.schema.registry import Registry
from hub.settings import Settings
from storage.migrations.drift import drift


def main(packages: list[str]) -> int:
    """Print a line for each difference."""
    found = drift(Registry.of(packages or (*CORE, *Settings().packs)))
    for difference in found:
        print(f"drift: {difference}", file=sys.stderr)
    if found:
        print('drift: write the step with `aether migrate plan --write "WHAT IT DOES"`', file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The version of the hub: one value, which the packaging test holds to pyproject.toml."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"

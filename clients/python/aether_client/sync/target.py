"""The newest manifest, shared by the task that follows the record and those that work on the folder."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aether_client.sync.manifest import Manifest


class Target:
    """What the folder should hold at this moment."""

    def __init__(self) -> None:
        self.manifest: Manifest | None = None
        self.generation = 0
        """Counts the manifests: a plan made for an earlier one is out of date."""
        self._places: dict[str, str] = {}
        """Path to hash of the present manifest."""
        self._hashes: frozenset[str] = frozenset()
        self._news = asyncio.Event()
        """Set, and replaced, with every new manifest."""

    def set(self, manifest: Manifest) -> None:
        """Take a manifest; one with the same content changes nothing."""
        if manifest == self.manifest:
            return
        self.manifest = manifest
        self.generation += 1
        self._places = {file.path: file.sha256 for file in manifest.files}
        self._hashes = frozenset(self._places.values())
        self._news.set()
        self._news = asyncio.Event()

    async def get(self) -> tuple[Manifest, int]:
        """Return the manifest and its generation; wait for the first."""
        while self.manifest is None:
            await self._news.wait()
        return self.manifest, self.generation

    async def changed(self, generation: int, seconds: float) -> bool:
        """Wait until there is a newer manifest, but not longer than this; return whether there is."""
        if self.generation == generation:
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                return False
        return self.generation != generation

    def wants(self, sha256: str) -> bool:
        """Whether some file should have these bytes."""
        return sha256 in self._hashes

    def still(self, sha256: str, paths: Iterable[str]) -> list[str]:
        """Return those of the paths that should have these bytes."""
        return [path for path in paths if self._places.get(path) == sha256]

"""What a paired device keeps of its hub: address, key, and who it is there. A file that only its owner may read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from aether_client.errors import AetherError


@dataclass(frozen=True, slots=True)
class Device:
    """A pairing that succeeded: `url` of the hub, the `key` that opens it, ids of the `device` and its `account`."""

    url: str
    key: str
    device: str
    account: str
    name: str


def device_file() -> Path:
    """Return where the pairing of this machine's user is kept: what `AETHER_DEVICE` names, or in the home folder."""
    named = os.environ.get("AETHER_DEVICE")
    return Path(named) if named else Path.home() / ".config" / "aether" / "device.json"


def read_device(file: Path) -> Device | None:
    """Return the pairing that a file holds, None where there is no such file; raise `AetherError`."""
    try:
        return Device(**json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise AetherError(f"{file} cannot be read ({type(error).__name__}); pair this device again.") from None


def write_device(file: Path, device: Device) -> None:
    """Keep a pairing, whole or not at all; raise `AetherError`."""
    fresh = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(asdict(device), out)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
    except OSError as error:
        raise AetherError(f"{file} cannot be written: {error.strerror}. Name another one in AETHER_DEVICE.") from None

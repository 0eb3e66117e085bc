"""The locks carry hashes and agree with what the distributions declare; the wheels carry what they should.

Resolves nothing and reaches no network: the wheels are built by the backend that is already installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hub
from aether_client.version import VERSION

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIREMENTS = REPOSITORY / "requirements"
PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^ ;\\]+)(?P<marker> ;[^\\]*)?")


def lock_faults(text: str) -> list[str]:
    """Return what keeps a lock from being complete: each entry is `name==version`, a marker, and hashes."""
    entries = [entry for entry in re.sub(r"\\\n\s*", " ", text).splitlines() if entry.strip()]
    found = []
    for entry in entries:
        if entry.lstrip().startswith("#"):
            continue
        if PIN.match(entry) is None:
            found.append(f"not a pin: {entry[:60]}")
        elif re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) is None:
            found.append(f"no hash: {entry[:60]}")
    if "://" in text:
        found.append("an address")
    return found


def _pins(lock: str) -> dict[str, str]:
    """Pinned versions of a lock file by canonical name."""
    matches = (PIN.match(line) for line in (REQUIREMENTS / lock).read_text().splitlines())
    return {canonicalize_name(match["name"]): match["version"] for match in matches if match is not None}


def _inputs(name: str) -> dict[str, Requirement]:
    """The requirements of an input file by canonical name, without those that it includes."""
    lines = (REQUIREMENTS / name).read_text().splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    return {canonicalize_name(requirement.name): requirement for requirement in wanted}


def _project(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project


def _wheel(folder: Path, target: Path) -> list[str]:
    """Build the wheel of the distribution in `folder`; return the names of its files."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


@pytest.mark.parametrize("lock", ["run.txt", "build.txt", "dev.txt"])
def test_a_lock_has_a_hash_for_every_pin_and_no_address(lock: str) -> None:
    text = (REQUIREMENTS / lock).read_text()
    assert _pins(lock)
    assert lock_faults(text) == []


def test_a_lock_without_hash_or_with_an_address_is_noticed() -> None:
    digest = "0" * 64
    assert lock_faults(f"a==1 ; sys_platform == 'linux' \\\n    --hash=sha256:{digest}\n    # via b\n") == []
    assert lock_faults("a==1\n") == ["no hash: a==1"]
    assert lock_faults(f"a>=1 \\\n    --hash=sha256:{digest}\n")[0].startswith("not a pin")
    assert lock_faults(f"a==1 --hash=sha256:{digest}\n# from https://example.org\n") == ["an address"]


@pytest.mark.parametrize("name", ["run", "build", "dev"])
def test_a_lock_fulfils_its_input(name: str) -> None:
    pins = _pins(f"{name}.txt")
    needs = _inputs(f"{name}.in").items()
    unmet = [str(need) for wanted, need in needs if pins.get(wanted, "") not in need.specifier]
    assert unmet == [], "run scripts/lock.sh"


def test_the_locks_agree_with_each_other() -> None:
    everything = _pins("dev.txt")
    for lock in ("run.txt", "build.txt"):
        assert {name: everything.get(name) for name in _pins(lock)} == _pins(lock)


def test_one_version_stands_everywhere() -> None:
    declared = {_project(folder)["version"] for folder in (REPOSITORY, REPOSITORY / "clients/python")}
    assert declared == {hub.__version__} == {VERSION}


def test_the_hub_declares_what_the_lock_installs() -> None:
    declared = {str(Requirement(line)) for line in _project(REPOSITORY)["dependencies"]}
    version = _project(REPOSITORY / "clients/python")["version"]
    assert declared == {str(need) for need in _inputs("run.in").values()} | {f"aether-client=={version}"}


def test_the_client_needs_only_what_the_lock_installs() -> None:
    declared = {str(Requirement(line)) for line in _project(REPOSITORY / "clients/python")["dependencies"]}
    assert declared <= {str(need) for need in _inputs("run.in").values()}


def test_the_wheel_of_the_hub_holds_the_house_and_the_page_and_nothing_else(tmp_path: Path) -> None:
    names = _wheel(REPOSITORY, tmp_path)
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "hub",
        "channels",
        "handlers",
        "storage",
        "packs",
    }
    assert [name for name in names if "tests" in name.split("/") or "test_" in name] == []
    assert "hub/_web/console/index.html" in names
    assert {"storage/migrations/core/core_0001_baseline.py", "packs/events/migrations/events_0001_baseline.py"} <= {
        *names
    }
    assert any(name.startswith("hub/_web/client/") and name.endswith(".js") for name in names)


def test_the_wheel_of_the_client_holds_the_client_only(tmp_path: Path) -> None:
    tops = {name.partition("/")[0] for name in _wheel(REPOSITORY / "clients/python", tmp_path)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"aether_client"}

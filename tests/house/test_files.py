"""What every file of the repository keeps: its size, no address of a machine or a registry, nothing put off.

Reads the files that git knows or would add, so that a clean clone and a working tree are judged alike.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MAX_LINES = 450
CODE = {".py", ".js", ".css", ".html"}

# Each pattern is put together from pieces, so that this file does not contain what it looks for.
_HOSTS = "|".join(("regis" + "try", "py" + "pi", "python" + "hosted", "npm" + "js"))
_TOPS = "|".join(("root", "home", "work", "tmp", "Users"))
FORBIDDEN = {
    "an address of a registry": re.compile(
        "index" + r"-url|\"resolved\": *\"http|https?://[a-z0-9.-]*(" + _HOSTS + r")[a-z0-9.-]*",
        re.IGNORECASE,
    ),
    "a path of somebody's machine": re.compile(rf"(?<![A-Za-z0-9_./-])/({_TOPS})/[A-Za-z0-9_.-]+"),
    "work put off": re.compile(r"\b(TO" + r"DO|FIX" + r"ME|NotImple" + r"mentedError)\b"),
    "a test that may not run": re.compile(r"pytest\.(mark\.)?(sk" + r"ip|xf" + r"ail|import" + r"orskip)"),
}
# The folders that the image makes for itself are not those of a machine.
OWN_PATHS = ("Dockerfile", "deploy/")
# Generated, or as long as what it describes.
LONG_BY_NATURE = ("requirements/",)


def faults(name: str, text: str) -> list[str]:
    """Return a sentence for everything that the file `name` with the content `text` should not contain."""
    found = []
    lines = text.splitlines()
    if Path(name).suffix in CODE and len(lines) > MAX_LINES and not name.startswith(LONG_BY_NATURE):
        found.append(f"{name}: {len(lines)} lines, more than {MAX_LINES}: it holds more than one idea")
    for what, pattern in FORBIDDEN.items():
        if what == "a path of somebody's machine" and name.startswith(OWN_PATHS):
            continue
        found += [f"{name}:{n}: {what}" for n, line in enumerate(lines, 1) if pattern.search(line)]
    return found


def _texts() -> dict[str, str]:
    """Every text file of the repository by its name; git decides what belongs to it."""
    # A checkout may belong to somebody else than who tests it, as root does in a build machine.
    trust = ["-c", f"safe.directory={REPOSITORY}"]
    command = ["git", *trust, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True).stdout.decode()
    texts = {}
    for name in filter(None, listed.split("\0")):
        path = REPOSITORY / name
        data = path.read_bytes() if path.is_file() else b""
        if b"\0" not in data:
            texts[name] = data.decode()
    return texts


def test_no_file_contains_what_it_should_not() -> None:
    texts = _texts()
    assert "pyproject.toml" in texts
    assert [fault for name, text in texts.items() for fault in faults(name, text)] == []


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("hub/long.py", "x = 1\n" * (MAX_LINES + 1), "451 lines"),
        ("a.lock", '"resolved": ' + '"http' + 's://x"', "a.lock:1: an address of a registry"),
        ("a.txt", "one\n--extra-index" + "-url x", "a.txt:2: an address of a registry"),
        ("a.md", "http" + "s://files.py" + "pi.example/simple", "a.md:1: an address of a registry"),
        ("a.py", "open('/ho" + "me/me/x')", "a.py:1: a path of somebody's machine"),
        ("a.py", "# TO" + "DO later", "a.py:1: work put off"),
        ("tests/a.py", "pytest.mark.sk" + "ip", "tests/a.py:1: a test that may not run"),
    ],
)
def test_each_of_them_is_noticed(name: str, text: str, expected: str) -> None:
    found = faults(name, text)
    assert len(found) == 1, found
    assert expected in found[0]


def test_what_only_looks_alike_is_left_alone() -> None:
    assert faults("a.md", "https://example.org/work/x, var/tmp/y, a/home/b, the npm" + "js client") == []
    assert faults("Dockerfile", "RUN mv /ro" + "ot/.cache/x /srv") == []


def test_every_script_has_its_run_bit() -> None:
    scripts = [REPOSITORY / ".ci/run", *sorted((REPOSITORY / "scripts").glob("*.sh"))]
    assert [path.name for path in scripts if not os.access(path, os.X_OK)] == []

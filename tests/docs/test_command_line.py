"""What the pages promise of the command line beside a hub that starts, runs or is not there."""

from __future__ import annotations

import re
import threading
import tomllib
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from hub.app import DataFolder
from hub.cli.main import app
from hub.settings import page_url
from tests.forked import aether
from tests.wire.hubprocess import REPOSITORY, HubProcess


def begun(data: Path) -> Path:
    """Return a data folder on which a hub was started, and ended before it made anything."""
    folder = DataFolder(data)
    folder.take()
    folder.release()
    return data


@pytest.mark.parametrize(
    "words",
    [
        ["key", "create", "--role", "owner"],
        ["account", "create", "festival"],
        ["signin-link"],
        ["import", "conference", str(REPOSITORY / "examples" / "data" / "frab-camp2019.json")],
    ],
)
def test_only_serve_begins_a_hub(tmp_path: Path, words: list[str]) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        done = aether(*words, "--data", str(folder))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert done.stderr.startswith(f"aether: There is no hub in the data folder {folder}. ")
        assert "--data" in done.stderr
        assert f"serve --data {folder}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_link_has_the_address_of_the_running_hub_or_a_hint(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data", host="0.0.0.0")  # whose port is a free one, and whose host no browser opens
    made = aether("signin-link", "--data", str(hub.data))
    hub.stop()
    assert re.fullmatch(rf"http://127\.0\.0\.1:{hub.url.rpartition(':')[2]}/#signin=aec_\S+\n", made.stdout)
    assert made.stderr == ""

    alone = aether("signin-link", "--data", str(hub.data))
    assert re.fullmatch(r"http://127\.0\.0\.1:8400/#signin=aec_\S+\n", alone.stdout)
    assert alone.stderr.startswith(f"No hub runs on {hub.data} now; start it before you open the link: ")


def test_people_and_keys_are_listed_changed_and_ended(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "data")

    def run(*words: str) -> list[str]:
        done = aether(*words, "--data", str(hub.data))
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line]

    try:
        run("user", "create", "Grace Hopper", "--email", "Grace@people.example")
        twice = aether("user", "create", "Grace Hopper", "--data", str(hub.data))
        assert (twice.returncode, twice.stdout) == (1, "")
        assert "record.exists" in twice.stderr
        assert [line.split("\t")[1:3] for line in run("user", "list")] == [
            ["editor", "Grace Hopper"], ["owner", "Owner"],
        ]  # fmt: skip
        assert run("user", "mail", "Owner", "me@people.example")[0].endswith("\tOwner\tme@people.example")
        assert [line.split("\t")[3] for line in run("user", "list")] == ["grace@people.example", "me@people.example"]
        rec = run("user", "role", "Grace Hopper", "viewer")[0].split("\t")[0]
        assert run("signin-link", "--user", "Grace Hopper")[0].startswith(f"{hub.url}/#signin=aec_")
        assert run("user", "sign-out", rec) == [f"{rec}\tGrace Hopper"]
        assert run("user", "disable", rec) == run("user", "enable", rec) == [f"{rec}\tGrace Hopper"]
        assert run("user", "remove", rec) == [f"{rec}\tGrace Hopper"]
        assert len(run("user", "list")) == 1
        last = aether("user", "remove", "Owner", "--data", str(hub.data))
        assert (last.returncode, last.stdout) == (1, "")
        assert "only owner" in last.stderr
        hub.secrets.add(run("key", "create", "--name", "signage")[0])
        key, role, name, *_ = run("key", "list")[0].split("\t")
        assert (role, name) == ("viewer", "signage")
        nobody = aether("key", "revoke", "-GAbCdEfGhI", "--data", str(hub.data))
        assert (nobody.returncode, "record.not_found" in nobody.stderr) == (1, True), "an id may begin like an option"
        assert run("key", "revoke", key) == [key]
        assert run("key", "list") == []
    finally:
        hub.stop()


def test_every_command_says_what_it_is_for() -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    groups = [("aether", group)]
    for path, one in groups:
        for name, command in one.commands.items():
            assert command.get_short_help_str(), f"{path} {name}"
            if isinstance(command, TyperGroup):
                groups.append((f"{path} {name}", command))
    assert len(groups) > 8


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["account", "create", "Not A Name"], "An account's name has lower-case letters, digits, - and _"),
        (["key", "create", "--account", "nowhere"], "There is no such account"),
        (["key", "create", "--role", "king"], "There is no role 'king' here. Give one of guest, viewer, member"),
        (["import", "conference", "missing.json"], "missing.json cannot be read: No such file or directory."),
    ],
)
def test_a_refusal_is_one_sentence_on_stderr(tmp_path: Path, words: list[str], sentence: str) -> None:
    done = aether(*words, "--data", str(begun(tmp_path / "data")))
    assert done.returncode in {1, 2}
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert sentence in done.stderr


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("hub.example", "http://hub.example:80"),
    ],
)
def test_an_address_is_one_that_this_machine_reaches(host: str, address: str) -> None:
    assert page_url(host, 80) == address


def test_a_command_waits_for_a_hub_that_is_just_stopping(tmp_path: Path) -> None:
    other = DataFolder(tmp_path / "data")
    other.take()
    stopped = threading.Timer(1.5, other.release)
    stopped.start()
    done = aether("account", "create", "patience", "--data", str(other.path))
    stopped.join()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("patience ")


def test_the_settings_are_shown_without_passwords_and_the_secret_of_the_cluster(tmp_path: Path) -> None:
    given = 'database_url = "mysql+aiomysql://hub:s3cret@db/aether"\nport = 7\nredis_url = "redis://:s3cret@one"\n'
    (tmp_path / "hub.toml").write_text(f'{given}cluster_secret = "{"s3cret" * 6}"\n', "utf-8")
    done = aether("settings", "--config", str(tmp_path / "hub.toml"))
    assert (done.returncode, done.stderr) == (0, "")
    shown = tomllib.loads(done.stdout)
    assert (shown["database_url"], shown["port"]) == ("mysql+aiomysql://hub:***@db/aether", 7)
    assert (shown["redis_url"], shown["cluster_secret"]) == ("redis://:***@one", "***")

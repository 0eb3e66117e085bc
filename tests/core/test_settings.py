"""Settings: where they come from, which source wins, and the one sentence that names what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub.cli.main import app
from hub.settings import NOT_SETTINGS, Settings, SettingsError, field_types, load, without_password


def toml(folder: Path, text: str) -> Path:
    """Write a settings file."""
    path = folder / "hub.toml"
    path.write_text(text, "utf-8")
    return path


def test_without_any_source_the_defaults_hold() -> None:
    settings = load({})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.data, settings.durability) == ("127.0.0.1", 8400, "var", "full")


def test_every_setting_can_be_given_as_a_variable() -> None:
    texts = {str: "x", int: "7", float: "7"}
    given = {
        "database_url": "sqlite:///x.db",
        "redis_url": "redis+cluster://one:6379,two:6379",
        "cluster_secret": "0123456789abcdef0123456789abcdef",
        "durability": "normal",
        "migrate": "refuse",
        "packs": "packs.events, my.pack",
        "origins": "https://a.example",
        "public_url": "https://hub.example",
        "oidc_file": "oidc.toml",
        "rates": "search.user=7/10",
        "secret_keys": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "access_seconds": "60",
        "session_days": "7",
        "token_keys": f"one:{'0' * 64}, two:{'1' * 64}",
        "issuers_file": "issuers.toml",
        "password_memory_kib": "19456",
        "password_passes": "7",
        "register": "main",
        "register_role": "member",
        "mail_url": "smtp://user:password@mail.example:587",
        "mail_from": "hub@mail.example",
        "mail_authority": "mail.crt",
        "key_use_seconds": "7",
        "compression": "once",
        "cors_credentials": "on",
        "hsts_seconds": "7",
        "log_level": "debug",
        "log_format": "json",
        "drain_seconds": "2.5",
        "host": "0.0.0.0",
    }
    plain = {"port": texts[int], "data": texts[str], "max_file_bytes": "7", "reserve_bytes": "7", "ping_seconds": "7"}
    plain |= {
        "history_days": "7",
        "resume_days": "7",
        "audit_days": "7",
        "sockets_per_address": "7",
        "sockets_per_identity": "7",
    }
    plain |= {"admit_per_second": "7", "admit_burst": "7", "requests_per_second": "7"}
    plain |= {"admit_address_per_second": "7", "account_requests_per_second": "7"}
    assert set(given) | set(plain) == set(field_types()), "a new setting belongs into this test"
    settings = load({f"AETHER_{name.upper()}": text for name, text in (given | plain).items()})
    assert settings.packs == ("packs.events", "my.pack")
    assert settings.origins == ("https://a.example",)
    assert (settings.port, settings.drain_seconds, settings.reserve_bytes) == (7, 2.5, 7)


def test_redis_needs_a_secret_that_hubs_share() -> None:
    with pytest.raises(SettingsError, match="The setting redis_url needs cluster_secret as well"):
        load({"AETHER_REDIS_URL": "redis://host"})
    with pytest.raises(SettingsError, match="at least 32") as refused:
        load({"AETHER_REDIS_URL": "redis://host", "AETHER_CLUSTER_SECRET": "too short"})
    assert "too short" not in str(refused.value)
    with pytest.raises(SettingsError, match="an address such as redis://host"):
        load({"AETHER_REDIS_URL": "http://host", "AETHER_CLUSTER_SECRET": "x" * 32})
    load({"AETHER_CLUSTER_SECRET": "x" * 32})


def test_a_file_holds_the_same_names(tmp_path: Path) -> None:
    path = toml(tmp_path, 'port = 1\norigins = ["https://a.example"]\ndrain_seconds = 2\n')
    settings = load({}, path)
    assert (settings.port, settings.origins, settings.drain_seconds) == (1, ("https://a.example",), 2.0)


def test_a_variable_may_name_the_file(tmp_path: Path) -> None:
    assert load({"AETHER_CONFIG": str(toml(tmp_path, "port = 5\n"))}).port == 5


def test_variables_win_over_the_file_and_options_over_both(tmp_path: Path) -> None:
    path = toml(tmp_path, 'port = 1\nhost = "file"\ndata = "file"\n')
    settings = load({"AETHER_PORT": "2", "AETHER_HOST": "variable"}, path, {"port": 3, "data": None})
    assert (settings.port, settings.host, settings.data) == (3, "variable", "file")


def test_variables_of_others_are_left_alone() -> None:
    environment = {"PATH": "x", "aether_port": "1", "XAETHER_PORT": "1"} | dict.fromkeys(NOT_SETTINGS, "")
    assert load(environment) == Settings()


@pytest.mark.parametrize(
    ("environment", "text", "options", "sentence"),
    [
        ({"AETHER_PROT": "1"}, "", {}, "There is no setting 'prot' (given as AETHER_PROT); did you mean port?"),
        ({}, "orgins = []\n", {}, "There is no setting 'orgins' (given in FILE); did you mean origins?"),
        ({}, "", {"colour": "red"}, "There is no setting 'colour' (given as --colour); see docs/settings.md."),
        ({}, "[hub]\nport = 1\n", {}, "There is no setting 'hub' (given in FILE)"),
        (
            {"AETHER_PORT": "many"},
            "",
            {},
            "The setting port (given as AETHER_PORT) is wrong: it must be a whole number from 0 to 65535.",
        ),
        (
            {"AETHER_PORT": "65536"},
            "",
            {},
            "The setting port (given as AETHER_PORT) is wrong: it must be a whole number from 0 to 65535.",
        ),
        ({"AETHER_PORT": ""}, "", {}, "The setting port (given as AETHER_PORT) is wrong"),
        ({}, "port = 1.5\n", {}, "The setting port (given in FILE) is wrong"),
        ({}, "port = true\n", {}, "The setting port (given in FILE) is wrong"),
        ({}, 'packs = "packs.events"\n', {}, "The setting packs (given in FILE) is wrong"),
        ({}, 'packs = ["a", 1]\n', {}, "The setting packs (given in FILE) is wrong"),
        (
            {},
            "",
            {"log_level": "loud"},
            "The setting log_level (given as --log-level) is wrong: it must be 'debug', 'info', 'warning' or 'error'.",
        ),
        (
            {"AETHER_DURABILITY": "FULL"},
            "",
            {},
            "The setting durability (given as AETHER_DURABILITY) is wrong: it must be 'full' or 'normal'.",
        ),
        *(
            (
                {"AETHER_ORIGINS": origin},
                "",
                {},
                "The setting origins (given as AETHER_ORIGINS) is wrong: it must be a list of origins such as "
                "https://app.example, each without a path, or *.",
            )
            for origin in (
                "foo",
                "app.example",
                "https://app.example/",
                "https://",
                "ftp://app.example",
                "https://*.example",
            )
        ),
        ({"AETHER_DRAIN_SECONDS": "-1"}, "", {}, "The setting drain_seconds (given as AETHER_DRAIN_SECONDS) is wrong"),
        ({"AETHER_DRAIN_SECONDS": "nan"}, "", {}, "The setting drain_seconds (given as AETHER_DRAIN_SECONDS) is wrong"),
        (
            {"AETHER_DATABASE_URL": "postgres://x"},
            "",
            {},
            "The setting database_url (given as AETHER_DATABASE_URL) is wrong: it must be empty or an address such as "
            "sqlite:///folder/hub.db or mysql+aiomysql://user:password@host/name.",
        ),
        ({}, "port = \n", {}, "The settings file FILE is not TOML"),
        ({}, "port = 1\nport = 2\n", {}, "The settings file FILE is not TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_its_source_in_one_sentence(
    tmp_path: Path, environment: dict[str, str], text: str, options: dict[str, Any], sentence: str
) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(SettingsError) as refused:
        load(environment, path, options)
    said = str(refused.value)
    assert said.startswith(sentence.replace("FILE", str(path)))
    assert "\n" not in said
    assert said[-1] in ".?"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read: No such file or directory\.$"):
        load({}, missing)
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load({}, tmp_path)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not TOML"):
        load({}, binary)


def test_a_secret_value_is_not_repeated_in_the_sentence() -> None:
    with pytest.raises(SettingsError) as refused:
        load({"AETHER_PORT": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_every_setting_is_an_option_of_serve() -> None:
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    for name in field_types():
        assert f"--{name.replace('_', '-')} " in shown


def test_an_option_is_read_like_a_variable() -> None:
    given = {"packs": "packs.events, my.pack", "port": "7", "drain_seconds": "2.5"}
    settings = load({}, None, given)
    assert settings == load({f"AETHER_{name.upper()}": text for name, text in given.items()})
    assert (settings.packs, settings.port) == (("packs.events", "my.pack"), 7)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("", ""),
        ("sqlite:///folder/a:b@c.db", "sqlite:///folder/a:b@c.db"),
        ("mysql+aiomysql://hub:s3cret@db/aether", "mysql+aiomysql://hub:***@db/aether"),
        ("mysql+aiomysql://hub:a@b:c/d@db:3306/aether?x=1", "mysql+aiomysql://hub:***@db:3306/aether?x=1"),
        ("mysql+aiomysql://:s3cret@db/aether", "mysql+aiomysql://:***@db/aether"),
        ("mysql+aiomysql://hub@db/aether", "mysql+aiomysql://hub@db/aether"),
        ("redis://:s3cret@one:6379/0", "redis://:***@one:6379/0"),
        ("redis+cluster://hub:s3cret@one:6379,two:6379", "redis+cluster://hub:***@one:6379,two:6379"),
    ],
)
def test_the_password_of_an_address_is_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown

"""The settings: one frozen struct, read once from defaults, a TOML file, `AETHER_…` variables and options.

Later sources win. A misspelt or mistyped setting stops the start with one sentence that names it and its
source. Only `hub.app` and `hub.cli` read settings; below, small values are passed.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta


class SettingsError(Exception):
    """A setting is wrong; the text is one sentence that names it."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting of the hub. Each one's `Meta(description=…)` is its documentation."""

    host: Annotated[str, Meta(min_length=1, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 picks a free one.")] = 8400
    data: Annotated[str, Meta(min_length=1, description="Folder of the database, the files and hub.sock.")] = "var"
    database_url: Annotated[
        str,
        Meta(
            pattern=r"^$|^sqlite:///.+|^mysql\+aiomysql://.+/.+",
            title="empty or an address such as sqlite:///folder/hub.db or mysql+aiomysql://user:password@host/name",
            description="Database: `sqlite:///FILE` or `mysql+aiomysql://USER:PASSWORD@HOST/NAME` (MariaDB); "
            "empty means SQLite at `data`/hub.db.",
        ),
    ] = ""
    durability: Annotated[
        Literal["full", "normal"],
        Meta(description="`full`: an answered write is on disk. `normal`: a power cut may lose the last ones."),
    ] = "full"
    migrate: Annotated[
        Literal["auto", "refuse"],
        Meta(
            description="What a start does where the database needs changes of its tables. `auto`: it makes them. "
            "`refuse`: it says so and ends; `aether migrate apply` makes them."
        ),
    ] = "auto"
    redis_url: Annotated[
        str,
        Meta(
            pattern=r"^$|^rediss?(\+cluster)?://.+|^unix://.+",
            title="empty or an address such as redis://host:6379 or redis+cluster://host1:6379,host2:6379",
            description="Redis, over which several hubs tell each other of changes: `redis://USER:PASSWORD@HOST:PORT`, "
            "`rediss://` with TLS, `unix:///FILE`, or `redis+cluster://HOST:PORT,HOST:PORT` for a cluster.",
        ),
    ] = ""
    cluster_secret: Annotated[
        str,
        Meta(
            pattern=r"^$|^[\x21-\x7e]{32,}$",
            title="empty or at least 32 letters, digits or signs, such as `openssl rand -hex 32` prints",
            description="What all hubs over one database share and nobody else knows, at least 32 characters: it signs "
            "what they tell each other, cursors and file grants. Needed with `redis_url`; empty means a secret of the "
            "data folder's own.",
        ),
    ] = ""
    public_url: Annotated[
        str,
        Meta(
            pattern=r"^$|^https?://[a-z0-9.\[\]:-]+$",
            title="empty or an address such as https://hub.example, in small letters and without a path",
            description="The address under which people reach this hub, without a path: where links in mails and "
            "answers of sign-in providers lead. Empty means the address that the hub listens on.",
        ),
    ] = ""
    oidc_file: Annotated[
        str,
        Meta(
            description="A TOML file with the OpenID Connect providers that people may sign in with "
            "([signing in with OIDC](oidc.md)); empty: none. It holds secrets: only the hub's own user should read it."
        ),
    ] = ""
    secret_keys: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}=$")], ...],
        Meta(
            title="a list of keys such as `aether secrets key` prints",
            description="The keys of secret fields: the first one encrypts, all open. Empty means one made of "
            "`cluster_secret` where that is set, else those in the file secret.keys of the data folder, which the hub "
            "looks after itself.",
        ),
    ] = ()
    audit_days: Annotated[
        int,
        Meta(
            ge=0,
            le=36500,
            description="How long audit entries are kept (who came in, what was refused), in days; 0: there are none.",
        ),
    ] = 90
    access_seconds: Annotated[
        int, Meta(ge=60, le=86400, description="How long an access token is valid, in seconds; then it is renewed.")
    ] = 900
    session_days: Annotated[
        int, Meta(ge=1, le=365, description="How long somebody stays signed in, in days; then they sign in again.")
    ] = 30
    token_keys: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}:[0-9a-f]{64}$")], ...],
        Meta(
            title="a list of keys, each a name, a colon and 64 hex digits",
            description="Keys of access tokens, `NAME:` and what `openssl rand -hex 32` prints: the first signs, all "
            "check. Empty means one made of `cluster_secret`, or else keys of the data folder's own.",
        ),
    ] = ()
    issuers_file: Annotated[
        str,
        Meta(
            description="A TOML file with other issuers whose access tokens are believed "
            "([signing in](signing-in.md#tokens-of-others)); empty: none."
        ),
    ] = ""
    password_memory_kib: Annotated[
        int,
        Meta(ge=19456, le=1048576, description="Memory that a look at a password takes (Argon2id), in KiB."),
    ] = 65536
    password_passes: Annotated[
        int, Meta(ge=2, le=16, description="How often a look at a password goes through that memory (Argon2id).")
    ] = 3
    register: Annotated[
        str,
        Meta(
            max_length=64,
            title="empty or the name of an account",
            description="Account that anybody may register for, by a link that is mailed to them; empty: nobody may.",
        ),
    ] = ""
    register_role: Annotated[
        Literal["viewer", "member", "editor"], Meta(description="The role of people who registered themselves.")
    ] = "viewer"
    mail_url: Annotated[
        str,
        Meta(
            pattern=r"^$|^smtp(s|\+plain)?://.+",
            title="empty or an address such as smtp://user:password@mail.example:587",
            description="Mail server for links: `smtp://USER:PASSWORD@HOST:587` (STARTTLS), `smtps://…:465` (TLS), or "
            "`smtp+plain://HOST:25` without TLS, for a relay on this machine. Empty: no mail is sent.",
        ),
    ] = ""
    mail_from: Annotated[str, Meta(max_length=254, description="Sender of mails, such as `Hub <hub@example.org>`.")] = (
        ""
    )
    mail_authority: Annotated[
        str,
        Meta(description="File with the certificates that the mail server's is to be signed by; empty: the machine's."),
    ] = ""
    key_use_seconds: Annotated[
        int,
        Meta(ge=0, le=86400, description="How far apart it is written when an API key was used, in seconds; 0: never."),
    ] = 300
    packs: Annotated[
        tuple[str, ...], Meta(description="Python packages with record types and actions, as they are imported.")
    ] = ("packs.events",)
    origins: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^\*$|^https?://[^/?#@\s,*]+$")], ...],
        Meta(
            title="a list of origins such as https://app.example, each without a path, or *",
            description="Web origins besides the hub's own whose pages may open a socket and use HTTP, such as "
            "`https://app.example`; `*`: all pages, which then send no cookies.",
        ),
    ] = ()
    cors_credentials: Annotated[
        Literal["off", "on"],
        Meta(description="`on`: browsers may send cookies from pages of `origins`. Never together with `*`."),
    ] = "off"
    hsts_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=63_072_000,
            description="For how long browsers are told to come by https only (Strict-Transport-Security), in seconds. "
            "Only where TLS is in front of the hub for good; 0: they are not told.",
        ),
    ] = 0
    max_file_bytes: Annotated[int, Meta(ge=1, le=2**50, description="The largest file that is accepted, in bytes.")] = (
        4 * 1024**3
    )
    reserve_bytes: Annotated[
        int, Meta(ge=0, le=2**50, description="Room on the disk that uploads leave free, in bytes.")
    ] = 64 * 1024**2
    history_days: Annotated[
        int,
        Meta(ge=0, le=36500, description="How long the log keeps who changed what, in days; 0 keeps everything."),
    ] = 0
    resume_days: Annotated[
        int,
        Meta(ge=1, le=36500, description="How long ago a watch may have been lost and still be resumed, in days."),
    ] = 30
    drain_seconds: Annotated[
        float, Meta(ge=0, le=300, description="How long a stopping hub waits for its sockets, in seconds.")
    ] = 5.0
    ping_seconds: Annotated[
        float, Meta(ge=1, le=300, description="How often a silent socket is pinged, in seconds.")
    ] = 20.0
    admit_per_second: Annotated[
        float,
        Meta(ge=0, le=100_000, description="How many sockets are let in a second, on average; 0: all that come."),
    ] = 1000.0
    admit_burst: Annotated[
        int, Meta(ge=1, le=100_000, description="How many sockets are let in at once, after a quiet time.")
    ] = 10_000
    admit_address_per_second: Annotated[
        float,
        Meta(
            ge=0,
            le=100_000,
            description="How many sockets of one address (of IPv6: its first 64 bits) are let in a second, on "
            "average, ten seconds' worth at once; 0: all that come. Behind a proxy, set 0: all have its address.",
        ),
    ] = 500.0
    requests_per_second: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="How many requests of one socket are taken a second, on average (twice as many at once); what "
            "comes faster is read later. 0: all that come.",
        ),
    ] = 5000
    account_requests_per_second: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000_000,
            description="How many requests of all sockets of one account together are taken a second, on average "
            "(twice as many at once); what comes faster is read later, and over HTTP refused as `rate.limited`. 0: all "
            "that come.",
        ),
    ] = 100_000
    sockets_per_address: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="How many sockets of one address (of IPv6: its first 64 bits) may be open at a time on one "
            "hub; the next one is closed with 4506. 0: all that come. Behind a proxy, set 0: all have its address.",
        ),
    ] = 20_000
    sockets_per_identity: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="How many sockets of one user, or of one key, may be open at a time on one hub; the next one "
            "is closed with 4506. 0: all that come.",
        ),
    ] = 10_000
    rates: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[a-z-]+\.[a-z]+=[0-9]{1,10}/[0-9]{1,5}$")], ...],
        Meta(
            title="a list of budgets such as search.user=100/10",
            description="Budgets that are other than usual, each as `CLASS.SCOPE=COUNT/SECONDS`; a count of 0 is no "
            "budget. Which there are is in [limits](limits.md).",
        ),
    ] = ()
    compression: Annotated[
        Literal["off", "once"],
        Meta(
            description="`once`: clients that offer permessage-deflate are sent large messages compressed, those to "
            "many compressed once for all of them, which saves bandwidth and not time. `off`: nothing is compressed."
        ),
    ] = "off"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="The least level logged.")] = (
        "info"
    )
    log_format: Annotated[
        Literal["json", "text", "auto"],
        Meta(description="`auto`: text on a terminal, JSON lines elsewhere."),
    ] = "auto"


PREFIX: Final = "AETHER_"
NOT_SETTINGS: Final = frozenset(
    {"AETHER_CONFIG", "AETHER_TOKEN", "AETHER_URL", "AETHER_PROOF", "AETHER_ACCOUNT", "AETHER_DEBUG", "AETHER_DEVICE"}
)
"""Variables with our prefix that belong to the command line, the clients or the tests."""


def page_url(host: str, port: int) -> str:
    """Return the address under which this machine reaches what listens on `host` and `port`.

    An address that stands for every one of the machine's own becomes the loopback address.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def without_password(url: str) -> str:
    """Return an address as it may be shown: *** stands for its password."""
    return re.sub(r"(?<=://)([^:/@]*):.*@", r"\1:***@", url)


def field_types() -> dict[str, Any]:
    """Return the declared type of every setting, by name."""
    return {f.name: f.type for f in msgspec.structs.fields(Settings)}


def load(
    environment: Mapping[str, str], file: Path | None = None, options: Mapping[str, Any] | None = None
) -> Settings:
    """Return the settings; raise `SettingsError` with one sentence.

    `file` is a TOML file with the names at top level; `AETHER_CONFIG` names it where the option does not.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if file is None and environment.get("AETHER_CONFIG"):
        file = Path(environment["AETHER_CONFIG"])
    if file is not None:
        for name, value in _read_file(file).items():
            values[name], sources[name] = value, f"in {file}"
    for variable, text in environment.items():
        if variable.startswith(PREFIX) and variable not in NOT_SETTINGS:
            name = variable.removeprefix(PREFIX).lower()
            values[name], sources[name] = _from_text(name, text), f"as {variable}"
    for name, value in (options or {}).items():
        if value is not None:
            value = _from_text(name, value) if isinstance(value, str) else value
            values[name], sources[name] = value, f"as --{name.replace('_', '-')}"
    types = field_types()
    for name, value in values.items():
        if name not in types:
            near = difflib.get_close_matches(name, types, 1)
            hint = f"; did you mean {near[0]}?" if near else "; see docs/settings.md."
            raise SettingsError(f"There is no setting {name!r} (given {sources[name]}){hint}")
        try:
            values[name] = msgspec.convert(value, types[name], strict=not isinstance(value, str))
        except msgspec.ValidationError:
            wanted = expected(types[name])
            raise SettingsError(f"The setting {name} (given {sources[name]}) is wrong: it must be {wanted}.") from None
    settings = Settings(**values)
    if "*" in settings.origins and settings.cors_credentials == "on":
        raise SettingsError(
            "The settings origins = * and cors_credentials = on do not go together: every page could act in the "
            "name of whoever looks at it. List the origins, or leave cookies out."
        )
    if settings.redis_url and not settings.cluster_secret:
        raise SettingsError(
            "The setting redis_url needs cluster_secret as well: hubs believe only what is signed with a secret that "
            "they share, such as `openssl rand -hex 32` prints."
        )
    return settings


def expected(annotation: Any) -> str:
    """Return what a value of an annotated type must be, in words for the person who gave another."""
    kind, *notes = get_args(annotation)
    said: dict[str, Any] = {}
    for note in notes:
        said |= {name: value for name in ("title", "ge", "le") if (value := getattr(note, name)) is not None}
    if "title" in said:
        return str(said["title"])
    if get_origin(kind) is Literal:
        *others, last = (f"{value!r}" for value in get_args(kind))
        return f"{', '.join(others)} or {last}"
    if kind in {int, float}:
        number = "a whole number" if kind is int else "a number"
        return f"{number} from {said['ge']} to {said['le']}"
    return "a list of texts" if get_origin(kind) is tuple else "a text that is not empty"


def _read_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"The settings file {file} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {file} is not TOML: {error}.") from None


def _from_text(name: str, text: str) -> Any:
    """Return a variable's text as a value: lists are separated by commas."""
    if name in {"packs", "origins", "secret_keys", "token_keys", "rates"}:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text

"""Mail: short texts with a link, handed to a mail server by SMTP from a thread, a few at a time.

Nobody waits for it: whoever asks for a link is answered at once, whether or not there is anybody to send it to. What
cannot be handed over is tried again; then the log says so, without the address.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from hub.wire.errors import HubError

log = logging.getLogger("hub.mail")

WAITING: Final = 1000
"""How many mails wait at a time at most; beyond, whoever asks is told to come back."""
TIMEOUT_SECONDS: Final = 10.0
"""How long the mail server may take for each step."""
TRIES: Final = (0.0, 2.0, 15.0)
"""How long is waited before each try to hand a mail over, in seconds."""
APART_SECONDS: Final = 60.0
"""How long after a mail of a kind to an address no second one of this kind goes there."""
ADDRESSES: Final = 10_000
"""Of how many addresses it is known when mail went there."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over. `security`: TLS from the beginning, after STARTTLS, or not at all."""

    host: str
    port: int
    security: Literal["tls", "starttls", "none"]
    sender: str
    user: str = ""
    password: str = ""
    authority: str | None = None
    """A file with the certificates to trust, where those of the machine are not meant."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to be sent."""

    to: str
    subject: str
    text: str


def server_of(url: str, sender: str, authority: str | None = None) -> MailServer:
    """Return the mail server of an address `smtp://USER:PASSWORD@HOST:PORT`; raise ValueError with what is wrong."""
    parts = urlsplit(url)
    known = _SCHEMES.get(parts.scheme)
    if known is None or not parts.hostname or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise ValueError("it must look like smtp://USER:PASSWORD@HOST:587, smtps://… or smtp+plain://HOST:25")
    security, port = known
    if "@" not in parseaddr(sender)[1]:
        raise ValueError("it needs mail_from as well, such as hub@example.org")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if user and security == "none":
        raise ValueError("a password is not sent without TLS; use smtp:// or smtps://")
    return MailServer(parts.hostname, parts.port or port, security, sender, user, password, authority)


_SCHEMES: Final[dict[str, tuple[Literal["tls", "starttls", "none"], int]]] = {
    "smtp": ("starttls", 587),
    "smtps": ("tls", 465),
    "smtp+plain": ("none", 25),
}

Writing = Callable[[], Awaitable[Letter | None]]
"""Makes a mail, when its turn has come; None where there is nobody to send it to."""


class Mailer:
    """Sends mail, one at a time, in the order in which it was asked for. Without a server there is no mail."""

    def __init__(self, server: MailServer | None = None) -> None:
        self.server = server
        self._queue: deque[Writing] = deque()
        self._task: asyncio.Task[None] | None = None
        self._sent: OrderedDict[tuple[str, str], float] = OrderedDict()

    def need(self, instead: str) -> None:
        """Raise `action.failed` where there is no mail server; `instead` says what else helps."""
        if self.server is None:
            step = f"{instead} To have links mailed, set `mail_url` and `mail_from` (docs/signing-in.md)."
            raise HubError("action.failed", f"This hub sends no mail. {step}", details={"next": step})

    def send(self, what: str, to: str, writing: Writing) -> None:
        """Have a mail of a kind sent to an address; raise `rate.limited` where too many wait.

        A second one of the same kind within a minute is left out: nobody fills somebody's inbox.
        """
        now, key = asyncio.get_running_loop().time(), (what, to)
        if now - self._sent.get(key, -APART_SECONDS) < APART_SECONDS:
            return
        if len(self._queue) >= WAITING:
            raise HubError("rate.limited", "Too many mails wait to be sent; ask again later.", retry_after=30)
        self._sent[key] = now
        self._sent.move_to_end(key)
        if len(self._sent) > ADDRESSES:
            self._sent.popitem(last=False)
        self._queue.append(writing)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while self._queue:
            writing = self._queue.popleft()
            try:
                letter = await writing()
                if letter is not None:
                    await self._deliver(letter)
            except HubError as refusal:
                log.warning("a mail was not written: %s", refusal)

    async def _deliver(self, letter: Letter) -> None:
        server = self.server
        if server is None:
            return
        for seconds in TRIES:
            await asyncio.sleep(seconds)
            try:
                await asyncio.to_thread(hand_over, server, letter)
            except smtplib.SMTPRecipientsRefused:
                log.warning("the mail server %s does not take mail to an address", server.host)
                return
            except (OSError, smtplib.SMTPException, MessageError, ValueError) as error:
                log.warning("the mail server %s did not take a mail: %s", server.host, _said(error))
            else:
                return
        log.error("a mail was given up: the mail server %s did not take it in %d tries", server.host, len(TRIES))

    async def close(self) -> None:
        """Send no more."""
        self._queue.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _said(error: Exception) -> str:
    """Say what went wrong without what the server said, which may name the address."""
    code = getattr(error, "smtp_code", None)
    return f"{type(error).__name__} {code}" if code is not None else type(error).__name__


def hand_over(server: MailServer, letter: Letter) -> None:
    """Hand a mail to the server, and wait until it has taken it."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = server.sender, letter.to, letter.subject
    message["Date"], message["Message-ID"] = (
        formatdate(),
        make_msgid(domain=parseaddr(server.sender)[1].partition("@")[2]),
    )
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    trusted = ssl.create_default_context(cafile=server.authority)
    if server.security == "tls":
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_SECONDS, context=trusted)
    else:
        smtp = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_SECONDS)
    with smtp:
        if server.security == "starttls":
            smtp.starttls(context=trusted)  # raises where the server does not offer it
        if server.user:
            smtp.login(server.user, server.password)
        smtp.send_message(message)

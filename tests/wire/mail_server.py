"""A mail server in a process of its own: aiosmtpd, which speaks SMTP with STARTTLS and keeps each mail as a file."""

from __future__ import annotations

import datetime
import email
import email.policy
import ipaddress
import re
import socket
import subprocess
import sys
import time
from email.message import EmailMessage
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

START_SECONDS: Final = 20.0
WAIT_SECONDS: Final = 15.0


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine's loopback address, signed by itself; return its file and the key's."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail of the tests")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "mail.crt", folder / "mail.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return certificate, private


class MailServer:
    """A running mail server; `url` is how a hub is told of it, `certificate` what it has to trust."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, key = make_certificate(folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"smtp://127.0.0.1:{self.port}"
        self._box = folder / "box"
        self._out = (folder / "smtp.log").open("wb")
        words = [sys.executable, "-W", "ignore", "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{self.port}"]
        words += ["--tlscert", str(self.certificate), "--tlskey", str(key)]
        words += ["-c", "aiosmtpd.handlers.Mailbox", str(self._box)]
        self._process = subprocess.Popen(words, stdout=self._out, stderr=self._out)
        begun = time.monotonic()
        while not self._answers():
            if time.monotonic() - begun > START_SECONDS or self._process.poll() is not None:
                self.stop()
                raise AssertionError(f"the mail server did not start: {(folder / 'smtp.log').read_text()}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    def mails(self, to: str) -> list[EmailMessage]:
        """Return what came for an address so far, the oldest first."""
        files = sorted((self._box / "new").glob("*"), key=lambda file: (file.stat().st_mtime_ns, file.name))
        found = [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]
        return [mail for mail in found if mail["To"] == to]

    def wait(self, to: str, count: int = 1) -> EmailMessage:
        """Return the mail of this number for an address, waiting for it."""
        begun = time.monotonic()
        while len(mails := self.mails(to)) < count:
            if time.monotonic() - begun > WAIT_SECONDS:
                raise AssertionError(f"no mail came for {to}")
            time.sleep(0.02)
        return mails[count - 1]

    def code(self, to: str, name: str, count: int = 1) -> str:
        """Return the code of the link in a mail, which is in the fragment `#name=`."""
        text = self.wait(to, count).get_content()
        found = re.search(rf"http://\S+/#{name}=(\S+)", text)
        assert found is not None, text
        return found[1]

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        self._out.close()

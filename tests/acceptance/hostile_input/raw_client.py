"""An SMTP client that sends exactly the bytes it is told, from any address of the loopback."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from deploy.local.live_cluster import AUTHOR
from deploy.local.ports import LOOPBACK

#: Where those connect from whom nobody believes.
STRANGERS_PEER = "127.0.0.2"


class RawClient:
    """One session; a reply is its last line, empty when the server has gone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    @classmethod
    @contextmanager
    def to(cls, port: int, *, source: str = LOOPBACK) -> Iterator[Self]:
        """A session that was greeted with 220, and said EHLO."""
        with socket.create_connection((LOOPBACK, port), 30, (source, 0)) as connection:
            client = cls(connection)
            greeting = client.reply()
            assert greeting.startswith("220"), greeting
            client.say(b"EHLO client.test")
            yield client
            client.end()

    def end(self) -> None:
        """The connection, in clear or not, is closed."""
        self._lines.close()
        self._connection.close()

    def send(self, raw: bytes) -> None:
        self._connection.sendall(raw)

    def reply(self) -> str:
        while True:
            try:
                line = self._lines.readline().decode()
            except ConnectionResetError:
                return ""
            if line[3:4] != "-":
                return line.rstrip("\r\n")

    def say(self, line: bytes) -> str:
        """Sends a command; its reply."""
        self.send(line + b"\r\n")
        return self.reply()

    def begin(self, sender: str, *recipients: str) -> str:
        """MAIL and RCPTs; the last reply."""
        replies = [self.say(f"MAIL FROM:<{sender}>".encode())]
        replies += [self.say(f"RCPT TO:<{recipient}>".encode()) for recipient in recipients]
        return replies[-1]

    def post(self, sender: str, recipient: str, content: bytes) -> str:
        """One message, its dots not stuffed and its line ends as they are; the reply to it, or the refusal before."""
        reply = self.begin(sender, recipient)
        if not reply.startswith("250"):
            self.say(b"RSET")
            return reply
        reply = self.say(b"DATA")
        if not reply.startswith("354"):
            return reply
        self.send(content + b"\r\n.\r\n")
        return self.reply()

    def start_tls(self) -> None:
        """The client's half of STARTTLS, after its 220."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._connection = context.wrap_socket(self._connection)
        self._lines = self._connection.makefile("rb")


def post(subject: str, body: bytes = b"Hello.", *, fields: bytes = b"", author: str = AUTHOR) -> bytes:
    head = f"From: {author}\r\nSubject: {subject}\r\nMessage-ID: <{subject.replace(' ', '.')}@authors.test>\r\n"
    return head.encode() + fields + b"\r\n" + body

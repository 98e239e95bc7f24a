"""A sink of our own: takes every message, holds every reply back as long as asked, and writes how many copies it took.

`python -m bench.counting_catcher PORT LATENCY_SECONDS`
"""

from __future__ import annotations

import sys

import uvloop

from deploy.local.catching_smtp import CaughtMessage, MailCatcher, serve
from deploy.local.ports import LOOPBACK


class Counter(MailCatcher):
    """Writes `mesg=COUNT` after each message, as `smtp-sink -c` does, but counts its recipients."""

    def __init__(self, latency_seconds: float) -> None:
        self.latency_seconds = latency_seconds
        self._copies = 0

    def caught(self, message: CaughtMessage) -> None:
        self._copies += len(message.recipients)
        sys.stdout.write(f"mesg={self._copies}\r")
        sys.stdout.flush()


async def main(port: int, latency_seconds: float) -> None:
    server = await serve(Counter(latency_seconds), LOOPBACK, port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2])))

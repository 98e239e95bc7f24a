"""The sink where `smtp-sink` is not installed: takes every message, and writes how many it has taken.

`python -m bench.counting_catcher PORT`
"""

from __future__ import annotations

import sys

import uvloop

from deploy.local.catching_smtp import CaughtMessage, MailCatcher, serve
from deploy.local.ports import LOOPBACK


class Counter(MailCatcher):
    """Writes `mesg=COUNT` after each message, as `smtp-sink -c` does."""

    def __init__(self) -> None:
        self._messages = 0

    def caught(self, message: CaughtMessage) -> None:  # noqa: ARG002
        self._messages += 1
        sys.stdout.write(f"mesg={self._messages}\r")
        sys.stdout.flush()


async def main(port: int) -> None:
    server = await serve(Counter(), LOOPBACK, port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))

"""Many connections at once, from many addresses of the loopback: a process of its own, which prints what it saw.

`python -m chaos.flooding PORT CONNECTIONS SECONDS`. Each connection waits for the first line. One that is refused is
closed; one that is greeted stays open, and says nothing, until all are answered or the server ends it.
"""

from __future__ import annotations

import errno
import json
import resource
import selectors
import socket
import sys
import time
from dataclasses import asdict, dataclass

from deploy.local.ports import LOOPBACK

#: A peer has 50 sessions at most, and a node 4,000: each of so many gets a few, and all places are taken.
ADDRESSES = 1000
#: Spare files of this process.
_SPARE_FILES = 500
_TURN_SECONDS = 0.01
#: For answers that are missing when the last connection is made.
_PATIENCE_SECONDS = 5.0


@dataclass(slots=True)
class Seen:
    """What became of the connections."""

    connections: int = 0
    greeted: int = 0
    #: Of these: ended by the server later.
    ended: int = 0
    #: 421 in the place of a greeting.
    refused: int = 0
    #: Closed or reset without a word.
    dropped: int = 0
    #: Until the last of them was made.
    seconds: float = 0.0
    #: The longest time from a connection's beginning to its first line.
    slowest_answer_seconds: float = 0.0

    @property
    def answered(self) -> int:
        return self.greeted + self.refused + self.dropped


class Flood:
    """The connections."""

    def __init__(self, port: int, files: int) -> None:
        self._port = port
        self._files = files
        self._selector = selectors.DefaultSelector()
        self._began_seconds: dict[socket.socket, float] = {}
        self._kept: set[socket.socket] = set()
        self.seen = Seen()

    def run(self, connections: int, seconds: float) -> Seen:
        """`connections` spread evenly over `seconds`, or over as long as this machine takes."""
        begin_seconds = time.monotonic()
        while self.seen.connections < connections:
            now_seconds = time.monotonic()
            due = min(connections, int(connections * (now_seconds - begin_seconds + _TURN_SECONDS) / seconds))
            for _ in range(min(due - self.seen.connections, self._files - self._open)):
                self._connect()
            self._look(max(0.0, _TURN_SECONDS - (time.monotonic() - now_seconds)))
        self.seen.seconds = time.monotonic() - begin_seconds
        end_seconds = time.monotonic() + _PATIENCE_SECONDS
        while self.seen.answered < connections and time.monotonic() < end_seconds:
            self._look(_TURN_SECONDS)
        return self.seen

    @property
    def _open(self) -> int:
        return len(self._began_seconds) + len(self._kept)

    def _connect(self) -> None:
        number = self.seen.connections % ADDRESSES
        connection = socket.socket()
        connection.setblocking(False)
        connection.bind((f"127.0.{2 + number // 250}.{number % 250 + 1}", 0))
        code = connection.connect_ex((LOOPBACK, self._port))
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, f"connection {self.seen.connections}")
        self._began_seconds[connection] = time.monotonic()
        self._selector.register(connection, selectors.EVENT_READ)
        self.seen.connections += 1

    def _look(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)  # noqa: S101
            if connection in self._kept:
                self._end(connection)
                self._kept.remove(connection)
                self.seen.ended += 1
            else:
                self._answered(connection)

    def _answered(self, connection: socket.socket) -> None:
        try:
            line = connection.recv(512)
        except OSError:
            line = b""
        took_seconds = time.monotonic() - self._began_seconds.pop(connection)
        self.seen.slowest_answer_seconds = max(self.seen.slowest_answer_seconds, took_seconds)
        if line.startswith(b"220"):
            self.seen.greeted += 1
            self._kept.add(connection)
            return
        self._end(connection)
        if line.startswith(b"421"):
            self.seen.refused += 1
        else:
            self.seen.dropped += 1

    def _end(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()


def main() -> None:
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 65_536 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    print(json.dumps(asdict(Flood(port, files - _SPARE_FILES).run(connections, seconds))))


if __name__ == "__main__":
    main()

"""A stream of bytes as numbered lines of bounded length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: A longer line is one nobody meant, and is not kept in memory.
MAX_LINE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its end; `octets` is `None` when it is too long."""

    number: int
    octets: bytes | None


class LineSplitter:
    """Cuts chunks into lines; what a chunk leaves unfinished waits for the next."""

    def __init__(self) -> None:
        self._number = 1
        self._rest = bytearray()
        self._is_too_long = False

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The lines that end in `chunk`."""
        start = 0
        while end := chunk.find(b"\n", start) + 1:
            yield self._line(chunk[start:end])
            start = end
        self._keep(chunk[start:])

    def finish(self) -> Iterator[Line]:
        """The last line, if it had no end."""
        if self._rest or self._is_too_long:
            yield self._line(b"")

    def _line(self, tail: bytes) -> Line:
        self._keep(tail)
        line = Line(self._number, None if self._is_too_long else bytes(self._rest))
        self._number += 1
        self._rest.clear()
        self._is_too_long = False
        return line

    def _keep(self, piece: bytes) -> None:
        if len(self._rest) + len(piece) > MAX_LINE_BYTES:
            self._rest.clear()
            self._is_too_long = True
        if not self._is_too_long:
            self._rest += piece

"""The content after DATA, read in large pieces: where it ends, and what is stored of it.

It ends at CR LF . CR LF and nowhere else, and a bare CR or LF is made a CR LF afterwards: a client and this server
cannot disagree about where a message ends, and what is stored holds nothing a later server could end at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.ingress_smtp.limits import DataShare
from shared.core.smtp_reply import Reply
from shared.mail.lines import with_crlf

_END = b"\r\n.\r\n"

TOO_LARGE = Reply(552, "5.3.4 The message is larger than this server takes")
NO_ROOM = Reply(452, "4.3.1 The server has too much mail in hand, please try again later")
ENDLESS = Reply(552, "5.3.4 The message does not end")


class EndlessContent(Exception):
    """The client went on sending far beyond the limit; it cannot be answered in order any more."""


async def read_content(
    reader: asyncio.StreamReader, share: DataShare, max_bytes: int, on_piece: Callable[[], None]
) -> bytes | Reply:
    """The content, dots unstuffed and line ends CR LF; or the reply to content that was read and thrown away.

    `on_piece` is called for each piece that arrived. Raises `EndlessContent` and `asyncio.IncompleteReadError`.
    """
    # As if the line end after DATA were part of it, so that a first line is like every other.
    reader._buffer[:0] = b"\r\n"  # type: ignore[attr-defined]
    unstuffer = _Unstuffer()
    refusal: Reply | None = None
    read_bytes = 0
    is_last = False
    while not is_last:
        piece, is_last = await _next_piece(reader)
        on_piece()
        read_bytes += len(piece)
        if read_bytes > 4 * max_bytes:
            raise EndlessContent
        if refusal is None:
            lines = unstuffer.take(piece)
            if unstuffer.size_bytes > max_bytes + len(b"\r\n"):
                refusal = TOO_LARGE
            elif not share.grow(len(lines)):
                refusal = NO_ROOM
        if refusal is not None:
            unstuffer = _Unstuffer()
            share.give_back()
    return refusal or unstuffer.content()


async def _next_piece(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """Up to the final dot, or as much as is surely before it; and whether the dot was there (it is cut off)."""
    try:
        piece = await reader.readuntil(_END)
    except asyncio.LimitOverrunError as error:
        return await reader.readexactly(error.consumed), False
    return piece[: -len(b".\r\n")], True


class _Unstuffer:
    """Undoes dot-stuffing (RFC 5321 §4.5.2) and normalises line ends, piece by piece."""

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._done_bytes = 0
        self._held_back = b""

    @property
    def size_bytes(self) -> int:
        return self._done_bytes + len(self._held_back)

    def take(self, piece: bytes) -> bytes:
        """The lines that became certain with `piece`."""
        piece = self._held_back + piece
        # What a dot, or a line feed, at the start of the next piece would belong to.
        certain = len(piece) - (2 if piece.endswith(b"\r\n") else 1 if piece.endswith(b"\r") else 0)
        self._held_back = piece[certain:]
        lines = with_crlf(piece[:certain].replace(b"\r\n.", b"\r\n"))
        self._done.append(lines)
        self._done_bytes += len(lines)
        return lines

    def content(self) -> bytes:
        """All of it, without the line end that `read_content` put in front."""
        content = b"".join([*self._done, self._held_back])
        return content[len(b"\r\n") :]

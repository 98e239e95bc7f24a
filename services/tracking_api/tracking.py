"""Opens and clicks: answered by any node with nothing but the key, once the event is safe.

There is no cookie and no session, and nothing else is asked: neither database nor broker has to be there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from starlette.types import ASGIApp, Receive, Scope, Send

from services.tracking_api.journal import JournalFull
from shared.contracts.events import ReadEvent
from shared.core.machines import PREFETCH_FIELDS, sign_of_request
from shared.core.readings import MachineSign
from shared.core.tracking import Reader, TrackedLinks

#: One transparent pixel (GIF89a).
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
_LOOKED_AT = frozenset(name.encode() for name in ("user-agent", *PREFETCH_FIELDS))

#: Every request is to be seen, by nobody but us.
_COMMON = [
    (b"cache-control", b"no-store, private"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
    (b"x-content-type-options", b"nosniff"),
]
_IMAGE = [*_COMMON, (b"content-type", b"image/gif"), (b"content-length", str(len(PIXEL)).encode())]


class Records(Protocol):
    """Takes an event for good, or raises `JournalFull`."""

    async def record(self, event: ReadEvent) -> None: ...


class _Tracked:
    """Answers GET and HEAD once their event is safe; `unknown` and `unavailable` answer everything else."""

    def __init__(self, links: TrackedLinks, recorder: Records, unknown: ASGIApp, unavailable: ASGIApp) -> None:
        self._links = links
        self._recorder = recorder
        self._unknown = unknown
        self._unavailable = unavailable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._read(scope["path_params"]) if scope["method"] in ("GET", "HEAD") else None
        if found is None:
            await self._unknown(scope, receive, send)
            return
        reader, url = found
        now = datetime.now(UTC)
        event = ReadEvent(_new_id(now), now, reader.mailing_id, reader.delivery_id, url, _sign_of(scope))
        try:
            await self._recorder.record(event)
        except JournalFull:
            await self._unavailable(scope, receive, send)
            return
        if url is None:
            await _answer(send, 200, _IMAGE, PIXEL)
        else:
            await _answer(send, 302, [*_COMMON, (b"location", url.encode("ascii")), (b"content-length", b"0")], b"")

    def _read(self, parameters: Mapping[str, str]) -> tuple[Reader, str | None] | None:
        """Whose copy the address stood in, and where it leads; `None` when it is none of ours."""
        raise NotImplementedError


class Clicks(_Tracked):
    """302 to where the link of the copy leads."""

    def _read(self, parameters: Mapping[str, str]) -> tuple[Reader, str | None] | None:
        click = self._links.read_click(parameters["token"], parameters["target"])
        return None if click is None else (click.reader, click.url)


class Opens(_Tracked):
    """An image of one pixel."""

    def _read(self, parameters: Mapping[str, str]) -> tuple[Reader, str | None] | None:
        reader = self._links.read_open(parameters["token"])
        return None if reader is None else (reader, None)


def _sign_of(scope: Scope) -> MachineSign | None:
    fields = {name: value for name, value in scope["headers"] if name in _LOOKED_AT}
    agent = fields.pop(b"user-agent", b"").decode("latin-1")
    peer = scope["client"][0] if scope.get("client") else ""
    return sign_of_request(scope["method"], agent, [value.decode("latin-1") for value in fields.values()], peer)


def _new_id(now: datetime) -> UUID:
    """Ids of one time are neighbours (RFC 9562 §5.7)."""
    number = int(now.timestamp() * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=number & ~(0xF << 76 | 0b11 << 62) | 7 << 76 | 0b10 << 62)


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

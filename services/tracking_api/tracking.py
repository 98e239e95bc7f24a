"""Opens and clicks: answered by any node with nothing but the key, once the event is safe.

There is no cookie and no session, and nothing else is asked: neither database nor broker has to be there.
"""

from __future__ import annotations

import os
from asyncio import Future
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from services.tracking_api.journal import JournalFull
from shared.contracts.events import ReadEvent
from shared.core.machines import PREFETCH_FIELDS, sign_of_request
from shared.core.moments import RANDOM_OCTETS, id_at
from shared.core.tracking import TrackedLinks

#: One transparent pixel (GIF89a).
PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
PREFETCH_NAMES = frozenset(name.encode() for name in PREFETCH_FIELDS)

Headers = Sequence[tuple[bytes, bytes]]

#: Every request is to be seen, by nobody but us.
_COMMON: Headers = (
    (b"cache-control", b"no-store, private"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
    (b"x-content-type-options", b"nosniff"),
)
_IMAGE: Headers = (*_COMMON, (b"content-type", b"image/gif"), (b"content-length", str(len(PIXEL)).encode()))
_REDIRECT: Headers = (*_COMMON, (b"content-length", b"0"))


class Records(Protocol):
    """Takes events; what comes back is done when the event is safe, or raises `JournalFull`."""

    def record(self, event: ReadEvent) -> Future[None]: ...


class Tracking:
    """What requests for a copy's links and its image mean."""

    def __init__(self, links: TrackedLinks, recorder: Records) -> None:
        self._links = links
        self.record = recorder.record

    def event_of(
        self, method: str, token: str, target: str | None, *, agent: str, prefetch: Sequence[str], peer: str
    ) -> ReadEvent | None:
        """What is to be recorded of a request for a link or (no `target`) an image; `None` when it is none of ours.

        `agent`, `prefetch` and `peer` as `sign_of_request` takes them.
        """
        if method not in ("GET", "HEAD"):
            return None
        if target is None:
            reader, url = self._links.read_open(token), None
        else:
            click = self._links.read_click(token, target)
            reader, url = (click.reader, click.url) if click else (None, None)
        if reader is None:
            return None
        now = datetime.now(UTC)
        sign = sign_of_request(method, agent, prefetch, peer)
        return ReadEvent(id_at(now, os.urandom(RANDOM_OCTETS)), now, reader.mailing_id, reader.delivery_id, url, sign)


def answer_to(url: str | None) -> tuple[int, Headers, bytes]:
    """Status, header fields and content, once the event is safe: 302 to where the link leads, or the image."""
    if url is None:
        return 200, _IMAGE, PIXEL
    return 302, (*_REDIRECT, (b"location", url.encode("ascii"))), b""


class TrackedApp:
    """The ASGI application behind the addresses; `unknown` and `unavailable` answer what is not ours or not safe."""

    def __init__(self, tracking: Tracking, unknown: ASGIApp, unavailable: ASGIApp) -> None:
        self._tracking = tracking
        self._unknown = unknown
        self._unavailable = unavailable

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        event = self._event_of(scope, scope["path_params"])
        if event is None:
            await self._unknown(scope, receive, send)
            return
        try:
            await self._tracking.record(event)
        except JournalFull:
            await self._unavailable(scope, receive, send)
            return
        status, headers, body = answer_to(event.url)
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        await send({"type": "http.response.body", "body": body})

    def _event_of(self, scope: Scope, parameters: Mapping[str, str]) -> ReadEvent | None:
        fields: Headers = scope["headers"]
        agent = next((value for name, value in reversed(fields) if name == b"user-agent"), b"")
        return self._tracking.event_of(
            scope["method"],
            parameters["token"],
            parameters.get("target"),
            agent=agent.decode("latin-1"),
            prefetch=[value.decode("latin-1") for name, value in fields if name in PREFETCH_NAMES],
            peer=scope["client"][0] if scope.get("client") else "",
        )

"""What readers' requests find. GET, HEAD and OPTIONS never change anything: scanners follow links, only POST acts.

There is no cookie and no session: who may do what is in the token alone, so a request that another site makes a browser
send grants nothing that the mailed link did not grant.
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from services.tracking_api import pages
from services.tracking_api.desk import Desk
from services.tracking_api.forms import TooLarge, body_of, fields
from services.tracking_api.moderation import ModerationPages
from services.tracking_api.tracking import TrackedApp, Tracking
from shared.core.address import Address, InvalidAddress
from shared.core.digest import DigestFormat
from shared.core.links import CONFIRM_PATH, LEAVE_PATH, PREFERENCES_PATH
from shared.core.membership import DeliveryMode
from shared.core.subscription import RequestAction
from shared.core.tokens import Purpose
from shared.core.tracking import CLICK_PATH, OPEN_PATH, OPEN_SUFFIX
from shared.runtime.subscriptions import Confirmed
from shared.store.engine import StoreUnavailable

_ACTIONS = {action.value: action for action in (RequestAction.JOIN, RequestAction.LEAVE, RequestAction.PREFERENCES)}
RETRY_AFTER_SECONDS = 60
_RETRY = {"Retry-After": str(RETRY_AFTER_SECONDS)}


def application(desk: Desk, base: str = "", *, tracking: Tracking | None = None) -> Starlette:
    """Opens and clicks, subscription pages, `/healthz` for the load balancer in front, and one page for all that is not
    known. `base` is the path that the public URL ends with."""
    web = _Web(desk, base)
    unknown = _Unknown()
    tracked = []
    if tracking is not None:
        answer = TrackedApp(tracking, unknown, _html(pages.UNAVAILABLE, 503, _RETRY))
        tracked = [
            Route(CLICK_PATH + "{token}/{target}", answer),
            Route(OPEN_PATH + "{token}" + OPEN_SUFFIX, answer),
        ]
    return Starlette(
        routes=[
            *tracked,
            Route("/healthz", _healthz),
            Route("/lists/{address}", web.list_page),
            Route("/lists/{address}/{action}", web.ask, methods=["POST"]),
            Route(CONFIRM_PATH + "{token}", web.confirm, methods=["GET", "POST"]),
            Route(LEAVE_PATH + "{token}", web.leave, methods=["GET", "POST"]),
            Route(PREFERENCES_PATH + "{token}", web.preferences, methods=["GET", "POST"]),
            *ModerationPages(desk, base).routes(),
            Route("/{path:path}", unknown),
        ],
        exception_handlers={StoreUnavailable: _unavailable, TooLarge: _too_large, ClientDisconnect: _gone},
    )


class _Web:
    """The handlers."""

    def __init__(self, desk: Desk, base: str) -> None:
        self._desk = desk
        self._base = base

    async def list_page(self, request: Request) -> Response:
        found = await self._desk.find_list(request.path_params["address"])
        if found is None:
            return _unknown()
        return _html(pages.list_page(self._base, found.address, found.display_name, may_join=found.may_join))

    async def ask(self, request: Request) -> Response:
        """The same answer, after the same statements, whatever the address is; a scheduler looks at it afterwards."""
        form = fields(await body_of(request))
        action = _ACTIONS.get(request.path_params["action"])
        found = await self._desk.find_list(request.path_params["address"])
        if action is None or found is None:
            return _unknown()
        try:
            address = Address.parse(form.get("email", "").strip())
        except InvalidAddress:
            return _html(pages.NO_ADDRESS, 422)
        if not await self._desk.may_ask(request.client.host if request.client else ""):
            return _html(pages.TOO_MANY, 429, {"Retry-After": "3600"})
        request_id = await self._desk.ask(found.id, address, action)
        return _html(pages.ASKED, background=BackgroundTask(self._desk.tell, request_id))

    async def confirm(self, request: Request) -> Response:
        token = request.path_params["token"]
        request_id = self._desk.number(Purpose.CONFIRM, token)
        if request_id is None:
            return _unknown()
        if request.method != "POST":
            found = await self._desk.to_confirm(request_id)
            if found is None:
                return _unknown()
            return _html(
                pages.confirm_page(
                    self._base,
                    token,
                    list_address=found.list_address,
                    recipient=found.recipient,
                    what=found.action.value,
                )
            )
        await body_of(request)
        confirmed, consequences = await self._desk.confirm(request_id)
        if confirmed is Confirmed.GONE:
            return _unknown()
        done = pages.DONE if confirmed is Confirmed.DONE else pages.PENDING
        return _html(done, background=BackgroundTask(self._desk.follow, consequences))

    async def leave(self, request: Request) -> Response:
        """RFC 8058: a POST is answered without cookie or redirect. Its body says nothing that the link does not."""
        token = request.path_params["token"]
        member_id = self._desk.number(Purpose.LEAVE, token)
        if member_id is None:
            return _unknown()
        if request.method == "POST":
            await body_of(request)
            consequences = await self._desk.leave(member_id)
            return _html(pages.LEFT, background=BackgroundTask(self._desk.follow, consequences))
        try:
            list_address = await self._desk.list_of(member_id)
        except StoreUnavailable:
            list_address = ""  # The button works all the same.
        if list_address is None:
            return _unknown()
        return _html(pages.leave_page(self._base, token, list_address=list_address))

    async def preferences(self, request: Request) -> Response:
        token = request.path_params["token"]
        member_id = self._desk.number(Purpose.PREFERENCES, token)
        if member_id is None:
            return _unknown()
        form = fields(await body_of(request)) if request.method == "POST" else {}
        if "leave" in form:
            consequences = await self._desk.leave(member_id)
            return _html(pages.LEFT, background=BackgroundTask(self._desk.follow, consequences))
        mode, named = form.get("mode", ""), form.get("digest_format", "")
        is_saved = mode in set(DeliveryMode)
        if is_saved:
            digest_format = DigestFormat(named) if named in set(DigestFormat) else None
            found = await self._desk.set_mode(member_id, DeliveryMode(mode), digest_format)
        else:
            found = await self._desk.settings(member_id)
        if found is None:
            return _unknown()
        return _html(
            pages.preferences_page(
                self._base,
                token,
                list_address=found.list_address,
                recipient=found.recipient,
                mode=found.mode,
                digest_format=found.digest_format,
                is_saved=is_saved,
            )
        )


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("ok\n", headers=pages.HEADERS)


class _Unknown:
    """The same answer for every method and path, so that it tells nothing about a token."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _unknown()(scope, receive, send)


def _html(
    page: str, status: int = 200, headers: dict[str, str] | None = None, background: BackgroundTask | None = None
) -> Response:
    return HTMLResponse(page, status, {**pages.HEADERS, **(headers or {})}, background=background)


def _unknown() -> Response:
    return _html(pages.UNKNOWN, 404)


async def _unavailable(_request: Request, _error: Exception) -> Response:
    return _html(pages.UNAVAILABLE, 503, _RETRY)


async def _too_large(_request: Request, _error: Exception) -> Response:
    return _html(pages.TOO_LARGE, 413, {"Connection": "close"})


async def _gone(_request: Request, _error: Exception) -> Response:
    return _html(pages.UNAVAILABLE, 400)

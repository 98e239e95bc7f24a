"""The demo inbox's page and its figures as JSON. Mail is hostile: everything is escaped, no script may run."""

from __future__ import annotations

from html import escape

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploy.local.inbox import Counted, Inbox, Mail

_SAFETY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
td { overflow-wrap: anywhere; } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #8881; padding: 1rem; border-radius: .4rem; }
.quiet { opacity: .7; }
"""


def application(inbox: Inbox) -> Starlette:
    """`/` the newest mail, `/mail/{number}` one message, `/api/summary` the counts, `/healthz`."""

    async def index(_request: Request) -> Response:
        return _page("Demo inbox", _counts(inbox) + _newest(inbox))

    async def mail(request: Request) -> Response:
        found = inbox.mail(request.path_params["number"])
        if found is None:
            return _page("Not here", "<p>This message is not kept any more. <a href='/'>Newest mail</a></p>", 404)
        return _page(found.subject or "(no subject)", _whole(found))

    async def summary(request: Request) -> Response:
        """Newest message last; `message_id=...` picks one, and adds its copies by recipient."""
        wanted = request.query_params.get("message_id")
        if wanted is None:
            return JSONResponse({"total": inbox.total, "messages": [_figures(one) for one in inbox.counted.values()]})
        counted = inbox.counted.get(wanted)
        if counted is None:
            return JSONResponse({"total": inbox.total, "messages": []})
        figures = _figures(counted) | {"copies_per_recipient": counted.per_recipient}
        return JSONResponse({"total": inbox.total, "messages": [figures]})

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            Route("/", index),
            Route("/mail/{number:int}", mail),
            Route("/api/summary", summary),
            Route("/healthz", healthz),
        ]
    )


def _figures(counted: Counted) -> dict[str, object]:
    return {
        "message_id": counted.message_id,
        "subject": counted.subject,
        "copies": counted.per_recipient.total(),
        "recipients": len(counted.per_recipient),
        "recipients_by_copies": counted.recipients_by_copies,
        "copies_by_client": counted.per_client,
        "seconds": round(counted.last_seconds - counted.first_seconds, 3),
    }


def _counts(inbox: Inbox) -> str:
    if not inbox.counted:
        return "<p>No mail yet. Whatever Listfleet sends on this machine arrives here.</p>"
    rows = "".join(
        f"<tr><td>{escape(one.subject) or '(no subject)'}</td><td class=number>{len(one.per_recipient)}</td>"
        f"<td class=number>{one.per_recipient.total()}</td>"
        f"<td>{', '.join(f'{many} with {copies}' for copies, many in one.recipients_by_copies.items())}</td></tr>"
        for one in list(reversed(inbox.counted.values()))[:20]
    )
    return (
        f"<h2>Messages</h2><p class=quiet>{inbox.total} copies since the start.</p>"
        "<table><tr><th>Subject<th class=number>Recipients<th class=number>Copies<th>Recipients by copies</tr>"
        f"{rows}</table>"
    )


def _newest(inbox: Inbox) -> str:
    if not inbox.newest:
        return ""
    rows = "".join(
        f"<tr><td>{mail.caught_at:%H:%M:%S}</td><td>{escape(', '.join(mail.recipients))}</td>"
        f"<td><a href='/mail/{mail.number}'>{escape(mail.subject) or '(no subject)'}</a></td></tr>"
        for mail in list(reversed(inbox.newest))[:50]
    )
    return f"<h2>Newest copies</h2><table><tr><th>Time (UTC)<th>To<th>Subject</tr>{rows}</table>"


def _whole(mail: Mail) -> str:
    shown = escape(mail.content.decode("utf-8", "replace"))
    cut = "" if len(mail.content) == mail.size_bytes else f"<p class=quiet>Cut; it has {mail.size_bytes:,} bytes.</p>"
    return (
        f"<p><a href='/'>Newest mail</a></p><table><tr><th>Envelope sender<td>{escape(mail.sender)}</tr>"
        f"<tr><th>Envelope recipients<td>{escape(', '.join(mail.recipients))}</tr>"
        f"<tr><th>Sent by<td>{escape(mail.node)}</tr></table><pre>{shown}</pre>{cut}"
    )


def _page(title: str, body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>",
        status,
        headers=_SAFETY,
    )

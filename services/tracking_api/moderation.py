"""A held post's page: what it is, and a button for each decision. GET changes nothing; a POST decides, once."""

from __future__ import annotations

from html import escape

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from services.tracking_api import pages
from services.tracking_api.desk import Desk
from services.tracking_api.forms import body_of, fields
from shared.core.held_post import HeldDecision
from shared.core.links import MODERATION_PATH
from shared.core.tokens import Purpose
from shared.mail.words import clean
from shared.runtime.moderation import CHOICES
from shared.store.held_posts import Held

MAX_REASON_CHARACTERS = 1000

_BUTTONS = {
    "approve": "Let the members have it",
    "reject": "Reject it",
    "discard": "Put it away, and tell nobody",
    "ban": "Put it away, and refuse whatever else comes from this address",
}
_DONE = {
    HeldDecision.APPROVED: "The members get the post",
    HeldDecision.REJECTED: "The post is rejected",
    HeldDecision.DISCARDED: "The post is put away",
    HeldDecision.BANNED: "The post is put away, and its author is banned",
    HeldDecision.EXPIRED: "Nobody decided about this post in time",
}


class ModerationPages:
    """The handlers."""

    def __init__(self, desk: Desk, base: str) -> None:
        self._desk = desk
        self._base = base

    def routes(self) -> list[Route]:
        """Below the path that the links in moderators' mail have."""
        return [Route(MODERATION_PATH + "{token}/{choice}", self.decide, methods=["GET", "POST"])]

    async def decide(self, request: Request) -> Response:
        """The page of one post; its state says whether the token was used."""
        token, choice = request.path_params["token"], request.path_params["choice"]
        held_id = self._desk.number(Purpose.MODERATE, token)
        if held_id is None or choice not in CHOICES:
            return _html(pages.UNKNOWN, 404)
        if request.method == "POST":
            reason = clean(fields(await body_of(request)).get("reason", ""))[:MAX_REASON_CHARACTERS]
            decided = await self._desk.decide(held_id, CHOICES[choice], reason)
            if decided is not None:
                after = BackgroundTask(self._desk.follow, decided.consequences)
                told = "The author gets a mail about it." if decided.is_author_told else "The author gets no mail."
                return _html(pages.page(_DONE[CHOICES[choice]], f"<p>{told}</p>"), background=after)
        held = await self._desk.held_post(held_id)
        if held is None:
            return _html(pages.UNKNOWN, 404)
        if held.decision is not None:
            # The same for a second POST: the first decision stands.
            at = f"{held.decided_at:%Y-%m-%d %H:%M} UTC"
            return _html(pages.page(_DONE[held.decision], f"<p>Decided {at}; that stands.</p>"), 409)
        return _html(_page(f"{self._base}{MODERATION_PATH}{token}", held, choice))


def _page(path: str, held: Held, choice: str) -> str:
    known = "SPF or DKIM shows it." if held.is_author_proven else "Nothing shows it: anybody may have written this."
    facts = {
        "List": held.list_address,
        "From": f"{held.author}. {known}",
        "Subject": held.subject or "(no subject)",
        "Size": f"{held.size_bytes:,} bytes",
        "Held because": held.because,
    }
    listed = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    others = "\n".join(_form(path, held, other) for other in CHOICES if other != choice)
    return pages.page(
        "A post waits for you", f"<dl>{listed}</dl>", _form(path, held, choice), "<h2>Or else</h2>", others
    )


def _form(path: str, held: Held, choice: str) -> str:
    reason = ""
    if choice == "reject":
        who = "the author is told" if held.is_author_proven else "kept here: the author is not known for sure"
        reason = (
            f'<label for="reason">Why ({who})</label>'
            f'<input type="text" id="reason" name="reason" maxlength="{MAX_REASON_CHARACTERS}"> '
        )
    return (
        f'<form method="post" action="{escape(f"{path}/{choice}")}">{reason}<button>{_BUTTONS[choice]}</button></form>'
    )


def _html(page: str, status: int = 200, background: BackgroundTask | None = None) -> Response:
    return HTMLResponse(page, status, pages.HEADERS, background=background)

"""Every copy says how to leave: to programs in its header (RFC 8058), and to people in its text."""

from __future__ import annotations

from shared.core.links import UNSUBSCRIBE_FIELD
from shared.core.preflight.draft import Draft
from shared.core.preflight.finding import WHOLE, Finding, Place, refused, warned

_FIELD = f"{{{{{UNSUBSCRIBE_FIELD}}}}}"


def unsubscribe(draft: Draft) -> list[Finding]:
    texts = draft.texts
    if not draft.has_pages:
        because = "there is no public URL for its pages (LISTFLEET_PUBLIC_URL)"
        if texts.with_unsubscribe_field:
            place = Place(min(texts.with_unsubscribe_field))
            return [refused("no_unsubscribe_page", place, f"{_FIELD} leads nowhere: {because}.")]
        if not _has_link(draft):
            mend = f"Let people leave: set the public URL, or link to a page of yours; as it is, {because}."
            return [refused("no_unsubscribe_link", WHOLE, mend)]
        return []
    written = [name for name, value in (("text", texts.text), ("html", texts.html)) if value.strip()]
    if _has_link(draft):
        written = [name for name in written if name != "html"]
    return [
        warned("no_unsubscribe_link", Place(name), f"Say how to leave: put {_FIELD} where readers look for it.")
        for name in written
        if name not in texts.with_unsubscribe_field
    ]


def _has_link(draft: Draft) -> bool:
    """Whether a link of the HTML looks like one of the author's own for leaving."""
    return any(
        word in link.address.lower()
        for link in draft.texts.links
        for word in ("unsubscribe", "optout", "opt-out", "-leave@")
    )

"""There is something to read, for readers without HTML too."""

from __future__ import annotations

from shared.core.preflight.draft import Draft
from shared.core.preflight.finding import Finding, Place, refused, warned


def text(draft: Draft) -> list[Finding]:
    texts = draft.texts
    if not texts.text.strip() and not texts.html.strip():
        return [refused("no_text", Place("text"), "Write a text, or HTML.")]
    if not texts.html.strip() and texts.preheader:
        mend = "The preheader is not shown: it stands in the HTML, and there is none."
        return [warned("preheader_not_shown", Place("preheader"), mend)]
    if not texts.text.strip():
        mend = "The plain text is made from the HTML: look at it in the preview, or write one."
        return [warned("text_is_made", Place("text"), mend)]
    return []

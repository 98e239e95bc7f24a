"""What is too large is cut off by readers' programs, or refused by their servers."""

from __future__ import annotations

from shared.core.preflight.draft import Draft
from shared.core.preflight.finding import WHOLE, Finding, Place, refused, warned

#: Gmail shows so much HTML, and a link to the rest: which hides the link for leaving.
CLIPPED_ABOVE_BYTES = 102 * 1024
#: What nearly all servers take.
MAX_MESSAGE_BYTES = 25 * 1024 * 1024


def size(draft: Draft) -> list[Finding]:
    found = []
    if draft.message_bytes > MAX_MESSAGE_BYTES:
        mend = (
            f"Take attachments out, or link to them: the mail has {draft.message_bytes:,} bytes, and servers take"
            f" {MAX_MESSAGE_BYTES:,}."
        )
        found.append(refused("too_large", WHOLE, mend))
    if draft.html_bytes > CLIPPED_ABOVE_BYTES:
        mend = (
            f"Shorten the HTML: it has {draft.html_bytes:,} bytes, and Gmail cuts it off at"
            f" {CLIPPED_ABOVE_BYTES:,} (102 kB)."
        )
        found.append(warned("html_is_clipped", Place("html"), mend))
    return found

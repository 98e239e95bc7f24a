"""The large providers take newsletters with a DKIM signature only."""

from __future__ import annotations

from shared.core.preflight.draft import Draft
from shared.core.preflight.finding import Finding, Place, warned


def signing(draft: Draft) -> list[Finding]:
    if draft.sender.has_signing_key:
        return []
    mend = f"Nothing signs mail of {draft.sender.return_domain}: make a key for it, publish it and activate it."
    return [warned("no_dkim_key", Place("lists"), mend)]

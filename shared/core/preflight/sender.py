"""Receivers ask whether the domain in From stands behind the mail (DMARC, RFC 9989)."""

from __future__ import annotations

from shared.core.dmarc import PublishedPolicy
from shared.core.preflight.draft import Alignment, Draft
from shared.core.preflight.finding import Finding, Place, refused, warned

_PLACE = Place("from_address")


def sender(draft: Draft) -> list[Finding]:
    sent = draft.sender
    if sent.alignment is Alignment.ALIGNED:
        return []
    instead = f"send it from an address in {sent.return_domain}, and let answers go to the other one (reply_to_address)"
    if sent.alignment is Alignment.UNKNOWN:
        mend = f"The DNS does not say now whether {sent.from_domain} lets you send this: look again, or {instead}."
        return [warned("alignment_unknown", _PLACE, mend)]
    if sent.policy is PublishedPolicy.NONE:
        mend = f"Servers that want aligned mail refuse this, since {sent.return_domain} signs it: {instead}."
        return [warned("unaligned_from", _PLACE, mend)]
    mend = f"{sent.from_domain} asks that servers {sent.policy.value} what it did not sign itself: {instead}."
    return [refused("unaligned_from", _PLACE, mend)]

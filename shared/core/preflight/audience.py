"""Somebody gets it."""

from __future__ import annotations

from shared.core.preflight.draft import Draft
from shared.core.preflight.finding import Finding, Place, warned


def audience(draft: Draft) -> list[Finding]:
    if draft.has_audience is not False:
        return []
    return [warned("no_audience", Place("lists"), "Nobody would get it now: look at the lists and the segment.")]

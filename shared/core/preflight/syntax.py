"""A text whose merge fields or conditions are not well formed would show its braces to everybody."""

from __future__ import annotations

from shared.core.preflight.draft import Texts
from shared.core.preflight.finding import Finding, refused


def syntax(texts: Texts) -> list[Finding]:
    return [refused("syntax", fault.place, f"Mend the merge field: {fault.because}.") for fault in texts.faults]

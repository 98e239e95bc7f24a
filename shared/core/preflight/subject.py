"""Without a subject, mail looks broken, and many servers take it for spam."""

from __future__ import annotations

from shared.core.preflight.draft import Draft
from shared.core.preflight.finding import Finding, Place, refused


def subject(draft: Draft) -> list[Finding]:
    if draft.texts.subject.strip():
        return []
    return [refused("no_subject", Place("subject"), "Write a subject.")]

"""What is to be said of a newsletter before it is sent, one rule a file. The rules ask for nothing: all they know is in
the `Draft`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.core.preflight.audience import audience
from shared.core.preflight.draft import Draft, Texts
from shared.core.preflight.elements import elements
from shared.core.preflight.finding import Finding, Severity
from shared.core.preflight.images import images
from shared.core.preflight.links import links
from shared.core.preflight.merge_fields import merge_fields
from shared.core.preflight.sender import sender
from shared.core.preflight.signing import signing
from shared.core.preflight.size import size
from shared.core.preflight.subject import subject
from shared.core.preflight.syntax import syntax
from shared.core.preflight.text import text
from shared.core.preflight.unsubscribe import unsubscribe

#: Of the texts alone: what these refuse is refused as soon as it is written.
RULES_OF_TEXTS: tuple[Callable[[Texts], Sequence[Finding]], ...] = (syntax, elements)
RULES: tuple[Callable[[Draft], Sequence[Finding]], ...] = (
    subject,
    text,
    merge_fields,
    unsubscribe,
    sender,
    signing,
    size,
    links,
    images,
    audience,
)


def faults_of(texts: Texts) -> list[Finding]:
    """What can never be sent, wherever it is written."""
    found = [finding for rule in RULES_OF_TEXTS for finding in rule(texts)]
    return [finding for finding in found if finding.severity is Severity.REFUSE]


def judge(draft: Draft) -> list[Finding]:
    """All findings: what refuses it first, otherwise in the rules' order."""
    found = [finding for rule in RULES_OF_TEXTS for finding in rule(draft.texts)]
    found += [finding for rule in RULES for finding in rule(draft)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.REFUSE)

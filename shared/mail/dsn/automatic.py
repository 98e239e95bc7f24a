"""Answers of programs that are no bounces: vacation notes, receipts, challenges (RFC 3834, RFC 8098)."""

from __future__ import annotations

from shared.mail.dsn.letter import Letter
from shared.mail.dsn.phrases import CHALLENGES
from shared.mail.dsn.report import Finding, FindingKind

RECEIPT = "message/disposition-notification"


def is_answer(letter: Letter) -> bool:
    """Whether a program answers a person's mail here. A server's report of failure is not asked this."""
    return letter.is_an_answer or is_challenge(letter)


def is_challenge(letter: Letter) -> bool:
    """Whether a filter wants the sender to show that a person wrote."""
    return CHALLENGES.are_in(letter.subject)


def finding(letter: Letter) -> Finding:
    """The finding about the one who answers."""
    return Finding(FindingKind.AUTO_REPLY, letter.author)

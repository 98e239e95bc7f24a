"""What a message that came to a return path reports: bounces, delays, complaints, automatic answers, or nothing.

`read` asks the readers in this order, the exact before the guessing: reports for machines (`delivery_status`,
`feedback`), answers of programs (`automatic`), notices for people (`notices`). It never raises, whatever the bytes are,
and is bounded (`parts`); services call it in a thread.
"""

from __future__ import annotations

from shared.mail.dsn import automatic, delivery_status, feedback, notices
from shared.mail.dsn.letter import Letter, letter_of
from shared.mail.dsn.notice import notice_of
from shared.mail.dsn.parts import MAX_READ_BYTES, MAX_TEXT_BYTES
from shared.mail.dsn.report import Finding, FindingKind, Reading

__all__ = ["MAX_READ_BYTES", "Finding", "FindingKind", "Reading", "read"]


def read(raw: bytes, envelope_sender: str | None = None) -> Reading:
    """What `raw` reports. `envelope_sender` is the SMTP session's, '' for the null sender, `None` when not known."""
    letter = letter_of(raw, envelope_sender)
    wrapped = letter.wrapped
    if wrapped is not None:
        letter, raw = letter_of(wrapped, envelope_sender), wrapped
    findings = _findings(letter, raw)
    returned = letter.returned
    octets = b"" if returned is None else returned.octets[:MAX_TEXT_BYTES]
    return Reading(tuple(findings) or (Finding(FindingKind.NONE),), octets)


def _findings(letter: Letter, raw: bytes) -> list[Finding]:
    types = {part.essence for part in letter.parts}
    if feedback.TYPE in types:
        return feedback.read(letter)
    if types & delivery_status.TYPES and letter.may_report and not letter.is_a_persons:
        explanation = "\n".join(notice_of(text).text for text in letter.texts[:1])
        found = delivery_status.read(letter.parts, explanation)
        if found:
            return found
    if automatic.RECEIPT in types and not notices.is_refusal(letter):
        return [automatic.finding(letter)]
    if letter.is_a_persons:
        return [automatic.finding(letter)] if letter.is_an_answer else []
    found = notices.read(letter, raw)
    if found:
        return found
    return [automatic.finding(letter)] if automatic.is_answer(letter) else []

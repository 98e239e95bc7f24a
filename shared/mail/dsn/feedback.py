"""Complaints: message/feedback-report (RFC 5965, with RFC 6591's and RFC 6650's additions)."""

from __future__ import annotations

import re

from shared.core.smtp_reply import clean_text
from shared.mail.dsn.addresses import address_in, addresses_in
from shared.mail.dsn.letter import Letter
from shared.mail.dsn.parts import header_of, value_of
from shared.mail.dsn.report import Finding, FindingKind

TYPE = "message/feedback-report"
#: Types of feedback that are no complaint: a person said the contrary, or a receiver reports failed authentication.
_NO_COMPLAINTS = frozenset({"not-spam", "auth-failure"})
_FIELD = re.compile(r"^([A-Za-z][A-Za-z0-9-]*)[ \t]*:[ \t]*(.*)$", re.MULTILINE)


def read(letter: Letter) -> list[Finding]:
    """The complaint, one finding for each recipient that it names; with none named, one without."""
    report = next(part for part in letter.parts if part.essence == TYPE)
    fields = [(name.lower(), value.strip()) for name, value in _FIELD.findall(report.text)]
    feedback_type = next((value.lower() for name, value in fields if name == "feedback-type"), "abuse")
    kind = FindingKind.NONE if feedback_type in _NO_COMPLAINTS else FindingKind.COMPLAINT
    named = [address_in(value) for name, value in fields if name == "original-rcpt-to"]
    recipients = [address for address in dict.fromkeys(named) if address is not None] or _from_returned(letter)
    reply = clean_text(feedback_type) or None
    return [Finding(kind, recipient, reply=reply) for recipient in recipients or [None]]


def _from_returned(letter: Letter) -> list[str | None]:
    """Whom the returned message was delivered to, when the report does not say: providers often strike it out."""
    returned = letter.returned
    if returned is None:
        return []
    header = header_of(returned.octets)
    for name in ("x-original-to", "delivered-to", "x-hmxmroriginalrecipient", "to"):
        addresses = addresses_in(value_of(header, name))
        if len(addresses) == 1:
            return list(addresses)
    return []

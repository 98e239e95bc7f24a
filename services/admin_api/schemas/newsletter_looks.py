"""Looking at a newsletter before it is sent, as requests and answers say it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.contracts.bodies import Answer, Body, EmailAddress, Moment, OneLine
from shared.core.preflight.finding import Severity

MAX_TEST_ADDRESSES = 10

TestAddresses = Annotated[list[EmailAddress], Field(min_length=1, max_length=MAX_TEST_ADDRESSES)]
MemberName = Annotated[OneLine, Field(min_length=1, max_length=300)]


class FindingAnswer(Answer):
    """What is to be said of a newsletter."""

    code: str
    """The same for all findings of one sort, such as `broken_link`."""
    severity: Severity
    """Refuse: it is not approved as it is. Warn: somebody should have seen this."""
    field: str | None
    """The newsletter's field that it stands in, such as `html`; null for the newsletter as a whole."""
    line: int | None
    """The line of that field, the first is 1; null for the field as a whole."""
    column: int | None
    """The character of that line, the first is 1; null for the field as a whole."""
    mend: str
    """What is wrong and what mends it, in one sentence."""


class PreflightAnswer(Answer):
    """What is wrong with a newsletter."""

    is_refused: bool
    """Whether it cannot be approved as it is."""
    findings: list[FindingAnswer]
    """What refuses it first. Empty: nothing is wrong."""
    updated_at: Moment
    """Which state of the newsletter this is about."""


class PreviewAnswer(Answer):
    """A member's copy, before it is sent: links and tokens do nothing for real, and it is not signed."""

    member: str | None
    """The member's address; null: the copy of somebody of whom nothing is known, with the defaults."""
    subject: str
    """The subject, filled in."""
    text: str
    """The plain text, filled in; made from the HTML where none was written."""
    html: str
    """The HTML, filled in; empty for none."""
    raw: str
    """The whole message, in seven bits, its lines ended by CR LF."""
    size_bytes: int
    """How large the message is, in bytes."""


class NewTestSend(Body):
    """A copy to send to somebody who looks at it. It goes at once, is marked [Test] in its subject, and counts nowhere;
    its links and tokens do nothing for real."""

    to: TestAddresses
    """Where to: 1 to 10 addresses, of members or not."""
    member: MemberName | None = None
    """The member whose values it is filled with: an address or a number, of a member of the newsletter's lists. Null is
    nobody's: the defaults."""


class TestSendAnswer(Answer):
    """A test that is on its way."""

    mailing_id: int
    """How it fares: `GET /mailings/{mailing_id}`, and its deliveries."""
    subject: str
    """The subject it has."""
    to: list[str]
    """Where to."""

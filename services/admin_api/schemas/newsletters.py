"""Newsletters, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from services.admin_api.schemas.base import MAX_ID
from services.admin_api.schemas.lists import AsciiAddress
from services.admin_api.schemas.newsletter_life import ScheduleAnswer, SendingAnswer
from services.admin_api.schemas.newsletter_templates import Name, Preheader, Source, Subject
from services.admin_api.schemas.segments import Lists, MailingNumber, Segment
from shared.contracts.bodies import Answer, Body, Moment, OneLine, may_be_absent
from shared.core.newsletter import NewsletterStage

TemplateNumber = Annotated[int, Field(strict=True, ge=1, le=MAX_ID)]
FromName = Annotated[OneLine, Field(max_length=200)]


class NewNewsletter(Body):
    """A newsletter to make, as a draft. Its texts may hold merge fields, `{{city|your town}}`, and conditions."""

    name: Name
    """What its authors call it; readers do not see it. 1 to 200 characters on one line."""
    lists: Lists
    """The posting addresses of the lists whose members get it, 1 to 100. The first one's name, address and settings are
    its own: it is from there, returns there, and is tracked as that list says."""
    segment: Segment | None = None
    """The condition that members have to meet, a tree; null is everybody. Evaluated when it is sent."""
    unopened_of_mailing_id: MailingNumber | None = None
    """Only to members who got this mailing and did not open it; null is everybody."""
    template_id: TemplateNumber | None = None
    """The template whose subject, preheader, text and HTML it has where they are not given here."""
    from_name: FromName = ""
    """Who it is from, as readers see it: at most 200 characters on one line. Empty is the first list's name."""
    from_address: AsciiAddress | None = None
    """The address it is from; ASCII before the @. Null is the first list's posting address. Of another domain, servers
    may refuse it: the preflight says so."""
    reply_to_address: AsciiAddress | None = None
    """Where answers go; ASCII before the @. Null is to the sender."""
    subject: Subject = may_be_absent()
    """The subject: at most 500 characters on one line."""
    preheader: Preheader = may_be_absent()
    """What mail programs show behind the subject, hidden in the HTML: at most 500 characters on one line."""
    text: Source = may_be_absent()
    """The plain text: at most 1,000,000 characters. Without one, it is made from the HTML when it is sent."""
    html: Source = may_be_absent()
    """The HTML: at most 1,000,000 characters. Empty is none, a newsletter in plain text."""
    not_after_at: Moment | None = None
    """No attempt begins after this moment; null is until its deliveries are given up."""


class NewsletterChange(Body):
    """What to change of a newsletter; what is absent stays as it is."""

    name: Name = may_be_absent()
    """What its authors call it: 1 to 200 characters on one line."""
    lists: Lists = may_be_absent()
    """The posting addresses of all lists whose members get it, 1 to 100; the first gives it its settings."""
    segment: Segment | None = may_be_absent()
    """The condition that members have to meet; null is everybody."""
    unopened_of_mailing_id: MailingNumber | None = may_be_absent()
    """Only to members who got this mailing and did not open it; null is everybody."""
    from_name: FromName = may_be_absent()
    """Who it is from: at most 200 characters on one line. Empty is the first list's name."""
    from_address: AsciiAddress | None = may_be_absent()
    """The address it is from; ASCII before the @. Null is the first list's posting address."""
    reply_to_address: AsciiAddress | None = may_be_absent()
    """Where answers go; ASCII before the @. Null is to the sender."""
    subject: Subject = may_be_absent()
    """The subject: at most 500 characters on one line."""
    preheader: Preheader = may_be_absent()
    """What mail programs show behind the subject: at most 500 characters on one line."""
    text: Source = may_be_absent()
    """The plain text: at most 1,000,000 characters."""
    html: Source = may_be_absent()
    """The HTML: at most 1,000,000 characters."""
    not_after_at: Moment | None = may_be_absent()
    """No attempt begins after this moment; null is until its deliveries are given up."""


class NewsletterRow(Answer):
    """A newsletter, without its texts."""

    id: int
    """The newsletter's number."""
    name: str
    """What its authors call it."""
    state: NewsletterStage
    """*draft*, *approved*, *scheduled*; once it is sent, what its newest mailing does: *running*, *paused*, *finished*,
    *cancelled*. One that recurs stays *scheduled*. One whose task was deleted or paused is *approved* again."""
    lists: list[str]
    """The posting addresses of the lists whose members get it."""
    subject: str
    """The subject, with its merge fields."""
    created_at: Moment
    """When it was made."""
    updated_at: Moment
    """When what is sent was last changed."""
    approved_at: Moment | None
    """When it was approved; null when it is not."""


class NewsletterAnswer(NewsletterRow):
    """A newsletter as it is now."""

    segment: dict[str, Any] | None
    """The condition that members have to meet; null is everybody."""
    unopened_of_mailing_id: int | None
    """Only to members who got this mailing and did not open it; null is everybody."""
    template_id: int | None
    """The template that it was begun with; null for none, and for one that is deleted."""
    from_name: str
    """Who it is from; empty is the first list's name."""
    from_address: str | None
    """The address it is from; null is the first list's posting address."""
    reply_to_address: str | None
    """Where answers go; null is to the sender."""
    preheader: str
    """What mail programs show behind the subject."""
    text: str
    """The plain text; empty: it is made from the HTML."""
    html: str
    """The HTML; empty for none."""
    not_after_at: Moment | None
    """No attempt begins after this moment; null is until its deliveries are given up."""
    schedule: ScheduleAnswer | None
    """What sends it, or has sent it; null when nothing does."""
    mailings: list[SendingAnswer]
    """What was made of it: the newest 20 mailings, newest first."""


class AttachmentAnswer(Answer):
    """A file that goes with a newsletter, or an image in its HTML."""

    id: int
    """The attachment's number."""
    file_name: str
    """What readers see it called."""
    content_type: str
    """What it is, `type/subtype`."""
    content_id: str
    """What the HTML calls it, `cid:…`; empty for a file."""
    size_bytes: int
    """How large it is, before it is encoded for the mail, in bytes."""

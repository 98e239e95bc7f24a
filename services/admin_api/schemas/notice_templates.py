"""Templates of notices, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from services.admin_api.schemas.base import Answer, Body, Moment, OneLine, without_controls
from shared.mail.notice_kinds import NoticeKind

Subject = Annotated[OneLine, StringConstraints(min_length=1, max_length=300)]
Text = Annotated[str, AfterValidator(without_controls), StringConstraints(min_length=1, max_length=20_000)]


class NewNoticeTemplate(Body):
    """What a notice shall say. Placeholders are `{{list_name}}`, and `{{reason|what stands there without one}}`; they
    are filled in as text, once, and nothing else in a template means anything."""

    subject: Subject
    """The subject: 1 to 300 characters on one line."""
    body: Text
    """The text: 1 to 20,000 characters."""


class NoticeTemplateAnswer(Answer):
    """What a notice says."""

    name: NoticeKind
    """The notice it is for."""
    subject: str
    """The subject, with its placeholders."""
    body: str
    """The text, with its placeholders."""
    placeholders: list[str]
    """What this notice's templates may hold between double braces."""
    written_for: str | None
    """Where it stands: the posting address of the list it was written for; `*` where it was written for all lists; null
    for what comes with Listfleet."""
    updated_at: Moment | None
    """When it was written; null for what comes with Listfleet."""

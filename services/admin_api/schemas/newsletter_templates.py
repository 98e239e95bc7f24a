"""Templates of newsletters, as requests and answers say them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from shared.contracts.bodies import Answer, Body, Moment, OneLine, may_be_absent, without_controls

Name = Annotated[OneLine, StringConstraints(min_length=1, max_length=200)]
Subject = Annotated[OneLine, StringConstraints(max_length=500)]
Preheader = Annotated[OneLine, StringConstraints(max_length=500)]
#: The length first: what is far too long is not looked through.
Source = Annotated[str, StringConstraints(max_length=1_000_000), AfterValidator(without_controls)]


class NewTemplate(Body):
    """A template to make. Its texts may hold merge fields and conditions, which are checked for their form only: which
    fields members have is asked of a newsletter."""

    name: Name
    """What people call it, and no other template: 1 to 200 characters on one line."""
    subject: Subject = ""
    """The subject: at most 500 characters on one line."""
    preheader: Preheader = ""
    """What mail programs show behind the subject: at most 500 characters on one line."""
    text: Source = ""
    """The plain text: at most 1,000,000 characters."""
    html: Source = ""
    """The HTML: at most 1,000,000 characters."""


class TemplateChange(Body):
    """What to change of a template; what is absent stays as it is. Newsletters that were begun with it stay as they
    are."""

    name: Name = may_be_absent()
    """What people call it: 1 to 200 characters on one line."""
    subject: Subject = may_be_absent()
    """The subject: at most 500 characters on one line."""
    preheader: Preheader = may_be_absent()
    """What mail programs show behind the subject: at most 500 characters on one line."""
    text: Source = may_be_absent()
    """The plain text: at most 1,000,000 characters."""
    html: Source = may_be_absent()
    """The HTML: at most 1,000,000 characters."""


class TemplateRow(Answer):
    """A template, without its texts."""

    id: int
    """The template's number."""
    name: str
    """What people call it."""
    subject: str
    """The subject."""
    created_at: Moment
    """When it was made."""
    updated_at: Moment
    """When it was last changed."""


class TemplateAnswer(TemplateRow):
    """What newsletters begin with."""

    preheader: str
    """What mail programs show behind the subject."""
    text: str
    """The plain text; empty for none."""
    html: str
    """The HTML; empty for none."""

"""Members, as requests and answers say them."""

from __future__ import annotations

from typing import Any

from services.admin_api.schemas.base import Answer, Body, Moment, may_be_absent
from shared.core.membership import DeliveryMode, MemberRole, MemberStatus
from shared.transfer.member import DisplayName, Fields


class MemberChange(Body):
    """What to change of a member; what is absent stays as it is. Only this makes somebody a subscriber again."""

    display_name: DisplayName = may_be_absent()
    """The member's name. At most 200 characters on one line."""
    status: MemberStatus = may_be_absent()
    """Subscribed, unsubscribed or held."""
    delivery_mode: DeliveryMode = may_be_absent()
    """Mail, digest or nomail."""
    role: MemberRole = may_be_absent()
    """Member, moderator or owner."""
    fields: Fields = may_be_absent()
    """All custom fields from now on; those that are not named are gone."""


class MemberAnswer(Answer):
    """A member of a list."""

    email: str
    """The address, in the spelling it was given in."""
    display_name: str
    """The member's name."""
    status: MemberStatus
    """Whether the member gets mail: subscribed, unsubscribed, or held."""
    delivery_mode: DeliveryMode
    """How a subscribed member gets the posts: mail, digest or nomail."""
    role: MemberRole
    """Member, moderator or owner."""
    fields: dict[str, Any]
    """Custom fields by name."""
    joined_at: Moment
    """When the address came to the list."""


class RejectedRow(Answer):
    """A row of an import that was not taken."""

    line: int
    """The line of the file on which the row begins; the first is 1."""
    because: str
    """What is wrong with it."""


class ImportAnswer(Answer):
    """What became of the rows of an import."""

    added: int
    """Rows that made a new member."""
    updated: int
    """Rows that changed a subscribed member: spelling, name, status, mode, role and fields are the row's."""
    left_alone: int
    """Rows of addresses that are unsubscribed, held or suppressed: an import never brings anybody back."""
    repeated: int
    """Rows in whose place a later row with the same address was taken."""
    rejected: int
    """Rows that were not taken because something is wrong with them."""
    errors: list[RejectedRow]
    """The first 100 rejected rows, in the file's order."""

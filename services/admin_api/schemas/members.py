"""Members, as requests and answers say them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from shared.contracts.bodies import Answer, Body, Moment, may_be_absent
from shared.core.bounce import BounceClass
from shared.core.digest import DigestFormat
from shared.core.membership import BounceKind, DeliveryMode, MemberRole, MemberStatus
from shared.transfer.member import DisplayName, Fields


class MemberChange(Body):
    """What to change of a member; what is absent stays as it is. Only this makes somebody a subscriber again."""

    display_name: DisplayName = may_be_absent()
    """The member's name. At most 200 characters on one line."""
    status: MemberStatus = may_be_absent()
    """Subscribed, unsubscribed or held."""
    delivery_mode: DeliveryMode = may_be_absent()
    """Mail, digest or nomail. Of posts that are in a digest under way, who changes gets each at least once: from digest
    to mail, that digest comes all the same. While the list's digests are off, digest is as mail."""
    digest_format: DigestFormat = may_be_absent()
    """What digests look like: mime, each post whole; or plain, one text (RFC 1153)."""
    role: MemberRole = may_be_absent()
    """Member, moderator or owner."""
    is_moderated: bool = may_be_absent()
    """Whether the member's posts are held for the moderators."""
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
    digest_format: DigestFormat
    """What digests look like: mime or plain."""
    role: MemberRole
    """Member, moderator or owner."""
    is_moderated: bool
    """Whether the member's posts are held for the moderators."""
    fields: dict[str, Any]
    """Custom fields by name."""
    joined_at: Moment
    """When the address came to the list."""
    bounce_score: float
    """Points of the bounces that count; at the list's `bounce_limit` the member is held."""
    bounced_at: Moment | None
    """When the last bounce that counted came; null when none did."""
    held_at: Moment | None
    """When the member was held for bounces; null when it was not."""
    held_because: str | None
    """The class of the bounce that held the member, and the remote's words; null when it was not."""


class BounceAnswer(Answer):
    """What was reported of one delivery to a member."""

    kind: BounceKind
    """A bounce, in the session or later; a delay; or a complaint."""
    bounce_class: BounceClass | None
    """What stood in the way; null for complaints, and for a second until it is known."""
    is_hard: bool
    """Whether it proves that the address is bad."""
    status: str | None
    """The enhanced status code (RFC 3463) of the report; null when it gives none."""
    reply: str
    """The remote's words, at most 1,000 characters."""
    points: float
    """What it added to the member's score."""
    delivery_id: int | None
    """The delivery that failed; null for a complaint that names its member and not which mail."""
    message_id: UUID | None
    """The message that reported it, `GET /messages/{id}`; null for a refusal in our own session."""
    is_probe: bool
    """Whether the mail was a probe, sent to find out whether mail arrives; its bounce counts on any day."""
    happened_at: Moment
    """When it was reported."""


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

"""What a member of a list is, and who may post to it."""

from __future__ import annotations

from enum import StrEnum


class PostingPolicy(StrEnum):
    """Who may post to a list."""

    ANYONE = "anyone"
    #: Members only; everybody else is refused in the session.
    MEMBERS = "members"
    #: Moderators and owners only.
    ANNOUNCEMENT = "announcement"


class MemberStatus(StrEnum):
    """Whether a member gets mail at all."""

    SUBSCRIBED = "subscribed"
    UNSUBSCRIBED = "unsubscribed"
    #: Set aside after bounces.
    HELD = "held"


class DeliveryMode(StrEnum):
    """How a subscribed member wants the posts."""

    MAIL = "mail"
    DIGEST = "digest"
    NOMAIL = "nomail"


class MemberRole(StrEnum):
    """What a member may do on a list."""

    MEMBER = "member"
    MODERATOR = "moderator"
    OWNER = "owner"


class BounceKind(StrEnum):
    """What was reported of a delivery to a member."""

    #: It failed for good, in our session or later.
    BOUNCE = "bounce"
    #: It was late, and still tried.
    DELAY = "delay"
    #: The member, or the provider in the member's name, called it abuse.
    COMPLAINT = "complaint"

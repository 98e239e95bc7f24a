"""How an address comes to a list and leaves it: what is asked, and what has to come before it is done."""

from __future__ import annotations

from enum import Enum, StrEnum, auto

from shared.core.digest import DigestFormat
from shared.core.membership import DeliveryMode, MemberStatus


class SubscriptionPolicy(StrEnum):
    """Who may join a list, and how."""

    #: Whoever asks is a member, though anybody may have asked in the name of anybody.
    OPEN = "open"
    #: The address has to say that it was its owner who asked (double opt-in).
    CONFIRM = "confirm"
    #: The list's owners decide.
    APPROVE = "approve"
    CONFIRM_AND_APPROVE = "confirm_and_approve"
    #: Nobody joins but by the operator's hand.
    CLOSED = "closed"
    #: As closed, and whom the owners invite.
    INVITE = "invite"


class RequestAction(StrEnum):
    """What is asked for an address."""

    JOIN = "join"
    LEAVE = "leave"
    SET_MAIL = "set_mail"
    SET_DIGEST = "set_digest"
    SET_DIGEST_MIME = "set_digest_mime"
    SET_DIGEST_PLAIN = "set_digest_plain"
    SET_NOMAIL = "set_nomail"
    #: A link to the page with all of this.
    PREFERENCES = "preferences"

    @property
    def mode(self) -> DeliveryMode | None:
        """How posts shall come, where that is what is asked."""
        choice = _CHOICES.get(self)
        return choice[0] if choice else None

    @property
    def digest_format(self) -> DigestFormat | None:
        """What digests shall look like, where that is asked, too."""
        choice = _CHOICES.get(self)
        return choice[1] if choice else None

    @classmethod
    def setting(cls, mode: DeliveryMode, digest_format: DigestFormat | None = None) -> RequestAction:
        """The action that makes posts come so."""
        return next(action for action, choice in _CHOICES.items() if choice == (mode, digest_format))


_CHOICES = {
    RequestAction.SET_MAIL: (DeliveryMode.MAIL, None),
    RequestAction.SET_DIGEST: (DeliveryMode.DIGEST, None),
    RequestAction.SET_DIGEST_MIME: (DeliveryMode.DIGEST, DigestFormat.MIME),
    RequestAction.SET_DIGEST_PLAIN: (DeliveryMode.DIGEST, DigestFormat.PLAIN),
    RequestAction.SET_NOMAIL: (DeliveryMode.NOMAIL, None),
}


class RequestSource(StrEnum):
    """How a request came."""

    MAIL = "mail"
    WEB = "web"
    INVITATION = "invitation"


class RequestState(StrEnum):
    """Where a request stands."""

    #: Stored by a web form; a scheduler will look at it.
    ASKED = "asked"
    #: A mail to its address says what to do to confirm it.
    CONFIRMING = "confirming"
    #: The list's owners are to decide.
    PENDING = "pending"
    DONE = "done"
    REJECTED = "rejected"
    #: Nothing was to be done: not a member, a member already, the list is closed, asked too often, not decided in time.
    DROPPED = "dropped"


class Step(Enum):
    """What comes next for a request."""

    CONFIRM = auto()
    APPROVE = auto()
    DO = auto()
    #: A link is mailed, and that is all.
    MAIL_LINK = auto()
    IS_MEMBER = auto()
    IS_NO_MEMBER = auto()
    MAY_NOT_JOIN = auto()


def first_step(
    action: RequestAction, policy: SubscriptionPolicy, status: MemberStatus | None, *, is_invited: bool = False
) -> Step:
    """What a new request needs first; `status` is that of its address on the list, if it has one.

    Whoever is held may join again, for to confirm it is to show that mail arrives.
    """
    if action is not RequestAction.JOIN:
        if status is None or status is MemberStatus.UNSUBSCRIBED:
            return Step.IS_NO_MEMBER
        return Step.MAIL_LINK if action is RequestAction.PREFERENCES else Step.CONFIRM
    if status is MemberStatus.SUBSCRIBED:
        return Step.IS_MEMBER
    if is_invited:
        return Step.CONFIRM
    if policy in (SubscriptionPolicy.CLOSED, SubscriptionPolicy.INVITE):
        return Step.MAY_NOT_JOIN
    if policy is SubscriptionPolicy.OPEN:
        return Step.DO
    return Step.APPROVE if policy is SubscriptionPolicy.APPROVE else Step.CONFIRM


def step_after_confirmation(action: RequestAction, policy: SubscriptionPolicy, *, is_invited: bool = False) -> Step:
    """What a request needs whose address confirmed it."""
    if action is not RequestAction.JOIN or is_invited:
        return Step.DO
    if policy in (SubscriptionPolicy.CLOSED, SubscriptionPolicy.INVITE):
        return Step.MAY_NOT_JOIN
    needs_approval = policy in (SubscriptionPolicy.APPROVE, SubscriptionPolicy.CONFIRM_AND_APPROVE)
    return Step.APPROVE if needs_approval else Step.DO

"""A mailing's life: one message going to many members."""

from __future__ import annotations

from enum import StrEnum


class MailingKind(StrEnum):
    """What made the mailing."""

    #: What somebody posted to a list.
    POST = "post"
    #: Mail to postmaster, abuse or a list's owner, handed on to the operator.
    FORWARD = "forward"
    #: The system itself, writing to one address; what bounces of it says nothing about a member.
    NOTICE = "notice"
    #: A sending of a newsletter.
    NEWSLETTER = "newsletter"
    #: Posts of a list, collected for members who want few mails.
    DIGEST = "digest"


class MailingState(StrEnum):
    """Where a mailing stands."""

    #: Its deliveries are being made from the list's members, page by page; those made are sent already.
    EXPANDING = "expanding"
    #: All deliveries are made; some have not ended.
    RUNNING = "running"
    #: Every delivery has ended.
    FINISHED = "finished"


class TargetKind(StrEnum):
    """What an accepted recipient of an incoming message stands for."""

    LIST = "list"
    #: postmaster@, abuse@, LIST-owner@
    OPERATOR = "operator"
    #: Where commands go: LIST-join@, -leave@, -confirm+token@, -request@
    COMMAND = "command"
    #: A return path of ours, or LIST-bounces@: somebody reports a bounce.
    RETURN_PATH = "return_path"


class TargetState(StrEnum):
    """What became of an incoming message at one of its recipients."""

    #: Stored and answered with 250, nothing decided yet.
    RECEIVED = "received"
    #: A mailing was made of it.
    DISTRIBUTED = "distributed"
    #: A posting rule said no, after others of the same message were accepted.
    REFUSED = "refused"
    #: Commands: what they asked for is done or begun, or answered.
    OBEYED = "obeyed"
    #: The list has had the same post within seven days.
    DUPLICATE = "duplicate"
    #: Kept as it is: nothing handles such mail (yet), or the operator's address is not set.
    KEPT = "kept"
    #: The list's moderators decide.
    HELD = "held"
    #: They said no, and the author may know.
    REJECTED = "rejected"
    #: A posting rule or the moderators put it away.
    DISCARDED = "discarded"
    #: Nobody decided about it in time.
    EXPIRED = "expired"

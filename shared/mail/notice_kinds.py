"""Every notice: what it says unless the operator writes it anew, and which placeholders it may hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.mail.notices import NoticeText

#: What every notice may name: the list's display name, or its address where it has none, and its addresses.
#: `results` are lines about other commands of the same message, mostly none.
COMMON = frozenset({"list_name", "list_address", "request_address", "owner_address", "recipient", "results"})

_FOOT = (
    "\n\n{{results}}\n\n-- \n{{list_name}} <{{list_address}}>\nHelp: {{request_address}}   People: {{owner_address}}\n"
)


class NoticeKind(StrEnum):
    """What a notice is about; the template's name in the API."""

    #: Somebody asks to join with this address: is it theirs?
    CONFIRM_JOIN = "confirm-join"
    #: Somebody asks to leave, or to change how posts come.
    CONFIRM_LEAVE = "confirm-leave"
    CONFIRM_CHANGE = "confirm-change"
    #: An owner invites the address.
    INVITATION = "invitation"
    #: The owners decide about it now.
    AWAITING_APPROVAL = "awaiting-approval"
    #: To the owners: somebody asks to join.
    APPROVAL_WANTED = "approval-wanted"
    REJECTED = "rejected"
    WELCOME = "welcome"
    GOODBYE = "goodbye"
    CHANGED = "changed"
    #: Asked to join, and is a member.
    ALREADY_MEMBER = "already-member"
    #: The link to somebody's own preferences.
    PREFERENCES = "preferences"
    #: To a member whose mail bounces: does this one arrive?
    PROBE = "probe"
    #: To a member who is held: how to get the posts again.
    HELD = "held"
    #: The answer to commands.
    ANSWER = "answer"
    #: To the moderators: a post waits for them.
    POST_TO_MODERATE = "post-to-moderate"
    #: To the author: it does; and that they said no.
    POST_HELD = "post-held"
    POST_REJECTED = "post-rejected"


#: What is said of a held post.
_POST = ("author", "post_subject", "because", "size_bytes", "number")


@dataclass(frozen=True, slots=True)
class NoticeDefault:
    """A notice as it is where nobody wrote it anew."""

    text: NoticeText
    #: Placeholders beside `COMMON`.
    own: frozenset[str] = frozenset()
    #: One of these has to be in it, or it would be of no use.
    needs_one_of: frozenset[str] = frozenset()

    @property
    def placeholders(self) -> frozenset[str]:
        """All that a template of this notice may hold."""
        return COMMON | self.own


def _default(subject: str, body: str, *own: str, needs: tuple[str, ...] = ()) -> NoticeDefault:
    return NoticeDefault(NoticeText(subject, body + _FOOT), frozenset(own), frozenset(needs))


def _to_confirm(subject: str, asked: str, *own: str) -> NoticeDefault:
    body = (
        f"{asked}\n\n"
        "If that was you, answer this message, or open this page and press the button:\n\n"
        "{{confirm_url}}\n\n"
        "If it was not, do nothing: nothing happens without your answer, and you get no more mail about it."
    )
    return _default(subject, body, *own, "confirm_url", "confirm_address", needs=("confirm_url", "confirm_address"))


DEFAULTS: Mapping[NoticeKind, NoticeDefault] = {
    NoticeKind.CONFIRM_JOIN: _to_confirm(
        "Please confirm: join {{list_address}}",
        "Somebody asked for {{recipient}} to join the mailing list {{list_name}}.",
    ),
    NoticeKind.CONFIRM_LEAVE: _to_confirm(
        "Please confirm: leave {{list_address}}",
        "Somebody asked for {{recipient}} to leave the mailing list {{list_name}}.",
    ),
    NoticeKind.CONFIRM_CHANGE: _to_confirm(
        "Please confirm: another way of getting {{list_address}}",
        "Somebody asked to change how {{recipient}} gets the mailing list {{list_name}}: {{change}}.",
        "change",
    ),
    NoticeKind.INVITATION: _to_confirm(
        "Invitation to {{list_address}}",
        "You are invited to the mailing list {{list_name}}, with the address {{recipient}}. Do you want to join?",
    ),
    NoticeKind.AWAITING_APPROVAL: _default(
        "Your request to join {{list_address}}",
        "Your request to join {{list_name}} is with its owners now. You will hear of their decision.",
    ),
    NoticeKind.APPROVAL_WANTED: _default(
        "{{member}} asks to join {{list_address}}",
        "{{member}} asks to join {{list_name}}. The request waits for your decision, under the number {{request}}.",
        "member",
        "request",
        needs=("member",),
    ),
    NoticeKind.REJECTED: _default(
        "Your request to join {{list_address}}",
        "The owners of {{list_name}} did not take your request to join. {{reason}}",
        "reason",
    ),
    NoticeKind.WELCOME: _default(
        "Welcome to {{list_address}}",
        "{{recipient}} is a member of {{list_name}} now.\n\n"
        "Posts go to {{list_address}}. To leave, write to {{leave_address}}.",
        "leave_address",
    ),
    NoticeKind.GOODBYE: _default(
        "You have left {{list_address}}",
        "{{recipient}} is not a member of {{list_name}} any more.",
    ),
    NoticeKind.CHANGED: _default(
        "Your membership of {{list_address}}",
        "What is set for {{recipient}} at {{list_name}} now: {{change}}.",
        "change",
    ),
    NoticeKind.ALREADY_MEMBER: _default(
        "You are a member of {{list_address}}",
        "Somebody asked for {{recipient}} to join {{list_name}}: it is a member already, and nothing was changed.",
    ),
    NoticeKind.PREFERENCES: _default(
        "Your membership of {{list_address}}",
        "On this page you can change how {{list_name}} comes to you, or leave. It is for you alone, and opens for"
        " {{hours}} hours:\n\n{{preferences_url}}",
        "preferences_url",
        "hours",
        needs=("preferences_url",),
    ),
    NoticeKind.PROBE: _default(
        "Does mail from {{list_address}} arrive?",
        "Mail from {{list_name}} to {{recipient}} came back several times. That this message arrived is all we wanted"
        " to know: you need not answer it.\n\n"
        "Should more of our mail come back, you will get no more posts until you say that you want them.",
    ),
    NoticeKind.HELD: _default(
        "You get no more posts of {{list_address}} for now",
        "Mail from {{list_name}} to {{recipient}} came back too often, so nothing more is sent for now. The last answer"
        " of your mail server was:\n\n  {{reason}}\n\n"
        "To get the posts again, answer this message, or open this page and press the button:\n\n"
        "{{confirm_url}}\n\n"
        "You can also join again at any time, by a message to {{join_address}}.",
        "reason",
        "join_address",
        "confirm_url",
        "confirm_address",
        needs=("confirm_url", "confirm_address", "join_address"),
    ),
    NoticeKind.ANSWER: _default(
        "Your message to {{request_address}}",
        "What came of it:",
        needs=("results",),
    ),
    NoticeKind.POST_TO_MODERATE: _default(
        "Held post {{number}} of {{list_address}}: {{post_subject}}",
        "A post to {{list_name}} waits for your decision.\n\n"
        "From:    {{author}} ({{author_is}})\nSubject: {{post_subject}}\nSize:    {{size_bytes}} bytes\n"
        "Held:    {{because}}\n\n{{excerpt}}\n\n"
        "Each link opens a page with a button; nothing happens before you press it.\n\n"
        "Let the members have it:\n{{approve_url}}\n\n"
        "Reject it, and tell the author why:\n{{reject_url}}\n\n"
        "Put it away, and tell nobody:\n{{discard_url}}\n\n"
        "Put it away, and refuse whatever else comes from {{author}}:\n{{ban_url}}",
        *_POST,
        "author_is",
        "excerpt",
        "approve_url",
        "reject_url",
        "discard_url",
        "ban_url",
        needs=("approve_url", "reject_url", "discard_url", "number"),
    ),
    NoticeKind.POST_HELD: _default(
        "Your post to {{list_address}} waits for its moderators",
        'Your post "{{post_subject}}" to {{list_name}} waits for its moderators: {{because}}.\n\n'
        "There is nothing that you need to do. You get this message once a day at most, however many posts wait.",
        *_POST,
    ),
    NoticeKind.POST_REJECTED: _default(
        "Your post to {{list_address}} was not taken",
        'The moderators of {{list_name}} did not take your post "{{post_subject}}". {{reason}}',
        *_POST,
        "reason",
    ),
}

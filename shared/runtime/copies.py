"""What the copies of a mailing are made of: for who sends them, and for who wants to see one before."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from shared.core.copies import AS_WRITTEN
from shared.core.links import Links
from shared.core.mailing import MailingKind
from shared.core.membership import PostingPolicy
from shared.mail.lines import with_crlf
from shared.mail.one_click import with_one_click
from shared.mail.segments import CompiledMessage, compile_message
from shared.mail.seven_bit import to_seven_bit
from shared.mail.template import ListHeaders, compile_post
from shared.mail.tracking import Tracking
from shared.store.contents import MailingContent


@dataclass(frozen=True, slots=True)
class CopiesOf:
    """A compiled mailing, and what makes the values that are each copy's own."""

    message: CompiledMessage
    #: Makes the member's own token, for copies that have one.
    leave_token: Callable[[int], str] | None = None
    #: Makes the member's own links, by the merge fields that they stand for.
    own_links: Callable[[int], Mapping[str, str]] | None = None


def compile_copies(
    mailing: MailingContent, *, links: Links | None = None, tracking: Tracking | None = None, seven_bit: bool = False
) -> CopiesOf:
    """A post, a newsletter or a digest with its list's headers, any other message as it is. With `seven_bit` it is
    re-encoded, or `NotConvertible`. Raises `UnreadablePost`."""
    is_to_members = mailing.kind in (MailingKind.POST, MailingKind.NEWSLETTER, MailingKind.DIGEST)
    if is_to_members and mailing.list_name and mailing.list_domain:
        headers = ListHeaders(
            name=mailing.list_name,
            domain=mailing.list_domain,
            display_name=mailing.list_display_name,
            is_announcement=mailing.posting_policy is PostingPolicy.ANNOUNCEMENT,
        )
        content = compile_post(
            mailing.content,
            headers,
            message_id=f"<{mailing.message_uuid}@{mailing.list_domain}>",
            received_at=mailing.received_at,
            # A newsletter's author has seen all that it says; a digest was composed as its list wants it.
            settings=mailing.copies if mailing.kind is MailingKind.POST else AS_WRITTEN,
        )
    else:
        content = with_crlf(mailing.content)
    if seven_bit:
        content = to_seven_bit(content)
    message = compile_message(
        content,
        is_personal=mailing.personal,
        has_conditions=mailing.kind is MailingKind.NEWSLETTER,
        tracking=tracking,
    )
    if not (mailing.one_click and links and links.public_url and mailing.list_name and mailing.list_domain):
        return CopiesOf(message)
    message = with_one_click(
        message, public_url=links.public_url, list_name=mailing.list_name, domain=mailing.list_domain
    )
    return CopiesOf(message, links.leave_token, partial(links.of_member, sent_at=mailing.loaded_at))


def member_values(fields: Mapping[str, object], *, address: str, display_name: str) -> dict[str, str]:
    """What merge fields are filled with: numbers and truth values are written as JSON writes them."""
    values = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
        if value is not None
    }
    return {**values, "email": address, "display_name": display_name}

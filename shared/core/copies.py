"""What a list makes of a post for its members' copies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReplyToPolicy(StrEnum):
    """Whom a member's answer goes to."""

    #: Whom the author says.
    AUTHOR = "author"
    #: The list's posting address.
    LIST = "list"
    #: An address that is set.
    ADDRESS = "address"


class DmarcMitigation(StrEnum):
    """When the copies are from the list, by its address, instead of from the author's."""

    NEVER = "never"
    #: When the author's domain asks for quarantine or rejection of mail that fails DMARC.
    WHEN_PUBLISHED = "when_published"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class CopySettings:
    """What is done to one mailing; without any of it, the copies are what the author wrote."""

    #: Stands before each subject that does not have it; empty for none.
    subject_prefix: str = ""
    #: Lines before and after what the author wrote, each ended by a line feed but the last; empty for none.
    header_text: str = ""
    footer_text: str = ""
    reply_to: ReplyToPolicy = ReplyToPolicy.AUTHOR
    #: With `ReplyToPolicy.ADDRESS`: ASCII.
    reply_to_address: str | None = None
    #: A Reply-To of the author's own counts, too.
    keeps_authors_reply_to: bool = True
    #: Nothing in the header tells the author.
    is_anonymous: bool = False
    #: The From field names the list, and in words the author.
    is_from_list: bool = False


#: The author's message, with the list's own fields.
AS_WRITTEN = CopySettings()

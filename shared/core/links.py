"""Where links and addresses with tokens lead: below the configured URL, whatever Host a request names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.core.list_address import Door, DoorAddress
from shared.core.tokens import Purpose, Tokens

CONFIRM_PATH = "/confirm/"
LEAVE_PATH = "/leave/"
PREFERENCES_PATH = "/preferences/"
MODERATION_PATH = "/held/"

#: Merge fields that stand for links of the recipient's own: to leave, and to see and change how the list comes.
UNSUBSCRIBE_FIELD = "unsubscribe_url"
PREFERENCES_FIELD = "preferences_url"
#: A copy's link to preferences is good for so long; the one for leaving as long as there is the mail.
PREFERENCES_IN_COPIES = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Links:
    """Links of one cluster."""

    tokens: Tokens
    #: `https://lists.example.org`, without a slash at its end; `None` where nothing serves pages.
    public_url: str | None

    def confirm_address(self, list_name: str, domain: str, request_id: int) -> str:
        """Whatever is sent there confirms the request."""
        return _address(Door.CONFIRM, list_name, domain, self.tokens.make(Purpose.CONFIRM, request_id))

    def confirm_url(self, list_name: str, domain: str, request_id: int) -> str:
        """A page with a button; where there are no pages, a mail that only needs to be sent."""
        if self.public_url is None:
            return f"mailto:{self.confirm_address(list_name, domain, request_id)}"
        return self.public_url + CONFIRM_PATH + self.tokens.make(Purpose.CONFIRM, request_id)

    def leave_token(self, member_id: int) -> str:
        """Ends the membership, below `LEAVE_PATH` and at LIST-leave+token@, for as long as there is the mail."""
        return self.tokens.make(Purpose.LEAVE, member_id)

    def of_member(self, member_id: int, *, sent_at: datetime) -> dict[str, str]:
        """The links of the member's own copy, by merge field; none where there are no pages."""
        preferences_url = self.preferences_url(member_id, ends_at=sent_at + PREFERENCES_IN_COPIES)
        if self.public_url is None or preferences_url is None:
            return {}
        leave_url = self.public_url + LEAVE_PATH + self.leave_token(member_id)
        return {UNSUBSCRIBE_FIELD: leave_url, PREFERENCES_FIELD: preferences_url}

    def preferences_url(self, member_id: int, *, ends_at: datetime) -> str | None:
        """The member's own page; `None` where there are no pages."""
        if self.public_url is None:
            return None
        return self.public_url + PREFERENCES_PATH + self.tokens.make(Purpose.PREFERENCES, member_id, ends_at=ends_at)

    def moderation_url(self, held_id: int, choice: str, *, ends_at: datetime) -> str | None:
        """The held post's page with one choice (`approve`, …) before the others; `None` where there are no pages."""
        if self.public_url is None:
            return None
        return (
            f"{self.public_url}{MODERATION_PATH}{self.tokens.make(Purpose.MODERATE, held_id, ends_at=ends_at)}/{choice}"
        )


def _address(door: Door, list_name: str, domain: str, token: str) -> str:
    return f"{DoorAddress(door, list_name, token).local}@{domain}"

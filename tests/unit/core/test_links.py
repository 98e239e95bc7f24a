from __future__ import annotations

from datetime import UTC, datetime

from shared.core.links import Links
from shared.core.tokens import Purpose, Tokens

TOKENS = Tokens(b"a secret of the tests")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_links_are_below_the_public_url() -> None:
    links = Links(TOKENS, "https://lists.example.org/web")
    begin, _, token = links.confirm_url("news", "example.org", 7).rpartition("/")
    assert begin == "https://lists.example.org/web/confirm"
    assert TOKENS.read(Purpose.CONFIRM, token, now=NOW) == 7
    assert links.confirm_address("news", "example.org", 7) == f"news-confirm+{token}@example.org"
    begin, _, token = str(links.preferences_url(7, ends_at=NOW)).rpartition("/")
    assert (begin, TOKENS.read(Purpose.PREFERENCES, token, now=NOW)) == ("https://lists.example.org/web/preferences", 7)
    assert TOKENS.read(Purpose.LEAVE, links.leave_token(7), now=NOW) == 7


def test_without_pages_a_mail_does_it() -> None:
    links = Links(TOKENS, None)
    address = links.confirm_address("news", "example.org", 7)
    assert links.confirm_url("news", "example.org", 7) == f"mailto:{address}"
    assert links.preferences_url(7, ends_at=NOW) is None


def test_a_members_own_links_are_none_where_there_are_no_pages() -> None:
    assert Links(TOKENS, None).of_member(7, sent_at=NOW) == {}
    own = Links(TOKENS, "https://lists.example.org").of_member(7, sent_at=NOW)
    assert own.keys() == {"unsubscribe_url", "preferences_url"}
    token = own["unsubscribe_url"].removeprefix("https://lists.example.org/leave/")
    assert TOKENS.read(Purpose.LEAVE, token, now=NOW) == 7

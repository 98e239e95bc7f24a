from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.address import Address
from shared.mail.notice_kinds import DEFAULTS, NoticeKind
from shared.mail.notices import NoticeText, Writing, compose, subject_of
from shared.mail.template import ListHeaders

NEWS = ListHeaders("news", "example.org", "Garden News", is_announcement=False)
ANN = Address.parse("ann@example.com")
HEADER = [
    *("From", "To", "Reply-To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress"),
    *("List-Id", "List-Help", "List-Owner", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
]


def written(
    subject: str = "About {{list_address}}",
    body: str = "Hello {{recipient}}.",
    *,
    to: Address = ANN,
    listed: ListHeaders = NEWS,
    is_answer: bool = True,
    **values: str,
) -> bytes:
    writing = Writing(NoticeText(subject, body), values, listed, to, None, is_answer)
    return compose(writing, message_uuid=UUID(int=1), written_at=datetime(2026, 11, 23, 12, tzinfo=UTC))


def parsed(content: bytes) -> email.message.EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, email.message.EmailMessage)
    return message


def test_a_notice_says_from_whom_it_is_and_that_no_person_wrote_it() -> None:
    message = parsed(written(list_address="news@example.org", recipient="ann@example.com"))
    assert message["From"] == "Garden News <news-request@example.org>"
    assert message["To"] == "ann@example.com"
    assert message["Reply-To"] == "news-request@example.org"
    assert message["Subject"] == "About news@example.org"
    assert message["Date"] == "Mon, 23 Nov 2026 12:00:00 +0000"
    assert message["Message-ID"] == "<00000000-0000-0000-0000-000000000001@example.org>"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["List-Id"] == "Garden News <news.example.org>"
    assert message.get_content() == "Hello ann@example.com.\r\n"
    assert parsed(written(is_answer=False))["Auto-Submitted"] == "auto-generated"


def test_a_value_is_text_and_nothing_else() -> None:
    content = written("{{reason}}", "{{reason}}", reason="{{recipient}}\r\nBcc: evil@example.net", recipient="ann")
    message = parsed(content)
    assert message.keys() == HEADER
    assert message["Subject"] == "{{recipient}} Bcc: evil@example.net"
    assert message.get_content() == "{{recipient}}\r\nBcc: evil@example.net\r\n"


@given(st.text(), st.text(), st.text())
def test_no_text_makes_a_header_field(subject: str, value: str, name: str) -> None:
    """Nor a line that is too long, nor an octet beyond seven bits."""
    listed = ListHeaders("news", "example.org", name, is_announcement=False)
    content = written(subject + "{{reason}}", value + "{{reason}}", listed=listed, reason=value)
    assert content.isascii()
    assert max(len(line) for line in content.split(b"\r\n")) <= 998
    assert content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")
    assert [key for key, _ in parsed(content).raw_items()] == HEADER


def test_an_address_beyond_ascii_stands_in_the_header_as_it_is() -> None:
    content = written(to=Address.parse("ännchen@example.com"))
    assert "To: ännchen@example.com\r\n".encode() in content


@pytest.mark.parametrize("kind", NoticeKind)
def test_every_notice_has_a_text_with_placeholders_that_it_knows(kind: NoticeKind) -> None:
    default = DEFAULTS[kind]
    assert default.text.placeholders() <= default.placeholders
    assert default.needs_one_of <= default.placeholders
    assert not default.needs_one_of or default.needs_one_of & default.text.placeholders()
    values = {name: f"<{name}>" for name in default.placeholders}
    writing = Writing(default.text, values, NEWS, ANN, None, is_answer=True)
    message = parsed(compose(writing, message_uuid=UUID(int=1), written_at=datetime(2026, 11, 23, 12, tzinfo=UTC)))
    assert "{{" not in message.get_content()
    assert "{{" not in subject_of(writing)

"""A newsletter's copies: each member's own, under the signature, with nothing that its author did not write."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import dkim

from services.outbound_sender.copies import PersonalContent
from services.outbound_sender.rendering import compile_mailing
from shared.core.copies import CopySettings
from shared.core.dkim import DkimAlgorithm
from shared.core.mailing import MailingKind
from shared.core.tokens import Purpose
from shared.mail.dkim_keys import make_key, record_text
from shared.mail.newsletter import Attachment, compose
from shared.store.claims import Recipient
from tests.unit.mail.test_newsletter import LETTER
from tests.unit.outbound_sender.test_one_click import LINKS, NOW, TOKENS, one_click, written

HTML = (
    '<body>{{#if city = "Bonn"}}<p>Bonn</p>{{else}}<p>Elsewhere</p>{{/if}}<a href="{{unsubscribe_url}}">Leave</a>'
    '<a href="{{preferences_url}}">Change</a></body>'
)
ANN = Recipient(1, 1, 1, "ann@example.com", member_id=11, fields_json='{"city": "Bonn"}')
BOB = Recipient(2, 1, 1, "bob@example.com", member_id=12, fields_json='{"unsubscribe_url": "https://evil.test"}')


def content() -> PersonalContent:
    letter = replace(LETTER, html=HTML, preheader="Soon", attachments=(Attachment("a.bin", "a/b", "", b"x" * 999),))
    raw = compose(letter, message_id="<1@lists.example.org>", written_at=NOW)
    mailing = replace(
        one_click(raw, kind=MailingKind.NEWSLETTER, personal=True),
        copies=CopySettings(subject_prefix="[friends]", footer_text="Footer"),
    )
    key = make_key("lists.example.org", "e", DkimAlgorithm.ED25519_SHA256)
    made = compile_mailing(mailing, links=LINKS).signed((key,))
    assert isinstance(made, PersonalContent)
    for recipient in (ANN, BOB):
        assert dkim.verify(written(made.copy(recipient)), dnsfunc=lambda _name, **_: record_text(key).encode())
    return made


def html_of(recipient: Recipient) -> tuple[EmailMessage, str]:
    copy = email.message_from_bytes(written(content().copy(recipient)), policy=email.policy.default)
    assert isinstance(copy, EmailMessage)
    html = copy.get_body(("html",))
    assert html is not None
    return copy, html.get_content()


def test_each_copy_is_its_members_own_and_signed() -> None:
    copy, html = html_of(ANN)
    assert "<p>Bonn</p>" in html
    assert "<p>Elsewhere</p>" in html_of(BOB)[1]
    assert copy["List-Id"] == "Friends <friends.lists.example.org>"
    assert copy["Subject"] == "Hello Zoë"


def test_the_links_for_leaving_and_for_preferences_are_the_recipients_own() -> None:
    for recipient in (ANN, BOB):
        _, html = html_of(recipient)
        leaving = re.search(r'href="https://lists\.example\.org/web%20x/leave/(\w+)"', html)
        changing = re.search(r'href="https://lists\.example\.org/web%20x/preferences/(\w+)"', html)
        assert leaving is not None
        assert changing is not None
        assert TOKENS.read(Purpose.LEAVE, leaving[1], now=NOW) == recipient.member_id
        sent_at = datetime(2026, 1, 2, tzinfo=UTC)
        month = timedelta(days=30)
        assert TOKENS.read(Purpose.PREFERENCES, changing[1], now=sent_at + month) == recipient.member_id
        assert TOKENS.read(Purpose.PREFERENCES, changing[1], now=sent_at + month + timedelta(hours=2)) is None
        assert "evil" not in html


def test_what_a_list_puts_around_posts_is_not_put_around_newsletters() -> None:
    raw = written(content().copy(ANN))
    assert b"[friends]" not in raw
    assert b"Footer" not in raw

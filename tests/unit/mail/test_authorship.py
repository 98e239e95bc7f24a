"""Whom a copy is from, and whom an answer goes to."""

from __future__ import annotations

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.copies import AS_WRITTEN, CopySettings, ReplyToPolicy
from shared.mail.template import ListHeaders, compile_post
from tests.samples.odd_messages import ODD_MESSAGES

DEV = ListHeaders(name="dev", domain="lists.test", display_name="Developers", is_announcement=False)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
VIA = CopySettings(is_from_list=True)
ANONYMOUS = CopySettings(is_anonymous=True)
TO_LIST = CopySettings(reply_to=ReplyToPolicy.LIST)
TO_HELP = CopySettings(reply_to=ReplyToPolicy.ADDRESS, reply_to_address="help@example.org")
ANN = "From: Ann <ann@example.org>\r\n"


def copied(fields: str | bytes, settings: CopySettings, list_headers: ListHeaders = DEV) -> bytes:
    raw = (fields.encode() if isinstance(fields, str) else fields) + b"\r\nHello.\r\n"
    return compile_post(raw, list_headers, message_id="<7@lists.test>", received_at=NOW, settings=settings)


def answer(content: bytes) -> dict[str, list[str]]:
    """Every address of the fields that say whom a message is from and whom an answer goes to."""
    message = email.message_from_bytes(content)
    names = ("From", "Sender", "Reply-To", "Cc")
    assert all(len(message.get_all(name, [])) <= 1 for name in names)
    found = {name: [address for _, address in getaddresses(message.get_all(name, []))] for name in names}
    return {name: addresses for name, addresses in found.items() if addresses}


OWN = "Reply-To: Ann's desk <desk@example.org>\r\n"


@pytest.mark.parametrize(
    ("fields", "settings", "answers"),
    [
        (ANN, TO_LIST, {"From": ["ann@example.org"], "Reply-To": ["dev@lists.test"]}),
        (ANN, TO_HELP, {"From": ["ann@example.org"], "Reply-To": ["help@example.org"]}),
        (ANN + OWN, TO_LIST, {"From": ["ann@example.org"], "Reply-To": ["desk@example.org", "dev@lists.test"]}),
        (
            ANN + OWN,
            replace(TO_LIST, keeps_authors_reply_to=False),
            {"From": ["ann@example.org"], "Reply-To": ["dev@lists.test"]},
        ),
        (ANN + OWN, replace(AS_WRITTEN, keeps_authors_reply_to=False), {"From": ["ann@example.org"]}),
        (
            ANN + "Reply-To: DEV@Lists.Test\r\n",
            TO_LIST,
            {"From": ["ann@example.org"], "Reply-To": ["DEV@Lists.Test"]},
        ),
        (ANN + "Reply-To: <broken\r\n", TO_LIST, {"From": ["ann@example.org"], "Reply-To": ["dev@lists.test"]}),
        (ANN, VIA, {"From": ["dev@lists.test"], "Reply-To": ["ann@example.org"]}),
        (ANN + OWN, VIA, {"From": ["dev@lists.test"], "Reply-To": ["desk@example.org"]}),
        (
            ANN + OWN,
            replace(VIA, keeps_authors_reply_to=False),
            {"From": ["dev@lists.test"], "Reply-To": ["ann@example.org"]},
        ),
        (
            ANN,
            replace(TO_LIST, is_from_list=True),
            {"From": ["dev@lists.test"], "Reply-To": ["dev@lists.test"], "Cc": ["ann@example.org"]},
        ),
        (
            ANN + "Cc: Bob <bob@example.org>,\r\n carl@example.org\r\n",
            replace(TO_LIST, is_from_list=True),
            {
                "From": ["dev@lists.test"],
                "Reply-To": ["dev@lists.test"],
                "Cc": ["bob@example.org", "carl@example.org", "ann@example.org"],
            },
        ),
        (
            ANN + "Cc: ANN@example.org\r\n",
            replace(TO_LIST, is_from_list=True),
            {"From": ["dev@lists.test"], "Reply-To": ["dev@lists.test"], "Cc": ["ANN@example.org"]},
        ),
        (
            ANN + "Sender: secretary@example.org\r\n",
            VIA,
            {"From": ["dev@lists.test"], "Reply-To": ["ann@example.org"]},
        ),
        (ANN + OWN, ANONYMOUS, {"From": ["dev@lists.test"]}),
        (
            ANN + OWN,
            replace(TO_LIST, is_anonymous=True, is_from_list=True),
            {"From": ["dev@lists.test"], "Reply-To": ["dev@lists.test"]},
        ),
        ("From: dev@lists.test\r\n", VIA, {"From": ["dev@lists.test"]}),
    ],
)
def test_answers_go_where_the_list_wants_them(
    fields: str, settings: CopySettings, answers: dict[str, list[str]]
) -> None:
    assert answer(copied(fields, settings)) == answers


def test_a_copy_beyond_reading_does_not_hide_the_author_from_answers() -> None:
    content = copied(ANN + "Cc: undisclosed-recipients:;\r\n", replace(TO_LIST, is_from_list=True))
    assert answer(content)["Reply-To"] == ["ann@example.org", "dev@lists.test"]
    assert b"\r\nCc: undisclosed-recipients:;\r\n" in content


@pytest.mark.parametrize(
    ("author", "name"),
    [
        ("Ann <ann@example.org>", "Ann via Developers"),
        ("ann@example.org", "ann via Developers"),
        ('"Miller, Ann \\"x\\"" <ann@example.org>', 'Miller, Ann "x" via Developers'),
        ("=?iso-8859-1?q?J=FCrg?= <j@example.org>", "Jürg via Developers"),
        ("=?utf-8?b?5bGx?= =?utf-8?b?55Sw?= <y@example.org>", "山田 via Developers"),
        ('"boss@bank.test" <evil@example.org>', "boss via Developers"),
        ("=?utf-8?q?x=0D=0ABcc=3A_e?= <x@example.org>", "x Bcc: e via Developers"),
        ("A <a@b.test>, b@b.test, C <c@b.test>, D <d@b.test>", "A, b, C via Developers"),
    ],
)
def test_the_authors_name_is_told_and_no_address_is(author: str, name: str) -> None:
    content = copied(f"From: {author}\r\n", VIA)
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert message["From"].addresses[0].display_name == name
    assert message["From"].addresses[0].addr_spec == "dev@lists.test"
    assert message["Bcc"] is None


def test_the_authors_own_words_stand_in_the_new_fields() -> None:
    odd = b"From: =?iso-2022-jp?B?GyRCOzNFRBsoQg==?=\r\n\t<yamada@example.jp>\r\n"
    assert b"\r\nReply-To: =?iso-2022-jp?B?GyRCOzNFRBsoQg==?=\r\n\t<yamada@example.jp>\r\n" in copied(odd, VIA)


TELLING = (
    "Received: from laptop.example.org ([192.0.2.7]) by mx; x\r\n"
    "DKIM-Signature: v=1; d=example.org; h=from; b=x\r\n"
    "ARC-Seal: i=1; d=example.org\r\nAuthentication-Results: mx; spf=pass smtp.mailfrom=ann@example.org\r\n"
    "Received-SPF: pass ann@example.org\r\nX-Originating-IP: [192.0.2.7]\r\nUser-Agent: example.org mail\r\n"
    "X-Mailer: example.org\r\nOrganization: example.org\r\nAutocrypt: addr=ann@example.org\r\n"
    "Author: ann@example.org\r\n"
    "Disposition-Notification-To: ann@example.org\r\nReturn-Path: <ann@example.org>\r\nResent-From: ann@example.org\r\n"
    "From: Ann <ann@example.org>\r\nSender: ann@example.org\r\nReply-To: ann@example.org\r\nCc: ann@example.org\r\n"
    "To: dev@lists.test, ann@example.org\r\nMessage-ID: <1@laptop.example.org>\r\n"
    "Date: Mon, 23 Nov 2026 05:00:00 -0700\r\n"
    "In-Reply-To: <3@lists.test>\r\nReferences: <1@laptop.example.org> <2@LISTS.test>\r\n <3@lists.test>\r\n"
    "X-Anything: ann@example.org\r\nList-Software: example.org\r\nFace: example.org\r\nOpenPGP: url=example.org\r\n"
    "Thread-Index: example.org\r\nX-Loop: ann@example.org\r\n"
    "Subject: Hello\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nAuto-Submitted: no\r\n"
)


def test_nothing_in_an_anonymous_copys_header_tells_the_author() -> None:
    received_at = NOW.astimezone(timezone(timedelta(hours=-7)))
    content = compile_post(
        TELLING.encode() + b"\r\nHello.\r\n",
        DEV,
        message_id="<7@lists.test>",
        received_at=received_at,
        settings=ANONYMOUS,
    )
    for word in (b"example.org", b"ann", b"Ann", b"192.0.2.7", b"laptop", b"-0700"):
        assert word not in content
    message = email.message_from_bytes(content)
    assert message["From"] == "Developers <dev@lists.test>"
    assert message["To"] == "<dev@lists.test>"
    assert message["Message-ID"] == "<7@lists.test>"
    assert message["Date"] == "Mon, 23 Nov 2026 12:00:00 +0000"
    assert message["Subject"] == "Hello"
    assert message["Content-Type"] == "text/plain; charset=utf-8"


def test_threads_of_an_anonymous_list_hold_together() -> None:
    message = email.message_from_bytes(copied(TELLING, ANONYMOUS))
    assert message["In-Reply-To"] == "<3@lists.test>"
    assert message["References"] == "<2@LISTS.test> <3@lists.test>"


@pytest.mark.parametrize("name", ODD_MESSAGES)
@pytest.mark.parametrize("settings", [VIA, ANONYMOUS, replace(TO_LIST, is_from_list=True, subject_prefix="[é]")])
def test_odd_messages_get_one_of_each_field(name: str, settings: CopySettings) -> None:
    content = compile_post(ODD_MESSAGES[name], DEV, message_id="<7@lists.test>", received_at=NOW, settings=settings)
    message = email.message_from_bytes(content)
    assert len(message.get_all("From", [])) == 1
    assert "dev@lists.test" in str(message["From"])
    assert message["Bcc"] is None
    body = ODD_MESSAGES[name].replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    assert content.partition(b"\r\n\r\n")[2] == body.partition(b"\r\n\r\n")[2] or name == "a body without an empty line"


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_name_makes_a_field(author: str, list_name: str) -> None:
    value = " ".join(f'"{author}" <ann@example.org>'.split()).encode("utf-8", "replace")
    value = value.replace(b"\r", b"").replace(b"\n", b"")
    content = copied(b"From: " + value + b"\r\n", VIA, replace(DEV, display_name=list_name))
    names = [
        line.partition(b":")[0] for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n") if line[:1] not in b" \t"
    ]
    plain = copied(ANN, VIA)
    expected = [
        line.partition(b":")[0] for line in plain.partition(b"\r\n\r\n")[0].split(b"\r\n") if line[:1] not in b" \t"
    ]
    assert names == expected

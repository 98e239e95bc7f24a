"""Reports that are made to hurt whoever reads them are read like others: within the bounds, without an exception."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.smtp_reply import MAX_REPLY_TEXT
from shared.mail.dsn import delivery_status, prose, read
from tests.samples import reports

_HEAD = b"From: MAILER-DAEMON@mx.example\r\nTo: b@lists.example\r\nSubject: Undelivered Mail Returned to Sender\r\n"
_GROUP = b"Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n"
_REPORT = _HEAD + b"Content-Type: multipart/report; report-type=delivery-status; boundary=q\r\n\r\n"
_STATUS_PART = b"--q\r\nContent-Type: message/delivery-status\r\n\r\n"
_TEXT = _HEAD + b"\r\nYour message could not be delivered to:\r\n\r\n"


def _nested(depth: int) -> bytes:
    levels = b"".join(
        b"Content-Type: multipart/report; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level) for level in range(depth)
    )
    return _HEAD + levels + b"Content-Type: message/delivery-status\r\n\r\n" + _GROUP


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\r\n\r\n",
        b"\x00" * 1000,
        _nested(101),
        _nested(3000),
        _HEAD + b"Content-Type: message/rfc822\r\n\r\n" * 10_000,
        _REPORT + b"--q\r\n\r\nx\r\n" * 100_000,
        _REPORT + (_STATUS_PART + _GROUP) * 20_000,
        _REPORT + _STATUS_PART + _GROUP * 20_000,
        b"From: a@b.example\r\nX-Long: " + b"a" * 10_000_000 + b"\r\n\r\nhello",
        b"X-A: b\r\n" * 100_000,
        _HEAD + b'Content-Type: multipart/report; boundary="' + b"x" * 10_000 + b'"\r\n\r\n--' + b"x" * 10_000,
        _HEAD + b"Content-Type: text/html\r\n\r\n" + b"<!--" * 20_000,
        _HEAD + b"Content-Type: text/html\r\n\r\n" + b"<style <a " * 9_000,
        _HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QUFB\r\n=" * 60_000,
        _HEAD + b'Content-Type: text/plain; charset="utf-16"\r\n\r\n' + b"a@b" * 1001,
        _TEXT + b"<" * 60_000,
        _TEXT + b"@" * 60_000,
        _TEXT + b"mailbox " * 20_000,
        _TEXT + b"mailbox user recipient account\r\n" * 5_000,
        b"From: (" + b"(" * 1000 + b")\r\nSubject: failure notice\r\n\r\nx",
    ],
)
def test_a_bomb_is_read_like_any_other_message(content: bytes) -> None:
    assert read(content).findings


def test_more_recipients_than_anybody_reports_are_not_read() -> None:
    many = b"".join(b"<a%d@b.example>: 550 no such user\r\n" % number for number in range(20_000))
    assert len(read(_TEXT + many).findings) <= prose.MAX_NAMED
    groups = b"".join(_GROUP.replace(b"a@", b"a%d@" % number) for number in range(5_000))
    assert len(read(_REPORT + _STATUS_PART + groups).findings) <= delivery_status.MAX_GROUPS


@pytest.mark.parametrize(
    "content",
    [
        _REPORT + b"--q\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: ab\x00use" + b"x" * 3000,
        _REPORT + _STATUS_PART + _GROUP.replace(b"5.1.1", b"5.1.1\r\nDiagnostic-Code: smtp; 550 no\x00" + b"x" * 3000),
        _TEXT + b"<a@b.example>: 550 no such\x00user " + b"x" * 500,
    ],
)
def test_what_is_said_of_a_recipient_can_be_stored(content: bytes) -> None:
    [finding] = read(content).findings
    assert finding.reply is not None
    assert "\x00" not in finding.reply
    assert len(finding.reply) <= MAX_REPLY_TEXT


@given(st.binary(max_size=2000))
def test_no_bytes_raise(content: bytes) -> None:
    assert read(content).findings
    assert read(_HEAD + content).findings
    assert read(_REPORT + _STATUS_PART + content).findings


@settings(max_examples=60)
@given(st.sampled_from(reports.samples()), st.integers(0, 2**32 - 1))
def test_no_damaged_report_raises(sample: reports.Sample, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - of a test
    damaged = bytearray(sample.content)
    for _ in range(chance.randrange(1, 20)):
        at = chance.randrange(len(damaged) + 1)
        cut = slice(at, at + chance.randrange(40))
        damage = [b"", b"\r\n", b"\r\n\r\n", b"--", b"<", b"@", b"\xff\xfe", b";", bytes(damaged[cut]) * 2]
        damaged[cut] = chance.choice(damage)
    assert read(bytes(damaged)).findings
    assert read(bytes(damaged[: chance.randrange(len(damaged) + 1)])).findings

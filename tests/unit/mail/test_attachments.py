from __future__ import annotations

from email.message import EmailMessage

import pytest

from shared.core.posting.post import Attachment
from shared.mail.attachments import find_attachments


def message_with(name: str, kind: str = "application/octet-stream") -> bytes:
    message = EmailMessage()
    message["From"] = "ann@example.org"
    message.set_content("See below.\n")
    message.add_alternative("<p>See below.</p>", subtype="html")
    main, _, sub = kind.partition("/")
    message.add_attachment(b"x" * 100, maintype=main, subtype=sub, filename=name)
    return message.as_bytes().replace(b"\n", b"\r\n")


def test_plain_and_html_text_are_no_attachments() -> None:
    found = find_attachments(b"From: a@example.org\r\n\r\nhello\r\n")
    assert found.attachments == ()
    assert not found.has_more


@pytest.mark.parametrize("name", ["evil.exe", "EVIL.EXE", "evil.exe. ", "ümläut.exe", "a" * 200 + ".exe"])
def test_a_file_is_found_by_its_type_and_its_name(name: str) -> None:
    [found] = {attachment for attachment in find_attachments(message_with(name)).attachments if attachment.filename}
    assert found.content_type == "application/octet-stream"
    assert found.filename.endswith(".exe")


@pytest.mark.parametrize(
    "parameters",
    [
        b'attachment; filename="=?utf-8?q?evil=2Eexe?="',
        b"attachment; filename*=utf-8''evil%2Eexe",
        b'attachment; filename*0="evil."; filename*1="exe"',
        b"attachment; filename*0*=utf-8''evil; filename*1*=%2Eexe",
        b'attachment; filename="ev\\il.exe"',
        b"attachment;\r\n filename=evil.exe",
    ],
)
def test_a_name_is_found_however_it_is_written(parameters: bytes) -> None:
    raw = b"Content-Disposition: " + parameters + b"\r\nContent-Type: image/png; name=a.png\r\n\r\nx\r\n"
    assert {attachment.filename for attachment in find_attachments(raw).attachments} == {"evil.exe", "a.png"}


def test_what_a_forwarded_message_carries_counts() -> None:
    raw = b"Content-Type: message/rfc822\r\n\r\n" + message_with("evil.exe")
    assert Attachment("application/octet-stream", "evil.exe") in find_attachments(raw).attachments


def nested(depth: int) -> bytes:
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth))
    return head + b"Content-Type: application/zip\r\n\r\ndeep\r\n"


def test_what_is_too_deep_or_too_many_is_known_to_be_there() -> None:
    assert not find_attachments(nested(5)).has_more
    assert find_attachments(nested(50)).has_more
    bomb = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\nx:y\r\n\r\n" * 100_000
    assert find_attachments(bomb).has_more


def test_parts_behind_an_encoding_are_known_to_be_there() -> None:
    raw = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nRnJvbTog\r\n"
    assert find_attachments(raw).has_more

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail.headers import INCOMING, Header, Unreadable, scan
from shared.mail.template import ListHeaders, UnreadablePost, compile_post
from shared.mail.words import decode_words

DEV = ListHeaders(name="dev", domain="lists.test", display_name="Developers", is_announcement=False)
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
POST = b"Received: from a by b; x\r\nFrom: ann@example.org\r\nSubject: hello\r\n\r\nhello\r\n"


def compiled(raw: bytes, list_headers: ListHeaders = DEV) -> bytes:
    return compile_post(raw, list_headers, message_id="<1@lists.test>", received_at=NOW)


def fields(content: bytes) -> list[tuple[str, str]]:
    header = scan(content)
    assert isinstance(header, Header)
    return [(field.name, field.value.decode("utf-8", "replace")) for field in header.fields]


def test_the_members_copy_is_the_post_with_the_lists_fields() -> None:
    assert compiled(POST) == (
        b"Received: from a by b; x\r\n"
        b"From: ann@example.org\r\n"
        b"Subject: hello\r\n"
        b"Message-ID: <1@lists.test>\r\n"
        b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
        b"List-Id: Developers <dev.lists.test>\r\n"
        b"List-Post: <mailto:dev@lists.test>\r\n"
        b"List-Help: <mailto:dev-request@lists.test?subject=help>\r\n"
        b"List-Subscribe: <mailto:dev-join@lists.test>\r\n"
        b"List-Unsubscribe: <mailto:dev-leave@lists.test>\r\n"
        b"List-Owner: <mailto:dev-owner@lists.test>\r\n"
        b"Precedence: list\r\n"
        b"X-Loop: dev@lists.test\r\n"
        b"\r\n"
        b"hello\r\n"
    )


def test_the_same_post_gives_the_same_bytes() -> None:
    assert compiled(POST) == compiled(POST)


def test_nobody_posts_to_an_announcement_list() -> None:
    assert ("list-post", "NO") in fields(compiled(POST, dataclasses.replace(DEV, is_announcement=True)))


def test_message_id_and_date_of_the_author_are_kept() -> None:
    names = [name for name, _ in fields(compiled(b"Message-ID: <a@b>\r\nDate: then\r\n" + POST))]
    assert names.count("message-id") == 1
    assert names.count("date") == 1


@pytest.mark.parametrize(
    "field",
    [
        b"List-Id: <other.test>",
        b"LIST-POST : <mailto:other@lists.test>",
        b"List-Unsubscribe: <https://evil.test/>\r\n\t,<mailto:x>",
        b"List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        b"Return-Path: <x@y>",
        b"Delivered-To: member@example.net",
        b"Bcc: secret@example.org",
        b"Bcc\t: secret@example.org",
        b"Approved: password",
        b"Disposition-Notification-To: ann@example.org",
        b"Precedence: bulk",
    ],
)
def test_fields_that_do_not_concern_members_are_taken_out(field: bytes) -> None:
    assert compiled(field + b"\r\n" + POST) == compiled(POST)


def test_marks_of_other_lists_on_the_way_are_kept() -> None:
    loops = [value for name, value in fields(compiled(b"X-Loop: other@lists.test\r\n" + POST)) if name == "x-loop"]
    assert loops == ["other@lists.test", "dev@lists.test"]


def test_bytes_beyond_ascii_and_odd_foldings_are_kept() -> None:
    odd = b"Subject: caf\xe9\r\n  \xff\r\n\tz\r\nX-Odd:y\r\n"
    content = compiled(odd + b"From: ann@example.org\r\n\r\nb\xf6dy\x00\r\n..\r\n")
    assert content.startswith(odd)
    assert content.endswith(b"\r\n\r\nb\xf6dy\x00\r\n..\r\n")


def test_an_encoded_line_end_in_the_subject_stays_encoded() -> None:
    raw = b"Subject: =?utf-8?q?x=0ABcc:_evil=40x?=\r\n" + POST
    assert b"\r\nBcc" not in compiled(raw)
    assert compiled(raw).startswith(b"Subject: =?utf-8?q?x=0ABcc:_evil=40x?=\r\n")


@pytest.mark.parametrize(
    "injection",
    [
        "\r\nBcc: e@x",
        "\nBcc: e@x",
        "\rBcc: e@x",
        "\x00",
        "\u2028Bcc: e@x",
        "\x85Bcc: e@x",
        "é\r\nBcc: e@x",
        "=?utf-8?q?=0ABcc:_e?=",
    ],
)
@pytest.mark.parametrize("place", ["display_name", "name", "domain", "message_id"])
def test_no_value_adds_a_field(injection: str, place: str) -> None:
    if place == "message_id":
        content = compile_post(POST, DEV, message_id=f"<1{injection}@x>", received_at=NOW)
    else:
        content = compiled(POST, dataclasses.replace(DEV, **cast("dict[str, Any]", {place: "x" + injection})))
    assert [name for name, _ in fields(content)] == [name for name, _ in fields(compiled(POST))]
    assert b"\r" not in content.replace(b"\r\n", b"")


@given(st.text(max_size=300))
def test_any_display_name_is_one_field_that_reads_back(name: str) -> None:
    content = compiled(POST, dataclasses.replace(DEV, display_name=name))
    assert [name for name, _ in fields(content)] == [name for name, _ in fields(compiled(POST))]
    list_id = dict(fields(content))["list-id"]
    assert list_id.endswith("<dev.lists.test>")
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))


def test_a_display_name_beyond_ascii_is_shown_as_it_is() -> None:
    content = compiled(POST, dataclasses.replace(DEV, display_name="Entwickler über alle Länder " * 4))
    assert decode_words(dict(fields(content))["list-id"]).startswith("Entwickler über alle Länder Entwickler")


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"From: a@b.test\r\nno separator\r\n", b"no separator\r\n"),
        (b"just words\r\n", b"just words\r\n"),
        (b"From: a@b.test\r\n", b""),
        (b"From: a@b.test", b""),
        (b"", b""),
    ],
)
def test_a_message_without_separator_gets_one(raw: bytes, body: bytes) -> None:
    content = compiled(raw)
    header = scan(content)
    assert isinstance(header, Header)
    assert content[header.body_at :] == body
    assert header.first("list-id")


def test_a_bare_cr_in_the_header_brings_no_hidden_field_along() -> None:
    assert b"Bcc" not in compiled(b"X-A: b\rBcc: evil@x\r\n" + POST)


def test_whatever_is_let_in_can_be_sent_with_the_fields_added_on_the_way() -> None:
    largest = b"a: " + b"x" * (INCOMING.field_bytes - 5) + b"\r\n"
    few = largest * (INCOMING.header_bytes // len(largest))
    many = b"a: b\r\n" * INCOMING.fields
    for header_block in (few, many):
        assert isinstance(scan(header_block + b"\r\n"), Header)
        assert isinstance(scan(b"a: b\r\n" + header_block + b"\r\n"), Unreadable)
        assert compiled(b"Received: x\r\n" * 10 + header_block + b"\r\n")


def test_a_header_beyond_the_bounds_is_an_error() -> None:
    with pytest.raises(UnreadablePost):
        compiled(b"a: b\r\n" * 100_000)


@given(st.binary(max_size=200))
def test_the_body_is_not_changed_by_a_byte(body: bytes) -> None:
    body = body.replace(b"\r", b"").replace(b"\n", b"\r\n")
    assert compiled(b"From: a@b.test\r\n\r\n" + body).endswith(b"\r\n\r\n" + body)

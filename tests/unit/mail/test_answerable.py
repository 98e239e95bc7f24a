from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail.answerable import NoAnswer, Writer, writer_of


def read(*fields: str, sender: str = "ann@example.com", author: str = "Ann <Ann@example.com>") -> Writer | NoAnswer:
    return writer_of("\r\n".join([f"From: {author}", *fields, "", "help", ""]).encode(), sender)


def test_a_person_is_answered_at_the_address_in_from() -> None:
    writer = read("Auto-Submitted: no (really)", "Precedence: first-class", sender="other@example.com")
    assert isinstance(writer, Writer)
    assert writer.address.spelling == "Ann@example.com"


@pytest.mark.parametrize(
    "field",
    [
        *("Auto-Submitted: auto-generated", "auto-submitted: AUTO-REPLIED; x=y", "Auto-Submitted: auto-notified"),
        *("X-Autoreply: yes", "X-Autorespond: on", "Content-Type: multipart/report; report-type=delivery-status"),
        *("Precedence: bulk", "Precedence: LIST", "Precedence: junk", "Precedence: auto_reply"),
        *("List-Id: x <x.y>", "List-Unsubscribe: <mailto:x@y>", "List-Post: NO", "X-Loop: x", "X-Mailing-List: x"),
        *("X-Auto-Response-Suppress: All", "X-Auto-Response-Suppress: OOF, AutoReply", "X-Autoresponder: x"),
        *("From: bob@example.com",),
    ],
)
def test_a_program_or_a_list_is_not_answered(field: str) -> None:
    assert isinstance(read(field), NoAnswer)


@pytest.mark.parametrize(
    "author",
    [
        *("MAILER-DAEMON@example.com", "postmaster@example.com", "No-Reply@example.com", "owner-dev@example.com"),
        *("dev-request@example.com", "dev-bounces@example.com", "dev-owner@example.com"),
        *("a@example.com, b@example.com", "", "nobody", "=?utf-8?q?ann=40example.com?="),
    ],
)
def test_who_is_no_single_person_is_not_answered(author: str) -> None:
    assert isinstance(read(author=author), NoAnswer)


@pytest.mark.parametrize(
    "sender", ["MAILER-DAEMON@example.net", "owner-dev@example.net", "dev-bounces@example.net", "dev-Request@b.test"]
)
def test_what_returns_to_a_program_or_a_list_is_not_answered(sender: str) -> None:
    assert isinstance(read(sender=sender), NoAnswer)


def test_the_null_sender_is_not_answered() -> None:
    assert isinstance(read(sender=""), NoAnswer)


@given(st.binary(), st.text())
def test_any_octets_are_read(content: bytes, sender: str) -> None:
    writer_of(content, sender)


@given(st.text())
def test_any_author_is_read(author: str) -> None:
    writer_of(f"From: {author}\r\n\r\n".encode("utf-8", "replace"), "x@example.com")

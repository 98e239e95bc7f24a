from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.smtp_reply import MAX_REPLY_BYTES, MAX_REPLY_LINES, MAX_REPLY_TEXT, Reply, ReplyParser

STREAM = b"250-first\r\n250 second\r\n354\r\n550-5.1.1 a\r\n550 5.1.1 b\r\n421 bye\n"
REPLIES = [Reply(250, "first\nsecond"), Reply(354, ""), Reply(550, "5.1.1 a\n5.1.1 b"), Reply(421, "bye")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_replies_are_the_same_however_the_stream_is_cut(cuts: list[int]) -> None:
    parser = ReplyParser()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [reply for start, end in pairwise(edges) for reply in parser.feed(STREAM[start:end])]
    assert found == REPLIES
    assert not parser.is_inside_a_reply


@pytest.mark.parametrize("data", [b"250", b"250 ok", b"250-ok\r\n", b"250 o\r"])
def test_half_a_reply_is_none_yet(data: bytes) -> None:
    parser = ReplyParser()
    assert parser.feed(data) == []
    assert parser.is_inside_a_reply
    assert parser.fault is None


@pytest.mark.parametrize(
    "line",
    [b"", b"25", b"hello", b"2x0 ok", b"250_ok", b"199 ok", b"600 ok", b"-25 ok", b" 250 ok", b"\xff\xfe\x00", b"2500"],
)
def test_what_is_no_reply_is_a_fault_after_the_replies_before_it(line: bytes) -> None:
    parser = ReplyParser()
    assert parser.feed(b"250 ok\r\n" + line + b"\r\n250 never seen\r\n") == [Reply(250, "ok")]
    assert parser.fault is not None
    assert parser.fault.startswith("not an SMTP reply")
    assert parser.fault.isprintable()
    assert parser.feed(b"250 ok\r\n") == []


def test_a_reply_without_an_end_is_given_up() -> None:
    parser = ReplyParser()
    for _ in range(MAX_REPLY_LINES):
        parser.feed(b"250-more\r\n")
    assert parser.fault is None
    parser.feed(b"250-more\r\n")
    assert parser.fault is not None


def test_a_line_without_an_end_is_given_up() -> None:
    parser = ReplyParser()
    parser.feed(b"250 ")
    for _ in range(MAX_REPLY_BYTES // 1024):
        parser.feed(b"x" * 1024)
    assert parser.fault is not None
    assert not parser.is_inside_a_reply


def test_many_replies_may_be_longer_than_one() -> None:
    parser = ReplyParser()
    assert len(parser.feed(b"250 ok\r\n" * 20_000)) == 20_000
    assert parser.fault is None


def test_the_text_is_fit_to_be_stored() -> None:
    (reply,) = ReplyParser().feed(b"550 a\0b\x1b[31m\xff " + b"x" * 5_000 + b"\r\n")
    assert reply.text.startswith("a?b?[31m? xxx")
    assert len(reply.text) == MAX_REPLY_TEXT
    (reply,) = ReplyParser().feed(b"550 x" + "ü".encode() * 5_000 + b"\r\n")
    assert reply.text == "x" + "ü" * ((MAX_REPLY_TEXT - 1) // 2)


def test_an_enhanced_status_is_read_from_the_first_line() -> None:
    (reply,) = ReplyParser().feed(b"550-5.1.1 no such user\r\n550 5.1.1 really\r\n")
    assert reply.enhanced_status == "5.1.1"


@pytest.mark.parametrize(
    ("reply", "is_for_volume"),
    [
        (Reply(421, "Too busy"), True),
        (Reply(450, "4.7.1 Too many messages"), True),
        (Reply(451, "4.4.5 System congestion"), True),
        (Reply(450, "4.2.1 The mailbox is asleep"), False),
        (Reply(451, "Try later"), False),
        (Reply(550, "4.7.1 Confused"), False),
        (Reply(550, "5.7.1 Not allowed"), False),
        (Reply(250, "2.0.0 OK"), False),
    ],
)
def test_a_refusal_for_volume_is_known_by_its_codes(reply: Reply, is_for_volume: bool) -> None:
    assert reply.is_about_volume is is_for_volume

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail.headers import Header, Unreadable, scan


def header(raw: bytes) -> Header:
    found = scan(raw)
    assert isinstance(found, Header)
    return found


def test_fields_are_told_apart_and_unfolded() -> None:
    raw = b"From: ann@example.org\r\nSubject: one\r\n two\r\n\tthree\r\nX-Odd : y\r\n\r\nbody\r\n"
    found = header(raw)
    assert [field.name for field in found.fields] == ["from", "subject", "x-odd"]
    assert found.fields[1].value == b"one two\tthree"
    assert found.fields[1].text == "one two three"
    assert b"".join(field.raw for field in found.fields) == raw[: -len(b"\r\nbody\r\n")]
    assert raw[found.body_at :] == b"body\r\n"


@pytest.mark.parametrize(
    ("raw", "names", "body"),
    [
        (b"A: b\r\nno field\r\n\r\nbody", ["a"], b"no field\r\n\r\nbody"),
        (b"A: b\r\n\r\n", ["a"], b""),
        (b"A: b\r\n", ["a"], b""),
        (b"A: b", ["a"], b""),
        (b"A:", ["a"], b""),
        (b"", [], b""),
        (b"\r\nbody", [], b"body"),
        (b" not folded\r\nA: b\r\n\r\n", [], b" not folded\r\nA: b\r\n\r\n"),
        (b"just words", [], b"just words"),
        (b"A: b\n\nbody\n", ["a"], b"body\n"),
        (b"From ann Mon Nov 23 2026\r\nA: b\r\n\r\n", [], b"From ann Mon Nov 23 2026\r\nA: b\r\n\r\n"),
        (b": b\r\n", [], b": b\r\n"),
        (b"A\xc3\xa4: b\r\n", [], b"A\xc3\xa4: b\r\n"),
    ],
)
def test_the_header_ends_where_the_fields_end(raw: bytes, names: list[str], body: bytes) -> None:
    found = header(raw)
    assert [field.name for field in found.fields] == names
    assert raw[found.body_at :] == body


def test_bytes_beyond_ascii_are_read_and_kept() -> None:
    found = header(b"Subject: caf\xc3\xa9 \xff\r\n\r\n")
    assert found.fields[0].text == "café \ufffd"
    assert found.fields[0].raw == b"Subject: caf\xc3\xa9 \xff\r\n"


@pytest.mark.parametrize(
    ("raw", "because"),
    [
        (b"a: b\r\n" * 100_000, "fields"),
        (b"a: " + b"x" * 10_000_000 + b"\r\n\r\n", "bytes"),
        (b"a: x\r\n" + b" y\r\n" * 2_500_000, "field is longer"),
        ((b"a: " + b"x" * 90_000 + b"\r\n") * 100, "header is longer"),
        (b"x" * 10_000_000, ""),
        (b"x" + b" " * 10_000_000 + b": y", ""),
        (b"From: " + b"(" * 1000 + b")" * 1000 + b"\r\n\r\n", ""),
        (b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--x\r\nx:y\r\n\r\n" * 100_000, ""),
    ],
    ids=[
        "100,000 fields",
        "10 MB line",
        "10 MB folded",
        "9 MB header",
        "10 MB name",
        "10 MB space",
        "comments",
        "parts",
    ],
)
def test_a_hostile_header_is_answered_in_no_time(raw: bytes, because: str) -> None:
    began = time.thread_time()
    found = scan(raw)
    assert time.thread_time() - began < 1
    if because:
        assert isinstance(found, Unreadable)
        assert because in found.because
    else:
        assert isinstance(found, Header)


def test_large_but_honest_headers_are_read() -> None:
    references = b"References: " + b" <0123456789@example.org>\r\n" * 4000
    recipients = b"To: " + b" somebody@example.org,\r\n" * 5000
    received = b"Received: from a by b; Mon, 23 Nov 2026 00:00:00 +0000\r\n" * 100
    found = header(received + references + recipients + b"\r\n")
    assert len(found.fields) == 102


@given(st.lists(st.sampled_from([b"a", b":", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\xff"]), max_size=40).map(b"".join))
def test_fields_and_body_are_the_message(raw: bytes) -> None:
    found = header(raw)
    fields = b"".join(field.raw for field in found.fields)
    assert raw.startswith(fields)
    assert raw[len(fields) : found.body_at] in (b"", b"\r\n", b"\n")
    for field in found.fields:
        assert not any(character in field.text for character in "\r\n\x00")

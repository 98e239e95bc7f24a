"""The instrument that all acceptance tests read, read itself."""

from __future__ import annotations

import smtplib
import time
from collections.abc import Callable

import pytest

from deploy.local.ports import LOOPBACK
from deploy.local.sink import Sink


def _connect(sink: Sink, node: str) -> smtplib.SMTP:
    return smtplib.SMTP(LOOPBACK, sink.port, local_hostname=f"{node}.nodes.test")


def test_copies_are_counted_by_recipient_and_by_node(sink: Sink) -> None:
    for node in ("outbound-1", "outbound-2"):
        with _connect(sink, node) as session:
            session.sendmail("b+1@lists.test", ["one@members.test"], "Subject: News\r\n\r\nHello")
    with _connect(sink, "outbound-2") as session:
        session.sendmail("b+2@lists.test", ["two@members.test"], "Subject: News\r\n\r\nHello")

    assert sink.copies_per_recipient("News") == {"one@members.test": 2, "two@members.test": 1}
    assert sink.copies_per_node() == {"outbound-1": 1, "outbound-2": 2}
    assert sink.extra_copies() == 1
    assert sink.copies[0].sender == "b+1@lists.test"
    assert sink.copies[0].answered_seconds is not None


def test_open_connections_are_known_at_any_moment(sink: Sink) -> None:
    with _connect(sink, "outbound-1") as session:
        session.sendmail("b@lists.test", ["one@members.test"], "Hello")
        assert sink.open_connections_of("outbound-1") == 1
    sink.wait_until(lambda sink: sink.open_connections_of("outbound-1") == 0, 30)
    assert sink.most_open_connections_of("outbound-1") == 1


def test_content_is_kept_byte_for_byte(start_sink: Callable[..., Sink]) -> None:
    sink = start_sink(keeps_contents=True)
    content = b"Subject: Dots\r\n\r\n.\r\n..two\r\n\xff\xfe\r\n"
    with _connect(sink, "outbound-1") as session:
        session.sendmail("b@lists.test", ["one@members.test"], content)

    assert sink.copies[0].content == content


def test_other_answers_can_be_ordered(sink: Sink) -> None:
    sink.answer("^full@", "452 4.2.2 Mailbox full")
    sink.answer("^slow@", "451 4.7.1 Later", after_content=True, times=1)
    with _connect(sink, "outbound-1") as session:
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            session.sendmail("b@lists.test", ["full@members.test"], "Hello")
        with pytest.raises(smtplib.SMTPDataError):
            session.sendmail("b@lists.test", ["slow@members.test"], "Hello")
        session.sendmail("b@lists.test", ["slow@members.test"], "Hello")

    assert sink.copies_per_recipient() == {"slow@members.test": 1}


def test_replies_are_held_back(start_sink: Callable[..., Sink]) -> None:
    sink = start_sink(latency_seconds=0.05)
    with _connect(sink, "outbound-1") as session:
        session.ehlo()
        began = time.monotonic()
        session.noop()
        assert time.monotonic() - began >= 0.05


def test_the_highest_rate_is_that_of_the_fullest_second(sink: Sink) -> None:
    with _connect(sink, "outbound-1") as session:
        for number in range(5):
            session.sendmail("b@lists.test", [f"member-{number}@members.test"], "Hello")

    assert sink.highest_rate_of("outbound-1", window_seconds=30) == 5
    assert sink.highest_rate_of("outbound-1", since_seconds=time.monotonic()) == 0


def test_the_most_bytes_are_those_of_the_fullest_second(sink: Sink) -> None:
    sink.note_arrivals()
    content = "Subject: News\r\n\r\n" + "x" * 5000
    with _connect(sink, "outbound-1") as session:
        for pause_seconds in (0.0, 1.1, 0.0):
            time.sleep(pause_seconds)
            session.sendmail("b@lists.test", ["one@members.test"], content)
    size_bytes = sum(arrival.size_bytes for arrival in sink.arrivals) / 3
    assert len(content) <= size_bytes <= len(content) + 10
    assert sink.most_bytes_of("outbound-1") == 2 * size_bytes
    assert sink.most_bytes_of("outbound-1", window_seconds=5) == 3 * size_bytes
    assert sink.most_bytes_of("outbound-2") == 0

"""The sink that records, the links that are cut, and the tarpit: the instruments of `make chaos`, read themselves."""

from __future__ import annotations

import smtplib
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaos.ledger import Balance
from chaos.link import Cut, Link
from chaos.recording_sink import RecordingSink
from chaos.tarpit_server import running_tarpit
from deploy.local.ports import LOOPBACK, free_port


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[RecordingSink]:
    sink = RecordingSink(tmp_path / "record", latency_seconds=0.0)
    sink.start()
    yield sink
    sink.stop()


@pytest.fixture
def link(sink: RecordingSink) -> Iterator[Link]:
    link = Link(sink.port)
    link.start()
    yield link
    link.stop()


def _send(port: int, recipient: str) -> None:
    with smtplib.SMTP(LOOPBACK, port, local_hostname="outbound-1.nodes.test", timeout=5) as session:
        session.sendmail("b+1@lists.test", [recipient], "Subject: Mailing 1\r\n\r\nHello")


def test_a_copy_is_written_down_before_and_after_its_answer(sink: RecordingSink, tmp_path: Path) -> None:
    _send(sink.port, "one@members.test")

    events = [line.split()[1:] for line in (tmp_path / "record").read_text().splitlines()]
    assert events == [
        ["taken", "b+1@lists.test", "one@members.test"],
        ["answered", "b+1@lists.test", "one@members.test"],
    ]
    assert sink.reached["Mailing 1"] == {"one@members.test"}


def test_a_deadly_message_kills_before_it_is_answered_and_is_not_counted(sink: RecordingSink) -> None:
    killed: list[str] = []
    sink.be_deadly_for("two@members.test", killed.append)

    with pytest.raises(smtplib.SMTPException):
        _send(sink.port, "two@members.test")
    _send(sink.port, "one@members.test")

    assert killed == ["outbound-1"]
    assert {copy.recipient for copy in sink.copies} == {"one@members.test"}


def test_slow_recipients_are_answered_late_and_the_others_at_once(sink: RecordingSink) -> None:
    sink.answer_slowly(frozenset({"slow@members.test"}), 0.3)
    with ThreadPoolExecutor(2) as both:
        slow = both.submit(_send, sink.port, "slow@members.test")
        both.submit(_send, sink.port, "quick@members.test").result(5)
        slow.result(5)

    took_seconds = {
        copy.recipient: copy.answered_seconds - copy.received_seconds for copy in sink.copies if copy.answered_seconds
    }
    assert took_seconds["slow@members.test"] >= 0.29  # the loop counts whole milliseconds
    assert took_seconds["quick@members.test"] < took_seconds["slow@members.test"]


def test_a_link_that_refuses_resets_what_is_open_and_takes_nothing_new(sink: RecordingSink, link: Link) -> None:
    with smtplib.SMTP(LOOPBACK, link.port, timeout=5) as session:
        session.noop()
        link.cut(Cut.REFUSING)
        with pytest.raises(smtplib.SMTPServerDisconnected):
            session.noop()
    with pytest.raises(ConnectionRefusedError):
        _send(link.port, "one@members.test")

    link.mend()
    _send(link.port, "one@members.test")
    assert len(sink.copies) == 1


def test_what_was_sent_through_a_silent_cut_arrives_after_it(sink: RecordingSink, link: Link) -> None:
    with socket.create_connection((LOOPBACK, link.port), timeout=5) as client:
        assert client.recv(1000).startswith(b"220")
        link.cut(Cut.SILENT)
        client.sendall(b"NOOP\r\n")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1000)
        link.mend()
        client.settimeout(5)
        assert client.recv(1000).startswith(b"250")


def test_a_tarpit_drips_its_greeting_or_never_answers() -> None:
    port = free_port()
    with running_tarpit(LOOPBACK, port, byte_seconds=0.05):
        with socket.create_connection((LOOPBACK, port), timeout=5) as first:
            assert first.recv(1000) == b"220 tarpit.test ESMTP\r\n"
            first.sendall(b"EHLO me\r\n")
            first.settimeout(0.2)
            with pytest.raises(TimeoutError):
                first.recv(1000)
        began_seconds = time.monotonic()
        with socket.create_connection((LOOPBACK, port), timeout=5) as second:
            greeting = b""
            while not greeting.endswith(b"\n"):
                greeting += second.recv(1)
            assert time.monotonic() - began_seconds >= 0.05 * (len(greeting) - 2)


@pytest.mark.parametrize(
    ("balance", "is_good"),
    [
        (Balance(lost=0, wrong=0, extra=3, allowed_extra=3), True),
        (Balance(lost=0, wrong=0, extra=4, allowed_extra=3), False),
        (Balance(lost=1, wrong=0, extra=0, allowed_extra=3), False),
        (Balance(lost=0, wrong=1, extra=0, allowed_extra=3), False),
        (Balance(lost=0, wrong=0, extra=0, allowed_extra=3, complaints=("left: 1 batches",)), False),
    ],
)
def test_a_seed_is_good_only_when_every_column_is(balance: Balance, is_good: bool) -> None:
    assert balance.is_good is is_good

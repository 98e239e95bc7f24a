"""Compiling mailings: each once, within bounds, and never in the way of the next."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.outbound_sender import rendering
from services.outbound_sender.rendering import Renderer, WireContent, compile_mailing
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.mailing import MailingKind
from shared.core.membership import PostingPolicy
from shared.store.engine import StoreUnavailable
from shared.store.mailings import MailingContent

POST = b"From: ann@example.com\r\nSubject: Hello\r\n\r\nHello.\r\n.\r\nBye.\r\n"


def mailing(content: bytes = POST, kind: MailingKind = MailingKind.POST) -> MailingContent:
    is_post = kind is MailingKind.POST
    return MailingContent(
        content=content,
        kind=kind,
        return_domain="lists.example.org",
        list_name="friends" if is_post else None,
        list_domain="lists.example.org" if is_post else None,
        list_display_name="Friends",
        posting_policy=PostingPolicy.MEMBERS if is_post else None,
        message_uuid=UUID(int=7),
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


class Loader:
    """Gives every mailing, and keeps which were asked for."""

    def __init__(self, content: bytes = POST) -> None:
        self.content = content
        self.loaded: list[int] = []
        self.failures: list[Exception] = []

    async def __call__(self, mailing_id: int) -> MailingContent:
        self.loaded.append(mailing_id)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        return mailing(self.content)


def test_a_post_gets_its_lists_headers_and_the_final_dot() -> None:
    compiled = compile_mailing(mailing())
    assert b"List-Id:" in compiled.content
    assert b"List-Unsubscribe" in compiled.content
    assert compiled.content.endswith(b"Hello.\r\n..\r\nBye.\r\n.\r\n")
    assert (compiled.has_8bit, compiled.return_domain) == (False, "lists.example.org")


def test_a_forwarded_message_goes_on_as_it_is() -> None:
    content = compile_mailing(mailing(kind=MailingKind.FORWARD)).content
    assert content == POST.replace(b"\r\n.\r\n", b"\r\n..\r\n") + b".\r\n"


@pytest.mark.parametrize("body", [b"Hello.", b"Hello.\n", b"caf\xc3\xa9\r\n", b"", b".", b"\r\n.\r\n.\r\n"])
def test_whatever_the_body_the_content_ends_once(body: bytes) -> None:
    compiled = compile_mailing(mailing(b"From: ann@example.com\r\n\r\n" + body))
    assert compiled.content.endswith(b"\r\n.\r\n")
    assert compiled.content.count(b"\r\n.\r\n") == 1
    assert compiled.has_8bit == (not body.isascii())


async def test_a_mailing_that_many_batches_want_at_once_is_compiled_once() -> None:
    loader = Loader()
    renderer = Renderer(loader)
    contents = await asyncio.gather(*(renderer.content(1) for _ in range(20)))
    assert loader.loaded == [1]
    assert len({id(content) for content in contents}) == 1


async def test_a_failure_to_load_is_raised_and_not_kept() -> None:
    loader = Loader()
    loader.failures = [StoreUnavailable("down")]
    renderer = Renderer(loader)
    with pytest.raises(StoreUnavailable):
        await renderer.content(1)
    assert isinstance(await renderer.content(1), WireContent)


async def test_one_who_gives_up_waiting_does_not_spoil_it_for_the_others() -> None:
    renderer = Renderer(Loader())
    impatient = asyncio.create_task(renderer.content(1))
    patient = asyncio.create_task(renderer.content(1))
    await asyncio.sleep(0)
    impatient.cancel()
    assert isinstance(await patient, WireContent)


async def test_the_latest_used_are_kept_within_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "CACHE_BYTES", 25_000)
    loader = Loader(POST + b"x" * 10_000)
    renderer = Renderer(loader)
    for mailing_id in (1, 2, 1, 3, 1, 2):
        await renderer.content(mailing_id)
    assert loader.loaded == [1, 2, 3, 2]


async def test_a_mailing_larger_than_the_bound_is_kept_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "CACHE_BYTES", 1000)
    loader = Loader(POST + b"x" * 10_000)
    renderer = Renderer(loader)
    for _ in range(3):
        await renderer.content(1)
    assert loader.loaded == [1]


async def test_a_fault_of_ours_is_everybodys_deferral(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_mailing: MailingContent) -> WireContent:
        raise RecursionError("too deep")

    monkeypatch.setattr(rendering, "compile_mailing", fail)
    outcome = await Renderer(Loader()).content(1)
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.because.startswith("4.3.0 ")


@pytest.mark.parametrize(
    ("header", "needs_smtputf8"),
    [(b"Subject: x", False), ("Subject: Grüße".encode(), True), (b"Subject: Gr\xfc\xdfe", False)],
    ids=["ASCII", "UTF-8", "of old"],
)
def test_a_header_in_utf8_needs_smtputf8(header: bytes, needs_smtputf8: bool) -> None:
    compiled = compile_mailing(mailing(b"From: ann@example.com\r\n" + header + b"\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"))
    assert compiled.needs_smtputf8 is needs_smtputf8
    assert compiled.has_8bit


async def test_a_mailing_is_re_encoded_once_for_all_servers_that_take_seven_bits() -> None:
    loader = Loader(b"From: ann@example.com\r\n\r\nSch\xc3\xb6ne Sachen, die man lesen kann.\r\n")
    renderer = Renderer(loader)
    as_it_is = await renderer.content(1)
    first, second = await renderer.content(1, seven_bit=True), await renderer.content(1, seven_bit=True)
    assert isinstance(as_it_is, WireContent)
    assert isinstance(first, WireContent)
    assert (as_it_is.has_8bit, first.has_8bit) == (True, False)
    assert first.content.isascii()
    assert b"Sch=C3=B6ne" in first.content
    assert first is second
    assert loader.loaded == [1, 1]


async def test_a_mailing_that_cannot_be_re_encoded_is_refused_there() -> None:
    level = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
    deep = b"".join(level % (number, number) for number in range(200)) + b"\r\n\xe9\r\n"
    outcome = await Renderer(Loader(b"From: ann@example.com\r\n" + deep)).content(1, seven_bit=True)
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.REFUSED
    assert outcome.because.startswith("5.6.3 ")

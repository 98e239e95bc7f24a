"""Compiling mailings: each once, within bounds, and never in the way of the next."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import dkim
import pytest

from services.outbound_sender import rendering
from services.outbound_sender.copies import PersonalContent, WireContent
from services.outbound_sender.rendering import CompiledMailing, Renderer, compile_mailing
from shared.core.copies import AS_WRITTEN, CopySettings, ReplyToPolicy
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.dkim import DkimAlgorithm
from shared.core.mailing import MailingKind
from shared.core.membership import PostingPolicy
from shared.core.verp import mailing_of
from shared.mail.dkim import SigningKey
from shared.mail.dkim_keys import make_key, record_text
from shared.mail.template import UnreadablePost
from shared.store.claims import Recipient
from shared.store.contents import MailingContent
from shared.store.engine import StoreUnavailable
from shared.store.sealing import CannotBeOpened
from tests.samples.posts import READABLE, SEALED, SIGNED_PART

SECRET = b"sixteen octets or more"
POST = b"From: ann@example.com\r\nSubject: Hello\r\n\r\nHello.\r\n.\r\nBye.\r\n"


def mailing(content: bytes = POST, kind: MailingKind = MailingKind.POST) -> MailingContent:
    is_post = kind is MailingKind.POST
    return MailingContent(
        content=content,
        kind=kind,
        return_domain="lists.example.org",
        personal=False,
        verp_enabled=True,
        copies=AS_WRITTEN,
        list_name="friends" if is_post else None,
        list_domain="lists.example.org" if is_post else None,
        list_display_name="Friends",
        posting_policy=PostingPolicy.MEMBERS if is_post else None,
        message_uuid=UUID(int=7),
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
        loaded_at=datetime(2026, 1, 2, tzinfo=UTC),
    )


class Loader:
    """Gives every mailing, and keeps which were asked for."""

    def __init__(self, content: bytes = POST) -> None:
        self.content = content
        self.loaded: list[int] = []
        self.failures: list[Exception] = []
        self.changes: dict[str, bool] = {}

    async def __call__(self, mailing_id: int) -> MailingContent:
        self.loaded.append(mailing_id)
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        return replace(mailing(self.content), **self.changes)  # type: ignore[arg-type]


async def no_keys(_domain: str) -> tuple[SigningKey, ...]:
    return ()


def wire(compiled: CompiledMailing) -> WireContent:
    content = compiled.signed(())
    assert isinstance(content, WireContent)
    return content


def test_a_post_gets_its_lists_headers_and_the_final_dot() -> None:
    compiled = wire(compile_mailing(mailing()))
    (content,) = compiled.segments
    assert b"List-Id:" in content
    assert b"List-Unsubscribe" in content
    assert content.endswith(b"Hello.\r\n..\r\nBye.\r\n.\r\n")
    assert (compiled.has_8bit, compiled.return_domain) == (False, "lists.example.org")


def test_a_digest_gets_its_lists_headers_and_nothing_that_is_for_posts() -> None:
    settings = CopySettings(subject_prefix="[x]", footer_text="Footer", is_anonymous=True, is_from_list=True)
    digest = replace(mailing(), kind=MailingKind.DIGEST, copies=settings)
    assert wire(compile_mailing(digest)).segments == wire(compile_mailing(mailing())).segments


def test_a_forwarded_message_goes_on_as_it_is() -> None:
    content = wire(compile_mailing(mailing(kind=MailingKind.FORWARD)))
    assert b"".join(content.segments) == POST.replace(b"\r\n.\r\n", b"\r\n..\r\n") + b".\r\n"


@pytest.mark.parametrize("body", [b"Hello.", b"Hello.\n", b"caf\xc3\xa9\r\n", b"", b".", b"\r\n.\r\n.\r\n"])
def test_whatever_the_body_the_content_ends_once(body: bytes) -> None:
    compiled = wire(compile_mailing(mailing(b"From: ann@example.com\r\n\r\n" + body)))
    content = b"".join(compiled.segments)
    assert content.endswith(b"\r\n.\r\n")
    assert content.count(b"\r\n.\r\n") == 1
    assert compiled.has_8bit == (not body.isascii())


async def test_a_signed_mailing_is_signed_once_and_again_when_the_keys_change() -> None:
    keys = [make_key("lists.example.org", name, DkimAlgorithm.ED25519_SHA256) for name in ("one", "two")]
    in_force = [keys[0]]

    async def find(domain: str) -> tuple[SigningKey, ...]:
        assert domain == "lists.example.org"
        return tuple(in_force)

    loader = Loader()
    renderer = Renderer(loader, find, secret=SECRET)
    contents = await asyncio.gather(*(renderer.content(1) for _ in range(5)))
    assert len({id(content) for content in contents}) == 1
    assert _selectors(contents[0]) == ["one"]
    in_force[:] = keys
    assert _selectors(await renderer.content(1)) == ["one", "two"]
    assert loader.loaded == [1], "compiled once"


async def test_signatures_are_of_the_databases_moment_not_of_the_nodes() -> None:
    key = make_key("lists.example.org", "one", DkimAlgorithm.ED25519_SHA256)

    async def find(_domain: str) -> tuple[SigningKey, ...]:
        return (key,)

    content = await Renderer(Loader(), find, secret=SECRET).content(1)
    assert isinstance(content, WireContent)
    moments = re.findall(rb" t=(\d+);", b"".join(content.segments))
    assert [int(moment) for moment in moments] == [datetime(2026, 1, 2, tzinfo=UTC).timestamp()]


async def test_mail_that_cannot_be_signed_waits_and_goes_out_when_it_can() -> None:
    failures = [CannotBeOpened("another secret")]

    async def find(_domain: str) -> tuple[SigningKey, ...]:
        if failures:
            raise failures.pop()
        return ()

    renderer = Renderer(Loader(), find, secret=SECRET)
    outcome = await renderer.content(1)
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.DEFERRED
    assert isinstance(await renderer.content(1), WireContent)


async def test_a_mailing_without_verp_has_one_return_path_and_a_personal_copy_its_own() -> None:
    loader = Loader()
    assert _shared(await Renderer(loader, no_keys, secret=SECRET).content(1)) is None
    loader.changes = {"verp_enabled": False}
    local, _, domain = str(_shared(await Renderer(loader, no_keys, secret=SECRET).content(1))).partition("@")
    assert (mailing_of(local, SECRET), domain) == (1, "lists.example.org")
    loader.changes = {"verp_enabled": False, "personal": True}
    loader.content = b"From: ann@example.com\r\n\r\n{{email}}\r\n"
    personal = await Renderer(loader, no_keys, secret=SECRET).content(1)
    assert isinstance(personal, PersonalContent)
    assert personal.copy(Recipient(1, 1, 1, "ann@example.com")).shared_return_path is None


def _shared(content: object) -> str | None:
    assert isinstance(content, WireContent)
    return content.shared_return_path


def test_only_a_personal_mailing_has_slots() -> None:
    raw = b"From: ann@example.com\r\n\r\n{{name}}\r\n"
    assert wire(compile_mailing(mailing(raw))).segments[0].endswith(b"\r\n\r\n{{name}}\r\n.\r\n")
    personal = compile_mailing(replace(mailing(raw), personal=True))
    assert isinstance(personal.signed(()), PersonalContent)
    without_slots = compile_mailing(replace(mailing(), personal=True))
    assert isinstance(without_slots.signed(()), WireContent)


def _selectors(content: object) -> list[str]:
    assert isinstance(content, WireContent)
    header = b"".join(content.segments).partition(b"From:")[0].decode()
    return re.findall(r"[ \t]s=(\w+);", header)


async def test_a_mailing_that_many_batches_want_at_once_is_compiled_once() -> None:
    loader = Loader()
    renderer = Renderer(loader, no_keys, secret=SECRET)
    contents = await asyncio.gather(*(renderer.content(1) for _ in range(20)))
    assert loader.loaded == [1]
    assert len({id(content) for content in contents}) == 1


async def test_a_failure_to_load_is_raised_and_not_kept() -> None:
    loader = Loader()
    loader.failures = [StoreUnavailable("down")]
    renderer = Renderer(loader, no_keys, secret=SECRET)
    with pytest.raises(StoreUnavailable):
        await renderer.content(1)
    assert isinstance(await renderer.content(1), WireContent)


async def test_one_who_gives_up_waiting_does_not_spoil_it_for_the_others() -> None:
    renderer = Renderer(Loader(), no_keys, secret=SECRET)
    impatient = asyncio.create_task(renderer.content(1))
    patient = asyncio.create_task(renderer.content(1))
    await asyncio.sleep(0)
    impatient.cancel()
    assert isinstance(await patient, WireContent)


async def test_the_latest_used_are_kept_within_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "CACHE_BYTES", 25_000)
    loader = Loader(POST + b"x" * 10_000)
    renderer = Renderer(loader, no_keys, secret=SECRET)
    for mailing_id in (1, 2, 1, 3, 1, 2):
        await renderer.content(mailing_id)
    assert loader.loaded == [1, 2, 3, 2]


async def test_a_mailing_larger_than_the_bound_is_kept_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "CACHE_BYTES", 1000)
    loader = Loader(POST + b"x" * 10_000)
    renderer = Renderer(loader, no_keys, secret=SECRET)
    for _ in range(3):
        await renderer.content(1)
    assert loader.loaded == [1]


async def test_a_fault_of_ours_is_everybodys_deferral(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_mailing: MailingContent, _return_path_local: str | None, *, seven_bit: bool) -> CompiledMailing:
        raise RecursionError("too deep")

    renderer = Renderer(Loader(), no_keys, secret=SECRET)
    with monkeypatch.context() as failing:
        failing.setattr(rendering, "compile_mailing", fail)
        outcome = await renderer.content(1)
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.because.startswith("4.3.0 ")
    assert isinstance(await renderer.content(1), WireContent), "tried again when it is over"


@pytest.mark.parametrize(
    ("header", "is_utf8"),
    [(b"Subject: x", False), ("Subject: Grüße".encode(), True), (b"Subject: Gr\xfc\xdfe", False)],
    ids=["ASCII", "UTF-8", "of old"],
)
def test_a_header_in_utf8_is_known(header: bytes, is_utf8: bool) -> None:
    compiled = compile_mailing(mailing(b"From: ann@example.com\r\n" + header + b"\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"))
    assert compiled.has_utf8_header is is_utf8
    assert compiled.has_8bit


async def test_a_mailing_is_re_encoded_once_for_all_servers_that_take_seven_bits() -> None:
    loader = Loader(b"From: ann@example.com\r\n\r\nSch\xc3\xb6ne Sachen, die man lesen kann.\r\n")
    renderer = Renderer(loader, no_keys, secret=SECRET)
    as_it_is = await renderer.content(1)
    first, second = await renderer.content(1, seven_bit=True), await renderer.content(1, seven_bit=True)
    assert isinstance(as_it_is, WireContent)
    assert isinstance(first, WireContent)
    assert (as_it_is.has_8bit, first.has_8bit) == (True, False)
    content = b"".join(first.segments)
    assert content.isascii()
    assert b"Sch=C3=B6ne" in content
    assert first is second
    assert loader.loaded == [1, 1]


async def test_a_mailing_that_cannot_be_re_encoded_is_refused_there() -> None:
    level = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
    deep = b"".join(level % (number, number) for number in range(200)) + b"\r\n\xe9\r\n"
    loader = Loader(b"From: ann@example.com\r\n" + deep)
    outcome = await Renderer(loader, no_keys, secret=SECRET).content(1, seven_bit=True)
    assert isinstance(outcome, Outcome)
    assert outcome.kind is OutcomeKind.REFUSED
    assert outcome.because.startswith("5.6.3 ")


async def test_a_re_encoded_mailing_is_signed_as_it_is_sent() -> None:
    key = make_key("lists.example.org", "one", DkimAlgorithm.RSA_SHA256)

    async def find(_domain: str) -> tuple[SigningKey, ...]:
        return (key,)

    raw = "From: ann@example.com\r\nSubject: Grüße\r\n\r\nSchöne Sachen, die man lesen kann.\r\n".encode()
    renderer = Renderer(Loader(raw), find, secret=SECRET)
    content = await renderer.in_seven_bits(1, Recipient(1, 1, 1, "ann@example.com"))
    assert isinstance(content, WireContent)
    assert (content.has_8bit, content.has_utf8_header) == (False, True)
    assert _verifies(b"".join(content.segments), key)


async def test_a_personal_copy_is_re_encoded_and_signed_for_its_member() -> None:
    key = make_key("lists.example.org", "one", DkimAlgorithm.ED25519_SHA256)

    async def find(_domain: str) -> tuple[SigningKey, ...]:
        return (key,)

    raw = (
        b"From: ann@example.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nSch\xc3\xb6n, {{email}}\r\n"
        b"--b\r\nContent-Type: text/x-other; charset=latin1\r\nContent-Disposition: attachment\r\n\r\n\xe9\r\n--b--\r\n"
    )
    loader = Loader(raw)
    loader.changes = {"personal": True}
    renderer = Renderer(loader, find, secret=SECRET)
    personal = await renderer.content(1)
    assert isinstance(personal, PersonalContent)
    recipient = Recipient(1, 1, 1, "bob@example.com")
    assert personal.copy(recipient).has_8bit
    content = await renderer.in_seven_bits(1, recipient)
    assert isinstance(content, WireContent)
    message = b"".join(content.segments)
    assert message.isascii()
    assert not content.has_8bit
    assert b"bob@example.com" in message
    assert _verifies(message, key)


SIGNED_BY_THE_AUTHOR = (
    b"DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s;\r\n h=From : To:Date;\r\n bh=x; b=x\r\n" + POST
)


@pytest.mark.parametrize(
    ("copies", "is_kept"),
    [
        (AS_WRITTEN, True),
        (CopySettings(subject_prefix="[friends]"), True),
        (CopySettings(reply_to=ReplyToPolicy.LIST), True),
        (CopySettings(footer_text="Bye"), False),
        (CopySettings(is_from_list=True), False),
        (CopySettings(is_anonymous=True), False),
    ],
)
def test_an_authors_signature_stays_where_it_covers_nothing_that_was_changed(
    copies: CopySettings, *, is_kept: bool
) -> None:
    content = b"".join(wire(compile_mailing(replace(mailing(SIGNED_BY_THE_AUTHOR), copies=copies))).segments)
    assert (b"d=example.com" in content) is is_kept


EVERYTHING = CopySettings(
    subject_prefix="[Bücher]",
    header_text="Grüße, {{email}}",
    footer_text=".\n..\nBye",
    reply_to=ReplyToPolicy.LIST,
    is_from_list=True,
)


@pytest.mark.parametrize("name", READABLE | SEALED)
@pytest.mark.parametrize("copies", [EVERYTHING, replace(EVERYTHING, is_anonymous=True)])
@pytest.mark.parametrize("seven_bit", [False, True])
def test_a_changed_copy_is_signed_as_it_is_sent(name: str, copies: CopySettings, *, seven_bit: bool) -> None:
    key = make_key("lists.example.org", "one", DkimAlgorithm.ED25519_SHA256)
    changed = replace(mailing((READABLE | SEALED)[name]), copies=copies)
    content = compile_mailing(changed, seven_bit=seven_bit).signed((key,))
    assert isinstance(content, WireContent)
    message = b"".join(content.segments)
    assert not content.has_utf8_header
    assert message.isascii() or not seven_bit
    assert _verifies(message, key)


def test_merge_fields_count_in_the_texts_of_a_personal_list() -> None:
    key = make_key("lists.example.org", "one", DkimAlgorithm.ED25519_SHA256)
    changed = replace(mailing(SEALED["S/MIME"]), copies=EVERYTHING, personal=True)
    personal = compile_mailing(changed).signed((key,))
    assert isinstance(personal, PersonalContent)
    message = b"".join(personal.copy(Recipient(1, 1, 1, "bob@example.com")).segments)
    assert b"bob@example.com" in message
    assert SIGNED_PART.replace(b"\r\n.", b"\r\n..") in message
    assert _verifies(message, key)


def test_conditions_count_in_newsletters() -> None:
    key = make_key("lists.example.org", "one", DkimAlgorithm.ED25519_SHA256)
    header = b"From: ann@example.com\r\nSubject: News{{#if vip}}!{{/if}}\r\n\r\n"
    raw = header + b"{{#if vip}}Welcome{{else}}Hello{{/if}} to you\r\n"
    newsletter = compile_mailing(replace(mailing(raw, MailingKind.NEWSLETTER), personal=True)).signed((key,))
    assert isinstance(newsletter, PersonalContent)
    for subject, greeting, fields in (
        ("News!", "Welcome", '{"vip": true}'),
        ("News", "Hello", '{"vip": false, "name": "{{#if vip}}"}'),
    ):
        recipient = Recipient(1, 1, 1, "bob@example.com", fields_json=fields)
        message = b"".join(newsletter.copy(recipient).segments)
        assert f"Subject: {subject}\r\n".encode() in message
        assert message.endswith(f"\r\n\r\n{greeting}=\r\n to you\r\n.\r\n".encode())
        assert _verifies(message, key)


def test_a_post_with_a_condition_goes_out_as_it_is() -> None:
    raw = b"From: ann@example.com\r\nSubject: {{#if vip}}\r\n\r\n{{#if vip}}Welcome{{/if}}\r\n"
    content = b"".join(wire(compile_mailing(replace(mailing(raw), personal=True))).segments)
    assert content.endswith(b"\r\n\r\n{{#if vip}}Welcome{{/if}}\r\n.\r\n")
    assert b"Subject: {{#if vip}}\r\n" in content


def test_a_newsletter_with_half_a_condition_is_sent_to_nobody() -> None:
    raw = b"From: ann@example.com\r\n\r\n{{#if vip}}Welcome\r\n"
    with pytest.raises(UnreadablePost, match='line 1, column 1: the condition on "vip" has no'):
        compile_mailing(replace(mailing(raw, MailingKind.NEWSLETTER), personal=True))


def _verifies(wire_bytes: bytes, key: SigningKey) -> bool:
    message = wire_bytes.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
    return bool(dkim.verify(message, dnsfunc=lambda _name, **_: record_text(key).encode()))

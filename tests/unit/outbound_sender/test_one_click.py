"""Each copy's own way out of the list, under the signature (RFC 8058)."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import dkim
import pytest

from services.outbound_sender.copies import PersonalContent, WireContent
from services.outbound_sender.rendering import Renderer, compile_mailing
from shared.core.address import Address
from shared.core.dkim import DkimAlgorithm
from shared.core.links import Links
from shared.core.mailing import MailingKind
from shared.core.tokens import Purpose, Tokens
from shared.mail.dkim import SigningKey
from shared.mail.dkim_keys import make_key, record_text
from shared.mail.notices import NoticeText, Writing, compose
from shared.mail.template import ListHeaders
from shared.store.claims import Recipient
from shared.store.contents import MailingContent
from tests.unit.outbound_sender.test_rendering import POST, SECRET, mailing

TOKENS = Tokens(b"a secret of the tests")
LINKS = Links(TOKENS, "https://lists.example.org/web%20x")
NOW = datetime(2026, 11, 23, tzinfo=UTC)
ANN = Recipient(1, 1, 1, "ann@example.com", member_id=11)
BOB = Recipient(2, 1, 1, "bob@example.com", member_id=12)


def one_click(content: bytes = POST, **changes: object) -> MailingContent:
    return replace(mailing(content), one_click=True, **changes)  # type: ignore[arg-type]


def copies(mailing: MailingContent, keys: tuple[SigningKey, ...] = ()) -> PersonalContent:
    content = compile_mailing(mailing, links=LINKS).signed(keys)
    assert isinstance(content, PersonalContent)
    return content


def written(content: WireContent) -> bytes:
    return b"".join(content.segments).removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


def test_each_copy_has_the_links_of_its_own_member() -> None:
    content = copies(one_click())
    tokens = []
    for recipient in (ANN, BOB):
        copy = email.message_from_bytes(written(content.copy(recipient)), policy=email.policy.compat32)
        assert copy.get_all("List-Unsubscribe-Post") == ["List-Unsubscribe=One-Click"]
        (field,) = copy.get_all("List-Unsubscribe", [])
        https, mailto = re.fullmatch(
            r"<https://lists\.example\.org/web%20x/leave/(\w+)>,\s+<mailto:friends-leave%2B(\w+)@lists\.example\.org>",
            field,
        ).groups()  # type: ignore[union-attr]
        assert https == mailto
        assert TOKENS.read(Purpose.LEAVE, https, now=NOW) == recipient.member_id
        assert "@example.com" not in field
        tokens.append(https)
    assert len(set(tokens)) == 2


def test_an_authors_own_fields_of_the_kind_are_gone() -> None:
    evil = b"List-Unsubscribe: <https://evil.test/>\r\nLIST-UNSUBSCRIBE-POST: x\r\n" + POST
    assert written(copies(one_click(evil)).copy(ANN)).lower().count(b"list-unsubscribe") == 3
    assert b"evil" not in written(copies(one_click(evil)).copy(ANN))


@pytest.mark.parametrize("personal", [False, True])
def test_both_fields_are_under_the_signature(personal: bool) -> None:
    key = make_key("lists.example.org", "e", DkimAlgorithm.ED25519_SHA256)
    body = POST.replace(b"Hello", b"Hello {{email}}") if personal else POST
    copy = written(copies(one_click(body, personal=personal), (key,)).copy(ANN))
    record = record_text(key).encode()

    def is_valid(content: bytes) -> bool:
        return bool(dkim.verify(content, dnsfunc=lambda _name, **_: record))

    assert is_valid(copy)
    signed = re.sub(rb"\s", b"", copy.partition(b"; h=")[2].partition(b";")[0]).split(b":")
    assert {b"list-unsubscribe", b"list-unsubscribe-post"} <= set(signed)
    assert not is_valid(copy.replace(b"/leave/", b"/leavE/"))
    assert not is_valid(copy.replace(b"=One-Click", b"=One-click"))
    assert not is_valid(copy.replace(b"\r\n\r\n", b"\r\nList-Unsubscribe: <https://evil.test/>\r\n\r\n", 1))


def test_a_notice_is_signed_as_the_lists_posts_are() -> None:
    key = make_key("lists.example.org", "e", DkimAlgorithm.ED25519_SHA256)
    listed = ListHeaders("friends", "lists.example.org", "Friends", is_announcement=False)
    writing = Writing(NoticeText("Hello", "Hello.\n.\n"), {}, listed, Address.parse("ann@example.com"), None, True)
    notice = mailing(compose(writing, message_uuid=UUID(int=1), written_at=NOW), MailingKind.NOTICE)
    content = compile_mailing(notice, links=LINKS).signed((key,))
    assert isinstance(content, WireContent)
    assert dkim.verify(written(content), dnsfunc=lambda _name, **_: record_text(key).encode())
    assert b"From: Friends <friends-request@lists.example.org>" in written(content)


def test_a_long_list_name_is_left_out_of_the_address() -> None:
    copy = written(copies(one_click(list_name="n" * 50)).copy(ANN))
    assert b"<mailto:leave%2B" in copy


def test_without_pages_or_where_the_list_says_so_copies_are_all_the_same() -> None:
    for compiled in (
        compile_mailing(one_click(), links=Links(TOKENS, None)),
        compile_mailing(one_click()),
        compile_mailing(mailing(), links=LINKS),
        compile_mailing(replace(mailing(kind=MailingKind.NOTICE), one_click=True), links=LINKS),
    ):
        content = compiled.signed(())
        assert isinstance(content, WireContent)
        assert b"One-Click" not in written(content)


async def test_unsigned_copies_are_made_where_they_are_wanted() -> None:
    """Without a thread; they share all their bytes but the one field."""

    async def load(_mailing_id: int) -> MailingContent:
        return one_click()

    async def no_keys(_domain: str) -> tuple[SigningKey, ...]:
        return ()

    renderer = Renderer(load, no_keys, secret=SECRET, links=LINKS)
    content = await renderer.content(1)
    assert isinstance(content, PersonalContent)
    assert content.is_quick
    first, second = content.copy(ANN), content.copy(BOB)
    assert [one is other for one, other in zip(first.segments, second.segments, strict=True)] == [True, False, True]
    seven = await renderer.in_seven_bits(1, ANN)
    assert isinstance(seven, WireContent)
    assert seven.segments[1] == first.segments[1]
    renderer.close()

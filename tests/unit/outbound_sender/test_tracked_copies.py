"""Copies that tell that they are read, signed, with their own way out of the list."""

from __future__ import annotations

import re
from dataclasses import replace

import dkim
import pytest

from services.outbound_sender.copies import PersonalContent, WireContent
from services.outbound_sender.rendering import compile_mailing
from shared.core.dkim import DkimAlgorithm
from shared.core.links import Links
from shared.core.tokens import Purpose, Tokens
from shared.core.tracking import Click, Reader, TrackedLinks
from shared.mail.dkim import SigningKey
from shared.mail.dkim_keys import make_key, record_text
from shared.mail.tracking import Tracking
from shared.store.claims import Recipient
from tests.unit.outbound_sender.test_rendering import mailing

BASE = "https://lists.example.org"
LINKS = TrackedLinks(b"a secret of the tests", (), BASE)
ANN = Recipient(11, 1, 1, "ann@example.com", member_id=21)
BOB = Recipient(12, 1, 1, "bob@example.com", member_id=22)
POST = (
    b"From: Eve <eve@authors.example>\r\nSubject: News\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b'<p>Gr\xc3\xbc\xc3\x9fe! <a href="https://shop.example/a">One</a>\r\n.\r\n<a href="https://shop.example/b">two</a>.\r\n\r\n'
)


def content(*, is_anonymous: bool = False, one_click: bool = True, keys: tuple[SigningKey, ...] = ()) -> object:
    return compile_mailing(
        replace(mailing(POST), one_click=one_click),
        links=Links(Tokens(b"a secret of the tests"), BASE),
        tracking=Tracking(LINKS, 7, is_anonymous),
    ).signed(keys)


def written(copy: WireContent) -> bytes:
    return b"".join(copy.segments).removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


@pytest.mark.parametrize("algorithm", DkimAlgorithm)
def test_each_copy_tells_of_its_own_delivery_and_its_signature_holds(algorithm: DkimAlgorithm) -> None:
    key = make_key("lists.example.org", "s1", algorithm)
    made = content(keys=(key,))
    assert isinstance(made, PersonalContent)
    for recipient in (ANN, BOB):
        copy = written(made.copy(recipient))
        assert dkim.verify(copy, dnsfunc=lambda *_, **__: record_text(key).encode())
        text = copy.replace(b"=\r\n", b"").decode()
        clicks = re.findall(BASE + r"/c/(\w+)/([\w-]+)", text)
        (image,) = re.findall(BASE + r"/o/(\w+)\.gif", text)
        reader = Reader(7, recipient.delivery_id)
        assert [LINKS.read_click(*click) for click in clicks] == [
            Click(reader, "https://shop.example/a"),
            Click(reader, "https://shop.example/b"),
        ]
        assert LINKS.read_open(image) == reader
        assert recipient.address not in text


def test_anonymous_copies_are_shared() -> None:
    made = content(is_anonymous=True, one_click=False)
    assert isinstance(made, WireContent)
    text = written(made).replace(b"=\r\n", b"").decode()
    assert LINKS.read_open(re.findall(BASE + r"/o/(\w+)\.gif", text)[0]) == Reader(7, None)


def test_what_is_the_same_for_all_is_not_made_for_each() -> None:
    for is_anonymous, purposes in ((True, set()), (False, {Purpose.CLICK, Purpose.OPEN})):
        made = content(is_anonymous=is_anonymous)
        assert isinstance(made, PersonalContent)
        assert made.wire.reader_purposes == purposes


def test_tracked_copies_are_made_where_they_are_wanted() -> None:
    made = content()
    assert isinstance(made, PersonalContent)
    assert made.is_quick

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.address import Address, InvalidAddress


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.org",
        "a.b+c_d=e@sub.example.org",
        "!#$%&'*+-/=?^_`{|}~@example.org",
        '"ann b"@example.org',
        '"a\\"b"@example.org',
        "änn@example.org",
        "用户@例え.jp",
        "ann@xn--mnchen-3ya.de",
        "ann@localhost",
        "a" * 64 + "@example.org",
    ],
)
def test_an_address_is_read_and_keeps_its_spelling(text: str) -> None:
    assert Address.parse(text).spelling == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no @"),
        ("ann", "no @"),
        ("@example.org", "before the @"),
        ("ann@", "after the @"),
        ("ann..b@example.org", "not well formed"),
        (".ann@example.org", "not well formed"),
        ("ann b@example.org", "not well formed"),
        ("ann@b@example.org", "not well formed"),
        ('"ann@example.org', "not well formed"),
        ('"a"b"@example.org', "not well formed"),
        ("<ann@example.org>", "not well formed"),
        ("ann@example..org", "not well formed"),
        ("ann@-example.org", "not well formed"),
        ("ann@exam_ple.org", "not well formed"),
        ("ann@example.org.", "not well formed"),
        ("ann@" + "a" * 64 + ".org", "not well formed"),
        ("ann@[192.0.2.1]", "network address"),
        ("ann@192.0.2.1", "network address"),
        ("ann@xn--zzzzzz.de", "internationalised"),
        ("ann@ex＠mple.org", "internationalised"),
        ("ann@exa\u00admple.\u2260org", "U+00AD"),
        ("ann\x00@example.org", "U+0000"),
        ("ann@example.org\r\nRCPT TO:<evil@example.net>", "U+000D"),
        ('"a\r\nRCPT TO:<e>"@example.org', "U+000D"),
        ("ann\n@example.org", "U+000A"),
        ("ann\u2028@example.org", "U+2028"),
        ("ann\u00a0@example.org", "U+00A0"),
        ("\u202eann@example.org", "U+202E"),
        (b"a\xc0\xafb@example.org".decode("utf-8", "surrogateescape"), "U+DCC0"),
        ("a" * 65 + "@example.org", "64 octets"),
        ("ä" * 33 + "@example.org", "64 octets"),
        ("a@" + "b." * 127 + "org", "253 octets"),
        ("a@" + "ü" * 300 + ".org", "253 octets"),
        ("a" * 64 + "@" + "b." * 95 + "org", "254 octets"),
    ],
)
def test_what_is_no_address_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(InvalidAddress) as refusal:
        Address.parse(text)
    assert words in str(refusal.value)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann@Example.ORG", "ann@example.org"),
        ('"ann"@example.org', "ann@example.org"),
        ('"a\\nn"@example.org', "ann@example.org"),
        ("ann@MÜNCHEN.de", "ann@xn--mnchen-3ya.de"),
        ("ann@münchen。de", "ann@XN--MNCHEN-3YA.de"),
        ("a\u0308nn@example.org", "ännn@example.org".replace("nnn", "nn")),
        ("ÄNN@example.org", "änn@example.org"),
    ],
)
def test_spellings_of_one_address_have_one_key(one: str, other: str) -> None:
    assert Address.parse(one).key == Address.parse(other).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann+x@example.org", "ann@example.org"),
        ("a.nn@example.org", "ann@example.org"),
        ("änn@example.org", "ann@example.org"),
        ('"a nn"@example.org', "ann@example.org"),
        ("ann@straße.de", "ann@strasse.de"),
    ],
)
def test_different_addresses_have_different_keys(one: str, other: str) -> None:
    assert Address.parse(one).key != Address.parse(other).key


def test_on_the_wire_the_domain_is_ascii_and_only_the_local_part_needs_smtputf8() -> None:
    address = Address.parse("Ann@MÜNCHEN.de")
    assert address.wire == "Ann@xn--mnchen-3ya.de"
    assert not address.needs_smtputf8
    assert Address.parse("änn@example.org").needs_smtputf8


_ANY_TEXT = st.text(max_size=80) | st.from_regex(r"[^@]{1,10}@[a-z0-9üß.-]{1,20}", fullmatch=True)


@given(_ANY_TEXT)
def test_whatever_is_read_is_fit_for_a_command_line(text: str) -> None:
    try:
        address = Address.parse(text)
    except InvalidAddress:
        return
    assert address.spelling == text
    assert address.wire.rpartition("@")[2].isascii()
    assert len(address.wire.encode("utf-8")) <= 254
    assert not any(character in address.wire for character in "\r\n\x00\u2028\x85")
    assert Address.parse(address.key).key == address.key

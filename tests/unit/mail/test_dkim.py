"""Signatures are what the RFCs say, and what another implementation verifies."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core.dkim import DkimAlgorithm
from shared.mail.dkim import Canonical, Signer, SigningKey, relaxed_body, relaxed_field
from shared.mail.dkim_keys import make_key, record_text
from shared.mail.lines import with_crlf
from shared.mail.merge import Values
from shared.mail.segments import CompiledMessage, Wire, compile_message
from shared.mail.template import ListHeaders, compile_post
from tests.acceptance.test_odd_messages_are_delivered_as_they_are_or_refused import ODD_MESSAGES as POSTED
from tests.samples.odd_messages import ODD_MESSAGES

NOW = datetime.now(UTC)
DEV = ListHeaders(name="dev", domain="lists.test", display_name="Développeurs", is_announcement=False)
RSA = make_key("lists.test", "r1", DkimAlgorithm.RSA_SHA256)
ED25519 = make_key("lists.test", "e1", DkimAlgorithm.ED25519_SHA256)
ANN: Values = {"first_name": "Änn\r\n.\r\nX", "city": "Köln " * 40, "email": "ann@example.com"}
SMALL = {name: raw for name, raw in POSTED.items() if len(raw) < 1_000_000}


def post(raw: bytes, *, is_personal: bool = False) -> CompiledMessage:
    return compile_message(
        compile_post(with_crlf(raw), DEV, message_id="<7@lists.test>", received_at=NOW), is_personal=is_personal
    )


def copy(message: CompiledMessage, values: Values, keys: Sequence[SigningKey] = (RSA, ED25519)) -> bytes:
    """The member's copy as it is received: without what dot-stuffing added."""
    canonical, wire = Canonical(message), Wire(message)
    fillings = wire.fill(values)
    digests = canonical.digests(fillings)
    signatures = [Signer(key, canonical, NOW).field(digests) for key in keys]
    sent = b"".join([*signatures, *wire.segments(fillings)])
    assert sent.endswith(b"\r\n.\r\n")
    return sent.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")


def answers(*keys: SigningKey) -> Mapping[bytes, bytes]:
    return {f"{key.selector}._domainkey.{key.domain}.".encode(): record_text(key).encode() for key in keys}


def verifies(received: bytes, keys: Sequence[SigningKey] = (RSA, ED25519)) -> bool:
    """Whether each of the signatures on top does."""
    records = answers(*keys)

    def find(name: bytes, timeout: float = 5) -> bytes:
        return records[name]

    try:
        return all(dkim.DKIM(received).verify(number, dnsfunc=find) for number in range(len(keys)))
    except dkim.DKIMException:
        return False


@pytest.mark.parametrize("name", [*ODD_MESSAGES, *SMALL])
def test_every_signature_of_an_odd_post_verifies(name: str) -> None:
    message = post((ODD_MESSAGES | SMALL)[name])
    assert verifies(copy(message, {}))


@pytest.mark.parametrize("name", [*ODD_MESSAGES, *SMALL])
def test_every_signature_of_an_odd_personal_post_verifies(name: str) -> None:
    message = post((ODD_MESSAGES | SMALL)[name].replace(b"Hello", b"Hello {{first_name|friend}}"), is_personal=True)
    assert verifies(copy(message, ANN))
    assert verifies(copy(message, {}))


def test_there_are_a_hundred_oddest_messages() -> None:
    assert len(ODD_MESSAGES | SMALL) >= 100


@settings(deadline=None)
@given(st.lists(st.sampled_from([b" ", b"\t", b"a", b"\r\n", b".", b"{{city}}", b"=", b"\xc3\xa9"]), max_size=40))
def test_every_signature_of_any_body_verifies(pieces: list[bytes]) -> None:
    message = post(b"From: a@b.test\r\nSubject: {{city}}\r\n\r\n" + b"".join(pieces), is_personal=True)
    assert verifies(copy(message, ANN, [ED25519]), [ED25519])


def test_what_is_changed_on_the_way_is_seen() -> None:
    received = copy(post(ODD_MESSAGES["utf-8"]), {})
    assert verifies(received)
    for changed in (
        received.replace(b"Subject: Hello", b"Subject: Help"),
        received.replace("Grüße".encode(), b"Gruss"),
        received + b"more\r\n",
        b"From: evil@evil.test\r\n" + received,
        received.replace(b"\r\n\r\n", b"\r\nSubject: evil\r\n\r\n", 1),
        received.replace(b"\r\n\r\n", b"\r\nTo: evil@evil.test\r\n\r\n", 1),
        received.replace(b"\r\n\r\n", b"\r\nReply-To: evil@evil.test\r\n\r\n", 1),
        received.replace(b"\r\n\r\n", b"\r\nList-Unsubscribe: <https://evil.test/>\r\n\r\n", 1),
        received.replace(b"\r\n\r\n", b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\r\n", 1),
        received.replace(b"dev-leave", b"dev-stay"),
    ):
        assert changed != received
        assert not verifies(changed, [RSA])


def tags(received: bytes) -> dict[str, str]:
    value = received.partition(b":")[2].partition(b"\r\nDKIM-Signature:")[0].split(b"\r\nFrom:")[0].decode()
    pairs = [tag.partition("=") for tag in "".join(value.split()).split(";")]
    return {name: value for name, _, value in pairs}


def test_the_signature_covers_what_readers_see_and_has_no_length() -> None:
    signature = tags(copy(post(ODD_MESSAGES["html"]), {}))
    signed = signature["h"].split(":")
    assert {"from", "subject", "to", "date", "message-id", "mime-version", "content-type"} < set(signed)
    assert {"list-id", "list-post", "list-help", "list-subscribe", "list-unsubscribe", "list-owner"} < set(signed)
    for name in ("from", "to", "subject", "list-unsubscribe"):
        assert signed.count(name) == 2
    assert signed.count("list-unsubscribe-post") == 1
    assert "l" not in signature
    assert (signature["a"], signature["c"], signature["d"], signature["s"]) == (
        "rsa-sha256",
        "relaxed/relaxed",
        "lists.test",
        "r1",
    )


def test_every_line_of_a_signature_is_short() -> None:
    message = post(ODD_MESSAGES["many to fields"])
    header = copy(message, {}).partition(b"From:")[0]
    assert max(map(len, header.split(b"\r\n"))) <= 78


def test_the_example_of_the_rfc_is_canonicalised_as_it_says() -> None:
    # RFC 6376 §3.4.5.
    assert relaxed_field(b"A: X\r\n") + relaxed_field(b"B : Y\t\r\n\tZ  \r\n") == b"a:X\r\nb:Y Z\r\n"
    assert relaxed_body(b" C \r\nD \t E\r\n\r\n\r\n") == b" C\r\nD E\r\n"


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"\r\n\r\n", b""),
        (b" \r\n\t", b""),
        (b"a", b"a\r\n"),
        (b"a \t", b"a\r\n"),
        (b"a\r\n \r\n\r\nb  c\r\n \r\n", b"a\r\n\r\n\r\nb c\r\n"),
    ],
)
def test_a_bodys_canonical_form(body: bytes, canonical: bytes) -> None:
    assert relaxed_body(body) == canonical


def test_an_empty_body_has_the_hash_that_the_rfc_names() -> None:
    # RFC 6376 §3.4.4.
    digest = base64.b64encode(hashlib.sha256(relaxed_body(b"\r\n\r\n")).digest())
    assert digest == b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


_RFC_8463_SEED = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
_RFC_8463_PUBLIC = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
_RFC_8463_MESSAGE = (
    b"From: Joe SixPack <joe@football.example.com>\r\n"
    b"To: Suzie Q <suzie@shopping.example.net>\r\n"
    b"Subject: Is dinner ready?\r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    b"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n"
    b"\r\n"
    b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
)
_RFC_8463_SIGNATURE = (
    b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n"
    b" d=football.example.com; i=@football.example.com;\r\n"
    b" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n"
    b" subject : date : message-id : from : subject : date;\r\n"
    b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
    b" b="
)
_RFC_8463_VALUE = "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="


def test_the_signature_of_rfc_8463_is_made_again() -> None:
    # Appendix A; Ed25519 gives the same signature each time.
    key = SigningKey(
        "football.example.com",
        "brisbane",
        Ed25519PrivateKey.from_private_bytes(base64.b64decode(_RFC_8463_SEED)),
    )
    assert record_text(key) == f"v=DKIM1; k=ed25519; p={_RFC_8463_PUBLIC}"
    message = compile_message(_RFC_8463_MESSAGE, is_personal=False)
    assert Canonical(message).digests().body_base64 == b"2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8="
    fields = {field.partition(b":")[0].lower(): field for field in message.fields if isinstance(field, bytes)}
    signed = [relaxed_field(fields[name]) for name in (b"from", b"to", b"subject", b"date", b"message-id")]
    header = b"".join(signed) + relaxed_field(_RFC_8463_SIGNATURE).removesuffix(b"\r\n")
    assert base64.b64encode(key.sign(hashlib.sha256(header).digest())).decode() == _RFC_8463_VALUE


def test_a_copy_without_slots_is_the_same_for_all() -> None:
    message = post(ODD_MESSAGES["utf-8"])
    wire = Wire(message)
    assert not wire.has_slots
    assert all(one is other for one, other in zip(wire.segments(), wire.segments(), strict=True))


def test_the_large_pieces_of_personal_copies_are_one_object() -> None:
    attachment = base64.encodebytes(b"x" * 1_000_000).replace(b"\n", b"\r\n")
    raw = (
        b"From: a@b.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nHello {{first_name}}\r\n--b\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + attachment + b"--b--\r\n"
    )
    message = post(raw, is_personal=True)
    wire = Wire(message)
    one, other = (wire.segments(wire.fill(values)) for values in (ANN, {}))
    largest = max(one, key=len)
    assert len(largest) > 1_000_000
    assert any(piece is largest for piece in other)
    assert verifies(copy(message, ANN))


def test_values_that_look_like_json_or_code_are_text() -> None:
    message = post(b"From: a@b.test\r\n\r\n{{x}}\r\n", is_personal=True)
    for value in ("{{city}}", "{% include '/etc/passwd' %}", "{0.__class__}", json.dumps({"a": 1})):
        received = copy(message, {"x": value, "city": "evaluated"}, [ED25519])
        assert b"evaluated" not in received
        assert verifies(received, [ED25519])

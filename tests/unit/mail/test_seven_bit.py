from __future__ import annotations

import email
import email.message
import email.policy
import time
from random import Random

import pytest

from shared.mail.seven_bit import MAX_DEPTH, NotConvertible, to_seven_bit

HEAD = b"From: ann@example.com\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
GERMAN = "Schöne Grüße aus Köln, und bis bald im nächsten Sommer.\r\n".encode() * 3
GREEK = "Καλημέρα κόσμε.\r\n".encode() * 3
PICTURE = bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"


def part(content_type: str, body: bytes, *, encoding: str = "8bit") -> bytes:
    return f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + body


def mixed(*parts: bytes, boundary: str = "b", preamble: bytes = b"", epilogue: bytes = b"") -> bytes:
    inside = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), one) for one in parts)
    head = f'Content-Type: multipart/mixed; boundary="{boundary}"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n'.encode()
    return head + preamble + inside + f"--{boundary}--\r\n".encode() + epilogue


def leaves(message: bytes) -> list[tuple[str, bytes]]:
    """Type and decoded bytes of every part, as another reader reads them."""
    parsed = email.message_from_bytes(message, policy=email.policy.compat32)
    return [
        (one.get_content_type(), one.get_payload(decode=True).replace(b"\r\n", b"\n"))  # type: ignore[union-attr]
        for one in parsed.walk()
        if not one.is_multipart()
    ]


def converted(message: bytes) -> bytes:
    """Seven bits, lines as they must be, and no part says anything else than before."""
    result = to_seven_bit(message)
    assert result.isascii()
    assert result.count(b"\r") == result.count(b"\n") == result.count(b"\r\n")
    assert max(len(line) for line in result.split(b"\r\n")) <= 998
    assert leaves(result) == leaves(message)
    return result


def test_ascii_is_left_alone() -> None:
    message = HEAD + b"\r\nHello.\r\n"
    assert to_seven_bit(message) is message


@pytest.mark.parametrize("encoding", ["8bit", "8BIT", "binary", "7bit", "nonsense"])
def test_a_text_becomes_quoted_printable(encoding: str) -> None:
    result = converted(HEAD + part("text/plain; charset=utf-8", GERMAN, encoding=encoding))
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in result
    assert b"Sch=C3=B6ne" in result
    assert result.count(b"Content-Transfer-Encoding") == 1


def test_a_text_that_says_nothing_of_its_encoding_gets_a_field() -> None:
    assert b"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" in converted(HEAD + b"\r\n" + GERMAN)


def test_a_text_that_is_hardly_ascii_becomes_base64() -> None:
    assert b"Content-Transfer-Encoding: base64\r\n" in converted(HEAD + part("text/plain; charset=utf-8", GREEK))


def test_each_part_is_encoded_by_itself() -> None:
    plain = part("text/plain", b"Only ASCII.\r\n", encoding="7bit")
    result = converted(
        HEAD
        + mixed(
            plain,
            part("text/html; charset=utf-8", GERMAN),
            part("application/octet-stream", PICTURE, encoding="binary"),
            part("text/plain", b"caf=C3=A9\r\n", encoding="quoted-printable"),
        )
    )
    assert plain in result
    assert b"Content-Transfer-Encoding: 7bit\r\n\r\n--b\r\n" in result
    assert result.count(b"quoted-printable") == 2
    assert result.count(b"base64") == 1


def test_parts_within_parts_and_messages_within_messages() -> None:
    inner = b"Subject: inner\r\n" + mixed(part("text/plain; charset=utf-8", GERMAN), boundary="inner")
    message = HEAD + mixed(part("message/rfc822", inner), mixed(part("text/plain", GREEK), boundary="b2"))
    assert b"Subject: inner\r\n" in converted(message)


def test_what_no_reader_shows_loses_its_eighth_bit() -> None:
    result = converted(
        HEAD + mixed(part("text/plain", GERMAN), preamble=b"f\xfcr alte Leser\r\n", epilogue=b"\xfc\r\n")
    )
    assert b"f?r alte Leser\r\n" in result
    assert result.endswith(b"--b--\r\n?\r\n")


def test_eight_bits_in_an_encoded_part_are_repaired() -> None:
    result = to_seven_bit(HEAD + part("text/plain", b"caf\xc3\xa9 =C3=A9\r\n", encoding="quoted-printable"))
    assert result.endswith(b"caf=C3=A9 =C3=A9\r\n")
    assert to_seven_bit(HEAD + part("image/png", b"aGVs\xffbG8=\r\n", encoding="base64")).endswith(b"aGVsbG8=\r\n")


def test_long_lines_and_spaces_at_their_ends_survive() -> None:
    converted(HEAD + part("text/plain", b"\xe9" + b"x" * 990 + b" \r\n.\r\n..\r\nFrom me \t\r\n"))
    converted(HEAD + part("text/plain", b"\xe9 no line end"))
    converted(HEAD + part("text/plain", b"\xe9" + b"long line without an end" * 40))


def test_empty_parts_and_a_missing_end_are_kept() -> None:
    message = HEAD + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n--b\r\n\r\n--b\r\n\r\n" + GERMAN
    result = to_seven_bit(message)
    assert result.isascii()
    assert result.count(b"--b\r\n") == 3


@pytest.mark.parametrize(
    "content_type",
    ["multipart/mixed", 'multipart/mixed; boundary="never', 'multipart/mixed; boundary=""', "?/=", "", "\xff"],
)
def test_a_type_that_means_nothing_harms_nobody(content_type: str) -> None:
    message = HEAD + f"Content-Type: {content_type}\r\n\r\n".encode("latin-1") + b"--b\r\n\r\n" + GERMAN
    assert to_seven_bit(message).partition(b"\r\n\r\n")[2].isascii()


def test_headers_are_left_as_they_are() -> None:
    head = HEAD + b"X-Note: caf\xe9\r\n"
    assert to_seven_bit(head + b"\r\n" + GERMAN).startswith(head)


def test_a_message_nobody_can_convert_is_told_so_in_time() -> None:
    def nested(depth: int) -> bytes:
        opened = b"".join(
            b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth)
        )
        return opened + b"Content-Type: text/plain\r\n\r\n\xe9\r\n"

    assert to_seven_bit(nested(MAX_DEPTH)).isascii()
    with pytest.raises(NotConvertible):
        to_seven_bit(nested(500))
    began = time.process_time()
    with pytest.raises(NotConvertible):
        to_seven_bit(HEAD + mixed(*[b"\r\n\xe9"] * 100_000))
    assert time.process_time() - began < 5


def test_any_bytes_become_seven_bits_or_are_refused() -> None:
    fragments = [
        b"Content-Type: multipart/mixed; boundary=b\r\n", b"--b\r\n", b"--b--\r\n", b"\r\n", b"\xe9", b"x" * 99,
        b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: message/rfc822\r\n", b"--b", b" ", b"text\r\n",
        b"Content-Type: text/html\r\n", b"Content-Transfer-Encoding: 8bit\r\n", b"\x00", b"=\r\n",
    ]  # fmt: skip
    for seed in range(500):
        random = Random(seed)  # noqa: S311
        message = b"".join(random.choices(fragments, k=random.randrange(40)))
        result = to_seven_bit(HEAD + message)
        assert result.count(b"\n") == result.count(b"\r\n"), seed
        head, _, body = result.partition(b"\r\n\r\n")
        assert body.isascii() or b"\xe9" in head, seed

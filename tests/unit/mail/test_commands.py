from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.digest import DigestFormat
from shared.core.membership import DeliveryMode
from shared.mail.commands import MAX_COMMANDS, Command, CommandKind, Commands, read_commands

JOIN, LEAVE, WHICH, HELP = (Command(CommandKind(word)) for word in ("join", "leave", "which", "help"))
MAIL, DIGEST, NOMAIL = (Command(CommandKind.SET, mode=mode) for mode in DeliveryMode)
DIGEST_MIME, DIGEST_PLAIN = (
    Command(CommandKind.SET, mode=DeliveryMode.DIGEST, digest_format=form) for form in DigestFormat
)


def plain(text: str, subject: str = "", *more: str) -> bytes:
    return "\r\n".join([f"Subject: {subject}", *more, "", *text.split("\n")]).encode()


def read(text: str, subject: str = "", *more: str) -> tuple[Command, ...]:
    return read_commands(plain(text, subject, *more)).commands


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("join", (JOIN,)),
        ("JOIN\n\n  Which. \nset DIGEST\nhelp", (JOIN, WHICH, DIGEST, HELP)),
        ("Set Digest Mime.\nset digest plain", (DIGEST_MIME, DIGEST_PLAIN)),
        ("set mail\nSET NoMail", (MAIL, NOMAIL)),
        ("Subscribe\nUnsubscribe\nsignoff", (JOIN, LEAVE)),
        *((f"leave\n{end}\njoin", (LEAVE,)) for end in ("end", "END.", "stop", "quit", "exit")),
        ("leave\n-- \njoin", (LEAVE,)),
        ("leave\n--\njoin", (LEAVE,)),
        ("> join\n| help\nleave", (LEAVE,)),
        ("leave\nOn Monday, Bob wrote:\njoin", (LEAVE,)),
        ("leave\nAm 23.11.2026 um 10:00 schrieb Bob <bob@example.com>:\njoin", (LEAVE,)),
        ("leave\nOp 23-11-2026 om 10:00 schreef Bob:\njoin", (LEAVE,)),
        ("leave\nFrom: Bob <bob@example.com>\nSent: Monday\nTo: dev@lists.test\n\njoin", (LEAVE,)),
        ("leave\n*Von:* Bob <bob@example.com>\n*Gesendet:* Montag\n\njoin", (LEAVE,)),
        ("leave\n-----Original Message-----\njoin", (LEAVE,)),
        ("confirm 0A1B", (Command(CommandKind.CONFIRM, token="0a1b"),)),
        ("confirm ../../etc", ()),
        ("set everything\nset\nset mail digest\nset mail plain\nset digest html\nset digest plain now", ()),
        ("join us at the river\nLeave me alone.", ()),
        ("", ()),
    ],
)
def test_commands_stand_on_lines_of_their_own(text: str, commands: tuple[Command, ...]) -> None:
    assert read(text) == commands


def test_the_subject_may_be_a_command_even_of_an_answer() -> None:
    assert read("", "Re: AW: Help") == (HELP,)
    assert read("help\nleave", "help") == (HELP, LEAVE)
    assert read("", "=?utf-8?q?help?=") == (HELP,)
    assert read("", "help me") == ()


def test_html_is_read_without_what_it_quotes() -> None:
    text = (
        "<html><head><style>join</style></head><body><p>Which</p><div><b>Le</b>ave&nbsp;</div>"
        "<blockquote>help<div>join</div></blockquote></body></html>"
    )
    assert read(text, "", "Content-Type: text/html; charset=utf-8") == (WHICH, LEAVE)


def test_what_outlook_quotes_in_html_is_not_read() -> None:
    text = (
        "<HTML><BODY><P>LEAVE</P><hr><div><b>From:</b> Dev &lt;dev@lists.test&gt;<br><b>Sent:</b> Monday</div>"
        "<div>join</div></BODY></HTML>"
    )
    assert read(text, "", "Content-Type: text/html") == (LEAVE,)


def test_a_signature_in_html_is_not_read() -> None:
    text = "<p>which</p><div>-- <br>Ann<br>help</div>"
    assert read(text, "", "Content-Type: text/html") == (WHICH,)


def test_the_plain_half_of_an_alternative_is_read() -> None:
    text = "--b\nContent-Type: text/html\n\n<p>leave</p>\n--b\nContent-Type: text/plain\n\nwhich\n--b--"
    assert read(text, "", "Content-Type: multipart/alternative; boundary=b") == (WHICH,)


def test_encoded_texts_are_decoded() -> None:
    assert read("aGVscA==", "", "Content-Transfer-Encoding: base64") == (HELP,)
    assert read("le=\nave", "", "Content-Transfer-Encoding: quoted-printable") == (LEAVE,)


def test_prose_is_counted_and_not_searched_for_ever() -> None:
    assert read_commands(plain("Dear list,\nhelp\nBye")) == Commands((HELP,), 2)
    assert read_commands(plain("words\n" * 100_000 + "help")).commands == ()
    many = "\n".join(f"confirm {number}" for number in range(1000))
    assert len(read_commands(plain(many)).commands) == MAX_COMMANDS


@pytest.mark.parametrize(
    "hostile", [b"<" * 500_000, b"<a " * 200_000, b"<blockquote>" * 50_000, b"&" * 500_000, b"-" * 500_000]
)
def test_a_bomb_is_read_as_far_as_the_bounds(hostile: bytes) -> None:
    for content_type in (b"text/html", b"text/plain"):
        assert read_commands(b"Content-Type: " + content_type + b"\r\n\r\n" + hostile).commands == ()


@given(st.binary())
def test_any_octets_are_read(content: bytes) -> None:
    read_commands(content)


@given(
    st.sampled_from(["text/plain", "text/html", "multipart/mixed; boundary=b", "text/plain; charset=utf-7"]),
    st.sampled_from(["7bit", "base64", "quoted-printable", "x-uuencode"]),
    st.text(alphabet=st.sampled_from("<>/a=\n\r-b &;>|joinleavhp +\0\u2028é")),
)
def test_any_text_is_read_in_any_wrapping(content_type: str, encoding: str, text: str) -> None:
    head = f"Content-Type: {content_type}\r\nContent-Transfer-Encoding: {encoding}\r\nSubject: {text}\r\n\r\n"
    found = read_commands((head + text).encode("utf-8", "replace"))
    assert len(found.commands) <= MAX_COMMANDS

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail.words import decode_words, encode_phrase


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?caf=C3=A9?=", "café"),
        ("=?UTF-8?B?Y2Fmw6k=?= noir", "café noir"),
        ("=?iso-8859-1?q?a?= =?iso-8859-1*fr?q?_=E9?=", "a é"),
        ("=?utf-8?q?x=0ABcc:_evil=40x?=", "x Bcc: evil@x"),
        ("=?utf-8?q?x=0D=0ABcc:_evil?=", "x Bcc: evil"),
        ("=?utf-8?b?eOKAqEJjYzogZQ==?=", "x Bcc: e"),
        ("a\r\n b\x00c\x1b[31m", "a  b c [31m"),
        ("=?unknown?q?x?=", "=?unknown?q?x?="),
        ("=?punycode?q?x-?=", "=?punycode?q?x-?="),
        ("=?utf-7?q?+AGE-?=", "=?utf-7?q?+AGE-?="),
        ("=?utf-8?b?a?=", "=?utf-8?b?a?="),
        ("=?utf-8?q?=FF?=", "\ufffd"),
    ],
)
def test_encoded_words_are_read_on_one_line(text: str, decoded: str) -> None:
    assert decode_words(text) == decoded


@given(st.text(max_size=200))
def test_decoded_text_never_holds_a_line_end(text: str) -> None:
    for decoded in (decode_words(text), decode_words("=?utf-8?q?" + text.encode().hex("=") + "?=")):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", decoded)


@given(st.text(max_size=200))
def test_a_display_name_is_one_phrase_that_reads_back(name: str) -> None:
    phrase = encode_phrase(name)
    assert phrase.isascii()
    assert phrase.isprintable()
    if phrase.startswith("=?"):
        assert all(len(word) <= 75 for word in phrase.split(" "))
        assert decode_words(phrase) == decode_words(phrase).strip()
    elif phrase.startswith('"'):
        assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', phrase)


def test_a_name_that_looks_like_an_encoded_word_is_encoded() -> None:
    name = "=?utf-8?q?=0ABcc:_evil?="
    assert decode_words(encode_phrase(name)) == name


def test_a_long_name_beyond_ascii_is_read_back_whole() -> None:
    name = "Übung macht den Meister — " * 20
    assert decode_words(encode_phrase(name)) == name.strip()


@pytest.mark.parametrize(
    "text", ["=?utf-8?q?x?= " * 5000, "=?" * 50_000, "=?a?q?" * 20_000, "=?utf-8?q?" + "=41" * 30_000]
)
def test_hostile_words_are_read_in_no_time(text: str) -> None:
    began = time.thread_time()
    decode_words(text)
    assert time.thread_time() - began < 1

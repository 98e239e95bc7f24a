from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingress_smtp.content import NO_ROOM, TOO_LARGE, EndlessContent, read_content
from services.ingress_smtp.limits import DataBudget
from shared.core.smtp_reply import Reply
from shared.mail.lines import dot_stuff, with_crlf


async def read(pieces: list[bytes], *, max_bytes: int = 1000, room: int = 10_000, limit: int = 16) -> bytes | Reply:
    reader = asyncio.StreamReader(limit=limit)

    async def feed() -> None:
        for piece in pieces:
            if piece:
                reader.feed_data(piece)
            await asyncio.sleep(0)
        reader.feed_eof()

    budget = DataBudget(room)
    share = budget.share()
    feeding = asyncio.create_task(feed())
    try:
        return await read_content(reader, share, max_bytes, lambda: None)
    finally:
        await feeding
        share.give_back()
        assert budget.held_bytes == 0


_OCTETS = st.lists(st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"a", b"\x00"]), max_size=60).map(b"".join)


@given(_OCTETS, st.lists(st.integers(1, 9), min_size=1, max_size=20))
@settings(max_examples=300)
def test_what_was_stuffed_is_unstuffed_however_it_arrives(content: bytes, steps: list[int]) -> None:
    wire = dot_stuff(content)
    pieces: list[bytes] = []
    while wire:
        step = steps[len(pieces) % len(steps)]
        pieces.append(wire[:step])
        wire = wire[step:]
    expected = with_crlf(content)
    if expected and not expected.endswith(b"\r\n"):
        expected += b"\r\n"
    assert asyncio.run(read(pieces)) == expected


@given(_OCTETS)
@settings(max_examples=300)
def test_content_ends_at_the_first_true_end_and_holds_no_bare_cr_or_lf(octets: bytes) -> None:
    wire = octets + b"\r\n.\r\n"
    content = asyncio.run(read([wire]))
    assert isinstance(content, bytes)
    end = (b"\r\n" + wire).index(b"\r\n.\r\n")
    assert len(content) >= end - wire.count(b"\r\n.")
    rest = content.replace(b"\r\n", b"")
    assert b"\r" not in rest
    assert b"\n" not in rest


async def test_an_empty_message_is_a_lone_dot() -> None:
    assert await read([b".\r", b"\n"]) == b""


async def test_commands_after_the_end_stay_unread() -> None:
    reader = asyncio.StreamReader(limit=16)
    reader.feed_data(b"a\r\n.\r\nQUIT\r\n")
    assert await read_content(reader, DataBudget(100).share(), 100, lambda: None) == b"a\r\n"
    assert await reader.readline() == b"QUIT\r\n"


async def test_the_limit_counts_what_is_stored() -> None:
    assert await read([b"..a\r\n.\r\n"], max_bytes=4) == b".a\r\n"
    assert await read([b"..ab\r\n.\r\n"], max_bytes=4) == TOO_LARGE
    assert await read([b"\n" * 6 + b"\r\n.\r\n"], max_bytes=10) == TOO_LARGE


async def test_without_room_the_content_is_read_to_its_end_and_refused_for_now() -> None:
    assert await read([b"abcdefghij" * 20, b"\r\n.\r\n"], room=50) == NO_ROOM


async def test_content_far_beyond_the_limit_is_not_read_on() -> None:
    with pytest.raises(EndlessContent):
        await read([b"x" * 100] * 10, max_bytes=100)

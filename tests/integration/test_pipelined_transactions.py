"""What goes over the wire to a next hop, byte by byte."""

from __future__ import annotations

import asyncio

import pytest

from services.outbound_sender.connection import BLOCK_BYTES, Timeouts
from shared.core.delivery import OutcomeKind
from shared.mail.lines import dot_stuff
from tests.fakes.scripted_peer import EXTENSIONS, Dialogue, scripted_peer
from tests.integration.transactions import CONTENT, SHORT, connected, on_loop, send, until

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
BIG = b"Subject: big\r\n\r\n" + (b"x" * 76 + b"\r\n") * 100_000 + b".\r\n"
SMUGGLING = [
    b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\n.\r", b"\r\n.\r\r\n", b"\r\n\0.\r\n",
]  # fmt: skip


async def takes_two(peer: Dialogue) -> None:
    await peer.greet(*EXTENSIONS)
    for _ in range(2):
        await peer.take_envelope()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")
    await peer.until_closed()


@LOOPS
async def test_transactions_follow_one_another_on_one_connection(loop: str) -> None:
    async def scenario() -> None:
        async with scripted_peer(takes_two) as peer:
            connection = await connected(peer.port)
            first, second = await send(connection), await send(connection, recipient="other@peer.test")
            assert first.kind is second.kind is OutcomeKind.DELIVERED
            assert connection.is_usable
            assert connection.transactions == 2
            await connection.quit()
            assert not connection.is_usable
            assert peer.dialogues[0].contents == [CONTENT, CONTENT]
            assert peer.dialogues[0].commands == [
                b"EHLO node.test",
                b"MAIL FROM:<b+abc@list.test> SIZE=%d" % (len(CONTENT) - 3),
                b"RCPT TO:<member@peer.test>",
                b"DATA",
                b"MAIL FROM:<b+abc@list.test> SIZE=%d" % (len(CONTENT) - 3),
                b"RCPT TO:<other@peer.test>",
                b"DATA",
            ]

    await on_loop(loop, scenario)


async def test_quit_is_said_and_its_reply_awaited() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet()
        await peer.hear()
        await peer.say(b"221 bye\r\n")

    async with scripted_peer(script) as peer:
        connection = await connected(peer.port)
        await connection.quit()
        assert peer.dialogues[0].commands[-1] == b"QUIT"


async def test_a_peer_without_pipelining_is_asked_command_by_command() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet()
        await peer.hear()
        await peer.hear_nothing(0.05)
        await peer.say(b"250 ok\r\n")
        await peer.hear()
        await peer.hear_nothing(0.05)
        await peer.say(b"250 ok\r\n")
        await peer.hear()
        await peer.say(b"354 go on\r\n")
        await peer.take_content()
        await peer.say(b"250 queued\r\n")
        await peer.until_closed()

    async with scripted_peer(script) as peer:
        connection = await connected(peer.port)
        assert (await send(connection)).kind is OutcomeKind.DELIVERED
        # No SIZE either: it was not offered.
        assert peer.dialogues[0].commands[1] == b"MAIL FROM:<b+abc@list.test>"


async def test_without_pipelining_nothing_follows_a_refusal() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet()
        await peer.hear()
        await peer.say(b"550 5.7.1 no\r\n")
        await peer.take_envelope_after_rset()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")
        await peer.until_closed()

    async with scripted_peer(script) as peer:
        connection = await connected(peer.port)
        assert (await send(connection)).kind is OutcomeKind.REFUSED
        assert (await send(connection)).kind is OutcomeKind.DELIVERED
        assert [line.split()[0] for line in peer.dialogues[0].commands] == [
            b"EHLO", b"MAIL", b"RSET", b"MAIL", b"RCPT", b"DATA",
        ]  # fmt: skip


async def test_a_helo_only_peer_is_talked_to_without_extensions() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.say(b"220 peer.test\r\n")
        await peer.hear()
        await peer.say(b"500 what?\r\n")
        await peer.hear()
        await peer.say(b"250 peer.test\r\n")
        await peer.take_envelope()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")

    async with scripted_peer(script) as peer:
        assert (await send(await connected(peer.port))).kind is OutcomeKind.DELIVERED
        assert peer.dialogues[0].commands[:2] == [b"EHLO node.test", b"HELO node.test"]


async def test_after_a_refused_recipient_rset_goes_in_front_of_the_next_transaction() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.hear(3)
        await peer.say(b"250 ok\r\n550 5.1.1 nobody\r\n503 5.5.1 no recipients\r\n")
        await peer.take_envelope_after_rset()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")
        await peer.take_envelope()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")

    async with scripted_peer(script) as peer:
        connection = await connected(peer.port)
        kinds = [(await send(connection)).kind for _ in range(3)]
        assert kinds == [OutcomeKind.REFUSED, OutcomeKind.DELIVERED, OutcomeKind.DELIVERED]
        assert peer.dialogues[0].commands.count(b"RSET") == 1


async def test_a_peer_that_wants_content_for_nobody_gets_a_lone_dot() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.hear(3)
        await peer.say(b"250 ok\r\n550 5.1.1 nobody\r\n354 go on\r\n")
        await peer.hear()
        await peer.say(b"250 thank you\r\n")
        await peer.take_envelope_after_rset()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")
        await peer.until_closed()

    async with scripted_peer(script) as peer:
        connection = await connected(peer.port)
        assert (await send(connection)).kind is OutcomeKind.REFUSED
        assert (await send(connection)).kind is OutcomeKind.DELIVERED
        assert peer.dialogues[0].commands[3:6] == [b"DATA", b".", b"RSET"]


async def test_a_refused_rset_defers_instead_of_refusing_an_innocent_recipient() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.hear(3)
        await peer.say(b"250 ok\r\n550 5.1.1 nobody\r\n503 x\r\n")
        await peer.hear(4)
        await peer.say(b"502 no RSET here\r\n503 nested MAIL\r\n503 x\r\n503 x\r\n")
        await peer.until_closed()

    async with scripted_peer(script) as peer:
        connection = await connected(peer.port)
        await send(connection)
        second = await send(connection)
        assert (second.kind, second.because) == (OutcomeKind.DEFERRED, "502 to RSET")
        assert not connection.is_usable


async def test_a_kept_connection_that_says_421_is_not_used_again() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.take_envelope()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")
        await is_kept.wait()
        await peer.say(b"421 4.4.2 idle too long\r\n")

    is_kept = asyncio.Event()
    async with scripted_peer(script) as peer:
        connection = await connected(peer.port)
        assert (await send(connection)).kind is OutcomeKind.DELIVERED
        assert connection.is_usable
        is_kept.set()
        await until(lambda: not connection.is_usable)
        outcome = await send(connection)
        assert outcome.kind is OutcomeKind.DEFERRED
        assert outcome.reply is not None
        assert outcome.reply.code == 421


async def test_a_kept_connection_that_never_stops_talking_is_dropped() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.take_envelope()
        await peer.take_content()
        while True:
            await peer.say(b"250 hello\r\n" * 1000)

    async with scripted_peer(script) as peer:
        assert (await send(await connected(peer.port))).kind is OutcomeKind.DELIVERED
        await until(lambda: peer.has_finished)


async def test_a_stale_lease_sends_no_byte_of_the_content() -> None:
    async with scripted_peer(takes_two) as peer:
        connection = await connected(peer.port)
        outcome = await send(connection, may_start_content=lambda: False)
        assert (outcome.kind, outcome.because) == (OutcomeKind.DEFERRED, "stopped before the content")
        assert not connection.is_usable
        await until(lambda: peer.has_finished)
        assert peer.dialogues[0].commands[-1] == b"DATA"
        assert peer.dialogues[0].contents == []


async def test_a_cancelled_transaction_takes_its_connection_with_it() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.hear(3)
        await peer.until_closed()

    async with scripted_peer(script) as peer:
        connection = await connected(peer.port, Timeouts())
        sending = asyncio.create_task(send(connection))
        await until(lambda: bool(peer.dialogues) and len(peer.dialogues[0].commands) == 4)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not connection.is_usable


async def test_8bit_and_utf8_are_announced_where_they_are_offered() -> None:
    async with scripted_peer(takes_two) as peer:
        connection = await connected(peer.port)
        await send(connection, recipient="mïra@peer.test", has_8bit=True, needs_smtputf8=True)
        mail, rcpt = peer.dialogues[0].commands[1:3]
        assert mail.endswith(b" BODY=8BITMIME SMTPUTF8")
        assert rcpt == "RCPT TO:<mïra@peer.test>".encode()


async def test_a_header_in_utf8_asks_for_smtputf8_where_it_is_offered_and_goes_as_it_is_elsewhere() -> None:
    for offered, parameters in (
        (("8BITMIME", "SMTPUTF8"), b" BODY=8BITMIME SMTPUTF8"),
        (("8BITMIME",), b" BODY=8BITMIME"),
        (("PIPELINING",), b""),
    ):

        async def script(peer: Dialogue, extensions: tuple[str, ...] = offered) -> None:
            await peer.greet(*extensions)
            await peer.take_envelope()
            await peer.take_content()
            await peer.say(b"250 queued\r\n")
            await peer.until_closed()

        async with scripted_peer(script) as peer:
            connection = await connected(peer.port)
            outcome = await send(connection, has_8bit=True, has_utf8_header=True)
            assert outcome.kind is OutcomeKind.DELIVERED
            assert peer.dialogues[0].commands[1] == b"MAIL FROM:<b+abc@list.test>" + parameters
            await connection.quit()


async def test_an_address_beyond_ascii_is_refused_where_smtputf8_is_not_offered() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet("PIPELINING")
        await peer.until_closed()

    async with scripted_peer(script) as peer:
        connection = await connected(peer.port)
        outcome = await send(connection, recipient="mïra@peer.test", needs_smtputf8=True)
        assert outcome.kind is OutcomeKind.REFUSED
        assert outcome.because.startswith("5.6.7 ")
        assert connection.is_usable


async def test_8bit_content_goes_out_as_it_is_where_8bitmime_is_not_offered() -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet("PIPELINING")
        await peer.take_envelope()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")

    content = b"Subject: x\r\n\r\n\xe9\xff\r\n.\r\n"
    async with scripted_peer(script) as peer:
        outcome = await send(await connected(peer.port), content, has_8bit=True)
        assert outcome.kind is OutcomeKind.DELIVERED
        assert peer.dialogues[0].contents == [content]
        assert b"BODY" not in peer.dialogues[0].commands[1]


@pytest.mark.parametrize(
    "address",
    [
        "b@y.test>\r\nRCPT TO:<evil@x.test",
        "a\nb@y.test",
        "a\0@y.test",
        "a>@y.test",
        '"a> SIZE=1 <b"@y.test',
        "a b@y.test",
        '"a\r\n"@y.test',
        "mïra@y.test",
    ],
)
async def test_an_address_that_could_end_its_command_never_reaches_the_wire(address: str) -> None:
    async with scripted_peer(takes_two) as peer:
        connection = await connected(peer.port)
        with pytest.raises(ValueError, match="not a return path"):
            await send(connection, return_path=address)
        outcome = await send(connection, recipient=address)
        assert (outcome.kind, outcome.because) == (OutcomeKind.REFUSED, "5.1.3 not an address that can be sent")
        assert connection.is_usable
        assert peer.dialogues[0].commands == [b"EHLO node.test"]
        assert (await send(connection)).kind is OutcomeKind.DELIVERED


async def test_the_null_return_path_is_sent_as_it_is() -> None:
    async with scripted_peer(takes_two) as peer:
        await send(await connected(peer.port), return_path="")
        assert peer.dialogues[0].commands[1].startswith(b"MAIL FROM:<> ")


@pytest.mark.parametrize("content", [b"no end", b"Subject: x\r\n\r\nhello\n.\n", b""])
async def test_content_without_its_final_dot_is_never_started(content: bytes) -> None:
    async with scripted_peer(takes_two) as peer:
        with pytest.raises(ValueError, match="content"):
            await send(await connected(peer.port), content)


@pytest.mark.parametrize("sequence", SMUGGLING, ids=repr)
async def test_no_smuggling_sequence_ends_the_content_early(sequence: bytes) -> None:
    body = b"Subject: x\r\n\r\none" + sequence + b"MAIL FROM:<evil@x.test>\r\n.two\r\n"
    async with scripted_peer(takes_two) as peer:
        connection = await connected(peer.port)
        assert (await send(connection, dot_stuff(body))).kind is OutcomeKind.DELIVERED
        assert (await send(connection)).kind is OutcomeKind.DELIVERED
        content = peer.dialogues[0].contents[0]
        assert content.count(b"\r\n.\r\n") == 1
        assert b"\n" not in content.replace(b"\r\n", b"")
        assert b"\r" not in content.replace(b"\r\n", b"")
        assert b"\r\n..two\r\n" in content
        assert len(peer.dialogues[0].commands) == 7


@LOOPS
@pytest.mark.parametrize("large", [b"", BIG[:-3]])
async def test_content_in_pieces_arrives_in_order(loop: str, large: bytes) -> None:
    pieces = (b"DKIM-Signature: x\r\n", b"Subject: ", b"Ann\r\n\r\n", large, b"one\r\n", b"two\r\n", b".\r\n")

    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.take_envelope()
        await peer.take_content()
        await peer.say(b"250 queued\r\n")
        await peer.until_closed()

    async def scenario() -> None:
        async with scripted_peer(script) as peer:
            outcome = await send(await connected(peer.port, Timeouts()), *pieces)
            assert outcome.kind is OutcomeKind.DELIVERED
            assert peer.dialogues[0].contents == [b"".join(pieces)]
            assert f"SIZE={sum(map(len, pieces)) - 3}".encode() in peer.dialogues[0].commands[1]

    await on_loop(loop, scenario)


@LOOPS
async def test_a_big_content_arrives_whole_at_a_slow_reader(loop: str) -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.take_envelope()
        await asyncio.sleep(0.2)
        await peer.take_content()
        await peer.say(b"250 queued\r\n")
        await peer.until_closed()

    async def scenario() -> None:
        async with scripted_peer(script) as peer:
            outcome = await send(await connected(peer.port, Timeouts()), BIG)
            assert outcome.kind is OutcomeKind.DELIVERED
            assert peer.dialogues[0].contents == [BIG]

    assert len(BIG) > 10 * BLOCK_BYTES
    await on_loop(loop, scenario)


@LOOPS
async def test_a_peer_that_stops_reading_within_the_content_is_a_deferral(loop: str) -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.take_envelope()
        await peer.silence()

    async def scenario() -> None:
        async with scripted_peer(script) as peer:
            outcome = await send(await connected(peer.port, SHORT), BIG)
            assert outcome.kind is OutcomeKind.DEFERRED
            assert outcome.because == "no answer within 0.3 s within the content"

    await on_loop(loop, scenario)


@LOOPS
@pytest.mark.parametrize(
    ("reply", "kind"), [(b"552 5.3.4 too big\r\n", OutcomeKind.REFUSED), (b"452 4.3.1 full\r\n", OutcomeKind.DEFERRED)]
)
async def test_a_reply_within_the_content_ends_it(loop: str, reply: bytes, kind: OutcomeKind) -> None:
    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.take_envelope()
        await peer.take_some_content()
        await peer.say(reply)
        await peer.silence()

    async def scenario() -> None:
        async with scripted_peer(script) as peer:
            connection = await connected(peer.port, Timeouts())
            outcome = await send(connection, BIG)
            assert outcome.kind is kind
            assert outcome.reply is not None
            assert str(outcome.reply) == reply.decode().strip()
            assert not connection.is_usable

    await on_loop(loop, scenario)

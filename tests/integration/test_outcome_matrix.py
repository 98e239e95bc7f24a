"""What a next hop does in a transaction, and what each must come to."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from random import Random

import pytest

from services.outbound_sender.connection import Connection, Timeouts
from services.outbound_sender.dead_hosts import DeadHosts
from services.outbound_sender.transport import Terms, connect
from shared.core.delivery import Outcome, OutcomeKind
from tests.fakes.scripted_peer import EXTENSIONS, Dialogue, Script, scripted_peer
from tests.integration.transactions import SHORT, on_loop, send, target_at, until

DELIVERED, DEFERRED, REFUSED, UNKNOWN = OutcomeKind
GARBAGE = bytes(range(128, 256)) + b"\x00\x01\r\n"
ENDLESS = b"250-" + b"x" * 60 + b"\r\n"


@dataclass(frozen=True)
class Row:
    sentence: str
    script: Script
    kind: OutcomeKind
    because: str
    code: int | None = None
    keeps_connection: bool = False


def greeting(data: bytes) -> Script:
    async def script(peer: Dialogue) -> None:
        await peer.say(data)
        await peer.until_closed()

    return script


def replies(data: bytes, *, then: str = "read", extensions: tuple[str, ...] = EXTENSIONS) -> Script:
    """Greets, hears a pipelined MAIL, RCPT and DATA, and answers them with `data`."""

    async def script(peer: Dialogue) -> None:
        await peer.greet(*extensions)
        await peer.hear(3)
        await peer.say(data)
        await finish(peer, then)

    return script


def after_the_dot(data: bytes, *, then: str = "read") -> Script:
    async def script(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.take_envelope()
        await peer.take_content()
        await peer.say(data)
        await finish(peer, then)

    return script


async def finish(peer: Dialogue, then: str) -> None:
    if then == "read":
        await peer.until_closed()
    elif then == "reset":
        peer.reset()


async def never_answers(peer: Dialogue) -> None:
    await peer.until_closed()


async def closes_at_once(peer: Dialogue) -> None:
    """Its end is a FIN."""


async def refuses_ehlo_and_helo(peer: Dialogue) -> None:
    await peer.say(b"220 peer.test\r\n")
    await peer.hear()
    await peer.say(b"502 no\r\n")
    await peer.hear()
    await peer.say(b"554 5.7.1 not you\r\n")
    await peer.until_closed()


async def says_421_to_ehlo(peer: Dialogue) -> None:
    await peer.say(b"220 peer.test\r\n")
    await peer.hear()
    await peer.say(b"421 4.3.2 too busy\r\n")


async def answers_a_byte_at_a_time(peer: Dialogue) -> None:
    await peer.greet(*EXTENSIONS)
    await peer.hear(3)
    for byte in b"250-slow\r\n" * 100:
        await peer.say(bytes([byte]))
        await asyncio.sleep(0.02)


async def greets_a_byte_at_a_time(peer: Dialogue) -> None:
    for byte in b"220-slow\r\n" * 100:
        await peer.say(bytes([byte]))
        await asyncio.sleep(0.02)


async def endless_reply_to_mail(peer: Dialogue) -> None:
    await peer.greet(*EXTENSIONS)
    await peer.hear(3)
    while True:
        await peer.say(ENDLESS * 100)


async def endless_line_after_the_dot(peer: Dialogue) -> None:
    await peer.greet(*EXTENSIONS)
    await peer.take_envelope()
    await peer.take_content()
    await peer.say(b"250 ")
    while True:
        await peer.say(b"x" * 10_000)


async def lone_dot_after_354(peer: Dialogue) -> None:
    await peer.greet(*EXTENSIONS)
    await peer.hear(3)
    await peer.say(b"250 ok\r\n550 5.1.1 nobody\r\n354 go on\r\n")
    await peer.hear()
    assert peer.commands[-1] == b"."
    await peer.say(b"554 5.5.1 no valid recipients\r\n")
    await peer.until_closed()


OK = b"250 2.1.0 ok\r\n"
ROWS = [
    Row("a greeting of 421", greeting(b"421 4.3.2 busy\r\n"), DEFERRED, "refused before MAIL", 421),
    Row("a greeting of 554", greeting(b"554 5.7.1 no service\r\n"), DEFERRED, "refused before MAIL", 554),
    Row("a greeting of garbage", greeting(GARBAGE), DEFERRED, "no SMTP before MAIL"),
    Row("a greeting of 100 and bytes", greeting(b"100 \xff\x00\r\n"), DEFERRED, "no SMTP before MAIL: ??"),
    Row("an endless greeting", greeting(b"220-x\r\n" * 20_000), DEFERRED, "no SMTP before MAIL"),
    Row("a greeting a byte at a time", greets_a_byte_at_a_time, DEFERRED, "no answer in time before MAIL"),
    Row("no greeting", never_answers, DEFERRED, "no answer in time"),
    Row("FIN instead of a greeting", closes_at_once, DEFERRED, "connection lost before MAIL"),
    Row("EHLO and HELO refused", refuses_ehlo_and_helo, DEFERRED, "refused before MAIL", 554),
    Row("421 to EHLO", says_421_to_ehlo, DEFERRED, "refused before MAIL", 421),
    Row("421 to MAIL", replies(b"421 4.3.2 busy\r\n"), DEFERRED, "421 to MAIL", 421),
    Row("421 to RCPT", replies(OK + b"421 4.3.2 busy\r\n"), DEFERRED, "421 to RCPT", 421),
    Row("421 to DATA", replies(OK + OK + b"421 4.3.2 busy\r\n"), DEFERRED, "421 to DATA", 421),
    Row("4yz to MAIL", replies(b"451 4.7.1 later\r\n503 x\r\n503 x\r\n"), DEFERRED, "451 to MAIL", 451, True),
    Row("5yz to MAIL, 503s after it", replies(b"550 no\r\n503 x\r\n503 x\r\n"), REFUSED, "550 to MAIL", 550, True),
    Row("5yz to MAIL, then FIN", replies(b"550 5.7.1 no\r\n", then="close"), REFUSED, "550 to MAIL", 550),
    Row("5yz to MAIL, then 421", replies(b"550 no\r\n421 bye\r\n", then="close"), REFUSED, "550 to MAIL", 550),
    Row("4yz to RCPT", replies(OK + b"450 4.2.1 greylisted\r\n503 x\r\n"), DEFERRED, "450 to RCPT", 450, True),
    Row("452 4.5.3 to RCPT", replies(OK + b"452 4.5.3 many\r\n503 x\r\n"), DEFERRED, "452 to RCPT", 452, True),
    Row("5yz to RCPT", replies(OK + b"550 5.1.1 nobody\r\n554 x\r\n"), REFUSED, "550 to RCPT", 550, True),
    Row("5yz to RCPT, but 354 to DATA", lone_dot_after_354, REFUSED, "550 to RCPT", 550, True),
    Row("4yz to DATA", replies(OK + OK + b"451 4.3.0 disk\r\n"), DEFERRED, "451 to DATA", 451, True),
    Row("5yz to DATA", replies(OK + OK + b"554 5.7.1 spam\r\n"), REFUSED, "554 to DATA", 554, True),
    Row("2yz to DATA", replies(OK + OK + OK), DEFERRED, "250 to DATA", 250),
    Row("more replies than commands", replies(OK + OK + b"354 go\r\n250 done\r\n"), DEFERRED, "more replies than"),
    Row("garbage to MAIL", replies(GARBAGE), DEFERRED, "not an SMTP reply"),
    Row("garbage to RCPT", replies(OK + GARBAGE), DEFERRED, "not an SMTP reply"),
    Row("a code beyond 599", replies(b"999 hello\r\n"), DEFERRED, "not an SMTP reply"),
    Row("an endless reply to MAIL", endless_reply_to_mail, DEFERRED, "a reply of more than"),
    Row("a byte now and then", answers_a_byte_at_a_time, DEFERRED, "no answer within 0.3 s before the reply to MAIL"),
    Row("FIN to MAIL", replies(b"", then="close"), DEFERRED, "connection closed by the remote before the reply to M"),
    Row("RST to MAIL", replies(b"", then="reset"), DEFERRED, "connection lost (Connection reset by peer)"),
    Row("FIN after RCPT", replies(OK + OK, then="close"), DEFERRED, "connection closed by the remote"),
    Row("silence to MAIL", replies(b""), DEFERRED, "no answer within 0.3 s before the reply to MAIL"),
    Row("250 to the dot", after_the_dot(b"250 2.0.0 queued as 1\r\n"), DELIVERED, "accepted", 250, True),
    Row("250 to the dot, then FIN", after_the_dot(b"250 queued\r\n", then="close"), DELIVERED, "accepted", 250),
    Row("250 in three lines to the dot", after_the_dot(b"250-a\r\n250 c\r\n"), DELIVERED, "accepted", 250, True),
    Row("250 to the dot, then garbage", after_the_dot(b"250 queued\r\n" + GARBAGE), DELIVERED, "accepted", 250),
    Row("4yz to the dot", after_the_dot(b"451 4.3.0 later\r\n"), DEFERRED, "451 to the content", 451, True),
    Row("5yz to the dot", after_the_dot(b"554 5.7.1 spam\r\n"), REFUSED, "554 to the content", 554, True),
    Row("421 to the dot", after_the_dot(b"421 4.3.2 bye\r\n"), DEFERRED, "421 to the content", 421),
    Row("FIN after the dot", after_the_dot(b"", then="close"), UNKNOWN, "connection closed by the remote"),
    Row("RST after the dot", after_the_dot(b"", then="reset"), UNKNOWN, "connection lost (Connection reset by peer)"),
    Row("silence after the dot", after_the_dot(b""), UNKNOWN, "no answer within 0.3 s before the reply to the content"),
    Row("half a reply after the dot, then FIN", after_the_dot(b"250 o", then="close"), UNKNOWN, "connection closed by"),
    Row("half a reply of several lines", after_the_dot(b"250-ok\r\n", then="close"), UNKNOWN, "connection closed by"),
    Row("garbage after the dot", after_the_dot(GARBAGE), UNKNOWN, "not an SMTP reply"),
    Row(
        "354 after the dot", after_the_dot(b"354 go on\r\n"), UNKNOWN, "a reply to the content that means nothing", 354
    ),
    Row("an endless line after the dot", endless_line_after_the_dot, UNKNOWN, "a reply of more than"),
]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.sentence)
async def test_each_behaviour_of_a_peer_has_its_outcome(row: Row, loop: str) -> None:
    async def scenario() -> None:
        async with scripted_peer(row.script) as peer:
            # Whoever is to answer has time for it, however busy the machine is.
            timeouts = SHORT if "no answer" in row.because else Timeouts()
            opened = await connect(target_at(peer.port), Terms("node.test", timeouts), DeadHosts())
            outcome = opened if isinstance(opened, Outcome) else await send(opened)
            assert (outcome.kind, outcome.reply and outcome.reply.code) == (row.kind, row.code)
            assert outcome.because.startswith(row.because)
            assert outcome.remote_host == "peer.test"
            if isinstance(opened, Connection):
                await asyncio.sleep(0)  # what the peer sent with its last reply has been read by now
                assert opened.is_usable or not row.keeps_connection
                if row.keeps_connection:
                    opened.abort()
                else:
                    await until(lambda: not opened.is_usable)

    await on_loop(loop, scenario)


FRAGMENTS = [
    OK,
    b"354 go on\r\n",
    b"250-",
    b"450 4.2.1 later\r\n",
    b"550 5.1.1 no\r\n",
    b"421 bye\r\n",
    b"503 x\r\n",
    GARBAGE,
]


def at_random(random: Random) -> Script:
    """Mostly what it should, sometimes anything."""

    async def script(peer: Dialogue) -> None:
        await peer.greet(*random.sample(EXTENSIONS, 2))
        for expected in [OK, OK, b"354 go on\r\n", OK] * 2:
            await peer.hear_something(0.01)
            anything = b"".join(random.choices(FRAGMENTS, k=random.randrange(4)))
            await peer.say(expected if random.random() < 0.8 else anything)
        await finish(peer, random.choice(["read", "close", "reset"]))

    return script


async def test_no_peer_can_do_anything_that_is_not_an_outcome() -> None:
    seen: Counter[OutcomeKind] = Counter()
    hasty = replace(SHORT, command_seconds=0.03, final_dot_seconds=0.03)
    for seed in range(200):
        random = Random(seed)  # noqa: S311
        async with scripted_peer(at_random(random)) as peer:
            connection = await connect(target_at(peer.port), Terms("node.test", hasty), DeadHosts())
            if isinstance(connection, Outcome):  # the machine had no time for so hasty a greeting
                assert connection.kind is OutcomeKind.DEFERRED
                continue
            while connection.is_usable and connection.transactions < 3:
                outcome = await send(connection)
                seen[outcome.kind] += 1
                code = outcome.reply.code if outcome.reply else 0
                match outcome.kind:
                    case OutcomeKind.DELIVERED:
                        assert 200 <= code < 300, seed
                    case OutcomeKind.REFUSED:
                        assert 500 <= code < 600, seed
                    case OutcomeKind.DEFERRED | OutcomeKind.UNKNOWN:
                        assert not (200 <= code < 300 and connection.is_usable), seed
            connection.abort()
    assert len(seen) == len(OutcomeKind), seen
    assert seen.total() > 100, "most connections came to be"

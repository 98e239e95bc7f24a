"""Transactions with several recipients: each has an outcome of its own, whatever mix the peer answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

import pytest

from shared.core.delivery import Outcome, OutcomeKind
from tests.fakes.scripted_peer import EXTENSIONS, Dialogue, Script, scripted_peer
from tests.integration.transactions import CONTENT, SHORT, connected, on_loop

DELIVERED, DEFERRED, REFUSED, UNKNOWN = OutcomeKind
OK, GO_ON, QUEUED = b"250 2.1.0 ok\r\n", b"354 go on\r\n", b"250 queued\r\n"
NOBODY, LATER, TOO_MANY = b"550 5.1.1 nobody\r\n", b"450 4.2.1 later\r\n", b"452 4.5.3 too many\r\n"
FULL, BUSY, NO_RECIPIENTS = b"452 4.2.2 full\r\n", b"421 4.3.2 busy\r\n", b"554 5.5.1 no recipients\r\n"
NEXT_TIME = None


def script(*replies: bytes, after_the_dot: bytes = QUEUED, then_fin: bool = False, pipelining: bool = True) -> Script:
    """Answers MAIL, three RCPT and DATA with one reply each; content follows a 354."""

    async def run(peer: Dialogue) -> None:
        await peer.greet(*(EXTENSIONS if pipelining else ()))
        if pipelining:
            await peer.hear(5)
            await peer.say(b"".join(replies))
        else:
            for reply in replies:
                await peer.hear()
                await peer.say(reply)
        if replies[-1] == GO_ON:
            await peer.take_content()
            await peer.say(after_the_dot)
        if not then_fin:
            await peer.until_closed()

    return run


async def lone_dot(peer: Dialogue) -> None:
    await peer.greet(*EXTENSIONS)
    await peer.hear(5)
    await peer.say(OK + NOBODY + LATER + NOBODY + GO_ON)
    await peer.hear()
    assert peer.commands[-1] == b"."
    await peer.say(NO_RECIPIENTS)
    await peer.until_closed()


@dataclass(frozen=True)
class Row:
    sentence: str
    script: Script
    kinds: tuple[OutcomeKind | None, ...]
    codes: tuple[int | None, ...] = ()
    is_kept: bool = True


ROWS = [
    Row("everybody is taken", script(OK, OK, OK, OK, GO_ON), (DELIVERED,) * 3, (250,) * 3),
    Row(
        "250, 550 and 450 are three different outcomes",
        script(OK, OK, NOBODY, LATER, GO_ON),
        (DELIVERED, REFUSED, DEFERRED),
        (250, 550, 450),
    ),
    Row(
        "the same without pipelining",
        script(OK, OK, NOBODY, LATER, GO_ON, pipelining=False),
        (DELIVERED, REFUSED, DEFERRED),
        (250, 550, 450),
    ),
    Row(
        "452 4.5.3 leaves the rest for the next transaction",
        script(OK, OK, TOO_MANY, TOO_MANY, GO_ON),
        (DELIVERED, NEXT_TIME, NEXT_TIME),
    ),
    Row(
        "452 4.5.3 to everybody defers everybody",
        script(OK, TOO_MANY, TOO_MANY, TOO_MANY, NO_RECIPIENTS),
        (DEFERRED,) * 3,
        (452,) * 3,
    ),
    Row("452 4.2.2 is one full mailbox", script(OK, OK, FULL, OK, GO_ON), (DELIVERED, DEFERRED, DELIVERED)),
    Row("everybody is refused, and DATA too", script(OK, NOBODY, NOBODY, NOBODY, NO_RECIPIENTS), (REFUSED,) * 3),
    Row("everybody is refused, but DATA gets 354", lone_dot, (REFUSED, DEFERRED, REFUSED)),
    Row("MAIL is refused", script(NOBODY, *[b"503 x\r\n"] * 4), (REFUSED,) * 3, (550,) * 3),
    Row("DATA is refused", script(OK, OK, NOBODY, OK, b"451 x\r\n"), (DEFERRED, REFUSED, DEFERRED), (451, 550, 451)),
    Row("421 at the second RCPT", script(OK, OK, BUSY, then_fin=True), (DEFERRED,) * 3, (421,) * 3, is_kept=False),
    Row("a refusal before a 421 stands", script(OK, NOBODY, BUSY), (REFUSED, DEFERRED, DEFERRED), is_kept=False),
    Row(
        "a connection lost amid the replies",
        script(OK, OK, NOBODY, then_fin=True),
        (DEFERRED, REFUSED, DEFERRED),
        (None, 550, None),
        is_kept=False,
    ),
    Row(
        "garbage amid the replies",
        script(OK, NOBODY, b"\xff\xfe\x00\r\n"),
        (REFUSED, DEFERRED, DEFERRED),
        is_kept=False,
    ),
    Row(
        "a connection lost after the dot is unknown for those who were accepted",
        script(OK, OK, NOBODY, OK, GO_ON, after_the_dot=b"", then_fin=True),
        (UNKNOWN, REFUSED, UNKNOWN),
        is_kept=False,
    ),
    Row(
        "the content is refused",
        script(OK, OK, LATER, OK, GO_ON, after_the_dot=b"554 5.7.1 spam\r\n"),
        (REFUSED, DEFERRED, REFUSED),
        (554, 450, 554),
    ),
]


async def send_to_three(
    port: int, *, may_start_content: Callable[[], bool] = lambda: True
) -> tuple[list[Outcome | None], bool]:
    connection = await connected(port, SHORT)
    outcomes = await connection.send(
        "post@list.test",
        [f"{name}@peer.test" for name in "abc"],
        [CONTENT],
        has_8bit=False,
        has_utf8_header=False,
        needs_smtputf8=False,
        may_start_content=may_start_content,
    )
    is_kept = connection.is_usable
    connection.abort()
    return list(outcomes), is_kept


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.sentence)
async def test_each_recipient_of_a_transaction_has_its_outcome(row: Row, loop: str) -> None:
    async def scenario() -> None:
        async with scripted_peer(row.script) as peer:
            outcomes, is_kept = await send_to_three(peer.port)
            assert tuple(outcome and outcome.kind for outcome in outcomes) == row.kinds
            if row.codes:
                assert tuple(outcome and outcome.reply and outcome.reply.code for outcome in outcomes) == row.codes
            assert is_kept is row.is_kept
            # Content goes out once, and only where somebody was accepted.
            was_sent = any(kind in (DELIVERED, UNKNOWN) for kind in row.kinds) or 554 in row.codes
            assert len(peer.dialogues[0].contents) == was_sent

    await on_loop(loop, scenario)


async def test_after_452_no_more_recipients_are_named_than_were_taken() -> None:
    async with scripted_peer(script(OK, OK, OK, TOO_MANY, GO_ON)) as peer:
        connection = await connected(peer.port)
        assert connection.max_recipients == 100
        await connection.send(
            "post@list.test",
            ["a@peer.test", "b@peer.test", "c@peer.test"],
            [CONTENT],
            has_8bit=False,
            has_utf8_header=False,
            needs_smtputf8=False,
            may_start_content=lambda: True,
        )
        assert connection.max_recipients == 2
        connection.abort()


async def test_a_hundred_recipients_go_in_one_write_and_come_back_in_order() -> None:
    async def takes_even_ones(peer: Dialogue) -> None:
        await peer.greet(*EXTENSIONS)
        await peer.hear(102)
        await peer.say(OK + b"".join([OK if number % 2 == 0 else NOBODY for number in range(100)]) + GO_ON)
        await peer.take_content()
        await peer.say(QUEUED)
        await peer.until_closed()

    async with scripted_peer(takes_even_ones) as peer:
        connection = await connected(peer.port)
        outcomes = await connection.send(
            "post@list.test",
            [f"m{number}@peer.test" for number in range(100)],
            [CONTENT],
            has_8bit=False,
            has_utf8_header=False,
            needs_smtputf8=False,
            may_start_content=lambda: True,
        )
        assert [outcome and outcome.kind for outcome in outcomes] == [DELIVERED, REFUSED] * 50
        connection.abort()


async def test_an_address_that_could_end_its_command_is_refused_alone() -> None:
    async with scripted_peer(script(OK, OK, OK, OK, GO_ON)) as peer:
        connection = await connected(peer.port)
        outcomes = await connection.send(
            "post@list.test",
            ["a@peer.test", "b@peer.test>\r\nRCPT TO:<evil@peer.test", "c@peer.test"],
            [CONTENT],
            has_8bit=False,
            has_utf8_header=False,
            needs_smtputf8=False,
            may_start_content=lambda: True,
        )
        assert [outcome and outcome.kind for outcome in outcomes] == [None, REFUSED, None]
        assert connection.is_usable
        connection.abort()
        assert peer.dialogues[0].commands == [b"EHLO node.test"]


async def test_a_stale_lease_sends_the_content_to_none_of_them() -> None:
    async with scripted_peer(script(OK, OK, NOBODY, OK, GO_ON)) as peer:
        outcomes, is_kept = await send_to_three(peer.port, may_start_content=lambda: False)
        assert [outcome and outcome.because for outcome in outcomes] == [
            "stopped before the content",
            "550 to RCPT",
            "stopped before the content",
        ]
        assert not is_kept
        assert peer.dialogues[0].contents == []


ANYTHING = [OK, OK, OK, GO_ON, NOBODY, LATER, TOO_MANY, FULL, BUSY, QUEUED, b"250-", b"552 5.5.3 many\r\n", b"\xff\r\n"]


async def test_no_mix_of_replies_leaves_a_recipient_without_an_answer_or_makes_up_a_refusal() -> None:
    hasty = replace(SHORT, command_seconds=0.03, final_dot_seconds=0.03)
    for seed in range(200):
        random = Random(seed)  # noqa: S311

        async def at_random(peer: Dialogue, random: Random = random) -> None:
            await peer.greet(*EXTENSIONS)
            for _ in range(2):
                await peer.hear_something(0.01)
                await peer.say(b"".join(random.choices(ANYTHING, k=random.randrange(8))))
            await peer.hear_something(0.05)

        async with scripted_peer(at_random) as peer:
            connection = await connected(peer.port, hasty)
            outcomes = await connection.send(
                "post@list.test",
                ["a@peer.test", "b@peer.test", "c@peer.test"],
                [CONTENT],
                has_8bit=False,
                has_utf8_header=False,
                needs_smtputf8=False,
                may_start_content=lambda: True,
            )
            connection.abort()
            assert len(outcomes) == 3, seed
            assert any(outcomes), seed
            for outcome in outcomes:
                code = outcome.reply.code if outcome and outcome.reply else 0
                if outcome and outcome.kind is REFUSED:
                    assert 500 <= code < 600, seed
                if outcome and outcome.kind is DELIVERED:
                    assert 200 <= code < 300, seed

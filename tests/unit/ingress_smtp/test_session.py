from __future__ import annotations

import asyncio

import pytest

from services.ingress_smtp.limits import MAX_ERRORS, DataBudget
from shared.core.mailing import TargetKind
from shared.core.verp import return_path_local
from tests.unit.ingress_smtp.smtp_client import SECRET, running_ingress, until

POST = b"From: ann@example.org\r\nSubject: hello\r\n\r\nhello\r\n.\r\n"


async def test_ehlo_offers_what_is_supported_and_nothing_else() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        offered = (await client.say("EHLO client.test")).split("\n")
    assert [line[4:] for line in offered] == ["mx.lists.test", "PIPELINING", "SIZE 31457280", "8BITMIME", "SMTPUTF8"]


async def test_a_post_to_a_known_list_is_taken_with_its_envelope() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        await client.begin("Dev@Lists.Test", parameters=" BODY=8BITMIME SIZE=100")
        assert await client.data(POST) == "250 2.0.0 Stored as test"
        assert await client.say("QUIT") == "221 Bye"
    [submission] = ingress.intake.submissions
    assert submission.content == POST[:-3]
    assert submission.envelope_sender == "ann@example.org"
    assert [route.address for route in submission.routes] == ["dev@lists.test"]
    assert (submission.client.address, submission.client.greeting) == ("127.0.0.1", "client.test")
    assert submission.client.protocol == "ESMTP"
    assert ingress.budget.held_bytes == 0


async def test_a_pipelined_transaction_is_answered_in_order() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        await client.send(
            b"EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<dev@lists.test>\r\nRCPT TO:<nobody@lists.test>\r\nDATA\r\n"
        )
        codes = [(await client.reply())[:3] for _ in range(5)]
        assert codes == ["250", "250", "250", "550", "354"]
        await client.send(b".\r\nMAIL FROM:<>\r\nQUIT\r\n")
        assert [(await client.reply())[:3] for _ in range(3)] == ["250", "250", "221"]
    assert ingress.intake.submissions[0].content == b""


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("MAIL FROM:<ann@example.org> SIZE=99999999", "552 5.3.4"),
        ("MAIL FROM:<ann@example.org> SIZE=x", "501 5.5.4"),
        ("MAIL FROM:<ann@example.org> BODY=BINARYMIME", "501 5.5.4"),
        ("MAIL FROM:<ann@example.org> RET=FULL", "555 5.5.4"),
        ("MAIL FROM:<ann@example.org", "501 5.5.4"),
        ("MAIL TO:<ann@example.org>", "501 5.5.4"),
        ("MAIL", "501 5.5.4"),
        ("MAIL FROM:<ann>", "553 5.1.7"),
        ("MAIL FROM:<ann\x00@example.org>", "553 5.1.7"),
        ("MAIL FROM:<ann@example.org\r>", "553 5.1.7"),
        (f"MAIL FROM:<{'a' * 65}@example.org>", "553 5.1.7"),
        ("MAIL FROM:<änn@example.org>", "553 5.6.7"),
        ("MAIL FROM:<ann@exämple.org>", "553 5.6.7"),
        ("MAIL FROM:<änn@exämple.org> SMTPUTF8", "250 2.1.0"),
        ("MAIL FROM:<>", "250 2.1.0"),
        ("mail from:<ann@example.org>", "250 2.1.0"),
        (f"MAIL FROM:<{'(' * 900}>", "553 5.1.7"),
        (f"MAIL FROM:<{'a' * 2000}>", "500 "),
        ("RCPT TO:<dev@lists.test>", "503 5.5.1"),
        ("DATA", "503 5.5.1"),
        ("VRFY ann", "252 "),
        ("EXPN dev", "502 5.5.1"),
        ("AUTH PLAIN AGEAYg==", "500 "),
        ("STARTTLS", "454 "),
        ("NOOP", "250 "),
        ("RSET", "250 "),
    ],
)
async def test_the_first_command_after_ehlo_is_answered(command: str, reply: str) -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        await client.say("EHLO client.test")
        assert (await client.say(command)).startswith(reply)


async def test_mail_before_ehlo_and_mail_within_mail_are_refused() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        assert (await client.say("MAIL FROM:<>")).startswith("503")
        await client.begin("dev@lists.test")
        assert (await client.say("MAIL FROM:<>")).startswith("503")


async def test_overlong_utf8_in_an_address_is_refused() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        await client.say("EHLO client.test")
        await client.send(b"MAIL FROM:<a\xc0\xafb@example.org> SMTPUTF8\r\n")
        assert (await client.reply()).startswith("553 5.1.7")


@pytest.mark.parametrize(
    ("recipient", "reply"),
    [
        ("dev@lists.test", "250 "),
        ("DEV@LISTS.TEST", "250 "),
        ('"dev"@lists.test', "250 "),
        ("postmaster", "250 "),
        ("PostMaster@lists.test", "250 "),
        ("abuse@lists.test", "250 "),
        ("postmaster@mx.lists.test", "250 "),
        ("dev@mx.lists.test", "550 5.1.1"),
        ("dev-owner@lists.test", "250 "),
        ("nobody@lists.test", "550 5.1.1"),
        ("nobody-owner@lists.test", "550 5.1.1"),
        *((f"dev-{door}@lists.test", "250 ") for door in ("join", "Subscribe", "leave", "unsubscribe", "request")),
        *((f"dev-{door}+0a1b@lists.test", "250 ") for door in ("confirm", "leave")),
        ("confirm+0a1b@lists.test", "250 "),
        ("dev-bounces@lists.test", "250 "),
        ("dev-confirm@lists.test", "550 5.1.1"),
        ("dev-join+0a1b@lists.test", "550 5.1.1"),
        ("nobody-request@lists.test", "550 5.1.1"),
        ("confirm+0a1b@elsewhere.test", "550 5.7.1"),
        ("b+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@lists.test", "550 5.1.1"),
        ("ann@example.org", "550 5.7.1"),
        ("postmaster@example.org", "550 5.7.1"),
        ("ann%example.org@lists.test", "550 5.7.1"),
        ("@lists.test:ann@example.org", "550 5.7.1"),
        ("@lists.test,@b.test:dev@lists.test", "550 5.7.1"),
        ("example.org!ann@lists.test", "550 5.7.1"),
        ('"ann@example.org"@lists.test', "550 5.7.1"),
        ("dev@[127.0.0.1]", "550 5.7.1"),
        ("dev@[IPv6:::1]", "550 5.7.1"),
        ("dev@127.0.0.1", "553 5.1.3"),
        ("dev\x00@lists.test", "553 5.1.3"),
        ("dev", "553 5.1.3"),
        ("dév@lists.test", "553 5.6.7"),
        ("", "501 5.5.4"),
        ("dev@lists.test> NOTIFY=NEVER", "555 5.5.4"),
    ],
)
async def test_a_recipient_is_answered(recipient: str, reply: str) -> None:
    path = recipient if ">" in recipient else f"{recipient}>"
    async with running_ingress() as ingress, ingress.client() as client:
        await client.begin()
        assert (await client.say(f"RCPT TO:<{path}")).startswith(reply)


async def test_a_return_path_of_ours_is_accepted_in_any_case() -> None:
    local = return_path_local(77, SECRET).upper()
    async with running_ingress() as ingress, ingress.client() as client:
        await client.begin(f"{local}@lists.test", sender="")
        assert (await client.data(POST)).startswith("250")
    [route] = ingress.intake.submissions[0].routes
    assert route.kind is TargetKind.RETURN_PATH


async def test_recipients_above_the_limit_wait_for_the_next_message() -> None:
    async with running_ingress(max_recipients=2) as ingress, ingress.client() as client:
        await client.begin("dev@lists.test", "news@lists.test")
        assert (await client.say("RCPT TO:<open@lists.test>")).startswith("452 4.5.3")
        assert (await client.data(POST)).startswith("250")
    assert len(ingress.intake.submissions[0].routes) == 2


async def test_a_recipient_named_twice_is_one() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        await client.begin("dev@lists.test", "DEV@lists.test")
        await client.data(POST)
    assert len(ingress.intake.submissions[0].routes) == 1


async def test_a_message_above_the_limit_is_refused_at_the_dot_and_the_session_goes_on() -> None:
    async with running_ingress(max_message_bytes=100_000) as ingress, ingress.client() as client:
        await client.begin("dev@lists.test")
        assert (await client.data(b"x: y\r\n" * 20_000 + b".\r\n")).startswith("552 5.3.4")
        assert ingress.budget.held_bytes == 0
        await client.begin("dev@lists.test")
        assert (await client.data(POST)).startswith("250")
    assert len(ingress.intake.submissions) == 1


async def test_a_message_of_exactly_the_limit_is_taken() -> None:
    async with running_ingress(max_message_bytes=len(POST) - 3) as ingress, ingress.client() as client:
        await client.begin("dev@lists.test")
        assert (await client.data(POST)).startswith("250")
        await client.begin("dev@lists.test")
        assert (await client.data(b"x" + POST)).startswith("552 5.3.4")


async def test_content_without_end_is_cut_off() -> None:
    async with running_ingress(max_message_bytes=100_000) as ingress, ingress.client() as client:
        await client.begin("dev@lists.test")
        await client.say("DATA")
        await client.send(b"x" * 500_000)
        # The reply may be overtaken by the reset that answers what was not read.
        assert (await client.reply())[:9] in ("552 5.3.4", "")
        await until(lambda: ingress.server.session_count == 0)
        assert ingress.budget.held_bytes == 0


async def test_more_content_than_the_node_can_hold_is_refused_for_now() -> None:
    budget = DataBudget(150_000)
    async with running_ingress(budget=budget) as ingress, ingress.client() as first, ingress.client() as second:
        ingress.intake.gate.clear()
        await first.begin("dev@lists.test")
        await first.say("DATA")
        await first.send(b"x: y\r\n" * 20_000 + b".\r\n")
        await until(lambda: budget.held_bytes >= 120_000)
        await second.begin("dev@lists.test")
        assert (await second.data(b"x: y\r\n" * 20_000 + b".\r\n")).startswith("452 4.3.1")
        await second.begin("dev@lists.test", parameters=" SIZE=100000")
        assert (await second.say("DATA")).startswith("452 4.3.1")
        ingress.intake.gate.set()
        assert (await first.reply()).startswith("250")
    assert budget.held_bytes == 0


async def test_a_client_that_leaves_within_data_gives_its_memory_back() -> None:
    async with running_ingress() as ingress:
        async with ingress.client() as client:
            await client.begin("dev@lists.test")
            await client.say("DATA")
            await client.send(b"x: y\r\n" * 50_000)
            await until(lambda: ingress.budget.held_bytes > 0)
        await until(lambda: ingress.server.session_count == 0)
        assert ingress.budget.held_bytes == 0
        assert ingress.intake.submissions == []


async def test_a_very_long_line_does_not_end_the_session() -> None:
    content = b"x" * 300_000 + b"\r\n"
    async with running_ingress() as ingress, ingress.client() as client:
        await client.begin("dev@lists.test")
        assert (await client.data(content + b".\r\n")).startswith("250")
        assert (await client.say("x" * 100_000)).startswith("500")
        assert (await client.say("NOOP")).startswith("250")
    assert ingress.intake.submissions[0].content == content


async def test_too_many_errors_end_the_session() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        await client.say("EHLO c")
        await client.say("MAIL FROM:<>")
        for _ in range(MAX_ERRORS):
            assert (await client.say("RCPT TO:<nobody@lists.test>")).startswith("550")
        assert (await client.reply()).startswith("421 4.7.0")
        assert await client.reply() == ""


async def test_unknown_commands_end_the_session() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        for _ in range(MAX_ERRORS):
            assert (await client.say("HELLO?")).startswith("500")
        assert (await client.reply()).startswith("421 4.7.0")
        assert await client.reply() == ""


async def test_an_idle_session_is_told_goodbye() -> None:
    async with running_ingress(idle_seconds=0.05) as ingress, ingress.client() as client:
        assert (await client.reply()).startswith("421 4.4.2")
        assert await client.reply() == ""


async def test_sessions_beyond_the_total_are_told_to_come_back() -> None:
    async with (
        running_ingress(most_sessions=1) as ingress,
        ingress.client() as first,
        ingress.client(greeted=False) as second,
    ):
        assert (await second.reply()).startswith("421 4.3.2")
        assert await second.reply() == ""
        assert (await first.say("NOOP")).startswith("250")


async def test_while_the_database_is_down_recipients_are_deferred() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        await client.begin()
        ingress.store.is_down = True
        assert (await client.say("RCPT TO:<dev@lists.test>")).startswith("451 4.3.0")


async def test_a_fault_of_ours_defers_the_message_and_says_nothing_about_itself() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        ingress.intake.is_broken = True
        await client.begin("dev@lists.test")
        reply = await client.data(POST)
        assert reply.startswith("451 4.3.0")
        assert "broken" not in reply


async def test_stopping_takes_the_message_in_hand_and_ends_idle_sessions() -> None:
    async with running_ingress() as ingress, ingress.client() as busy, ingress.client() as idle:
        await busy.begin("dev@lists.test")
        await busy.say("DATA")
        stopping = asyncio.create_task(ingress.server.stop())
        assert (await idle.reply()).startswith("421 4.3.2")
        await busy.send(POST)
        assert (await busy.reply()).startswith("250")
        assert (await busy.reply()).startswith("421 4.3.2")
        await stopping
    assert len(ingress.intake.submissions) == 1

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

from services.ingress_smtp.intake import Intake, Submission
from services.ingress_smtp.limits import DataBudget
from services.ingress_smtp.routing import Route
from services.ingress_smtp.trace import Client
from shared.core.authorship import Belief
from shared.core.mailing import TargetKind, TargetState
from shared.core.posting.post import ListRules, NonMemberAction
from shared.core.smtp_reply import Reply
from shared.store.messages import NewMessage
from shared.store.posts import PostsToday
from tests.fakes.ingress import DEV, NEWS, OPEN, FakeAnnouncer, FakeAuthorship, FakeStore
from tests.fakes.waiting import until

POST = b"From: Ann <ann@example.org>\r\nMessage-ID: <1@example.org>\r\nSubject: =?utf-8?q?h=0Ai?=\r\n\r\nhello\r\n"
TO_DEV = Route("dev@lists.test", TargetKind.LIST, DEV)
TO_NEWS = Route("news@lists.test", TargetKind.LIST, NEWS)
TO_OPEN = Route("open@lists.test", TargetKind.LIST, OPEN)
TO_POSTMASTER = Route("postmaster@lists.test", TargetKind.OPERATOR)
TO_REQUEST = Route("dev-request@lists.test", TargetKind.COMMAND, list_id=DEV.id, speaks_for_author=True)
TO_CONFIRM = Route("dev-confirm+x@lists.test", TargetKind.COMMAND, list_id=DEV.id)
TO_RETURN_PATH = Route("b+x@lists.test", TargetKind.RETURN_PATH)


class Desk:
    """An intake with its surroundings."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.announcer = FakeAnnouncer()
        self.authorship = FakeAuthorship()
        self.budget = DataBudget(100_000_000)
        self.intake = Intake(
            self.store,
            self.announcer,
            self.authorship,
            hostname="mx.lists.test",
            max_message_bytes=30_000_000,
            now=lambda: datetime(2026, 11, 23, 12, 0, tzinfo=UTC),
        )

    async def take(self, content: bytes, *routes: Route, sender: str = "ann@example.org") -> Reply:
        share = self.budget.share()
        share.grow(len(content))
        client = Client("2001:db8::7", "client.test", "ESMTPS")
        return await self.intake.take(Submission(content, sender, routes or (TO_DEV,), client, share))

    @property
    def message(self) -> NewMessage:
        [message] = self.store.messages
        return message


async def test_a_post_is_stored_before_it_is_announced_and_the_reply_names_it() -> None:
    desk = Desk()
    reply = await desk.take(POST)
    assert reply == Reply(250, f"2.0.0 Stored as {desk.message.id}")
    assert desk.announcer.announced == [desk.message]
    assert desk.message.message_id == "<1@example.org>"
    assert desk.message.subject == "h i"
    assert desk.message.envelope_sender == "ann@example.org"
    assert [(target.address, target.list_id, target.state) for target in desk.message.targets] == [
        ("dev@lists.test", DEV.id, TargetState.RECEIVED)
    ]
    assert desk.budget.held_bytes == 0


async def test_what_is_stored_is_our_received_field_and_every_byte_that_came() -> None:
    desk = Desk()
    await desk.take(POST)
    assert desk.message.content == (
        b"Received: from client.test ([IPv6:2001:db8::7])\r\n"
        b"\tby mx.lists.test with ESMTPS id " + desk.message.id.hex.encode() + b";\r\n"
        b"\tMon, 23 Nov 2026 12:00:00 +0000\r\n" + POST
    )


async def test_a_post_sent_again_has_the_same_fingerprint_and_another_has_not() -> None:
    desk = Desk()
    await desk.take(POST)
    await desk.take(b"Received: from elsewhere\r\n" + POST)
    await desk.take(POST + b"PS\r\n")
    await desk.take(POST.replace(b"<1@", b"<2@"))
    await desk.take(POST, sender="other@example.org")
    first, again, *others = [message.fingerprint for message in desk.store.messages]
    assert first == again
    assert len({first, *others}) == 4


async def test_two_posts_without_message_id_are_told_apart_by_their_headers() -> None:
    desk = Desk()
    for day in (b"Mon", b"Tue"):
        await desk.take(b"From: ann@example.org\r\nDate: " + day + b"\r\n\r\nok\r\n")
    assert len({message.fingerprint for message in desk.store.messages}) == 2


@pytest.mark.parametrize(
    ("content", "route", "sender", "reply"),
    [
        (
            b"From: evil@example.org\r\n\r\n",
            TO_DEV,
            "ann@example.org",
            "550 5.7.1 Only members may post to dev@lists.test",
        ),
        (POST, TO_NEWS, "ann@example.org", "550 5.7.1 Only moderators may post to news@lists.test"),
        (POST, TO_DEV, "", "550 5.7.1 A message with the null sender"),
        (b"Auto-Submitted: auto-replied (vacation)\r\n" + POST, TO_DEV, "ann@example.org", "550 5.7.1 The message is"),
        (b"Precedence: Bulk\r\n" + POST, TO_DEV, "ann@example.org", "550 5.7.1 The message was sent automatically"),
        (b"List-Id: Dev <DEV.lists.test>\r\n" + POST, TO_DEV, "ann@example.org", "550 5.7.1 The message has"),
        (b"List-Post: <mailto:dev@lists.test>\r\n" + POST, TO_DEV, "ann@example.org", "550 5.7.1 The message has"),
        (b"X-Loop: dev@lists.test\r\n" + POST, TO_DEV, "ann@example.org", "550 5.7.1 The message has"),
        (b"Received: x\r\n" * 51 + POST, TO_DEV, "ann@example.org", "550 5.7.1 The message has"),
        (b"From: ann@example.org\r\n" + POST, TO_DEV, "ann@example.org", "550 5.6.0 The message has 2 From fields"),
        (b"Subject: x\r\n" + POST, TO_DEV, "ann@example.org", "550 5.6.0 The message has more than one subject"),
        (b"no header", TO_OPEN, "ann@example.org", "550 5.6.0 The message has no From fields"),
        (b"x: y\r\n" * 2000, TO_OPEN, "ann@example.org", "550 5.6.0 The header has more than"),
        (POST + b"x" * 999 + b"\r\n", TO_DEV, "ann@example.org", "550 5.6.0 A line has more than 998 octets"),
    ],
)
async def test_a_refused_post_is_answered_with_the_reason_and_not_kept(
    content: bytes, route: Route, sender: str, reply: str
) -> None:
    desk = Desk()
    assert str(await desk.take(content, route, sender=sender)).startswith(reply)
    assert desk.store.messages == []
    assert desk.announcer.announced == []
    assert desk.budget.held_bytes == 0


@pytest.mark.parametrize(
    "from_field",
    [
        b'"ann@example.org" <evil@example.org>',
        b"ann@example.org <evil@example.org>",
        b"=?utf-8?q?ann=40example.org?= <evil@example.org>",
        b"=?utf-8?b?YW5uQGV4YW1wbGUub3Jn?=",
        b"=?utf-8?q?ann?=@example.org",
        b"evil@example.org (ann@example.org)",
        b"ann@example.org, evil@example.org",
        b"Staff: ann@example.org, evil@example.org;",
        b"<ann@example.org> <evil@example.org>",
        b"Ann",
    ],
)
async def test_nobody_passes_for_a_member(from_field: bytes) -> None:
    reply = await Desk().take(b"From: " + from_field + b"\r\nSender: ann@example.org\r\n\r\nhello\r\n")
    assert reply.code == 550


async def test_a_member_is_known_in_any_spelling() -> None:
    assert (await Desk().take(b"From: ANN@Example.ORG\r\n\r\nhello\r\n")).code == 250


async def test_a_message_that_one_of_two_lists_takes_is_kept_with_the_others_reason() -> None:
    desk = Desk()
    assert (await desk.take(POST, TO_DEV, TO_NEWS)).code == 250
    states = {target.address: (target.state, target.because) for target in desk.message.targets}
    assert states == {
        "dev@lists.test": (TargetState.RECEIVED, ""),
        "news@lists.test": (TargetState.REFUSED, "only moderators may post to news@lists.test"),
    }


async def test_mail_for_the_operator_is_not_judged() -> None:
    desk = Desk()
    assert (await desk.take(b"no header", TO_POSTMASTER, sender="")).code == 250
    assert desk.message.targets[0].state is TargetState.RECEIVED


async def test_what_comes_to_a_return_path_is_not_judged() -> None:
    desk = Desk()
    assert (await desk.take(b"Auto-Submitted: auto-replied\r\n" + POST, TO_RETURN_PATH, sender="")).code == 250
    assert desk.message.targets[0].kind is TargetKind.RETURN_PATH


async def test_while_the_database_is_down_the_message_is_deferred() -> None:
    desk = Desk()
    desk.store.is_down = True
    assert str(await desk.take(POST)).startswith("451 4.3.0")
    assert desk.announcer.announced == []
    assert desk.budget.held_bytes == 0


async def test_a_message_in_hand_is_stored_even_when_its_session_is_gone() -> None:
    desk = Desk()
    waiting = asyncio.create_task(desk.take(POST))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await desk.intake.finish()
    assert desk.message.message_id == "<1@example.org>"


def nested(depth: int) -> bytes:
    head = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(depth))
    return head + b"Content-Type: text/plain\r\n\r\ndeep\r\n"


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Type: multipart/mixed; boundary=\r\n\r\n--\r\n--x--\r\n",
        nested(500),
        nested(3000),
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n" + b"--a\r\nx:y\r\n\r\n" * 100_000,
        (b"x" * 76 + b"\r\n") * (24 * 1024 * 1024 // 78),
        "Subject: ünencoded\r\nX-Latin: ".encode() + b"\xe9\xff\r\n\r\nb\xf6dy\x00\r\n",
    ],
    ids=["broken MIME", "nested 500", "nested 3000", "100,000 parts", "24 MB", "8-bit header"],
)
async def test_a_difficult_message_is_taken_unchanged_and_never_holds_up_the_loop(body: bytes) -> None:
    content = b"From: ann@example.org\r\n" + body
    desk = Desk()
    pauses = [0.0]

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            pauses.append(loop.time() - before)

    watching = asyncio.create_task(watch())
    await until(lambda: len(pauses) > 1)
    assert (await desk.take(content)).code == 250
    before = len(pauses)
    await until(lambda: len(pauses) > before)
    watching.cancel()
    assert desk.message.content.endswith(content)
    assert max(pauses) < 1.0


async def test_who_cannot_be_shown_to_be_the_member_is_a_stranger() -> None:
    desk = Desk()
    desk.authorship.answer = Belief.UNPROVEN
    assert str(await desk.take(POST)) == "550 5.7.1 Only members may post to dev@lists.test"


async def test_while_nobody_knows_whether_it_is_the_member_the_message_is_deferred() -> None:
    desk = Desk()
    desk.authorship.answer = Belief.UNKNOWN_NOW
    assert str(await desk.take(POST)).startswith("451 4.4.3")
    assert desk.store.messages == []


@pytest.mark.parametrize(
    ("belief", "state", "author_key"),
    [
        (Belief.PROVEN, TargetState.RECEIVED, "ann@example.org"),
        (Belief.UNPROVEN, TargetState.RECEIVED, "?ann@example.org"),
        (Belief.UNKNOWN_NOW, TargetState.RECEIVED, "?ann@example.org"),
        (Belief.DISOWNED, TargetState.KEPT, ""),
    ],
)
async def test_a_command_is_its_authors_unless_the_domain_disowns_it(
    belief: Belief, state: TargetState, author_key: str
) -> None:
    desk = Desk()
    desk.authorship.answer = belief
    assert (await desk.take(POST, TO_REQUEST)).code == 250
    [target] = desk.message.targets
    assert (target.state, target.author_key) == (state, author_key)


async def test_who_has_a_token_needs_nobody_to_vouch() -> None:
    desk = Desk()
    desk.authorship.answer = Belief.DISOWNED
    assert (await desk.take(POST, TO_CONFIRM)).code == 250
    assert desk.authorship.questions == 0
    assert desk.message.targets[0].state is TargetState.RECEIVED


async def test_it_is_asked_who_wrote_a_message_only_where_it_makes_a_difference() -> None:
    desk = Desk()
    desk.authorship.answer = Belief.UNKNOWN_NOW
    assert (await desk.take(POST, TO_OPEN)).code == 250
    assert (await desk.take(POST.replace(b"ann@", b"eve@"))).code == 550
    assert (await desk.take(b"X-Loop: dev@lists.test\r\n" + POST)).code == 550
    assert (await desk.take(POST, TO_POSTMASTER)).code == 250
    assert desk.authorship.questions == 0


def to_dev(**rules: Any) -> Route:
    known = dataclasses.replace(DEV, rules=ListRules(**rules))
    return Route("dev@lists.test", TargetKind.LIST, known)


@pytest.mark.parametrize("belief", [Belief.PROVEN, Belief.UNPROVEN])
async def test_a_held_post_is_stored_with_the_reason_and_whether_the_author_is_known(belief: Belief) -> None:
    desk = Desk()
    desk.authorship.answer = belief
    route = to_dev(emergency=True, non_member_action=NonMemberAction.HOLD)
    assert (await desk.take(POST, route)).code == 250
    [target] = desk.message.targets
    assert target.state is TargetState.HELD
    assert "emergency" in target.because
    assert (target.author, target.is_author_proven) == ("ann@example.org", belief is Belief.PROVEN)
    assert desk.announcer.announced == [desk.message]


async def test_a_discarded_post_is_answered_with_250_and_kept_with_the_reason() -> None:
    desk = Desk()
    route = to_dev(non_member_action=NonMemberAction.DISCARD)
    assert (await desk.take(POST.replace(b"ann@", b"eve@"), route)).code == 250
    [target] = desk.message.targets
    assert (target.state, target.because) == (TargetState.DISCARDED, "the author is not known as a member")


async def test_a_claimed_name_does_not_use_up_an_authors_posts() -> None:
    desk = Desk()
    desk.store.posts = PostsToday(of_list=9, of_author=0, of_stranger=9)
    route = Route(
        "open@lists.test", TargetKind.LIST, dataclasses.replace(OPEN, rules=ListRules(max_posts_a_day_per_author=5))
    )
    assert (await desk.take(POST, route)).code == 250
    assert desk.message.targets[0].author_key == "ann@example.org"
    desk.authorship.answer = Belief.UNPROVEN
    assert (await desk.take(POST, route)).code == 550


async def test_a_post_that_is_nothing_but_a_command_is_refused() -> None:
    for content in (
        b"From: ann@example.org\r\nSubject: unsubscribe\r\n\r\n",
        b"From: ann@example.org\r\n\r\nleave\r\n",
    ):
        assert "dev-request@lists.test" in str(await Desk().take(content))
    prose = b"From: ann@example.org\r\nSubject: How do I leave?\r\n\r\nPlease help.\r\n"
    assert (await Desk().take(prose)).code == 250


async def test_attachments_are_looked_at_where_a_list_refuses_some() -> None:
    content = b"From: ann@example.org\r\nContent-Type: application/x-dosexec; name=evil.EXE\r\n\r\nMZ\r\n"
    assert (await Desk().take(content)).code == 250
    desk = Desk()
    assert (await desk.take(content, to_dev(refused_attachments=("*.exe",)))).code == 550

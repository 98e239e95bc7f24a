"""Digests: every post of a list is in one of them, whoever is at work, dies, or changes meanwhile."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from email.message import EmailMessage
from typing import Any
from uuid import uuid4

import pytest

from services.scheduler.kinds.digest import Closed, digest
from services.scheduler.run import Run, TaskFailed
from services.scheduler.tasks.authors import Authors
from services.scheduler.tasks.commands import ObeyCommands
from services.scheduler.tasks.digest import MakeDigests
from services.scheduler.tasks.post import HandlePost
from services.scheduler.tasks.reports import ReadReports
from shared.contracts.commands import MakeDigest
from shared.contracts.events import MailReceived
from shared.contracts.task_kinds.digest import DigestParameters
from shared.core import digest as bounds
from shared.core.digest import DigestFormat
from shared.core.links import Links
from shared.core.mailing import TargetKind
from shared.core.membership import DeliveryMode
from shared.core.tokens import Tokens
from shared.mail.digest import mime
from shared.runtime.moderation import Telling
from shared.runtime.subscriptions import Subscriptions
from shared.store import digests, members, messages, purges, task_runs
from shared.store.engine import Database, RawConnection, StoreUnavailable
from shared.store.messages import NewTarget
from tests.fakes.dns import FakeResolver
from tests.fakes.kept_publisher import KeptPublisher
from tests.integration import stored
from tests.integration.test_tasks import new_run

LINKS = Links(Tokens(b"a secret of at least sixteen"), None)
SUBSCRIPTIONS = Subscriptions(LINKS)


class Mortal(Database):
    """A database that is away for good after so many transactions, as it is to a scheduler that dies."""

    transactions_left: int | None = None

    @asynccontextmanager
    async def raw_transaction(self) -> AsyncIterator[RawConnection]:
        if self.transactions_left == 0:
            raise StoreUnavailable("dead")
        if self.transactions_left is not None:
            self.transactions_left -= 1
        async with super().raw_transaction() as connection:
            yield connection


class Scheduler:
    """What a scheduler does about posts and digests."""

    def __init__(self, url: str) -> None:
        self.database = Mortal(url, name="test", pool_size=4)
        publisher = KeptPublisher()
        self.handle = HandlePost(
            self.database,
            publisher,
            Authors(self.database, FakeResolver({})),
            ObeyCommands(SUBSCRIPTIONS, LINKS.tokens),
            ReadReports(b"sixteen octets or more", LINKS.tokens, SUBSCRIPTIONS),
            Telling(LINKS, None),
            operator_address=None,
            publish_within_seconds=5,
            give_up_after_seconds=1000,
        )
        self.make = MakeDigests(self.database, publisher, publish_within_seconds=5, give_up_after_seconds=1000)

    async def close_digest(self, list_id: int) -> None:
        async with self.database.raw_transaction() as connection:
            await digests.close(connection, list_id)


@dataclass
class House:
    """A list whose digests are on: member-1 wants mail, member-2 digests in MIME, member-3 in plain text."""

    connection: RawConnection
    scheduler: Scheduler
    other: Scheduler
    list_id: int
    address: str

    async def store(self, subject: str) -> str:
        """A post that came in: its id."""
        new = stored.new_message(NewTarget(self.address, TargetKind.LIST, self.list_id))
        fields = f"From: Ann <ann@example.com>\r\nMessage-ID: <{new.id}@example.com>\r\nSubject: {subject}\r\n"
        message = replace(
            new, content=f"{fields}\r\nHello.\r\n".encode(), subject=subject, message_id=f"<{new.id}@example.com>"
        )
        await messages.store(self.connection, message)
        return str(message.id)

    async def post(self, subject: str, *, expand: bool = True) -> int:
        """A post that is distributed: its mailing."""
        message_id = await self.store(subject)
        await self.scheduler.handle(MailReceived(message_id))
        mailing_id = await self.connection.fetchval("SELECT max(id) FROM mailings WHERE kind = 'post'")
        if expand:
            await stored.expand_all(self.connection, mailing_id)
        return int(mailing_id)

    async def expand(self) -> None:
        for row in await self.connection.fetch("SELECT id FROM mailings WHERE state = 'expanding' ORDER BY id"):
            await stored.expand_all(self.connection, row["id"])

    async def work(self, *schedulers: Scheduler) -> None:
        """Everything that is due is done, by all of these at once, until nothing is."""
        for _ in range(20):
            await self.connection.execute("UPDATE digests SET publish_due_at = now() WHERE publish_due_at IS NOT NULL")
            await self.connection.execute("SELECT pg_sleep(0.001)")
            due = await digests.publish_due(self.connection)
            if not due:
                return
            commands = [MakeDigest(digest_id) for digest_id in due]
            await asyncio.gather(
                *(each.make(command) for each in schedulers or [self.scheduler] for command in commands)
            )
            await self.expand()
        raise AssertionError("there is always something due")

    async def send(self) -> None:
        """The digest's time has come."""
        await self.scheduler.close_digest(self.list_id)
        await self.work()

    async def choose(self, number: int, mode: DeliveryMode, digest_format: DigestFormat | None = None) -> None:
        member_id = await self.connection.fetchval("SELECT id FROM members WHERE email_key = $1", key(number))
        await members.set_mode(self.connection, member_id, mode, digest_format)

    async def got(self, number: int) -> list[str]:
        """The subjects of the posts that a member got, sorted; a digest's have their format before them."""
        rows = await self.connection.fetch(
            "SELECT m.kind, m.digest_format, messages.subject, messages.content FROM deliveries d"
            " JOIN mailings m ON m.id = d.mailing_id JOIN messages ON messages.id = m.message_id"
            " WHERE d.recipient_key = $1 ORDER BY m.id",
            key(number),
        )
        found: list[str] = []
        for row in rows:
            if row["kind"] == "post":
                found.append(row["subject"])
            else:
                found += [f"{row['digest_format']}: {subject}" for subject in subjects_in(row["content"])]
        return sorted(found)

    async def sent(self) -> list[tuple[str, str, int]]:
        """The digests' mailings: subject, format, recipients."""
        rows = await self.connection.fetch(
            "SELECT subject, digest_format, recipients FROM mailings WHERE kind = 'digest' ORDER BY id"
        )
        return [(row["subject"].partition("Digest, ")[2], row["digest_format"], row["recipients"]) for row in rows]


def key(number: int) -> str:
    return f"member-{number}@example.com"


def subjects_in(content: bytes) -> list[str]:
    """Of the posts in a digest, in order."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    if message.is_multipart():
        return [str(part["Subject"]) for part in message.walk() if part["Subject"]][1:]
    text = str(message.get_content()).replace("\r\n", "\n")
    posts = text.split("\n\n" + "-" * 70 + "\n\n")[1].split("\n\n" + "-" * 30 + "\n\n")[:-1]
    return [line.removeprefix("Subject: ") for post in posts for line in post.split("\n") if "Subject: " in line]


@pytest.fixture
async def house(connection: RawConnection, database_url: str) -> AsyncIterator[House]:
    list_id = await stored.new_list(connection, 3)
    await connection.execute("UPDATE mailing_lists SET digests_enabled = true WHERE id = $1", list_id)
    address = await connection.fetchval("SELECT name || '@' || domain FROM mailing_lists WHERE id = $1", list_id)
    made = House(connection, Scheduler(database_url), Scheduler(database_url), list_id, address)
    await made.choose(2, DeliveryMode.DIGEST)
    await made.choose(3, DeliveryMode.DIGEST, DigestFormat.PLAIN)
    yield made
    await made.scheduler.database.close()
    await made.other.database.close()


async def test_each_member_gets_each_post_once_in_the_way_it_chose(house: House) -> None:
    for subject in ("one", "two"):
        await house.post(subject)
    assert await house.sent() == []
    await house.send()
    assert await house.got(1) == ["one", "two"]
    assert await house.got(2) == ["mime: one", "mime: two"]
    assert await house.got(3) == ["plain: one", "plain: two"]
    await house.post("three")
    await house.send()
    assert await house.sent() == [
        ("Vol 1, Issue 1", "mime", 1),
        ("Vol 1, Issue 1", "plain", 1),
        ("Vol 1, Issue 2", "mime", 1),
        ("Vol 1, Issue 2", "plain", 1),
    ]
    assert await house.got(3) == ["plain: one", "plain: three", "plain: two"]


async def test_a_digest_is_a_mailing_of_the_list_in_the_bulk_lane(house: House) -> None:
    await house.connection.execute("UPDATE mailing_lists SET personal = true, subject_prefix = '[x]'")
    await house.post("one")
    await house.send()
    rows = await house.connection.fetch(
        "SELECT lane::text, list_id, one_click, verp_enabled, personal FROM mailings WHERE kind = 'digest'"
    )
    assert {tuple(row) for row in rows} == {("bulk", house.list_id, True, True, False)}
    assert await house.connection.fetchval("SELECT count(*) FROM deliveries WHERE member_id IS NULL") == 0


async def test_only_the_formats_are_made_that_somebody_reads(house: House) -> None:
    await house.choose(3, DeliveryMode.MAIL)
    await house.connection.execute("UPDATE members SET left_digests_at = NULL")
    await house.post("one")
    await house.send()
    assert await house.sent() == [("Vol 1, Issue 1", "mime", 1)]
    await house.choose(2, DeliveryMode.DIGEST, DigestFormat.PLAIN)
    await house.post("two")
    await house.send()
    assert await house.sent() == [("Vol 1, Issue 1", "mime", 1), ("Vol 1, Issue 2", "plain", 1)]


async def test_nothing_is_collected_for_nobody_and_nothing_is_sent_of_nothing(house: House) -> None:
    await house.send()
    for number in (2, 3):
        await house.choose(number, DeliveryMode.MAIL)
    await house.post("one")
    assert await house.connection.fetchval("SELECT count(*) FROM digests") == 0
    assert [await house.got(number) for number in (1, 2, 3)] == [["one"]] * 3
    await house.send()
    assert await house.sent() == []


async def test_while_digests_are_off_their_readers_get_mail(house: House) -> None:
    await house.post("one")
    await house.connection.execute("UPDATE mailing_lists SET digests_enabled = false")
    await house.post("two")
    assert await house.got(2) == ["two"]
    assert await digests.turned_off(house.connection) == [house.list_id]
    await house.send()
    assert await house.got(2) == ["mime: one", "two"]
    assert await digests.turned_off(house.connection) == []


async def test_the_size_closes_a_digest_with_the_post_that_reaches_it(house: House) -> None:
    await house.connection.execute("UPDATE mailing_lists SET digest_size_bytes = 230")
    for subject in ("one", "two", "three"):
        await house.post(subject)
    await house.work()
    assert await house.got(3) == ["plain: one", "plain: two"]
    await house.send()
    assert await house.got(3) == ["plain: one", "plain: three", "plain: two"]


@pytest.mark.parametrize(("bound", "value"), [("MAX_ISSUE_BYTES", 300), ("MAX_ISSUE_POSTS", 2)])
async def test_what_is_more_than_an_issue_holds_is_several(
    house: House, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    monkeypatch.setattr(bounds, bound, value)
    for number in range(5):
        await house.post(str(number))
    await house.send()
    assert sorted(await house.sent()) == [
        (f"Vol 1, Issue {issue}", form, 1) for issue in (1, 2, 3) for form in ("mime", "plain")
    ]
    assert await house.got(2) == [f"mime: {number}" for number in range(5)]


async def test_a_new_year_is_a_new_volume(house: House) -> None:
    for subject in ("one", "two"):
        await house.post(subject)
        await house.send()
        await house.connection.execute("UPDATE digests SET closed_at = closed_at - interval '366 days'")
    assert [subject for subject, _, _ in await house.sent()][::2] == ["Vol 1, Issue 1", "Vol 2, Issue 1"]


async def test_two_schedulers_at_once_put_every_post_into_one_digest_while_others_close_it(house: House) -> None:
    """Posts are handled twice each, digests closed and made by both, all of it at the same time."""
    await house.connection.execute("UPDATE mailing_lists SET digest_size_bytes = 500")
    names = [f"post-{number}" for number in range(14)]
    stored_ids = [await house.store(name) for name in names]
    both = (house.scheduler, house.other)

    async def handle(scheduler: Scheduler, ids: list[str]) -> None:
        for message_id in ids:
            await scheduler.handle(MailReceived(message_id))

    async def make(scheduler: Scheduler) -> None:
        for _ in range(6):
            await scheduler.close_digest(house.list_id)
            async with scheduler.database.raw() as connection:
                due = await connection.fetch("SELECT id FROM digests WHERE state = 'closed' ORDER BY id")
            for row in due:
                await scheduler.make(MakeDigest(row["id"]))
            await asyncio.sleep(0)

    async def expand() -> None:
        for _ in range(8):
            await house.expand()
            await asyncio.sleep(0.01)

    await asyncio.gather(
        *(handle(scheduler, ids) for scheduler in both for ids in (stored_ids, stored_ids[::-1])),
        *(make(scheduler) for scheduler in both),
        expand(),
    )
    await house.expand()
    await house.scheduler.close_digest(house.list_id)
    await house.work(*both)
    assert await house.got(1) == sorted(names)
    assert await house.got(2) == sorted(f"mime: {name}" for name in names)
    assert await house.got(3) == sorted(f"plain: {name}" for name in names)
    issues = Counter((subject, form) for subject, form, _ in await house.sent())
    assert len(issues) > 2
    assert set(issues.values()) == {1}
    assert await house.connection.fetchval("SELECT count(*) FROM digests WHERE state <> 'made'") == 0


@pytest.mark.parametrize("transactions", range(6))
async def test_a_scheduler_that_dies_between_any_two_steps_leaves_them_to_another(
    house: House, transactions: int
) -> None:
    await house.post("one")
    await house.post("two")
    house.scheduler.database.transactions_left = transactions
    with pytest.raises(StoreUnavailable):
        await house.scheduler.close_digest(house.list_id)
        await house.work()
    await house.other.close_digest(house.list_id)
    await house.work(house.other)
    assert [(form, recipients) for _, form, recipients in await house.sent()] == [("mime", 1), ("plain", 1)]
    assert await house.got(2) == ["mime: one", "mime: two"]
    assert await house.got(3) == ["plain: one", "plain: two"]


async def test_a_post_that_comes_while_a_digest_is_made_is_in_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.post("one")
    came: list[int] = []
    loop = asyncio.get_running_loop()

    def compose(*arguments: Any) -> bytes:
        """In a thread, as composing is."""
        came.append(asyncio.run_coroutine_threadsafe(house.post("meanwhile", expand=False), loop).result(30))
        return mime.compose_mime(*arguments)

    monkeypatch.setattr("services.scheduler.tasks.digest.compose_mime", compose)
    await house.send()
    assert len(came) == 1
    assert await house.got(2) == ["mime: one"]
    monkeypatch.undo()
    await house.send()
    assert await house.got(2) == ["mime: meanwhile", "mime: one"]
    assert await house.got(3) == ["plain: meanwhile", "plain: one"]


async def test_a_digest_waits_until_its_posts_are_expanded(house: House) -> None:
    """So whoever chooses digests before a post's deliveries are made gets that post by the digest."""
    await house.post("one", expand=False)
    await house.scheduler.close_digest(house.list_id)
    for _ in range(2):
        await house.scheduler.make(MakeDigest(await house.connection.fetchval("SELECT max(id) FROM digests")))
    assert await house.sent() == []
    await house.choose(1, DeliveryMode.DIGEST)
    await house.expand()
    await house.work()
    assert await house.got(1) == ["mime: one"]


async def test_who_goes_back_to_mail_gets_the_digest_that_was_begun_and_no_later_one(house: House) -> None:
    await house.post("one")
    await house.choose(2, DeliveryMode.MAIL)
    await house.choose(3, DeliveryMode.NOMAIL)
    await house.post("two")
    await house.send()
    assert "mime: one" in await house.got(2)
    assert "two" in await house.got(2)
    assert await house.got(3) == []
    # Time passes: the choice lies before the next digest.
    await house.connection.execute("UPDATE members SET left_digests_at = left_digests_at - interval '1 day'")
    await house.choose(3, DeliveryMode.DIGEST)
    await house.post("three")
    await house.send()
    assert "three" in await house.got(2)
    assert "mime: three" not in await house.got(2)


async def test_who_changes_the_format_between_the_two_mailings_gets_one_of_them(house: House) -> None:
    await house.post("one")
    await house.scheduler.close_digest(house.list_id)
    digest_id = await house.connection.fetchval("SELECT max(id) FROM digests")
    await house.scheduler.make(MakeDigest(digest_id))
    await house.expand()
    await house.choose(2, DeliveryMode.DIGEST, DigestFormat.PLAIN)
    await house.choose(3, DeliveryMode.DIGEST, DigestFormat.MIME)
    await house.choose(1, DeliveryMode.DIGEST)
    await house.work()
    assert await house.got(2) == ["mime: one"]
    assert await house.got(3) == ["plain: one"]
    assert await house.got(1) == ["one", "plain: one"]


async def test_a_suppressed_reader_gets_no_digest_in_any_format(house: House) -> None:
    for number in (2, 3):
        await house.connection.execute(
            "INSERT INTO suppressions (email_key, email, reason) VALUES ($1, $1, 'manual')", key(number)
        )
    await house.post("one")
    await house.send()
    rows = await house.connection.fetch("SELECT recipient_key, state::text FROM deliveries ORDER BY recipient_key")
    assert [tuple(row) for row in rows] == [(key(1), "open"), (key(2), "suppressed"), (key(3), "suppressed")]


async def test_what_somebody_cancels_is_left_out(house: House) -> None:
    for subject in ("one", "two"):
        mailing_id = await house.post(subject)
    await house.connection.execute("UPDATE mailings SET cancelled_at = now() WHERE id = $1", mailing_id)
    await house.send()
    assert await house.got(2) == ["mime: one"]
    mailing_id = await house.post("three")
    await house.connection.execute("UPDATE mailings SET cancelled_at = now() WHERE id = $1", mailing_id)
    await house.send()
    assert len(await house.sent()) == 2, "nothing is left of the second digest"
    assert await house.connection.fetchval("SELECT count(*) FROM digests WHERE state <> 'made'") == 0


async def test_a_digest_whose_first_mailing_is_cancelled_goes_to_nobody_else(house: House) -> None:
    await house.post("one")
    await house.scheduler.close_digest(house.list_id)
    await house.scheduler.make(MakeDigest(await house.connection.fetchval("SELECT max(id) FROM digests")))
    await house.connection.execute("UPDATE mailings SET cancelled_at = now() WHERE kind = 'digest'")
    await house.work()
    assert len(await house.sent()) == 1


async def test_the_content_of_a_post_is_kept_until_its_digest_is_made(house: House) -> None:
    await house.post("one")
    await house.connection.execute("UPDATE messages SET received_at = now() - interval '9 days'")
    await house.connection.execute(
        "DELETE FROM outstanding; UPDATE deliveries SET state = 'delivered', ended_at = now()"
    )
    await house.connection.execute("UPDATE mailings SET state = 'finished'")
    await house.connection.execute(
        "INSERT INTO count_changes (mailing_id, state, change) SELECT mailing_id, state, 1 FROM deliveries"
    )

    async def purge() -> int:
        async with house.connection.transaction():
            return (await purges.purge_content(house.connection, days=8, after=None))[0]

    assert await purge() == 0
    await house.send()
    assert await house.got(2) == ["mime: one"]
    assert await purge() == 1


async def test_a_post_whose_content_is_gone_breaks_nothing(house: House) -> None:
    await house.post("one")
    await house.connection.execute("UPDATE messages SET content = ''")
    await house.post("two")
    await house.send()
    assert [form for _, form, _ in await house.sent()] == ["mime", "plain"]
    assert "mime: two" in await house.got(2)


async def test_the_task_closes_the_digest_of_its_list_once(house: House) -> None:
    async def new_claimed_run() -> Run:
        await house.connection.execute("DELETE FROM task_runs")
        run_id = await new_run(house.connection)
        claimed = await task_runs.claim(
            house.connection, run_id, token=uuid4(), node_name="scheduler-1", lease_seconds=30
        )
        assert claimed is not None
        return Run(claimed, house.scheduler.database, lease_seconds=30, is_leaving=lambda: False)

    parameters = DigestParameters(list=house.address.upper())
    assert await digest(await new_claimed_run(), parameters) == Closed()
    await house.post("one")
    run = await new_claimed_run()
    for _ in range(2):
        assert await digest(run, parameters) == Closed(1, 1, 1)
        await house.post("more")
    await house.work()
    assert await house.got(2) == ["mime: one"]
    with pytest.raises(TaskFailed, match="no list"):
        await digest(await new_claimed_run(), DigestParameters(list="nobody@lists.example.org"))

from __future__ import annotations

import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from services.scheduler.kinds.held_posts import HeldPosts
from services.scheduler.tasks.authors import Authors
from services.scheduler.tasks.commands import ObeyCommands
from services.scheduler.tasks.post import HandlePost
from services.scheduler.tasks.reports import ReadReports
from services.tracking_api.desk import Desk
from services.tracking_api.routes import application
from shared.contracts.events import MailReceived
from shared.contracts.task_kinds.held_posts import HeldPostsParameters
from shared.core.links import Links
from shared.core.mailing import TargetKind, TargetState
from shared.core.membership import MemberRole
from shared.core.tokens import Tokens
from shared.runtime.consequences import Consequences
from shared.runtime.moderation import Telling
from shared.runtime.subscriptions import Subscriptions
from shared.store import held_posts, member_imports, messages, posts
from shared.store.engine import Database, RawConnection
from shared.store.messages import NewTarget
from tests.fakes.admin_client import AdminClient, admin_client, let_in
from tests.fakes.dns import FakeResolver
from tests.fakes.kept_publisher import KeptPublisher
from tests.integration import stored

BASE = "https://lists.example.org/web"
CONTENT = b"From: Eve <eve@example.net>\r\nSubject: Buy\r\n\r\nbuy now\r\n-- \r\nEve\r\n"


@dataclass
class House:
    """A list with a moderator, an owner and two members, and all that decides about its posts."""

    connection: RawConnection
    handle: HandlePost
    web: httpx.AsyncClient
    api: AdminClient
    publisher: KeptPublisher
    list_id: int
    address: str

    async def hold(self, *, author: str = "eve@example.net", is_proven: bool = False, **changes: Any) -> int:
        """A post that is held, with the moderators told: its number."""
        target = NewTarget(
            self.address,
            TargetKind.LIST,
            self.list_id,
            TargetState.HELD,
            "the author is not known as a member",
            author=author,
            author_key=author,
            is_author_proven=is_proven,
        )
        message = replace(stored.new_message(target), content=CONTENT, subject="Buy", **changes)
        await messages.store(self.connection, message)
        await self.handle(MailReceived(message_id=str(message.id)))
        number = await self.connection.fetchval("SELECT id FROM held_posts WHERE message_id = $1", message.id)
        assert isinstance(number, int)
        return number

    async def mails(self) -> list[tuple[str, str, str]]:
        """What was written: recipient, kind, text."""
        rows = await self.connection.fetch(
            "SELECT d.recipient, n.kind, m.content FROM notices n JOIN mailings ON mailings.id = n.mailing_id"
            " JOIN messages m ON m.id = mailings.message_id JOIN deliveries d ON d.mailing_id = mailings.id"
            " ORDER BY n.id"
        )
        found = []
        for row in rows:
            mail = email.message_from_bytes(row["content"], policy=email.policy.default)
            body = mail.get_body()
            assert body is not None
            found.append((row["recipient"], row["kind"], str(mail["subject"]) + "\n" + body.get_content()))
        return found

    async def recipients(self, kind: str) -> list[str]:
        return sorted(recipient for recipient, its_kind, _ in await self.mails() if its_kind == kind)

    async def link(self, choice: str) -> str:
        """The path of a link in the last mail to a moderator."""
        text = [text for _, kind, text in await self.mails() if kind == "post-to-moderate"][-1]
        [line] = [line for line in text.split() if line.startswith(BASE) and line.endswith(f"/{choice}")]
        return line.removeprefix(BASE)

    async def state(self, held_id: int) -> str:
        return str(
            await self.connection.fetchval(
                "SELECT t.state FROM held_posts h JOIN message_targets t USING (message_id, address) WHERE h.id = $1",
                held_id,
            )
        )

    async def handle_again(self, held_id: int) -> int:
        """What the schedulers do when they are told; how many mailings the post has."""
        message_id: UUID = await self.connection.fetchval("SELECT message_id FROM held_posts WHERE id = $1", held_id)
        await self.handle(MailReceived(message_id=str(message_id)))
        return int(await self.connection.fetchval("SELECT count(*) FROM mailings WHERE message_id = $1", message_id))


@pytest.fixture
async def house(connection: RawConnection, database_url: str) -> AsyncIterator[House]:
    database, publisher = Database(database_url, name="test"), KeptPublisher()
    links = Links(Tokens(b"a secret of at least sixteen"), BASE)
    subscriptions = Subscriptions(links)
    handle = HandlePost(
        database,
        publisher,
        Authors(database, FakeResolver({})),
        ObeyCommands(subscriptions, links.tokens),
        ReadReports(b"sixteen octets or more", links.tokens, subscriptions),
        Telling(links, "operator@company.test"),
        operator_address=None,
        publish_within_seconds=5,
        give_up_after_seconds=1000,
    )
    desk = Desk(database, publisher, subscriptions, links.tokens)
    list_id = await stored.new_list(connection, 2)
    rows = [
        stored.new_member(8, email="mo@example.org", email_key="mo@example.org", role=MemberRole.MODERATOR),
        stored.new_member(9, email="olga@example.org", email_key="olga@example.org", role=MemberRole.OWNER),
    ]
    await member_imports.import_rows(connection, list_id, rows)
    address = await connection.fetchval("SELECT name || '@' || domain FROM mailing_lists WHERE id = $1", list_id)
    transport = httpx.ASGITransport(application(desk))
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://web") as web,
        admin_client(database_url) as api,
    ):
        await let_in(api)
        yield House(connection, handle, web, api, publisher, list_id, address)
    await database.close()


async def test_every_moderator_is_told_of_a_held_post_once(house: House) -> None:
    held_id = await house.hold()
    assert await house.recipients("post-to-moderate") == ["mo@example.org", "olga@example.org"]
    _, _, text = (await house.mails())[0]
    assert "> buy now" in text
    assert "anybody may have written it" in text
    assert await house.handle_again(held_id) == 0
    assert len(await house.mails()) == 2


async def test_of_a_list_without_moderators_the_operator_is_told(house: House) -> None:
    await house.connection.execute("UPDATE members SET role = 'member'")
    await house.hold()
    assert await house.recipients("post-to-moderate") == ["operator@company.test"]


async def test_a_forged_author_is_never_written_to(house: House) -> None:
    number = await house.hold(author="victim@example.net")
    answer = await house.api.post(f"/held-posts/{number}/reject", json={"reason": "No."})
    assert answer.json()["is_author_told"] is False
    assert {recipient for recipient, _, _ in await house.mails()} == {"mo@example.org", "olga@example.org"}


async def test_a_known_author_is_told_once_a_day_and_of_a_rejection_with_the_reason(house: House) -> None:
    first = await house.hold(is_proven=True)
    await house.hold(is_proven=True)
    assert await house.recipients("post-held") == ["eve@example.net"]
    answer = await house.api.post(f"/held-posts/{first}/reject", json={"reason": "Not for this list."})
    assert answer.json()["is_author_told"] is True
    [text] = [text for _, kind, text in await house.mails() if kind == "post-rejected"]
    assert "Not for this list." in text
    assert await house.state(first) == "rejected"


async def test_an_author_is_not_told_where_the_list_wants_that_or_the_post_came_by_a_list(house: House) -> None:
    await house.hold(is_proven=True, came_through_a_list=True)
    await house.connection.execute("UPDATE mailing_lists SET tells_held_authors = false")
    await house.hold(is_proven=True)
    assert await house.recipients("post-held") == []


async def test_a_link_shows_a_page_and_only_a_post_decides_and_once(house: House) -> None:
    held_id = await house.hold()
    link = await house.link("approve")
    for _ in range(3):
        page = await house.web.get(link)
        assert page.status_code == 200
        assert 'method="post"' in page.text
        assert (await house.web.head(link)).status_code == 200
    assert await house.state(held_id) == "held"
    assert (await house.web.post(link)).status_code == 200
    assert await house.state(held_id) == "received"
    assert await house.handle_again(held_id) == 1
    assert await house.state(held_id) == "distributed"
    for choice in ("approve", "discard", "ban"):
        assert (await house.web.post(await house.link(choice))).status_code == 409
    assert await house.handle_again(held_id) == 1
    assert await house.connection.fetchval("SELECT decided_by FROM held_posts") == "a link in a moderator's mail"


async def test_a_link_discards_a_post_and_nobody_hears_of_it(house: House) -> None:
    held_id = await house.hold(is_proven=True)
    before = len(await house.mails())
    link = await house.link("discard")
    assert (await house.web.get(link)).status_code == 200
    assert await house.state(held_id) == "held"
    assert (await house.web.post(link)).status_code == 200
    assert await house.state(held_id) == "discarded"
    assert (await house.web.post(link)).status_code == 409, "it has been used"
    assert (await house.web.post(await house.link("approve"))).status_code == 409
    assert await house.handle_again(held_id) == 0
    assert len(await house.mails()) == before


async def test_a_token_is_good_for_its_post_alone(house: House) -> None:
    await house.hold()
    link = await house.link("approve")
    token = link.split("/")[2]
    for wrong in (token[:-1] + ("0" if token[-1] != "0" else "1"), token[2:], "0" * len(token), "x"):
        assert (await house.web.post(f"/held/{wrong}/approve")).status_code == 404
    assert (await house.web.post(f"/leave/{token}")).status_code == 404
    assert (await house.web.post(f"/held/{token}/publish")).status_code == 404


async def test_a_reason_from_the_page_reaches_the_author_as_text(house: House) -> None:
    await house.hold(is_proven=True)
    page = await house.web.get(await house.link("reject"))
    assert 'name="reason"' in page.text
    await house.web.post(await house.link("reject"), data={"reason": "Too long.\r\nBcc: victim@example.net"})
    [text] = [text for _, kind, text in await house.mails() if kind == "post-rejected"]
    assert "Too long. Bcc: victim@example.net" in text


async def test_a_page_shows_hostile_words_as_text(house: House) -> None:
    await house.hold(author="<script>@example.net")
    page = await house.web.get(await house.link("ban"))
    assert "<script>" not in page.text


async def test_a_banned_author_is_on_the_lists_list(house: House) -> None:
    await house.web.post((await house.link("ban")) if await house.hold() else "")
    assert (await house.api.get(f"/lists/{house.address}")).json()["banned"] == ["eve@example.net"]
    second = await house.hold()
    await house.api.post(f"/held-posts/{second}/ban")
    assert (await house.api.get(f"/lists/{house.address}")).json()["banned"] == ["eve@example.net"]
    assert await house.state(second) == "discarded"


async def test_the_api_shows_what_waits_and_decides(house: House) -> None:
    numbers = [await house.hold() for _ in range(3)]
    page = (await house.api.get("/held-posts", params={"list": house.address, "limit": 2})).json()
    assert [held["id"] for held in page["items"]] == numbers[:2]
    assert page["items"][0]["because"] == "the author is not known as a member"
    one = (await house.api.get(f"/held-posts/{numbers[0]}")).json()
    assert one["excerpt"].startswith("buy now")
    assert (await house.api.post(f"/held-posts/{numbers[0]}/discard")).json()["decision"] == "discarded"
    assert (await house.api.post(f"/held-posts/{numbers[0]}/approve")).status_code == 409
    assert (await house.api.post("/held-posts/999999/approve")).status_code == 404
    assert (await house.api.get("/held-posts/999999")).status_code == 404
    waiting = (await house.api.get("/held-posts")).json()["items"]
    assert [held["id"] for held in waiting] == numbers[1:]
    everything = (await house.api.get("/held-posts", params={"with_decided": True})).json()["items"]
    assert everything[0]["decided_by"] == "the API"


async def test_a_post_approved_by_the_api_is_handled_again(house: House) -> None:
    held_id = await house.hold()
    assert (await house.api.post(f"/held-posts/{held_id}/approve")).status_code == 200
    due = await house.connection.fetchval("SELECT count(*) FROM messages WHERE publish_due_at IS NOT NULL")
    assert due == 1, "the sweep finds it where nobody was told"
    assert await house.handle_again(held_id) == 1


async def test_posts_are_counted_by_list_and_author(house: House) -> None:
    for key in ("ann@example.org", "ann@example.org", "?ann@example.org", "bob@example.org"):
        target = NewTarget(house.address, TargetKind.LIST, house.list_id, author_key=key)
        await messages.store(house.connection, stored.new_message(target))
    refused = NewTarget(
        house.address, TargetKind.LIST, house.list_id, TargetState.REFUSED, author_key="bob@example.org"
    )
    await messages.store(house.connection, stored.new_message(refused))
    counts = await posts.posts_today(house.connection, house.list_id, "ann@example.org")
    assert (counts.of_list, counts.of_author, counts.of_stranger) == (4, 2, 1)
    await house.connection.execute("UPDATE message_targets SET received_at = now() - interval '25 hours'")
    assert (await posts.posts_today(house.connection, house.list_id, "ann@example.org")).of_list == 0


async def test_reminders_come_after_a_time_and_old_posts_are_found(house: House) -> None:
    held_id = await house.hold()
    assert await held_posts.to_remind(house.connection, after_hours=24, limit=10) == []
    await house.connection.execute("UPDATE held_posts SET held_at = held_at - interval '25 hours'")
    [held] = await held_posts.to_remind(house.connection, after_hours=24, limit=10)
    assert held.id == held_id
    assert await held_posts.to_remind(house.connection, after_hours=24, limit=10) == []
    assert await held_posts.too_old(house.connection, after_hours=24, limit=10) == [held_id]


async def test_a_task_reminds_of_what_waits_and_ends_what_waited_too_long(
    house: House, connection: RawConnection
) -> None:
    old, waiting, young = [await house.hold() for _ in range(3)]
    for held_id, hours in ((old, 400), (waiting, 30)):
        await connection.execute(
            "UPDATE held_posts SET held_at = now() - make_interval(hours => $2) WHERE id = $1", held_id, hours
        )
    followed: list[Consequences] = []

    async def follow(what: Consequences) -> None:
        followed.append(what)

    before = len(await house.mails())
    run = HeldPosts(house.handle.telling, follow)
    for expected in ({"expired": 1, "reminded": 1}, {"expired": 0, "reminded": 0}):
        done = await run(StepsOn(connection), HeldPostsParameters())  # type: ignore[arg-type]
        assert asdict(done) == expected
    assert await house.state(old) == "expired"
    assert await house.state(young) == await house.state(waiting) == "held"
    reminders = [text for _, _, text in (await house.mails())[before:]]
    assert len(reminders) == 2
    assert all(f"Held post {waiting} " in text for text in reminders)
    assert sum(len(what.batches) for what in followed) == 2


class StepsOn:
    """A run whose steps are transactions on one connection."""

    def __init__(self, connection: RawConnection) -> None:
        self.cursor: dict[str, Any] = {}
        self._connection = connection

    @asynccontextmanager
    async def step(self) -> AsyncIterator[RawConnection]:
        async with self._connection.transaction():
            yield self._connection

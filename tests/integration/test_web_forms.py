"""The public forms, from the request to the mail that follows."""

from __future__ import annotations

import email
import email.policy
import re
import statistics
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from services.scheduler.tasks.subscription import BeginRequest, Leave
from services.tracking_api.desk import Desk
from services.tracking_api.routes import application
from shared.contracts.events import LeaveAsked, SubscriptionAsked
from shared.core.courtesy import MAX_FORMS_A_NETWORK, MAX_FORMS_A_PEER
from shared.core.links import Links
from shared.core.tokens import Purpose, Tokens
from shared.runtime.subscriptions import Subscriptions
from shared.store.engine import Database, RawConnection
from tests.fakes.kept_publisher import KeptPublisher
from tests.integration import stored

BASE = "https://lists.example.org/web"
TOKENS = Tokens(b"a secret of the tests")
NOTHING_HAPPENS = ("GET", "HEAD", "OPTIONS")


class Web:
    """A list, its pages, and the scheduler that does what they ask for."""

    def __init__(self, connection: RawConnection, database: Database, publisher: KeptPublisher) -> None:
        self.connection = connection
        self.database = database
        self.publisher = publisher
        self.subscriptions = Subscriptions(Links(TOKENS, BASE))
        self.app = application(Desk(database, publisher, self.subscriptions, TOKENS), "/web")
        self.list_id = 0
        self.address = ""

    def client(self, host: str = "192.0.2.1") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(host, 1))
        return httpx.AsyncClient(transport=transport, base_url="http://evil.example")

    async def ask(self, action: str, address: str, host: str = "192.0.2.1") -> httpx.Response:
        async with self.client(host) as client:
            return await client.post(f"/lists/{self.address}/{action}", data={"email": address})

    async def work(self) -> None:
        """What a scheduler does."""
        begin = BeginRequest(self.database, self.publisher, self.subscriptions)
        leave = Leave(self.database, self.publisher, self.subscriptions)
        for _, payload in list(self.publisher.published):
            if isinstance(payload, SubscriptionAsked):
                await begin(payload)
            elif isinstance(payload, LeaveAsked):
                await leave(payload)

    async def links(self, to: str) -> list[str]:
        """The paths of the links in mails to the address."""
        rows = await self.connection.fetch(
            "SELECT m.content FROM deliveries d JOIN mailings ON mailings.id = d.mailing_id"
            " JOIN messages m ON m.id = mailings.message_id WHERE d.recipient_key = $1 ORDER BY mailings.id",
            to,
        )
        texts = [email.message_from_bytes(row["content"], policy=email.policy.default).get_content() for row in rows]
        return [found for text in texts for found in re.findall(rf"{BASE}(/\S+)", text)]

    async def status(self, key: str) -> str | None:
        return await self.connection.fetchval(  # type: ignore[no-any-return]
            "SELECT status::text FROM members WHERE list_id = $1 AND email_key = $2", self.list_id, key
        )

    async def member_id(self, number: int = 1) -> int:
        return await self.connection.fetchval(  # type: ignore[no-any-return]
            "SELECT id FROM members WHERE email_key = $1 ORDER BY id DESC LIMIT 1", f"member-{number}@example.com"
        )

    async def everything(self) -> list[object]:
        """What must not change."""
        return [
            await self.connection.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")
            for table in ("members", "subscription_requests", "notices", "mailings")
        ]


@pytest.fixture
async def web(connection: RawConnection, database_url: str) -> AsyncIterator[Web]:
    database = Database(database_url, name="test")
    web = Web(connection, database, KeptPublisher())
    web.list_id = await stored.new_list(connection, 3)
    web.address = await connection.fetchval(
        "SELECT name || '@' || domain FROM mailing_lists WHERE id = $1", web.list_id
    )
    yield web
    await database.close()


async def test_joining_by_web_takes_the_button_of_a_mailed_link(web: Web) -> None:
    async with web.client() as client:
        page = await client.get(f"/lists/{web.address}")
        assert page.status_code == 200
        assert f'action="/web/lists/{web.address}/join"' in page.text
        assert (await web.ask("join", "Ann@example.com")).status_code == 200
        await web.work()
        await web.work()
        (link,) = await web.links("ann@example.com")
        before = await web.everything()
        for method in NOTHING_HAPPENS:
            await client.request(method, link)
        assert await web.everything() == before
        button = await client.get(link)
        assert f'<form method="post" action="/web{link}">' in button.text
        assert "Ann@example.com" in button.text
        assert "evil.example" not in button.text
        done = await client.post(link)
        assert done.status_code == 200
        assert await web.status("ann@example.com") == "subscribed"
        assert (await client.post(link)).text == done.text  # pressed twice
        assert (await client.get(link)).status_code == 404
        assert "set-cookie" not in done.headers


async def test_the_same_answer_for_every_address(web: Web) -> None:
    answers = [
        await web.ask(action, address, host=f"198.51.{number}.1")
        for number, (action, address) in enumerate(
            (action, address)
            for action in ("join", "leave", "preferences")
            for address in ("member-1@example.com", "nobody@example.com")
        )
    ]
    assert len({(answer.status_code, answer.text, str(answer.headers)) for answer in answers}) == 1
    await web.work()
    # To who is not on the list goes what joining needs, and nothing about leaving.
    (link,) = await web.links("nobody@example.com")
    assert link.startswith("/confirm/")


async def test_a_known_address_takes_no_longer_than_an_unknown_one(web: Web) -> None:
    """Medians of 60 each, taken in turns: nothing is done with the address before the answer."""
    seconds: dict[str, list[float]] = {"member-1@example.com": [], "nobody@example.com": []}
    for number in range(60):
        for address, taken in seconds.items():
            began = time.perf_counter()
            await web.ask("join", address, host=f"10.{number}.1.1")
            taken.append(time.perf_counter() - began)
    known, unknown = (statistics.median(taken) for taken in seconds.values())
    assert 0.5 < known / unknown < 2
    assert await web.connection.fetchval("SELECT count(*) FROM notices") == 0


@pytest.mark.parametrize("text", ["", "nobody", "a@b@c", "a@b.example\r\nBcc: c@d.example", "x" * 300 + "@a.example"])
async def test_what_is_no_address_is_told_so(web: Web, text: str) -> None:
    assert (await web.ask("join", text)).status_code == 422
    assert await web.connection.fetchval("SELECT count(*) FROM subscription_requests") == 0


async def test_a_client_and_a_network_may_ask_only_so_often(web: Web) -> None:
    await stored.not_at_the_hours_end(web.connection)
    codes = [(await web.ask("join", f"a{number}@example.com")).status_code for number in range(MAX_FORMS_A_PEER + 2)]
    assert codes == [200] * MAX_FORMS_A_PEER + [429] * 2
    assert (await web.ask("join", "b@example.com", host="192.0.2.9")).status_code == 200
    tried = len(codes) + 1
    codes = [
        (await web.ask("join", f"c{number}@example.com", host=f"192.0.2.{number % 200 + 10}")).status_code
        for number in range(MAX_FORMS_A_NETWORK + 5 - tried)
    ]
    assert codes == [200] * (MAX_FORMS_A_NETWORK - tried) + [429] * 5
    assert (await web.ask("join", "d@example.com", host="192.0.3.1")).status_code == 200
    sixth = [
        (await web.ask("join", "e@example.com", host=f"2001:db8::{number:x}")).status_code
        for number in range(1, MAX_FORMS_A_NETWORK + 2)
    ]
    assert sixth == [200] * MAX_FORMS_A_NETWORK + [429]


async def test_one_click_needs_only_the_link(web: Web) -> None:
    member_id = await web.member_id()
    path = "/leave/" + TOKENS.make(Purpose.LEAVE, member_id)
    async with web.client() as client:
        before = await web.everything()
        for method in NOTHING_HAPPENS:
            await client.request(method, path)
        assert await web.everything() == before
        assert f'action="/web{path}"' in (await client.get(path)).text
        answer = await client.post(path, data={"List-Unsubscribe": "One-Click"})
        assert (answer.status_code, answer.headers.get("set-cookie")) == (200, None)
        assert await web.status("member-1@example.com") == "unsubscribed"
        again = await client.post(path, files={"List-Unsubscribe": (None, "One-Click")})
        assert again.text == answer.text
    assert await web.connection.fetchval("SELECT count(*) FROM notices") == 0


async def test_one_click_is_taken_while_the_database_is_down(web: Web) -> None:
    member_id = await web.member_id()
    away = Database("postgresql://nobody@127.0.0.1:1/nothing", name="test")
    app = application(Desk(away, web.publisher, web.subscriptions, TOKENS))
    path = "/leave/" + TOKENS.make(Purpose.LEAVE, member_id)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        assert (await client.post(path)).status_code == 200
        assert "<button>" in (await client.get(path)).text
        assert (await client.get(f"/lists/{web.address}")).status_code == 503
        await web.work()
        assert await web.status("member-1@example.com") == "unsubscribed"

        web.publisher.is_away = True
        assert (await client.post(path)).status_code == 503
    await away.close()


async def test_a_token_is_good_for_its_purpose_and_as_it_was_made(web: Web) -> None:
    member_id = await web.member_id()
    now = datetime.now(UTC)
    leave = TOKENS.make(Purpose.LEAVE, member_id)
    flipped = bytearray.fromhex(leave)
    flipped[3] ^= 1
    bad = [
        *(f"/confirm/{leave}", f"/preferences/{leave}", f"/leave/{TOKENS.make(Purpose.CONFIRM, member_id)}"),
        *(f"/leave/{leave[:-2]}", f"/leave/{flipped.hex()}", f"/leave/{'a' * 20_000}", "/leave/x", "/leave/"),
        f"/leave/{Tokens(b'another secret, not ours').make(Purpose.LEAVE, member_id)}",
        f"/preferences/{TOKENS.make(Purpose.PREFERENCES, member_id, ends_at=now - timedelta(hours=2))}",
        f"/confirm/{TOKENS.make(Purpose.CONFIRM, 10**9)}",
        f"/preferences/{TOKENS.make(Purpose.PREFERENCES, 10**9, ends_at=now + timedelta(hours=2))}",
    ]
    before = await web.everything()
    async with web.client() as client:
        answers = [await client.request(method, path) for path in bad for method in ("GET", "POST")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[0].text)}
    assert await web.everything() == before


async def test_settings_are_changed_on_the_page_of_a_mailed_link(web: Web) -> None:
    assert (await web.ask("preferences", "MEMBER-1@example.com")).status_code == 200
    await web.work()
    (link,) = await web.links("member-1@example.com")
    async with web.client() as client:
        page = await client.get(link)
        assert 'value="mail" checked' in page.text
        assert "Member-1@example.com" in page.text
        saved = await client.post(link, data={"mode": "digest"})
        assert 'value="digest" checked' in saved.text
        assert 'role="status"' in saved.text
        assert 'value="mime" checked' in saved.text
        saved = await client.post(link, data={"mode": "digest", "digest_format": "plain"})
        assert 'value="plain" checked' in saved.text
        saved = await client.post(link, data={"mode": "digest", "digest_format": "<b>"})
        assert 'value="plain" checked' in saved.text
        assert 'role="status"' not in (await client.post(link, data={"mode": "everything"})).text
        assert 'value="digest" checked' in (await client.get(link)).text
        assert (await client.post(link, data={"leave": "yes"})).status_code == 200
        assert await web.status("member-1@example.com") == "unsubscribed"
        assert (await client.get(link)).status_code == 404
        assert (await client.post(link, data={"mode": "mail"})).status_code == 404


async def test_a_form_is_read_with_bounds(web: Web) -> None:
    async with web.client() as client:
        path = f"/lists/{web.address}/join"
        assert (await client.post(path, content=b"email=" + b"a" * 9000)).status_code == 413
        many = b"&".join(b"a%d=b" % number for number in range(500))
        assert (await client.post(path, content=many)).status_code == 422
        assert (await client.post(path, content=b"\xff\xfe%ff%zz=&&==")).status_code == 422
        assert (await client.post(path, json={"email": "ann@example.com"})).status_code == 422


async def test_a_list_that_is_not_there_or_takes_nobody(web: Web) -> None:
    async with web.client() as client:
        assert (await client.get("/lists/nobody@example.org")).status_code == 404
        assert (await client.post("/lists/nobody@example.org/join", data={"email": "a@b.example"})).status_code == 404
        assert (await client.get(f"/lists/{web.address}/join")).status_code == 404
        await web.connection.execute("UPDATE mailing_lists SET subscription_policy = 'closed'")
        assert "/join" not in (await client.get(f"/lists/{web.address}")).text
    await web.ask("join", "ann@example.com")
    await web.work()
    assert await web.connection.fetchval("SELECT count(*) FROM notices") == 0


async def test_a_lists_name_is_text_on_its_page(web: Web) -> None:
    await web.connection.execute("UPDATE mailing_lists SET display_name = '<script>alert(1)</script>'")
    async with web.client() as client:
        text = (await client.get(f"/lists/{web.address}")).text
    assert "<script" not in text
    assert "&lt;script&gt;" in text

"""A node at its limits, over real sockets: who is told to go elsewhere, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.ingress_smtp import connection, crowd
from shared.core.ingress_limits import IngressLimits
from tests.unit.ingress_smtp.smtp_client import Ingress, running_ingress, until

POST = b"From: ann@example.org\r\nSubject: hello\r\n\r\nhello\r\n.\r\n"


@asynccontextmanager
async def limited_ingress(*, most_sessions: int = 50, **limits: object) -> AsyncIterator[Ingress]:
    async with running_ingress(most_sessions=most_sessions) as ingress:
        ingress.admission.apply(IngressLimits(**limits), is_draining=False)  # type: ignore[arg-type]
        yield ingress


async def test_a_busy_server_answers_421_at_connect_and_ends_the_connection() -> None:
    async with limited_ingress(max_connections=1) as ingress, ingress.client() as first:
        async with ingress.client(greeted=False) as second:
            assert await second.reply() == "421 4.3.2 Too many sessions, please try again later"
            assert await second.reply() == ""
        assert await first.say("QUIT") == "221 Bye"
        await until(lambda: ingress.server.session_count == 0)
        async with ingress.client() as third:
            await third.begin("dev@lists.test")


async def test_one_peer_has_its_share_and_another_is_served() -> None:
    async with limited_ingress(max_connections_per_peer=2) as ingress, ingress.client(), ingress.client():
        async with ingress.client(greeted=False) as third:
            assert await third.reply() == "421 4.3.2 Too many sessions from your network, please try again later"
        async with ingress.client(address="127.0.0.2") as other:
            await other.begin("dev@lists.test")


async def test_a_message_above_the_rate_waits_or_is_deferred_and_the_session_goes_on() -> None:
    async with limited_ingress(max_messages_per_second=5) as ingress, ingress.client() as client:
        began_seconds = asyncio.get_running_loop().time()
        for _ in range(3):
            await client.begin("dev@lists.test")
            assert (await client.data(POST)).startswith("250")
        assert asyncio.get_running_loop().time() - began_seconds >= 2 / 5
        ingress.admission.apply(IngressLimits(max_messages_per_second=0.1), is_draining=False)
        await client.begin("dev@lists.test")
        assert await client.say("DATA") == "451 4.3.2 Too many messages, please try again later"
        async with ingress.client(greeted=False) as other:
            assert await other.reply() == "421 4.3.2 Too many messages, please try again later"
        ingress.admission.apply(IngressLimits(), is_draining=False)
        await client.begin("dev@lists.test")
        assert (await client.data(POST)).startswith("250")
    assert ingress.admission.accepted_count == 4


async def test_a_server_that_is_switched_off_ends_its_sessions_after_the_message_in_hand() -> None:
    async with limited_ingress() as ingress, ingress.client() as idle, ingress.client() as busy:
        await busy.begin("dev@lists.test")
        assert (await busy.say("DATA")).startswith("354")
        ingress.admission.apply(IngressLimits(accepting_enabled=False), is_draining=False)
        ingress.server.send_away()
        assert (await idle.reply()).startswith("421 4.3.2")
        await busy.send(POST)
        assert (await busy.reply()).startswith("250")
        assert (await busy.reply()).startswith("421 4.3.2")
        async with ingress.client(greeted=False) as late:
            assert await late.reply() == "421 4.3.2 The server takes no mail now, please try again later"


async def test_a_full_server_gives_the_place_of_who_does_not_get_on_to_who_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd, "GRACE_SECONDS", 0.0)
    async with limited_ingress(max_connections=3) as ingress, ingress.client() as idle, ingress.client() as sending:
        await sending.begin("dev@lists.test")
        assert (await sending.say("DATA")).startswith("354")
        async with ingress.client() as chatting, ingress.client(address="127.0.0.2") as other:
            assert (await idle.reply()).startswith("421 4.3.2")
            await other.begin("dev@lists.test")
            assert (await chatting.say("NOOP")).startswith("250")
            async with ingress.client(address="127.0.0.3") as third:
                assert (await chatting.reply()).startswith("421 4.3.2"), "NOOP is no step"
                await until(lambda: ingress.server.session_count == 3)
                async with ingress.client(address="127.0.0.3", greeted=False) as fourth:
                    assert (await fourth.reply()).startswith("421"), "its peer has as many as any other"
                assert (await other.data(POST)).startswith("250")
                await third.begin("dev@lists.test")
        await sending.send(POST)
        assert (await sending.reply()).startswith("250"), "who brings a message is let be"
    assert ingress.admission.accepted_count == 2
    await until(lambda: ingress.server.session_count == 0)
    assert ingress.admission.busy_because() is None


async def test_who_does_nothing_in_a_crowd_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CROWDED_IDLE_SECONDS", 0.0)
    async with limited_ingress(max_connections=2) as ingress, ingress.client() as idle, ingress.client() as sending:
        await sending.begin("dev@lists.test")
        assert (await sending.say("DATA")).startswith("354")
        assert ingress.admission.is_crowded
        ingress.server.send_idle_away()
        assert (await idle.reply()).startswith("421 4.4.2")
        await until(lambda: not ingress.admission.busy_because())
        await sending.send(POST)
        assert (await sending.reply()).startswith("250"), "content has its time"

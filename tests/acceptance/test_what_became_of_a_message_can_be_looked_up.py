"""From the 250 to every recipient's fate: states, attempts and the remote's own words, by the API."""

from __future__ import annotations

import asyncio
import smtplib
from typing import Any

import asyncpg
import pytest

from deploy.local.live_cluster import AUTHOR, OPERATOR, LiveCluster, wait_until


def test_what_became_of_every_recipient_is_told_in_the_remotes_own_words(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    cluster.sink.answer("^member-1@", "450 4.2.1 Mailbox busy", times=1)
    cluster.sink.answer("^member-2@", "550 5.1.1 No such user here")
    cluster.sink.answer("^member-3@", "554 5.7.1 We do not like this", after_content=True)
    news = cluster.create_list("news", members=10)

    message = cluster.post(news, "Fates")
    mailing = wait_until(lambda: cluster.api.mailing_id_of(message), 20)
    fates = wait_until(lambda: _fates(cluster, mailing, 10), 30)

    deferred, refused, disliked = (fates[f"member-{number}@{cluster.members_domain}"] for number in (1, 2, 3))
    assert (deferred["state"], deferred["attempts"][0]["outcome"]) == ("open", "deferred")
    assert deferred["attempts"][0]["reply_code"] == 450
    assert deferred["attempts"][0]["reply_text"] == "4.2.1 Mailbox busy"
    assert deferred["due_at"] is not None
    assert (refused["state"], refused["attempts"][0]["reply_text"]) == ("refused", "5.1.1 No such user here")
    assert (disliked["state"], disliked["attempts"][0]["reply_text"]) == ("refused", "5.7.1 We do not like this")
    sent_by = {copy.recipient: copy.node for copy in cluster.sink.copies}
    for recipient, node in sent_by.items():
        assert fates[recipient]["state"] == "delivered"
        assert fates[recipient]["attempts"][0]["node"] == node
    assert len(sent_by) == 7
    detail = cluster.api.mailing(mailing)
    assert (detail["recipients"], detail["delivered"], detail["refused"], detail["open"]) == (10, 7, 2, 1)

    _let_time_pass(cluster)
    cluster.wait_until_finished(message, 30)
    assert cluster.sink.copies_per_recipient()[f"member-1@{cluster.members_domain}"] == 1
    assert cluster.sink.extra_copies() == 0


def test_the_same_post_sent_again_makes_no_second_mailing(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    news = cluster.create_list("news", members=5)
    post = f"From: {AUTHOR}\r\nMessage-ID: <once@authors.test>\r\nSubject: Once\r\n\r\nHello.\r\n".encode()

    first = cluster.post_bytes(news, post)
    cluster.wait_until_finished(first, 30)
    second = cluster.post_bytes(news, post)
    target = wait_until(lambda: _decided(cluster, second), 20)

    assert target["state"] == "duplicate"
    assert first in target["because"]
    assert cluster.sink.extra_copies() == 0
    assert len(cluster.sink.copies_per_recipient()) == 5


def test_mail_to_postmaster_and_abuse_reaches_the_operator(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    cluster.create_list("news")

    cluster.post(f"postmaster@{cluster.domain}", "To the postmaster")
    cluster.post(f"abuse@{cluster.domain}", "About abuse")
    cluster.post(f"news-owner@{cluster.domain}", "To the owner")
    cluster.sink.wait_until(lambda sink: len(sink.copies) == 3, 30)

    assert {copy.recipient for copy in cluster.sink.copies} == {OPERATOR}
    assert {copy.subject for copy in cluster.sink.copies} == {"To the postmaster", "About abuse", "To the owner"}


def test_what_is_refused_is_refused_in_the_session_and_nobody_is_mailed(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    cluster.create_list("members", members=3, policy="members")
    cluster.create_list("announce", members=3, policy="announcement")
    cluster.create_list("open", members=3)

    for list_name, header, code in (
        ("members", "", 550),
        ("announce", "", 550),
        ("open", f"List-Id: <open.{cluster.domain}>\r\n", 550),
        ("open", "Auto-Submitted: auto-replied\r\n", 550),
    ):
        message = f"From: {AUTHOR}\r\nSubject: No\r\nMessage-ID: <no@a.test>\r\n{header}\r\nHello.\r\n".encode()
        with pytest.raises(smtplib.SMTPDataError) as refused:
            cluster.post_bytes(f"{list_name}@{cluster.domain}", message)
        assert refused.value.smtp_code == code
        assert "5.7.1" in str(refused.value)
    accepted = cluster.post(f"open@{cluster.domain}", "Yes")
    cluster.wait_until_finished(accepted, 30)

    assert {copy.subject for copy in cluster.sink.copies} == {"Yes"}
    assert AUTHOR not in cluster.sink.copies_per_recipient()


def _fates(cluster: LiveCluster, mailing: int, count: int) -> dict[str, Any] | None:
    tried = {d["recipient"]: d for d in cluster.api.deliveries(mailing) if d["attempts"]}
    return tried if len(tried) == count else None


def _decided(cluster: LiveCluster, message: str) -> dict[str, Any] | None:
    target: dict[str, Any] = cluster.api.message(message)["targets"][0]
    return None if target["state"] == "received" else target


def _let_time_pass(cluster: LiveCluster) -> None:
    """What is due later is due now."""

    async def move() -> None:
        connection = await asyncpg.connect(cluster.database_url)
        try:
            await connection.execute("UPDATE outstanding SET due_at = now()")
        finally:
            await connection.close()

    asyncio.run(move())

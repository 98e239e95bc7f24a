"""A bounce comes in at any ingress, or a refusal in a node's session: the member is held, told, and can come back."""

from __future__ import annotations

import re
import smtplib

import pytest

from deploy.local.api import post
from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.ports import LOOPBACK, free_port

_DSN = """From: MAILER-DAEMON@mx.example (Mail Delivery System)
To: <{return_path}>
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary=q

--q
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; {recipient}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 user unknown

--q--
"""
_COMPLAINT = """From: staff@feedback.example
Subject: complaint about a message
Content-Type: multipart/report; report-type=feedback-report; boundary=q

--q
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Loop/1.0
Version: 1

--q
Content-Type: message/rfc822

Return-Path: <{return_path}>
Subject: first

hello
--q--
"""


def test_a_member_whose_mail_bounces_is_held_and_one_who_complains_is_out(running_cluster: LiveCluster) -> None:
    cluster = running_cluster
    news = cluster.create_list("news", members=4, bounce_limit=1)
    members = [f"member-{number}@{cluster.members_domain}" for number in range(1, 5)]
    bounced, refused, complaining, steady = members
    cluster.sink.keeps_contents = True
    cluster.sink.answer(refused, "550 5.1.1 No such user here")

    def status(member: str) -> str:
        return str(cluster.api.get(f"/lists/{news}/members/{member}")["status"])

    def arrive(port: int, recipient: str, report: str, member: str) -> None:
        content = report.format(return_path=return_paths[member], recipient=steady).replace("\n", "\r\n")
        post(LOOPBACK, port, "", recipient, content.encode())

    cluster.wait_until_finished(cluster.post(news, "first"), 30)
    return_paths = {copy.recipient: copy.sender for copy in cluster.sink.copies}
    assert set(return_paths) == {bounced, complaining, steady}

    other_port = free_port()
    cluster.start_ingress(smtp_port=str(other_port), hostname="other.test").wait_until_ready()
    local, _, domain = return_paths[bounced].partition("@")
    # Of its token the last half octet is another.
    forged = f"{local[:-1]}{int(local[-1], 16) ^ 1:x}@{domain}"
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        arrive(other_port, forged, _DSN, bounced)
    # Who bounced is not whom the report names; and the server on the way has changed what it could.
    for _ in range(5):
        arrive(other_port, f"prvs=0123456789={local.upper()}@{domain}", _DSN, bounced)
    arrive(cluster.smtp_port, f"abuse@{cluster.domain}", _COMPLAINT, complaining)

    wait_until(lambda: status(bounced) == "held" and status(refused) == "held", 20)
    wait_until(lambda: status(complaining) == "unsubscribed", 20)
    assert status(steady) == "subscribed"
    assert cluster.api.get(f"/lists/{news}/members/{bounced}")["held_because"] == "no_such_user: 550 5.1.1 user unknown"
    assert len(cluster.api.get(f"/lists/{news}/members/{bounced}/bounces")["items"]) == 1
    [refusal] = cluster.api.get(f"/lists/{news}/members/{refused}/bounces")["items"]
    assert (refusal["bounce_class"], refusal["message_id"]) == ("no_such_user", None)
    assert complaining in {row["email"] for row in cluster.api.get("/suppressions")["items"]}

    cluster.wait_until_finished(cluster.post(news, "second"), 30)
    assert cluster.sink.copies_per_recipient("second") == {steady: 1}

    def notice() -> bytes | None:
        told = [
            copy.content
            for copy in cluster.sink.copies
            if copy.recipient == bounced and "no more posts" in copy.subject
        ]
        return told[0] if told else None

    [way_back] = re.findall(rb"^Reply-To: <?([^>\r]+)", wait_until(notice, 20), re.MULTILINE)
    answer = f"From: {bounced}\r\nTo: {way_back.decode()}\r\nSubject: Re: posts\r\n\r\nYes, please.\r\n"
    post(LOOPBACK, other_port, bounced, way_back.decode(), answer.encode())
    wait_until(lambda: status(bounced) == "subscribed", 20)

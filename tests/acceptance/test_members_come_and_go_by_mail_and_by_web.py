"""Members join by mail and by web, and one leaves with one click in the middle of a mailing, on real processes."""

from __future__ import annotations

import email
import email.policy
import re
import time
from email.message import EmailMessage

import httpx

from deploy.local.live_cluster import LiveCluster, wait_until
from deploy.local.ports import LOOPBACK
from deploy.local.sink import Copy
from shared.core.courtesy import MAX_FORMS_A_PEER

MEMBERS = 240
RATE = 60
#: From the 2xx of the POST until no delivery begins any more.
IN_FORCE_SECONDS = 5.0
EXPRESS_SECONDS = 10


def _text(copy: Copy) -> EmailMessage:
    parsed = email.message_from_bytes(copy.content, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return parsed


def _mails_to(cluster: LiveCluster, address: str) -> list[Copy]:
    return [copy for copy in list(cluster.sink.copies) if copy.recipient == address]


def _mail_to(cluster: LiveCluster, address: str, number: int = 1) -> EmailMessage:
    """The number-th mail to the address, waited for."""
    return _text(wait_until(lambda: _mails_to(cluster, address)[number - 1 :], EXPRESS_SECONDS)[0])


def _status(cluster: LiveCluster, news: str, address: str) -> str | None:
    answer = cluster.api.request("GET", f"/lists/{news}/members/{address}")
    return str(answer.json()["status"]) if answer.is_success else None


def test_members_join_by_mail_and_by_web_and_leave_with_one_click(cluster: LiveCluster) -> None:
    cluster.sink.keeps_contents = True
    public = f"http://{LOOPBACK}:{cluster.tracking_port}"
    cluster.start_admin(public_url=public)
    cluster.start_ingress()
    cluster.start_scheduler(public_url=public)
    cluster.start_tracking(public_url=public)
    cluster.start_outbound(2, public_url=public)
    cluster.processes.wait_until_ready()
    news = cluster.create_list("news", members=MEMBERS)
    name, _, domain = news.partition("@")

    with httpx.Client(base_url=public) as browser:
        # By mail: a confirmation, its answer, a welcome.
        join = b"From: ann@people.test\r\nSubject: x\r\n\r\nBuy watches!\r\n"
        cluster.post_bytes(f"{name}-join@{domain}", join, sender="ann@people.test")
        asked = _mail_to(cluster, "ann@people.test")
        assert "watches" not in asked.as_string()
        assert _status(cluster, news, "ann@people.test") is None
        yes = b"From: ann@people.test\r\nSubject: Re: yes\r\n\r\n> quoted\r\n"
        cluster.post_bytes(str(asked["Reply-To"]), yes, sender="ann@people.test")
        assert "Welcome" in _mail_to(cluster, "ann@people.test", 2)["Subject"]
        assert _status(cluster, news, "ann@people.test") == "subscribed"

        # By web: the form, the mailed link, the button.
        asked_page = browser.post(f"/lists/{news}/join", data={"email": "bob@people.test"})
        known_page = browser.post(f"/lists/{news}/join", data={"email": "member-1@members.test"})
        assert (asked_page.status_code, asked_page.text) == (known_page.status_code, known_page.text)
        link = re.search(rf"{public}\S+", _mail_to(cluster, "bob@people.test").get_content())
        assert link
        assert browser.get(link.group()).status_code == 200
        assert _status(cluster, news, "bob@people.test") is None
        assert browser.post(link.group()).status_code == 200
        wait_until(lambda: _status(cluster, news, "bob@people.test") == "subscribed", EXPRESS_SECONDS)

        # One click, with the link of an earlier post, while the next is on its way.
        first = cluster.post(news, "First")
        cluster.wait_until_finished(first)
        ways_out = {
            copy.recipient: re.search(r"<(http\S+)>", str(_text(copy)["List-Unsubscribe"]))
            for copy in list(cluster.sink.copies)
            if copy.subject == "First"
        }
        assert len(ways_out) == len({way.group(1) for way in ways_out.values() if way}) == MEMBERS + 2
        for node in ("outbound-1", "outbound-2"):
            cluster.api.set_node(node, max_messages_per_second=RATE)
        second = cluster.post(news, "Second")
        cluster.sink.wait_for_recipients(MEMBERS // 2, 60, subject="Second")
        left: dict[str, float] = {}
        for address in sorted(set(ways_out) - set(cluster.sink.copies_per_recipient("Second")))[::10]:
            way = ways_out[address]
            assert way
            answer = browser.post(way.group(1), data={"List-Unsubscribe": "One-Click"})
            assert (answer.status_code, answer.headers.get("set-cookie")) == (200, None)
            left[address] = time.monotonic()
        mailing_id = cluster.wait_until_finished(second)
        begun = {
            copy.recipient: copy.received_seconds for copy in list(cluster.sink.copies) if copy.subject == "Second"
        }
        assert not [at for address, at in begun.items() if at > left.get(address, at) + IN_FORCE_SECONDS]
        spared = set(left) - set(begun)
        assert len(spared) > len(left) / 2
        mailing = cluster.api.mailing(mailing_id)
        assert (mailing["cancelled"], mailing["delivered"]) == (len(spared), MEMBERS + 2 - len(spared))
        assert {_status(cluster, news, address) for address in left} == {"unsubscribed"}
        assert cluster.sink.extra_copies() == 0

        # Nobody uses the forms against others.
        victims = [f"victim-{number}@people.test" for number in range(2 * MAX_FORMS_A_PEER + 1)]
        codes = [browser.post(f"/lists/{news}/join", data={"email": victim}).status_code for victim in victims]
        assert set(codes) == {200, 429}
        reached = {victim for victim, code in zip(victims, codes, strict=True) if code == 200}
        wait_until(lambda: reached <= set(cluster.sink.copies_per_recipient()), EXPRESS_SECONDS)
        assert reached == set(victims) & set(cluster.sink.copies_per_recipient())

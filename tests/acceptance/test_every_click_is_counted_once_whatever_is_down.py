"""Readers open and click while the database, then the broker, is stopped; who counts, and who answers, is killed."""

from __future__ import annotations

import email
import email.policy
import itertools
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.utils import make_msgid

import httpx

from deploy.local.live_cluster import AUTHOR, LiveCluster, wait_until
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.sink import Copy

MEMBERS = 60
URL = "https://shop.example/offer?a=1&b=2"
LINKS = f'<a href="{URL.replace("&", "&amp;")}">this</a> or <a href="mailto:x@y.test">write</a>'
HTML = f"<html><body><p>See {LINKS}.</p></body></html>"
PERSON = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
SCANNER = {"User-Agent": "Mozilla/5.0 (compatible; Barracuda Sentinel)"}


def _html(copy: Copy) -> str:
    message = email.message_from_bytes(copy.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def _newsletter(address: str) -> bytes:
    message = EmailMessage(policy=email.policy.SMTP)
    message["From"], message["To"], message["Subject"] = AUTHOR, address, "Offer"
    message["Message-ID"] = make_msgid(domain="authors.test")
    message.set_content(f"See {URL}\n")
    message.add_alternative(HTML, subtype="html")
    return message.as_bytes()


class Readers:
    """Each asks the next node; what was answered is what must be counted."""

    def __init__(self, ports: list[int]) -> None:
        self._ports = itertools.cycle(ports)
        self.answered = 0

    def follow(
        self, path: str, agent: dict[str, str] = PERSON, method: str = "GET", port: int | None = None
    ) -> httpx.Response:
        port = port or next(self._ports)
        answer = httpx.request(method, f"http://{LOOPBACK}:{port}{path}", headers=agent, timeout=20)
        self.answered += answer.status_code in (200, 302)
        return answer


def test_every_click_is_counted_once_whatever_is_down(cluster: LiveCluster) -> None:
    cluster.sink.keeps_contents = True
    public = f"http://{LOOPBACK}:{cluster.tracking_port}"
    second_port = free_port()
    cluster.start_admin(public_url=public)
    cluster.start_ingress()
    cluster.start_scheduler(public_url=public)
    counting = cluster.start_scheduler(public_url=public)
    first = cluster.start_tracking(public_url=public)
    cluster.start_tracking(public_url=public, tracking_port=str(second_port))
    cluster.start_outbound(1, public_url=public)
    cluster.processes.wait_until_ready()
    news = cluster.create_list("news", members=MEMBERS, tracking="full")
    mailing_id = cluster.wait_until_finished(cluster.post_bytes(news, _newsletter(news)))

    def statistics() -> dict[str, dict[str, int]]:
        answer: dict[str, dict[str, int]] = cluster.api.request("GET", f"/mailings/{mailing_id}/statistics").json()
        return answer

    def events() -> int | None:
        try:
            found = statistics()
        except httpx.HTTPError:
            return None
        return sum(found[kind][whose] for kind in ("opens", "clicks") for whose in ("total", "machine_total"))

    # Each copy has its own address, and nothing of its reader in it.
    texts = {copy.recipient: _html(copy) for copy in list(cluster.sink.copies)}
    clicks = {to: re.findall(rf'"{public}(/c/[^"]+)"', text) for to, text in texts.items()}
    opens = {to: re.findall(rf'"{public}(/o/[^"]+)"', text) for to, text in texts.items()}
    assert len(texts) == MEMBERS
    assert len({path for (path,) in clicks.values()}) == len({path for (path,) in opens.values()}) == MEMBERS
    assert not any("member" in path or "@" in path for (path,) in clicks.values())
    assert all('href="mailto:x@y.test"' in text for text in texts.values())

    readers = Readers([cluster.tracking_port, second_port])
    some: Iterator[str] = iter(sorted(texts))

    def read(count: int, port: int | None = None) -> None:
        for to in itertools.islice(some, count):
            assert readers.follow(opens[to][0], port=port).status_code == 200
            answer = readers.follow(clicks[to][0], port=port)
            assert (answer.status_code, answer.headers["Location"]) == (302, URL)

    read(10)
    ann = min(texts)
    assert readers.follow(clicks[ann][0], method="HEAD").status_code == 302
    assert readers.follow(clicks[ann][0], agent=SCANNER).status_code == 302
    assert httpx.get(f"{public}/c/abc/{clicks[ann][0].rsplit('/', 1)[1]}").status_code == 404
    wait_until(lambda: events() == readers.answered, 20)

    # A scheduler dies with events in its hands: another is given them again, and counts what was not counted.
    read(5)
    counting.kill()
    wait_until(lambda: events() == readers.answered, 40)
    counting.restart()

    # Without the database.
    cluster.database.stop()
    read(10)
    cluster.database.start()
    wait_until(lambda: events() == readers.answered, 40)

    # Without the broker; and a node is killed with what it has in its journal.
    cluster.broker.kill()
    read(10)
    first.kill()
    read(5, port=second_port)
    cluster.broker.launch()
    cluster.broker.wait_until_ready()
    first.restart()
    wait_until(lambda: events() == readers.answered, 60)

    found = statistics()
    assert found["clicks"]["machine_total"] >= 2
    assert found["opens"]["unique"] + found["opens"]["machine_unique"] >= 40
    assert readers.answered == 2 * 40 + 2

    # Names are no longer kept, also of mail that was sent before.
    cluster.api.request("PATCH", f"/lists/{news}", json={"tracking": "anonymous"})
    read(5)
    wait_until(lambda: events() == readers.answered, 20)
    after = statistics()
    for kind, whose in itertools.product(("opens", "clicks"), ("unique", "machine_unique")):
        assert after[kind][whose] == found[kind][whose]

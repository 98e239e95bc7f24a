"""One post through a cluster, from outside: made known by the API, sent by SMTP, counted in the demo inbox."""

# ruff: noqa: S310 - all addresses are constants of this file

from __future__ import annotations

import collections
import json
import secrets
import smtplib
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from typing import Any
from urllib.parse import quote

API = "http://127.0.0.1:8080/api/v1"
INBOX = "http://127.0.0.1:8025"
SMTP = ("127.0.0.1", 2525)

LIST = "neighbours@lists.example"
MEMBERS = [f"member-{number}@members.example" for number in range(1, 401)]
START_SECONDS = 240.0
DELIVERY_SECONDS = 120.0


class CheckFailed(Exception):
    """What was promised did not happen."""


def deliver(token: str, nodes: int) -> None:
    """Posts to a new list of 400 members; raises `CheckFailed` unless each gets exactly one copy. Says which of the
    nodes, of which there must be `nodes`, sent how many."""
    api = Api(token)
    _until("the API answers, and all nodes are there", START_SECONDS, lambda: api.count_live_nodes() == nodes)
    name, domain = LIST.split("@")
    api.call("POST", "/lists", {"name": name, "domain": domain, "display_name": "Neighbours"})
    rows = "\n".join(json.dumps({"email": member}) for member in MEMBERS)
    api.call("POST", f"/lists/{LIST}/members/import", rows.encode(), "application/x-ndjson")

    message_id = _post_until_all_have_it()
    _until("the mailing is finished", DELIVERY_SECONDS, lambda: api.mailing()["finished_at"] is not None)

    for node, count in sorted(api.copies_by_node().items()):
        say(f"  {node}: {count} ({count / len(MEMBERS):.0%})")
    _count_copies(message_id)


def deliver_another() -> None:
    """Posts to the list once more; raises `CheckFailed` unless each member gets exactly one copy."""
    _count_copies(_post_until_all_have_it())


def _post_until_all_have_it() -> str:
    message_id = f"<{secrets.token_hex(8)}@members.example>"
    _until("the post is accepted", START_SECONDS, lambda: _post(message_id))
    _until(f"all {len(MEMBERS)} have a copy", DELIVERY_SECONDS, lambda: _copies(message_id).keys() >= set(MEMBERS))
    return message_id


def _count_copies(message_id: str) -> None:
    copies = _copies(message_id)
    if wrong := {member: count for member, count in copies.items() if member not in MEMBERS or count != 1}:
        raise CheckFailed(f"not one copy: {wrong}")
    say(f"{len(copies)} members have one copy each")


class Api:
    """The administrator's API, as far as it is needed here."""

    def __init__(self, token: str) -> None:
        self._token = token

    def call(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Any:
        """The decoded answer. `body` is sent as it is when it is bytes, else as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        return _json(urllib.request.Request(API + path, data, headers, method=method))

    def count_live_nodes(self) -> int:
        """How many outbound nodes are there."""
        return sum(node["kind"] == "outbound" and node["state"] == "live" for node in self.call("GET", "/nodes"))

    def mailing(self) -> Any:
        """The only mailing."""
        mailings = list(self._pages("/mailings"))
        if len(mailings) != 1:
            raise CheckFailed(f"one post made {len(mailings)} mailings")
        return mailings[0]

    def copies_by_node(self) -> collections.Counter[str]:
        """How many copies each node delivered, by its name."""
        deliveries = self._pages(f"/mailings/{self.mailing()['id']}/deliveries")
        attempts = (attempt for delivery in deliveries for attempt in delivery["attempts"])
        return collections.Counter(attempt["node"] for attempt in attempts if attempt["outcome"] == "delivered")

    def _pages(self, path: str) -> Iterator[Any]:
        page = self.call("GET", path)
        yield from page["items"]
        while page["next"] is not None:
            page = self.call("GET", f"{path}?after={quote(page['next'])}")
            yield from page["items"]


def _post(message_id: str) -> bool:
    """Sends the post; whether it was accepted, and not refused for now."""
    message = EmailMessage()
    message["From"], message["To"], message["Message-ID"] = MEMBERS[0], LIST, message_id
    message["Subject"] = "A post to four containers"
    message.set_content(f"{message_id}: this went to each of you once, from whichever node had room.\n")
    try:
        with smtplib.SMTP(*SMTP, timeout=30) as client:
            client.send_message(message)
    except smtplib.SMTPResponseException as refusal:
        if refusal.smtp_code < 500:
            return False
        raise
    return True


def _copies(message_id: str) -> dict[str, int]:
    """How many copies each recipient has in the inbox."""
    messages = _json(urllib.request.Request(f"{INBOX}/api/summary?message_id={quote(message_id)}"))["messages"]
    return dict(messages[0]["copies_per_recipient"]) if messages else {}


def _json(request: urllib.request.Request) -> Any:
    """The decoded answer; `CheckFailed` for a request that is wrong, OSError when it may be right later."""
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code == 401:  # the first token is stored soon after the start
            raise
        problem = error.read().decode(errors="replace")
        raise CheckFailed(f"{request.method} {request.full_url}: {error.code} {problem}") from error


def _until(what: str, seconds: float, holds: Callable[[], bool]) -> None:
    """Asks until it holds; raises `CheckFailed` when it does not in time. No answer is a no."""
    began = time.monotonic()
    last: object = "no"
    while (passed := time.monotonic() - began) < seconds:
        try:
            if holds():
                say(f"{what}: after {passed:.1f} s")
                return
            last = "no"
        except OSError as error:
            last = error
        time.sleep(0.5)
    raise CheckFailed(f"{what}: not within {seconds:.0f} s ({last})")


def say(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(text + "\n")

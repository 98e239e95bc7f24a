"""`make demo`: the whole cluster on this machine, one mailing to 1,000 members, and then yours to play with.

With ONCE set it ends after the mailing, with exit code 0 when every member has exactly one copy.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator

import httpx

from deploy.local.api import post
from deploy.local.child import StartFailedError
from deploy.local.ports import LOOPBACK
from deploy.local.post import EDITOR, LIST, compose
from deploy.local.progress import Line, Watch, progress
from deploy.local.rabbitmq_install import RabbitMQMissingError
from deploy.local.stage import Stage, running_stage, tell

MEMBERS = 1_000
_TIMEOUT_SECONDS = 120


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # they end the demo as Ctrl-C does
    try:
        with running_stage() as stage:
            make_list(stage)
            is_complete = send_to_all(stage)
            if os.environ.get("ONCE"):
                raise SystemExit(0 if is_complete else 1)
            show_commands(stage)
            Watch(stage.inbox, stage.api, stage.node_names).run()
    except KeyboardInterrupt:
        tell("\nEnded; no process is left.")
    except (StartFailedError, RabbitMQMissingError, httpx.HTTPError) as error:
        raise SystemExit(f"\n{error}") from None


def make_list(stage: Stage) -> None:
    """The list with its members; what is there from an earlier demo stays."""
    if not stage.api.has_list(LIST):
        stage.api.create_list(LIST, display_name="Announcements", posting_policy="announcement")
    report = stage.api.import_members(LIST, _member_rows())
    tell(f"The list {LIST} has {MEMBERS:,} members ({report['added']:,} of them new).")


def _member_rows() -> Iterator[str]:
    yield "email,display_name,role"
    yield f"{EDITOR},The editor,owner"
    for number in range(1, MEMBERS):
        yield f"member-{number}@members.listfleet.test,Member {number},member"


def send_to_all(stage: Stage) -> bool:
    """Posts one message and follows it to the last member; whether every member has exactly one copy."""
    message = compose(f"News of {time.strftime('%H:%M:%S')}")
    tell(f"Posting “{message['Subject']}” by SMTP to {LOOPBACK}:{stage.smtp_port} ...")
    began_seconds = time.monotonic()
    message_id = post(LOOPBACK, stage.smtp_port, EDITOR, LIST, message.as_bytes())
    line, caught = Line(), None
    while time.monotonic() < began_seconds + _TIMEOUT_SECONDS:
        caught = stage.inbox.caught_of(message["Message-ID"])
        line.show(progress(caught, stage.node_names))
        mailing_id = stage.api.mailing_id_of(message_id)
        if mailing_id is not None and stage.api.mailing(mailing_id)["state"] == "finished":
            break
        time.sleep(0.2)
    else:
        line.end()
        tell(f"Not all was delivered within {_TIMEOUT_SECONDS} s; the logs are in {stage.cluster.logs}.")
    seconds = time.monotonic() - began_seconds
    caught = stage.inbox.caught_of(message["Message-ID"])
    line.show(progress(caught, stage.node_names))
    line.end()
    mailing_id = stage.api.mailing_id_of(message_id)
    by_node = _delivered_by_node(stage, mailing_id) if mailing_id is not None else Counter()
    copies = dict(caught.recipients_by_copies) if caught else {}
    tell(
        f"\n  delivered           {by_node.total():,} of {MEMBERS:,} in {seconds:.1f} s\n"
        + "".join(f"    by {name:<15} {count:,}\n" for name, count in sorted(by_node.items()))
        + "".join(
            f"  members with {number} cop{'y' if number == '1' else 'ies'}  {many:,}\n"
            for number, many in copies.items()
        )
    )
    return by_node.total() == MEMBERS and copies == {"1": MEMBERS}


def _delivered_by_node(stage: Stage, mailing_id: int) -> Counter[str]:
    return Counter(
        attempt["node"]
        for delivery in stage.api.deliveries(mailing_id, limit=1000)
        for attempt in delivery["attempts"]
        if attempt["outcome"] == "delivered"
    )


def show_commands(stage: Stage) -> None:
    first, second = stage.node_names.values()
    auth = f"-H 'Authorization: Bearer {stage.token}' -H 'Content-Type: application/json'"
    slow = "-d '{\"max_messages_per_second\": 20}'"
    unlimited = "-d '{\"max_messages_per_second\": null}'"
    settings = f"curl -sS -X PATCH {auth} {stage.api_address}/api/v1/nodes"
    tell(
        f"""\
  API and its documentation  {stage.api_address}/docs
  API token                  {stage.token}
  All mail that was sent     {stage.inbox.address}
  SMTP                       {LOOPBACK}:{stage.smtp_port}

To try, in another terminal in this folder:

  Post another message:
    {sys.executable} -m deploy.local.post --port {stage.smtp_port} "Another message"
  Limit both nodes to 20 messages a second, and lift it again:
    {settings}/{first}/settings {slow}
    {settings}/{second}/settings {slow}
    {settings}/{first}/settings {unlimited}
    {settings}/{second}/settings {unlimited}
  Kill a node while they send, and see the other one take over its recipients after some 20 seconds:
    kill -9 {stage.sender(first).pid}

Ctrl-C ends everything.
"""
    )


if __name__ == "__main__":
    main()

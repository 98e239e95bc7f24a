"""Postfix as the peer: a private instance that relays one message to many recipients."""

from __future__ import annotations

import os
import smtplib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import cpu_seconds
from bench.sink import Sink, postfix_tool
from deploy.local.ports import LOOPBACK
from deploy.local.postfix import PostfixInstance

_TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Relayed:
    """What one run came to."""

    per_second: float
    whole_cpu_seconds_per_1000: float


@dataclass(frozen=True, slots=True)
class Postfix:
    """A running instance: its SMTP port, the process id of its master, and where it relays to."""

    port: int
    master_pid: int
    sink: Sink


@contextmanager
def running_postfix(
    folder: Path, sink: Sink, *, connections: int, recipients_per_transaction: int, only_accepts: bool
) -> Iterator[Postfix | None]:
    """`None` where Postfix is not installed, and to others than root. One that `only_accepts` sends nothing on."""
    if postfix_tool("postfix") is None or os.geteuid() != 0:  # its master starts as root only
        yield None
        return
    settings = {
        "myhostname": "postfix.bench.test",
        "relayhost": f"[{LOOPBACK}]:{sink.port}",
        "smtpd_client_restrictions": "check_client_access static:HOLD" if only_accepts else "",
        "default_destination_recipient_limit": str(recipients_per_transaction),
        "smtp_destination_concurrency_limit": str(connections),
        "initial_destination_concurrency": str(connections),
        "qmgr_message_active_limit": "200000",
        "qmgr_message_recipient_limit": "200000",
    }
    instance = PostfixInstance(folder, settings, connections=connections)
    try:
        instance.start()
        yield Postfix(instance.port, instance.master_pid, sink)
    finally:
        instance.stop()


def relay(postfix: Postfix, message: bytes, recipients: int) -> Relayed:
    """One message to so many; clock and CPU time count from its 250, which is in Postfix's favour, to the last copy."""
    expected, master = postfix.sink.copies + recipients, [postfix.master_pid]
    with smtplib.SMTP(LOOPBACK, postfix.port, local_hostname="localhost", timeout=_TIMEOUT_SECONDS) as session:
        session.ehlo()
        session.mail("sender@bench.test")
        for number in range(recipients):
            session.rcpt(f"member-{number}@members.test")
        session.data(message)
        taken_at, cpu_before_seconds = time.time(), cpu_seconds(master)
    seconds = postfix.sink.wait_for(expected, _TIMEOUT_SECONDS) - taken_at
    return Relayed(recipients / seconds, (cpu_seconds(master) - cpu_before_seconds) / recipients * 1000)

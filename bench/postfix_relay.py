"""Postfix as the peer: a private instance that relays one message to many recipients."""

from __future__ import annotations

import os
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import cpu_seconds
from bench.sink import Sink, postfix_tool
from deploy.local.child import Child
from deploy.local.ports import LOOPBACK, free_port

_TIMEOUT_SECONDS = 300

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
# Its log is its record of what became of each recipient.
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = postfix.bench.test
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_recipient_limit = 1000000
smtpd_client_message_rate_limit = 0
in_flow_delay = 0
relayhost = [{host}]:{port}
smtpd_client_restrictions = {client_restrictions}
default_destination_recipient_limit = {recipients}
smtp_destination_concurrency_limit = {connections}
initial_destination_concurrency = {connections}
qmgr_message_active_limit = 200000
qmgr_message_recipient_limit = 200000
"""

_MASTER = """\
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - {connections} smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


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
    program = postfix_tool("postfix")
    if program is None or os.geteuid() != 0:  # its master starts as root only
        yield None
        return
    port, settings = free_port(), folder / "etc"
    for part in (settings, folder / "queue", folder / "data"):
        part.mkdir(parents=True)
    (settings / "main.cf").write_text(
        _MAIN.format(
            folder=folder,
            host=LOOPBACK,
            port=sink.port,
            connections=connections,
            recipients=recipients_per_transaction,
            client_restrictions="check_client_access static:HOLD" if only_accepts else "",
        )
    )
    (settings / "master.cf").write_text(_MASTER.format(port=f"{LOOPBACK}:{port}", connections=connections))
    _run(["chown", "postfix", folder / "data"])
    _run([program, "-c", settings, "check"])
    master = Path(_run([postfix_tool("postconf") or "postconf", "-c", settings, "-h", "daemon_directory"])) / "master"
    process = Child("Postfix", [master, "-c", settings, "-d"], folder / "log")
    process.start()
    try:
        process.wait_until(lambda: _answers(port), 20)
        yield Postfix(port, process.pid, sink)
    finally:
        process.stop()


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


def _run(command: list[str | Path]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False

"""A private Postfix: its own configuration, queue and log, on loopback. Its master starts as root only."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.local import debian
from deploy.local.child import Child
from deploy.local.ports import LOOPBACK, free_port

#: What every instance has; who makes one adds what it is for.
_SETTINGS = {
    "compatibility_level": "3.6",
    "inet_interfaces": LOOPBACK,
    "inet_protocols": "ipv4",
    "mydestination": "",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "mynetworks": "127.0.0.0/8",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtpd_recipient_limit": "1000000",
    "smtpd_client_message_rate_limit": "0",
    "in_flow_delay": "0",
}

_MASTER = """\
{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - {chroot} - {connections} smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class PostfixInstance:
    """One instance, which takes mail at `port` of the loopback address and sends it where its settings say."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str], *, connections: int, nameserver: str | None = None
    ) -> None:
        """`connections` is how many it opens at once; `nameserver` the address of the DNS server that it asks instead
        of the system's, at port 53. The user postfix must be able to pass through `folder`'s parents."""
        self.port = free_port()
        self._program = tool("postfix")
        self._folder, self._etc = folder, folder / "etc"
        self._queue = folder / "queue"
        for part in (self._etc, self._queue, folder / "data"):
            part.mkdir(parents=True)
        own = {
            "queue_directory": self._queue,
            "data_directory": folder / "data",
            # Its log is its record of what became of each recipient.
            "maillog_file": self.maillog,
            "maillog_file_prefixes": folder,
        }
        lines = [f"{name} = {value}\n" for name, value in {**_SETTINGS, **own, **settings}.items()]
        (self._etc / "main.cf").write_text("".join(lines))
        # A process in a chroot reads the resolv.conf that it finds there.
        chroot = "n" if nameserver is None else "y"
        (self._etc / "master.cf").write_text(
            _MASTER.format(port=f"{LOOPBACK}:{self.port}", connections=connections, chroot=chroot)
        )
        if nameserver is not None:
            (self._queue / "etc").mkdir()
            (self._queue / "etc" / "resolv.conf").write_text(f"nameserver {nameserver}\n")
        shutil.chown(folder / "data", "postfix")
        _run([self._program, "-c", self._etc, "check"])
        daemons = _run([tool("postconf"), "-c", self._etc, "-h", "daemon_directory"])
        self._master = Child("Postfix", [Path(daemons) / "master", "-c", self._etc, "-d"], folder / "log")

    @property
    def maillog(self) -> Path:
        return self._folder / "maillog"

    def refusals(self, recipient: str) -> list[str]:
        """The lines of its log that say why a recipient was deferred or bounced."""
        about = [line for line in self.maillog.read_text().splitlines() if f"to=<{recipient}>" in line]
        return [line for line in about if "status=sent" not in line]

    @property
    def master_pid(self) -> int:
        return self._master.pid

    def start(self) -> None:
        self._master.start()
        self._master.wait_until(self._answers, 20)

    def stop(self) -> None:
        self._master.stop()

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1):
                return True
        except OSError:
            return False


def tool(name: str) -> Path:
    """The path of one of Postfix's programs, after installing it where that is allowed. Raises NotInstalledError."""
    return debian.find_or_install(name, "postfix")


def _run(command: list[str | Path]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

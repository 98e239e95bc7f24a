"""A private Knot DNS, Debian's package: an authoritative server of zones that its user writes."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.local import debian
from deploy.local.child import Child

# Addresses of one name are answered in turn, as most servers of the field do.
_CONFIGURATION = """\
server:
  rundir: {folder}/run
  listen: {listen}
  answer-rotation: on
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stderr
    any: info
database:
  storage: {folder}/database
template:
  - id: default
    storage: {folder}
    file: "%s.zone"
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
zone:
{zones}
"""
# What a zone has besides the records that somebody else plans.
_HEAD = """\
@ 60 IN SOA ns.{zone}. hostmaster.{zone}. {serial} 60 60 3600 60
@ 60 IN NS ns.{zone}.
ns.{zone}. 60 IN A {address}
"""


class Knot:
    """A server on one address and port, and the zones that it answers for, empty at the start."""

    def __init__(self, folder: Path, address: str, port: int, zones: tuple[str, ...]) -> None:
        self.address, self.port = address, port
        self._folder = folder
        self._serials = dict.fromkeys(zones, 0)
        for part in ("run", "database"):
            (folder / part).mkdir(parents=True)
        domains = "\n".join(f"  - domain: {zone}." for zone in zones)
        configuration = folder / "knot.conf"
        configuration.write_text(
            _CONFIGURATION.format(folder=folder, listen=f"{address}@{port}", zones=domains.rstrip())
        )
        self._control = debian.find_or_install("knotc", "knot")
        self._server = Child("Knot", [debian.find_or_install("knotd", "knot"), "-c", configuration], folder / "log")

    def start(self) -> None:
        for zone in self._serials:
            self._write(zone, "")
        self._server.start()
        self._server.wait_until(lambda: self._knotc("status").returncode == 0, 20)

    def stop(self) -> None:
        self._server.stop()

    def serve(self, texts: Mapping[str, str]) -> None:
        """Answer from these lines of a zone file, by zone, from now on."""
        for zone, text in texts.items():
            self._write(zone, text)
            reloaded = self._knotc("--blocking", "zone-reload", zone)
            if reloaded.returncode:
                raise ValueError(f"{reloaded.stderr}{self._server.last_log_lines()}")

    def _write(self, zone: str, text: str) -> None:
        self._serials[zone] += 1
        head = _HEAD.format(zone=zone, serial=self._serials[zone], address=self.address)
        (self._folder / f"{zone}.zone").write_text(head + text)

    def _knotc(self, *command: str) -> subprocess.CompletedProcess[str]:
        socket = self._folder / "run" / "knot.sock"
        return subprocess.run(
            [self._control, "--socket", socket, *command], capture_output=True, text=True, timeout=20, check=False
        )

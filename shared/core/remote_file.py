"""Addresses of files on other hosts, and which of them may be asked for."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

MAX_CHARACTERS = 2000
_PORTS = {"http": 80, "https": 443}
_NOT_IN_URL = re.compile(r"[^\x21-\x7e]|[\\\"<>^`{|}]")
_HOST_NAME = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class RefusedAddress(ValueError):
    """Nothing is asked for there; the exception's words are one sentence that says why."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """Where a file is: what is connected to, and what is asked for."""

    is_encrypted: bool
    #: A name in lower case, or an IP address without brackets.
    host: str
    port: int
    #: Path and query, as they stand in the request's first line.
    target: str

    @classmethod
    def parse(cls, url: str) -> RemoteFile:
        """Of `https://host/path?query`, or http. Raises `RefusedAddress`."""
        if len(url) > MAX_CHARACTERS:
            raise RefusedAddress(f"The address has more than {MAX_CHARACTERS:,} characters.")
        if _NOT_IN_URL.search(url):
            raise RefusedAddress("The address holds a character that none may hold: write it as %XX.")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise RefusedAddress("The address is not well formed.") from error
        if parts.scheme not in _PORTS:
            raise RefusedAddress("The address begins with https:// or http://.")
        if "@" in parts.netloc:
            raise RefusedAddress("The address names a user: leave that out.")
        if parts.fragment or "#" in url:
            raise RefusedAddress("The address has a part after #, which no host is asked for.")
        return cls(parts.scheme == "https", _host_of(parts), port or _PORTS[parts.scheme], _target_of(parts))

    @property
    def place(self) -> str:
        """`host`, or `host:port` where the port is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS["https" if self.is_encrypted else "http"] else f"{host}:{self.port}"

    def check(self, allowed_places: Collection[str]) -> None:
        """Raises `RefusedAddress` unless the operator allows this place, written as `host` or `host:port`."""
        if self.place not in allowed_places:
            raise RefusedAddress(f"{self.place} is not among the hosts of LISTFLEET_SYNC_HOSTS.")


def _host_of(parts: SplitResult) -> str:
    host = (parts.hostname or "").removesuffix(".")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    # What ends in digits is an IP address in one of its odd spellings, whatever it looks like.
    if len(host) > 253 or not _HOST_NAME.fullmatch(host) or re.search(r"(?:^|\.)(?:\d+|0x[0-9a-f]*)$", host):
        raise RefusedAddress("The address names no host.")
    return host


def _target_of(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

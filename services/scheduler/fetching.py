"""Files of other hosts, fetched without being led anywhere else: an address is anybody's to write, and a name's answer
anybody's to change.

The host is one that the operator allows. Its name is looked up here, once; what is connected to is an address of that
answer that was checked, with the name only in the request and in TLS. No redirect is followed.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ipaddress
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Collection
from typing import TypeVar

from services.scheduler.run import TaskFailed
from shared.core.remote_file import RemoteFile
from shared.dns.mx import is_public
from shared.dns.resolver import LookupFailedError, NoSuchDomainError, Resolver

MAX_BYTES = 100_000_000
WITHIN_SECONDS = 600.0
#: The longest silence.
TIMEOUT_SECONDS = 20.0
CHUNK_BYTES = 64 * 1024
MAX_ADDRESSES = 4

T = TypeVar("T")


class _Connection(http.client.HTTPConnection):
    """To one address, whatever the name says by now."""

    def __init__(self, file: RemoteFile, address: str) -> None:
        super().__init__(file.host, file.port, timeout=TIMEOUT_SECONDS)
        self._file = file
        self._address = address
        #: Kept here too: http.client hands its own over to a response that ends with the connection.
        self._connected: socket.socket | None = None

    def connect(self) -> None:
        connected = socket.create_connection((self._address, self.port), TIMEOUT_SECONDS)
        if self._file.is_encrypted:
            try:
                connected = ssl.create_default_context().wrap_socket(connected, server_hostname=self._file.host)
            except OSError:
                connected.close()
                raise
        self.sock = self._connected = connected

    def break_off(self) -> None:
        """Also while another thread waits for the socket."""
        if self._connected is not None:
            with contextlib.suppress(OSError):
                self._connected.shutdown(socket.SHUT_RDWR)
        self.close()


class Fetcher:
    """Fetches files from the places that are allowed; from loopback and private addresses only when told so."""

    def __init__(
        self,
        resolver: Resolver,
        allowed_places: Collection[str],
        *,
        allow_private_hosts: bool = False,
        max_bytes: int = MAX_BYTES,
        within_seconds: float = WITHIN_SECONDS,
    ) -> None:
        self._resolver = resolver
        self._allowed_places = allowed_places
        self._allow_private_hosts = allow_private_hosts
        self._max_bytes = max_bytes
        self._within_seconds = within_seconds

    async def chunks(self, url: str) -> AsyncGenerator[bytes, None]:
        """The file, piece by piece. Raises `RefusedAddress`, and `TaskFailed` for what the host did not do."""
        file = RemoteFile.parse(url)
        file.check(self._allowed_places)
        deadline = asyncio.get_running_loop().time() + self._within_seconds
        connection, response = await self._ask(file, await self._addresses(file.host), deadline)
        size_bytes = 0
        try:
            self._check(response)
            # Counted here: not every version of Python's client does, nor stops at the end.
            announced_bytes = None if response.chunked else response.length
            while size_bytes != announced_bytes and (
                chunk := await _in_thread(lambda: response.read1(CHUNK_BYTES), deadline)
            ):
                size_bytes += len(chunk)
                if size_bytes > self._max_bytes:
                    raise TaskFailed(f"The file is larger than {self._max_bytes:,} bytes.")
                yield chunk
            if announced_bytes is not None and size_bytes < announced_bytes:
                raise TaskFailed("The host ended the file before its end.")
        finally:
            connection.break_off()

    async def _addresses(self, host: str) -> list[str]:
        """Of the host, those that may be connected to."""
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            try:
                both = [await self._resolver.addresses(host, family) for family in ("A", "AAAA")]
            except (NoSuchDomainError, LookupFailedError) as error:
                raise TaskFailed(f"{error}.") from error
            found = [address for answer in both for address in answer]
        allowed = [address for address in found if self._allow_private_hosts or is_public(address)]
        if not allowed:
            raise TaskFailed(f"{host} has no {'public ' if found else ''}address.")
        return allowed[:MAX_ADDRESSES]

    async def _ask(
        self, file: RemoteFile, addresses: list[str], deadline: float
    ) -> tuple[_Connection, http.client.HTTPResponse]:
        """The first of the addresses that answers."""
        because = ""
        for address in addresses:
            connection = _Connection(file, address)

            def ask(connection: _Connection = connection) -> http.client.HTTPResponse:
                headers = {"Accept-Encoding": "identity", "User-Agent": "Listfleet", "Connection": "close"}
                connection.request("GET", file.target, headers=headers)
                return connection.getresponse()

            try:
                return connection, await _in_thread(ask, deadline)
            except TaskFailed as failure:
                connection.break_off()
                because = str(failure)
            except BaseException:
                connection.break_off()
                raise
        raise TaskFailed(because)

    def _check(self, response: http.client.HTTPResponse) -> None:
        if response.status != 200:
            redirects = ", and no redirect is followed" if 300 <= response.status < 400 else ""
            raise TaskFailed(f"The host answered {response.status} {response.reason}{redirects}.")
        if response.getheader("Content-Encoding", "identity").lower() != "identity":
            raise TaskFailed("The file is compressed, which was not asked for.")
        if response.length is None and not response.chunked:
            raise TaskFailed("The host does not say where the file ends.")
        if response.length is not None and response.length > self._max_bytes:
            raise TaskFailed(f"The file is larger than {self._max_bytes:,} bytes.")


async def _in_thread(call: Callable[[], T], deadline: float) -> T:
    """What `call` returns; `TaskFailed` when it takes longer than until `deadline`, or the network fails."""
    try:
        async with asyncio.timeout_at(deadline):
            return await asyncio.to_thread(call)
    except TimeoutError as error:
        raise TaskFailed("The host took too long.") from error
    except (OSError, http.client.HTTPException) as error:
        raise TaskFailed(f"The host cannot be asked: {type(error).__name__}: {error}.") from error

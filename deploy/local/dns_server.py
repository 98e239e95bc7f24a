"""A DNS server on 127.0.0.1 that answers from the records that it was given."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

#: (name, type) to the records' texts; a name that stands nowhere does not exist. ("x.test", "ANY"): "SERVFAIL" or
#: "SILENCE" is how the server behaves for every question about the name.
Records = Mapping[tuple[str, str], list[str] | str]


def txt(text: str) -> str:
    """A TXT record's text in its strings of at most 255 octets."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


class DnsServer(asyncio.DatagramProtocol):
    def __init__(self, records: Records, ttl_seconds: int) -> None:
        self._records = records
        self._ttl_seconds = ttl_seconds
        self._transport: asyncio.DatagramTransport | None = None
        self.port = 0
        #: Every question, as "name TYPE".
        self.questions: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True)
        rdtype = dns.rdatatype.to_text(query.question[0].rdtype)
        self.questions.append(f"{name} {rdtype}")
        behaviour = self._records.get((name, "ANY"))
        if behaviour == "SILENCE" or self._transport is None:
            return
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if behaviour == "SERVFAIL":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif not any(known == name for known, _ in self._records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            self._answer(response, name, rdtype)
        self._transport.sendto(response.to_wire(max_size=65_535), addr)

    def _answer(self, response: dns.message.Message, name: str, rdtype: str) -> None:
        seen: set[str] = set()
        while (alias := self._records.get((name, "CNAME"))) and name not in seen:
            seen.add(name)
            response.answer.append(dns.rrset.from_text(name + ".", self._ttl_seconds, "IN", "CNAME", *alias))
            name = alias[0].rstrip(".")
        if texts := self._records.get((name, rdtype)):
            response.answer.append(dns.rrset.from_text_list(name + ".", self._ttl_seconds, "IN", rdtype, list(texts)))


@asynccontextmanager
async def dns_server(records: Records, *, ttl_seconds: int = 300) -> AsyncIterator[DnsServer]:
    loop = asyncio.get_running_loop()
    server = DnsServer(records, ttl_seconds)
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()


@contextmanager
def dns_server_in_a_thread(records: Records) -> Iterator[DnsServer]:
    """The same for those whose own thread waits for other processes."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="dns", daemon=True)
    thread.start()
    server = dns_server(records)
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()

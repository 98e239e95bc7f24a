"""The PROXY protocol, by HAProxy's specification: whom a proxy names, and proxies nobody trusts."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingress_smtp import connection
from shared.core.ingress_limits import IngressLimits
from tests.unit.ingress_smtp.smtp_client import running_ingress, until

POST = b"From: ann@example.org\r\nSubject: hello\r\n\r\nhello\r\n.\r\n"

V1 = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
IPV4 = bytes([192, 0, 2, 7, 192, 0, 2, 1, 18, 103, 0, 25])
IPV6 = bytes.fromhex("20010db8000000000000000000000007" * 2) + bytes([18, 103, 0, 25])


def v2(command: int, family: int, addresses: bytes, *, length: int | None = None) -> bytes:
    size = len(addresses) if length is None else length
    return SIGNATURE + bytes([0x20 | command, family]) + size.to_bytes(2, "big") + addresses


#: Header, and the client that it names.
HEADERS = {
    "v1 IPv4": (V1, "192.0.2.7"),
    "v1 IPv6": (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", "2001:db8::7"),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v1 unknown, the longest": (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", "127.0.0.1"),
    "v2 IPv4": (v2(1, 0x11, IPV4), "192.0.2.7"),
    "v2 IPv6": (v2(1, 0x21, IPV6), "2001:db8::7"),
    "v2 with more fields": (v2(1, 0x11, IPV4 + b"\x04\x00\x02hi" + b"\x20\x00\x00"), "192.0.2.7"),
    "v2 local": (v2(0, 0x00, b""), "127.0.0.1"),
    "v2 local with addresses": (v2(0, 0x11, IPV4), "127.0.0.1"),
    "v2 unspecified": (v2(1, 0x00, b"whatever"), "127.0.0.1"),
    "v2 Unix socket": (v2(1, 0x31, b"/tmp/a".ljust(108, b"\x00") * 2), "127.0.0.1"),
    "v2 datagrams": (v2(1, 0x12, IPV4), "127.0.0.1"),
}
GARBAGE = {
    "no header": b"EHLO client.test\r\n",
    "v1 cut short": b"PROXY TCP4\r\n",
    "v1 no addresses": b"PROXY TCP4 1 2 3 4\r\n",
    "v1 another family": b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 25\r\n",
    "v1 port too high": b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 25\r\n",
    "v1 two spaces": b"PROXY  TCP4 192.0.2.7 192.0.2.1 4711 25\r\n",
    "v1 bare line end": b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\n",
    "v1 too long": b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    "v1 without end": b"PROXY UNKNOWN " + b"f" * 200_000,
    "v2 another version": SIGNATURE + b"\x31\x11\x00\x0c" + IPV4,
    "v2 another command": v2(2, 0x11, IPV4),
    "v2 another family": v2(1, 0x41, IPV4),
    "v2 addresses too short": v2(1, 0x21, IPV4),
    "v2 another signature": SIGNATURE[:-1] + b"\r" + b"\x21\x11\x00\x0c" + IPV4,
}


@pytest.mark.parametrize(("header", "address"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("at_once", [1000, 1])
async def test_a_trusted_proxy_says_who_the_client_is(header: bytes, address: str, at_once: int) -> None:
    async with (
        running_ingress(is_trusted_proxy=lambda peer: peer == "127.0.0.1") as ingress,
        ingress.client(greeted=False) as client,
    ):
        for start in range(0, len(header), at_once):
            await client.send(header[start : start + at_once])
        assert (await client.reply()).startswith("220")
        await client.begin("dev@lists.test")
        await client.data(POST)
    assert ingress.intake.submissions[0].client.address == address


async def test_a_proxys_header_is_read_on_the_event_loop_that_services_run_on() -> None:
    await asyncio.to_thread(uvloop.run, test_a_trusted_proxy_says_who_the_client_is(*HEADERS["v2 IPv6"], 1000))


async def test_the_client_named_by_a_proxy_is_known_after_starttls(certificate: ssl.SSLContext) -> None:
    async with (
        running_ingress(is_trusted_proxy=lambda _: True, tls=certificate) as ingress,
        ingress.client(greeted=False) as client,
    ):
        await client.send(V1)
        await client.reply()
        await client.say("EHLO client.test")
        await client.say("STARTTLS")
        await client.start_tls()
        await client.begin("dev@lists.test")
        await client.data(POST)
    assert ingress.intake.submissions[0].client.address == "192.0.2.7"


@pytest.mark.parametrize("header", GARBAGE.values(), ids=GARBAGE)
async def test_a_trusted_proxy_that_does_not_say_it_is_cut_off(header: bytes) -> None:
    async with running_ingress(is_trusted_proxy=lambda _: True) as ingress:
        async with ingress.client(greeted=False) as client:
            await client.send(header + b"\r\n" * 200)
            assert await client.reply() == ""
        await until(lambda: ingress.server.session_count == 0)
        assert ingress.admission.busy_because() is None


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP6 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00"])
)
@settings(max_examples=60)
def test_whatever_a_proxy_says_the_session_ends_or_begins(rest: bytes, beginning: bytes) -> None:
    async def say_it() -> None:
        async with running_ingress(is_trusted_proxy=lambda _: True) as ingress:
            async with ingress.client(greeted=False) as client:
                await client.send(beginning + rest)
                client.writer.write_eof()
                assert (await client.reply())[:3] in ("220", "")
            await until(lambda: ingress.server.session_count == 0)

    asyncio.run(say_it())


@pytest.mark.parametrize("part", [b"", V1[:20], V1[:-1], v2(1, 0x11, IPV4)[:13], v2(1, 0x11, IPV4, length=200)])
async def test_a_header_that_never_ends_is_waited_for_a_while(part: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_PROXY_LINE_SECONDS", 0.05)
    async with running_ingress(is_trusted_proxy=lambda _: True) as ingress, ingress.client(greeted=False) as client:
        await client.send(part)
        assert (await client.reply()).startswith("421 4.4.2")
        await until(lambda: ingress.server.session_count == 0)


async def test_a_header_from_elsewhere_is_just_unknown_commands() -> None:
    async with running_ingress() as ingress, ingress.client() as client:
        assert (await client.say(V1.decode().strip())).startswith("500")
        await client.begin("dev@lists.test")
        await client.data(POST)
        await client.send(v2(1, 0x11, IPV4))
        assert [(await client.reply())[:3] for _ in range(4)] == ["500", "500", "500", "221"]
        assert await client.reply() == ""
    assert ingress.intake.submissions[0].client.address == "127.0.0.1"


async def test_clients_behind_a_proxy_are_counted_each_for_itself() -> None:
    async with running_ingress(is_trusted_proxy=lambda _: True) as ingress:
        ingress.admission.apply(IngressLimits(max_connections_per_peer=1, max_connections=3), is_draining=False)

        async def greeting(header: bytes) -> str:
            client = await asyncio.open_connection("127.0.0.1", ingress.server.port)
            connections.append(client)
            client[1].write(header)
            return (await client[0].readline()).decode()

        connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        neighbour = v2(1, 0x21, IPV6[:15] + b"\x08" + IPV6[16:])
        assert (await greeting(V1)).startswith("220")
        assert (await greeting(v2(1, 0x11, IPV4))).startswith("421 4.3.2 Too many sessions from your network")
        assert (await greeting(v2(1, 0x21, IPV6))).startswith("220")
        assert (await greeting(neighbour)).startswith("421 4.3.2 Too many sessions from your network")
        assert (await greeting(v2(0, 0, b""))).startswith("220"), "the proxy itself"
        assert (await greeting(b"PROXY TCP4 192.0.2.8 192.0.2.1 4711 25\r\n")).startswith(
            "421 4.3.2 Too many sessions,"
        )
        for _, writer in connections:
            writer.close()
        await until(lambda: ingress.server.session_count == 0)
        assert (await greeting(V1)).startswith("220"), "the places were given back"

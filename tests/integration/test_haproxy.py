"""HAProxy in front of ingress nodes, with the backend of `deploy/haproxy.cfg`."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from deploy.local.child import Child
from deploy.local.cluster import PROJECT
from deploy.local.ports import free_port
from shared.core.node import NodeKind
from shared.runtime import health
from shared.runtime.http import HttpServer
from shared.store import node_settings
from shared.store.engine import Database, RawConnection
from shared.store.node_settings import DEFAULTS
from tests.fakes.waiting import until
from tests.integration.ingress_process import RunningIngress, running_ingress

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")


@pytest.fixture
async def database(database_url: str, connection: RawConnection) -> AsyncIterator[Database]:
    store = Database(database_url, name="test", pool_size=2)
    yield store
    await store.close()


@asynccontextmanager
async def told_of_health(ingress: RunningIngress) -> AsyncIterator[int]:
    """The port where the node's `/readyz` is."""
    port = free_port()
    server = HttpServer(health.application(ingress.process.readiness), "127.0.0.1", port)
    serving = asyncio.create_task(server.run())
    await until(lambda: server.is_listening)
    try:
        yield port
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def balancer(folder: Path, nodes: list[tuple[int, int]]) -> AsyncIterator[int]:
    """HAProxy's port. The nodes, by their ports of SMTP and health, stand where containers are found by their name."""
    port = free_port()
    lines = (PROJECT / "deploy" / "haproxy.cfg").read_text().splitlines()
    backend = lines[lines.index("backend ingress") : lines.index("backend ingress_alive")]
    assert [line for line in backend if "server-template" in line] == [
        "    server-template ingress 1-16 ingress:2525 send-proxy-v2"
    ]
    servers = [
        f"    server ingress{number} 127.0.0.1:{smtp} check port {told} inter 200ms fall 2 rise 1 send-proxy-v2"
        for number, (smtp, told) in enumerate(nodes)
    ]
    file = folder / "haproxy.cfg"
    file.write_text(
        "\n".join(
            [
                "global\n    log stderr format raw daemon info",
                "defaults\n    timeout connect 2s\n    retries 3\n    option redispatch 1",
                f"frontend smtp\n    mode tcp\n    timeout client 11m\n    bind 127.0.0.1:{port}",
                "    default_backend ingress",
                *(line for line in backend if "server-template" not in line),
                *servers,
                "",
            ]
        )
    )
    child = Child("haproxy", [str(HAPROXY), "-f", file], folder / "haproxy.log")
    child.start()
    try:
        yield port
    finally:
        child.stop()


async def test_clients_go_to_nodes_that_are_not_busy_and_are_known_by_their_own_address(
    database: Database, database_url: str, broker_url: str, tmp_path: Path
) -> None:
    async def set_node(name: str, **settings: object) -> None:
        async with database.transaction() as session:
            await node_settings.configure(session, NodeKind.INGRESS, name, settings)

    async with AsyncExitStack() as stack:
        ports = []
        for name in ("mx1", "mx2"):
            own = {"node_name": name, "hostname": name, "proxy_protocol_from": "127.0.0.1"}
            ingress = await stack.enter_async_context(running_ingress(database_url, broker_url, **own))
            ports.append((ingress.port, await stack.enter_async_context(told_of_health(ingress))))
        port = await stack.enter_async_context(balancer(tmp_path, ports))

        async def greeting(address: str = "127.0.0.1", *, stays: bool = False) -> str:
            """Which node greets, or what it says instead."""
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            except ConnectionError:
                return ""  # HAProxy does not listen yet.
            line = (await reader.readline()).decode()
            if stays:
                stack.callback(writer.close)
            else:
                writer.close()
            return line.split()[1] if line.startswith("220") else line

        async def are_served_by(*names: str) -> None:
            async def is_so() -> bool:
                return {await greeting() for _ in range(6)} == set(names)

            await until(is_so, within_seconds=20)

        await are_served_by("mx1", "mx2")
        await set_node("mx1", accepting_enabled=False)
        await are_served_by("mx2")
        await set_node("mx1", accepting_enabled=True)
        await are_served_by("mx1", "mx2")

        async def is_refused_by_both() -> bool:
            lines = [await greeting("127.0.0.5") for _ in range(6)]
            return all(line.startswith("421 4.3.2 Too many sessions from your network") for line in lines)

        assert {await greeting("127.0.0.5", stays=True) for _ in range(2)} == {"mx1", "mx2"}
        await set_node(DEFAULTS, max_connections_per_peer=1)
        await until(is_refused_by_both)
        assert await greeting("127.0.0.6") in ("mx1", "mx2")

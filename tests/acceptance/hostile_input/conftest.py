"""One cluster for all that attackers send. Peers at 127.0.0.1 are believed; others, if SPF vouches for the author."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest

from deploy.local.dns_server import Records, dns_server_in_a_thread
from deploy.local.live_cluster import LiveCluster
from deploy.local.ports import LOOPBACK
from tests.acceptance.hostile_input.arrivals import wait_until_settled
from tests.fakes.certificates import write_certificate

RECORDS: Records = {
    ("victims.test", "TXT"): ['"v=spf1 -all"'],
    ("_dmarc.victims.test", "TXT"): ['"v=DMARC1; p=reject"'],
}


@pytest.fixture(scope="package")
async def exposed(
    make_cluster: Callable[[str], AbstractAsyncContextManager[LiveCluster]], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveCluster]:
    pem = str(write_certificate(tmp_path_factory.mktemp("tls") / "both.pem", "ingress.test"))
    async with make_cluster("hostile-input") as cluster:
        with dns_server_in_a_thread(RECORDS) as dns:
            public_url = f"http://{LOOPBACK}:{cluster.tracking_port}"
            cluster.start_admin(public_url=public_url)
            cluster.start_ingress(
                tls_certificate=pem,
                tls_key=pem,
                trusted_networks=LOOPBACK,
                dns_resolver=f"{LOOPBACK}:{dns.port}",
                max_message_bytes="8388608",
            )
            cluster.start_scheduler(public_url=public_url)
            cluster.start_tracking(public_url=public_url)
            cluster.start_outbound(1, public_url=public_url)
            cluster.processes.wait_until_ready()
            yield cluster


@pytest.fixture
def cluster(exposed: LiveCluster) -> Iterator[LiveCluster]:
    """The cluster with nothing at its sink yet. When a story ends, all its mail is sent, and every process lives."""
    exposed.sink.reset()
    exposed.sink.keeps_contents = True
    yield exposed
    wait_until_settled(exposed)
    assert {service.exit_code for service in exposed.processes.services} == {None}

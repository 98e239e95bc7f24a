from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.contracts.events import NodeSettingsChanged
from shared.core.node import NodeKind
from shared.core.tls_policy import TlsPolicy
from shared.store import nodes
from shared.store.nodes import Vitals
from tests.fakes.admin_client import AdminClient, admin_client, let_in


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client
        for policy in (await client.get("/tls-policies")).json()["items"]:
            await client.delete(f"/tls-policies/{policy['domain']}")


async def test_a_policy_is_read_by_the_nodes_with_their_configuration(api: AdminClient) -> None:
    async with api.database.raw() as connection:
        lease = await nodes.register(connection, NodeKind.OUTBOUND, "outbound-with-tls")
        assert lease is not None
        before = await nodes.renew(connection, lease, Vitals())
    assert before is not None
    assert before.tls_policies == {}

    made = await api.put("/tls-policies/Bücher.test", json={"policy": "required"})
    assert made.status_code == 200, made.text
    assert (made.json()["domain"], made.json()["policy"]) == ("xn--bcher-kva.test", "required")
    await api.put("/tls-policies/*.example.net", json={"policy": "required"})
    await api.put("/tls-policies/*", json={"policy": "opportunistic"})
    assert api.announced[-1] == NodeSettingsChanged()

    async with api.database.raw() as connection:
        after = await nodes.renew(connection, lease, Vitals())
    assert after is not None
    assert after.tls_policies == {
        "xn--bcher-kva.test": TlsPolicy.REQUIRED,
        "*.example.net": TlsPolicy.REQUIRED,
        "*": TlsPolicy.OPPORTUNISTIC,
    }


async def test_a_policy_is_shown_changed_and_forgotten(api: AdminClient) -> None:
    await api.put("/tls-policies/example.com", json={"policy": "required"})
    await api.put("/tls-policies/example.com", json={"policy": "opportunistic"})
    shown = (await api.get("/tls-policies/EXAMPLE.com")).json()
    assert shown["policy"] == "opportunistic"
    assert (await api.get("/tls-policies")).json() == {"items": [shown], "next": None}
    assert (await api.delete("/tls-policies/example.com")).status_code == 204
    assert (await api.delete("/tls-policies/example.com")).status_code == 404
    assert (await api.get("/tls-policies/example.com")).status_code == 404


@pytest.mark.parametrize("domain", ["not a domain", "a..b", "**.example.com", "*example.com", "192.0.2.1", "@"])
async def test_what_is_no_domain_is_refused(api: AdminClient, domain: str) -> None:
    assert (await api.put(f"/tls-policies/{domain}", json={"policy": "required"})).status_code == 422


async def test_what_is_no_policy_is_refused(api: AdminClient) -> None:
    for body in ({"policy": "none"}, {}, {"policy": "required", "node": "outbound-1"}):
        assert (await api.put("/tls-policies/example.com", json=body)).status_code == 422

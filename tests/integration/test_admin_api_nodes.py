from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from shared.contracts.events import NodeSettingsChanged
from shared.core.ingress_limits import Busy, BusyBecause
from shared.core.limits import HeldBack, Limit
from shared.core.node import LeftBecause, NodeKind
from shared.store import nodes
from shared.store.nodes import Lease, Vitals
from tests.fakes.admin_client import AdminClient, admin_client, let_in

_numbers = itertools.count(1)
BUILT_IN = {
    "sending_enabled": True,
    "lanes": None,
    "max_connections": 20,
    "max_connections_per_host": None,
    "max_messages_per_second": None,
    "max_messages_per_hour": None,
    "max_megabits_per_second": None,
    "prefetch_batches": 4,
}
BUILT_IN_OF_INGRESS = {
    "accepting_enabled": True,
    "max_connections": 4000,
    "max_connections_per_peer": 50,
    "max_messages_per_second": None,
}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client
        for kind in ("outbound", "ingress"):
            await client.delete("/node-defaults", params={"kind": kind})


async def _running(api: AdminClient, kind: NodeKind = NodeKind.OUTBOUND) -> Lease:
    async with api.database.raw() as connection:
        lease = await nodes.register(connection, kind, f"{kind.value}-test-{next(_numbers)}")
    assert lease is not None
    return lease


async def _obeyed(api: AdminClient, lease: Lease, vitals: Vitals | None = None) -> nodes.Configuration:
    """What the node reads with its next sign of life."""
    async with api.database.raw() as connection:
        configuration = await nodes.renew(connection, lease, vitals or Vitals())
    assert configuration is not None
    return configuration


async def test_a_node_is_shown_with_what_it_last_said_of_itself(api: AdminClient) -> None:
    lease = await _running(api)
    await _obeyed(api, lease, Vitals(50.0, 12.5, 7, 90))
    shown = (await api.get(f"/nodes/{lease.name}")).json()
    assert shown | {"name": lease.name, "kind": "outbound", "state": "live"} == shown
    assert (shown["capacity_per_second"], shown["rate_per_second"]) == (50.0, 12.5)
    assert (shown["open_connections"], shown["unstarted"]) == (7, 90)
    assert shown["settings"] == {"kind": "outbound", "own": {}, "effective": BUILT_IN}
    assert shown in (await api.get("/nodes")).json()


async def test_a_node_is_shown_with_what_holds_it_back(api: AdminClient) -> None:
    lease = await _running(api)
    since_at = datetime(2026, 1, 1, 12, 0, 3, tzinfo=UTC)
    held_back = HeldBack(Limit.MAX_MESSAGES_PER_SECOND, since_at, 1234)
    await _obeyed(api, lease, Vitals(megabits_per_second=2.5, held_back=[held_back]))
    shown = (await api.get(f"/nodes/{lease.name}")).json()
    assert shown["megabits_per_second"] == 2.5
    (answer,) = shown["held_back"]
    assert (answer["limit"], answer["recipients"]) == ("max_messages_per_second", 1234)
    assert datetime.fromisoformat(answer["since_at"]) == since_at
    await _obeyed(api, lease)
    assert (await api.get(f"/nodes/{lease.name}")).json()["held_back"] == []


async def test_lanes_are_shown_as_they_were_set_and_as_they_are_in_force(api: AdminClient) -> None:
    answer = await api.patch("/nodes/outbound-78/settings", json={"lanes": ["bulk", "express"]})
    assert answer.json() == {
        "kind": "outbound",
        "own": {"lanes": ["bulk", "express"]},
        "effective": BUILT_IN | {"lanes": ["express", "bulk"]},
    }
    answer = await api.patch("/nodes/outbound-78/settings", json={"lanes": None})
    assert answer.json() == {"kind": "outbound", "own": {"lanes": None}, "effective": BUILT_IN}


async def test_a_node_that_left_is_shown_with_when_and_why(api: AdminClient) -> None:
    lease = await _running(api)
    async with api.database.raw() as connection:
        await nodes.leave(connection, lease.incarnation, LeftBecause.LOST)
    shown = (await api.get(f"/nodes/{lease.name}")).json()
    assert (shown["state"], shown["left_because"]) == ("left", "lost")
    assert shown["left_at"] is not None


async def test_a_scheduler_has_no_limits_of_sending(api: AdminClient) -> None:
    lease = await _running(api, NodeKind.SCHEDULER)
    assert (await api.get(f"/nodes/{lease.name}")).json()["settings"] is None


async def test_a_setting_for_a_scheduler_is_refused(api: AdminClient) -> None:
    lease = await _running(api, NodeKind.SCHEDULER)
    answer = await api.patch(f"/nodes/{lease.name}/settings", json={"max_connections": 3})
    assert answer.status_code == 422
    assert answer.json()["detail"] == f"{lease.name} is a scheduler, and a scheduler has no settings."


async def test_an_ingress_node_is_shown_with_its_sessions_its_rate_and_why_it_is_busy(api: AdminClient) -> None:
    lease = await _running(api, NodeKind.INGRESS)
    since_at = datetime(2026, 1, 1, 12, 0, 3, tzinfo=UTC)
    busy = Busy(BusyBecause.MAX_CONNECTIONS, since_at)
    await _obeyed(api, lease, Vitals(rate_per_second=12.5, open_connections=7, busy=busy))
    shown = (await api.get(f"/nodes/{lease.name}")).json()
    assert shown | {"kind": "ingress", "rate_per_second": 12.5, "open_connections": 7} == shown
    assert shown["busy"]["because"] == "max_connections"
    assert datetime.fromisoformat(shown["busy"]["since_at"]) == since_at
    assert shown["settings"] == {"kind": "ingress", "own": {}, "effective": BUILT_IN_OF_INGRESS}
    await _obeyed(api, lease)
    assert (await api.get(f"/nodes/{lease.name}")).json()["busy"] is None
    async with api.database.raw() as connection:
        await nodes.leave(connection, lease.incarnation, LeftBecause.DRAINED)


async def test_an_ingress_node_has_settings_and_defaults_of_its_own(api: AdminClient) -> None:
    lease, sender = await _running(api, NodeKind.INGRESS), await _running(api)
    await api.patch(
        "/node-defaults", params={"kind": "ingress"}, json={"max_connections": 9, "accepting_enabled": False}
    )
    changed = await api.patch(f"/nodes/{lease.name}/settings", json={"max_connections_per_peer": None})
    assert changed.json() == {
        "kind": "ingress",
        "own": {"max_connections_per_peer": None},
        "effective": BUILT_IN_OF_INGRESS
        | {"max_connections": 9, "accepting_enabled": False, "max_connections_per_peer": None},
    }
    obeyed = await _obeyed(api, lease)
    assert json.loads(obeyed.defaults_json) == {"max_connections": 9, "accepting_enabled": False}
    assert json.loads(obeyed.own_json) == {"max_connections_per_peer": None}
    assert (await _obeyed(api, sender)).defaults_json == "{}", "another kind has other defaults"
    async with api.database.raw() as connection:
        assert await nodes.configuration_for(connection, NodeKind.INGRESS, lease.name) == obeyed
    assert (await api.delete(f"/nodes/{lease.name}/settings")).json()["own"] == {}


async def test_the_kind_of_a_name_that_no_node_has_is_its_slots_or_said_or_outbound(api: AdminClient) -> None:
    limit = {"max_connections": 3}
    assert (await api.patch("/nodes/ingress-77/settings", json=limit)).json()["kind"] == "ingress"
    assert (await api.patch("/nodes/hamburg/settings", json=limit)).json()["kind"] == "outbound"
    said = {"kind": "ingress"}
    await api.patch("/nodes/hamburg/settings", params=said, json={"accepting_enabled": False})
    assert (await api.get("/nodes/hamburg/settings", params=said)).json()["own"] == {"accepting_enabled": False}
    assert (await api.get("/nodes/hamburg/settings")).json()["own"] == limit
    async with api.database.raw() as connection:
        assert await nodes.register(connection, NodeKind.INGRESS, "hamburg")
    assert (await api.get("/nodes/hamburg/settings")).json()["own"] == {"accepting_enabled": False}
    answer = await api.get("/nodes/hamburg/settings", params={"kind": "outbound"})
    assert (answer.status_code, answer.json()["detail"]) == (422, "hamburg is an ingress node.")


@pytest.mark.parametrize(
    ("path", "change", "sentence"),
    [
        ("/nodes/ingress-5/settings", {"sending_enabled": False}, "of outbound nodes, not of ingress nodes."),
        ("/nodes/ingress-5/settings", {"lanes": ["bulk"]}, "of outbound nodes, not of ingress nodes."),
        ("/nodes/outbound-5/settings", {"accepting_enabled": True}, "of ingress nodes, not of outbound nodes."),
        ("/node-defaults", {"max_connections_per_peer": 5}, "of ingress nodes, not of outbound nodes."),
        ("/node-defaults?kind=ingress", {"prefetch_batches": 5}, "of outbound nodes, not of ingress nodes."),
    ],
)
async def test_a_setting_of_another_kind_of_node_is_refused_with_the_kinds_name(
    api: AdminClient, path: str, change: dict[str, object], sentence: str
) -> None:
    answer = await api.patch(path, json=change | {"max_connections": 5})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error == {"pointer": f"#/{next(iter(change))}", "detail": f"This is a setting {sentence}"}
    assert (await api.get(path)).json()["own"] == {}
    assert api.announced == []


async def test_a_setting_is_a_row_first_and_then_told_to_the_nodes(api: AdminClient) -> None:
    lease = await _running(api)
    answer = await api.patch(f"/nodes/{lease.name}/settings", json={"max_messages_per_second": 20})
    assert answer.json() == {
        "kind": "outbound",
        "own": {"max_messages_per_second": 20},
        "effective": BUILT_IN | {"max_messages_per_second": 20},
    }
    assert api.announced == [NodeSettingsChanged(node_name=lease.name)]
    assert json.loads((await _obeyed(api, lease)).own_json) == {"max_messages_per_second": 20}


async def test_absent_stays_null_is_unlimited_and_the_rest_is_inherited(api: AdminClient) -> None:
    lease = await _running(api)
    path = f"/nodes/{lease.name}/settings"
    await api.patch("/node-defaults", json={"max_connections": 5, "prefetch_batches": 2})
    await api.patch(path, json={"max_connections": None})
    answer = await api.patch(path, json={"sending_enabled": False})
    assert answer.json()["own"] == {"max_connections": None, "sending_enabled": False}
    assert answer.json()["effective"] == BUILT_IN | {
        "max_connections": None,
        "sending_enabled": False,
        "prefetch_batches": 2,
    }
    assert (await api.get(path)).json() == answer.json()


async def test_a_node_inherits_everything_again_when_its_settings_are_deleted(api: AdminClient) -> None:
    lease = await _running(api)
    path = f"/nodes/{lease.name}/settings"
    await api.patch(path, json={"max_connections": 1, "sending_enabled": False})
    api.announced.clear()
    assert (await api.delete(path)).json() == {"kind": "outbound", "own": {}, "effective": BUILT_IN}
    assert api.announced == [NodeSettingsChanged(node_name=lease.name)]
    assert (await _obeyed(api, lease)).own_json == "{}"


async def test_the_defaults_hold_for_all_nodes_and_can_be_taken_back(api: AdminClient) -> None:
    changed = await api.patch("/node-defaults", json={"max_messages_per_second": 0.5})
    assert changed.json()["effective"] == BUILT_IN | {"max_messages_per_second": 0.5}
    assert (await api.get("/node-defaults")).json() == changed.json()
    assert api.announced == [NodeSettingsChanged()]
    assert (await api.get("/nodes/nobody-yet/settings")).json()["effective"]["max_messages_per_second"] == 0.5
    assert (await api.delete("/node-defaults")).json() == {"kind": "outbound", "own": {}, "effective": BUILT_IN}


async def test_settings_can_be_made_for_a_node_that_is_yet_to_come(api: AdminClient) -> None:
    answer = await api.patch("/nodes/outbound-77/settings", json={"max_connections": 3})
    assert answer.status_code == 200
    async with api.database.raw() as connection:
        lease = await nodes.register(connection, NodeKind.OUTBOUND, "outbound-77")
    assert lease is not None
    assert (await _obeyed(api, lease)).own_json == '{"max_connections": 3}'


@pytest.mark.parametrize("path", ["/nodes/outbound-5/settings", "/node-defaults"])
@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"max_connections": 0}, "max_connections"),
        ({"max_messages_per_second": 0}, "max_messages_per_second"),
        ({"max_messages_per_second": -1}, "max_messages_per_second"),
        ({"max_messages_per_second": "20"}, "max_messages_per_second"),
        ({"max_connections": 2.5}, "max_connections"),
        ({"prefetch_batches": None}, "prefetch_batches"),
        ({"sending_enabled": None}, "sending_enabled"),
        ({"sending_enabled": "off"}, "sending_enabled"),
        ({"lanes": ["slow"]}, "lanes"),
        ({"lanes": []}, "lanes"),
        ({"max_connections_per_host": 0}, "max_connections_per_host"),
        ({"max_messages_per_hour": 0}, "max_messages_per_hour"),
        ({"max_messages_per_hour": 0.5}, "max_messages_per_hour"),
        ({"max_megabits_per_second": 0}, "max_megabits_per_second"),
        ({"accepting_enabled": "off"}, "accepting_enabled"),
        ({"max_connections_per_peer": 0}, "max_connections_per_peer"),
        ({"node": "outbound-1"}, "node"),
    ],
)
async def test_a_setting_that_cannot_be_is_refused(
    api: AdminClient, path: str, change: dict[str, object], name: str
) -> None:
    answer = await api.patch(path, json={**change, "max_connections": change.get("max_connections", 5)})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == f"#/{name}"
    assert "sending_enabled (outbound) or accepting_enabled" in error["detail"] or 0 not in change.values()
    assert (await api.get("/nodes/outbound-5/settings")).json()["own"] == {}
    assert api.announced == []


async def test_a_node_is_drained_until_it_is_resumed(api: AdminClient) -> None:
    lease = await _running(api)
    assert (await api.post(f"/nodes/{lease.name}/drain")).json()["state"] == "draining"
    assert (await _obeyed(api, lease)).is_draining
    assert (await api.post(f"/nodes/{lease.name}/resume")).json()["state"] == "live"
    assert not (await _obeyed(api, lease)).is_draining
    assert api.announced == [NodeSettingsChanged(node_name=lease.name)] * 2


async def test_resuming_keeps_the_settings_and_deleting_them_keeps_the_draining(api: AdminClient) -> None:
    lease = await _running(api)
    await api.patch(f"/nodes/{lease.name}/settings", json={"max_connections": 3})
    await api.post(f"/nodes/{lease.name}/drain")
    await api.post(f"/nodes/{lease.name}/resume")
    assert (await api.get(f"/nodes/{lease.name}/settings")).json()["own"] == {"max_connections": 3}
    await api.post(f"/nodes/{lease.name}/drain")
    await api.delete(f"/nodes/{lease.name}/settings")
    assert (await api.get(f"/nodes/{lease.name}")).json()["state"] == "draining"


async def test_a_node_nobody_configures_any_more_is_forgotten_after_it_left(api: AdminClient) -> None:
    lease = await _running(api)
    await api.patch(f"/nodes/{lease.name}/settings", json={"max_connections": 3})
    await api.post(f"/nodes/{lease.name}/drain")
    async with api.database.raw() as connection:
        await nodes.leave(connection, lease.incarnation, LeftBecause.DRAINED)
        await nodes.forget_left(connection, after_seconds=-1)
    assert (await api.get(f"/nodes/{lease.name}")).status_code == 200
    await api.post(f"/nodes/{lease.name}/resume")
    await api.delete(f"/nodes/{lease.name}/settings")
    async with api.database.raw() as connection:
        await nodes.forget_left(connection, after_seconds=-1)
    assert (await api.get(f"/nodes/{lease.name}")).status_code == 404


async def test_a_node_that_nobody_knows_is_not_drained(api: AdminClient) -> None:
    assert (await api.post("/nodes/outbound-99/drain")).status_code == 404
    assert (await api.get("/nodes/outbound-99")).status_code == 404

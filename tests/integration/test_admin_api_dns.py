"""Hosts are stated, the plan has their records, and the check says what the DNS has of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import dns.zone
import pytest

from deploy.local.dns_server import DnsServer, dns_server, txt
from shared.core.dns.plan import PublicHost, plan
from shared.dns.check import check
from shared.dns.resolver import Resolver
from tests.fakes.admin_client import KEY_ROOM, AdminClient, admin_client, let_in

Records = dict[tuple[str, str], list[str] | str]

MX1 = {"addresses": ["192.0.2.10", "2001:db8::10"], "mx_preference": 10}
MX2 = {"addresses": ["192.0.2.11"], "mx_preference": 50, "is_sending": True}
CLICK = {"addresses": ["192.0.2.10", "192.0.2.11"], "is_tracking": True}


@pytest.fixture
def records() -> Records:
    """What stands in the DNS; a test may change it at any time."""
    return {}


@pytest.fixture
async def server(records: Records) -> AsyncIterator[DnsServer]:
    async with dns_server(records) as running:
        yield running


@pytest.fixture
async def api(database_url: str, server: DnsServer) -> AsyncIterator[AdminClient]:
    resolver = Resolver(("127.0.0.1", server.port), lifetime_seconds=1, cache_size=0)
    async with admin_client(database_url, KEY_ROOM, partial(check, resolver=resolver)) as client:
        await let_in(client)
        for host in (await client.get("/dns/hosts")).json():
            await client.delete(f"/dns/hosts/{host['host']}")
        yield client


async def stated(api: AdminClient) -> None:
    """The three hosts, the list domain example.org, and a key for it."""
    for name, host in (("mx1", MX1), ("mx2", MX2), ("click", CLICK)):
        answer = await api.put(f"/dns/hosts/{name}.example.org", json=host)
        assert answer.status_code == 200, answer.text
    await api.new_list()
    await api.post("/dkim-keys", json={"domain": "example.org", "selector": "key"})


async def publish(api: AdminClient, records: Records) -> None:
    """All that is planned, from the plan's zone file."""
    text = (await api.get("/dns/plan", params={"format": "zone"})).text
    zone = dns.zone.from_text(text, ".", relativize=False, check_origin=False)
    for name, _, rdata in zone.iterate_rdatas():
        texts = records.setdefault((str(name)[:-1], rdata.rdtype.name), [])
        assert isinstance(texts, list)
        texts.append(rdata.to_text())


async def checked(api: AdminClient, **parameters: str) -> dict[str, Any]:
    answer = await api.get("/dns/check", params=parameters)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def not_right(api: AdminClient) -> list[tuple[str, str, str, list[str], str]]:
    return [
        (finding["name"], finding["type"], finding["state"], finding["found"], finding["mend"])
        for finding in (await checked(api))["findings"]
        if finding["state"] != "right"
    ]


async def test_a_host_is_stated_shown_changed_and_forgotten(api: AdminClient) -> None:
    made = await api.put("/dns/hosts/MX.Bücher.test", json={"addresses": ["2001:DB8:0::1"], "mx_preference": 0})
    assert made.status_code == 200, made.text
    assert (made.json()["host"], made.json()["addresses"]) == ("mx.xn--bcher-kva.test", ["2001:db8::1"])
    changed = await api.put("/dns/hosts/mx.bücher.test.", json={"addresses": ["192.0.2.1"], "is_tracking": True})
    assert (await api.get("/dns/hosts/mx.bücher.test")).json() == changed.json()
    assert (await api.get("/dns/hosts")).json() == [changed.json()]
    assert (changed.json()["mx_preference"], changed.json()["is_tracking"]) == (None, True)
    assert (await api.delete("/dns/hosts/mx.bücher.test")).status_code == 204
    assert (await api.delete("/dns/hosts/mx.bücher.test")).status_code == 404
    assert (await api.get("/dns/hosts/mx.bücher.test")).status_code == 404


@pytest.mark.parametrize(
    ("host", "body"),
    [
        ("a b.test", MX1),
        ("localhost", MX1),
        ("*.example.org", MX1),
        ("_x.example.org", MX1),
        ("192.0.2.1", MX1),
        ("h.test", {"addresses": [], "mx_preference": 1}),
        ("h.test", {"addresses": ["192.0.2.1"]}),
        ("h.test", {"addresses": ["192.0.2.1", "192.0.2.1"], "mx_preference": 1}),
        ("h.test", {"addresses": ["2001:db8::1", "2001:DB8::1"], "mx_preference": 1}),
        ("h.test", {"addresses": ["192.0.2.1"], "mx_preference": 65_536}),
        ("h.test", {"addresses": ["192.0.2.1"], "mx_preference": -1}),
        ("h.test", {"addresses": ["192.0.2.1"], "mx_preference": 1, "node": "ingress-1"}),
        *[
            ("h.test", {"addresses": [address], "mx_preference": 1})
            for address in (".".join("0000"), "192.0.2.0/24", "192.0.2.300", "h.test", "::", "224.0.0.1", "ff02::1", 17,
                            "fe80::1%eth0", "::ffff:192.0.2.1", "169.254.1.1", "192.0.2.1\n", "255.255.255.255", None)
        ],
    ],
)  # fmt: skip
async def test_what_cannot_stand_in_the_dns_is_refused(api: AdminClient, host: str, body: dict[str, Any]) -> None:
    answer = await api.put(f"/dns/hosts/{host}", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"]


async def test_an_address_that_sends_has_one_name(api: AdminClient) -> None:
    sending = {"addresses": ["192.0.2.1"], "is_sending": True}
    assert (await api.put("/dns/hosts/a.test", json=sending)).status_code == 200
    assert (await api.put("/dns/hosts/b.test", json=sending)).status_code == 409
    assert (await api.put("/dns/hosts/a.test", json=sending)).status_code == 200
    statuses = []
    for net in range(6):
        addresses = [f"198.51.{net}.{number}" for number in range(50)]
        answer = await api.put(f"/dns/hosts/n{net}.test", json={"addresses": addresses, "is_sending": True})
        statuses.append(answer.status_code)
    assert statuses == [200] * 5 + [409]


async def test_a_domain_has_at_most_twenty_exchangers(api: AdminClient) -> None:
    statuses = [
        (await api.put(f"/dns/hosts/m{n}.test", json={"addresses": ["192.0.2.1"], "mx_preference": 10})).status_code
        for n in range(21)
    ]
    assert statuses == [200] * 20 + [409]
    changed = await api.put("/dns/hosts/m0.test", json={"addresses": ["192.0.2.2"], "mx_preference": 20})
    assert changed.status_code == 200


async def test_the_plan_has_the_records_of_hosts_and_domains(api: AdminClient) -> None:
    await stated(api)
    whole = (await api.get("/dns/plan")).json()
    values = {(record["name"], record["type"], record["value"]) for record in whole["records"]}
    assert {
        ("click.example.org", "A", "192.0.2.11"),
        ("mx1.example.org", "AAAA", "2001:db8::10"),
        ("example.org", "MX", "10 mx1.example.org"),
        ("example.org", "MX", "50 mx2.example.org"),
        ("example.org", "TXT", "v=spf1 ip4:192.0.2.11 ~all"),
        ("mx2.example.org", "TXT", "v=spf1 ip4:192.0.2.11 -all"),
        ("11.2.0.192.in-addr.arpa", "PTR", "mx2.example.org"),
    } <= values
    assert [r["purpose"] for r in whole["records"] if r["name"] == "key._domainkey.example.org"] == ["signing_key"]
    assert all(60 <= record["ttl_seconds"] <= 86_400 for record in whole["records"])
    assert "300 seconds" in whole["caching"]

    zone = await api.get("/dns/plan", params={"format": "zone", "zone": "example.org"})
    assert zone.headers["content-type"].startswith("text/dns")
    lines = [line for line in zone.text.splitlines() if not line.startswith(";")]
    assert lines == [r["zone_line"] for r in whole["records"] if r["name"].endswith("example.org")]
    reverse = await api.get("/dns/plan", params={"zone": "2.0.192.IN-ADDR.arpa."})
    assert [record["type"] for record in reverse.json()["records"]] == ["PTR"]
    for wrong in ({"zone": "a b"}, {"format": "xml"}, {"node": "x"}):
        assert (await api.get("/dns/plan", params=wrong)).status_code == 422


async def test_the_record_of_a_retired_key_is_planned_for_another_week(api: AdminClient) -> None:
    await stated(api)
    made = await api.post("/dkim-keys", json={"domain": "example.org"})
    key, name = made.json()["id"], made.json()["record"]["name"]
    await api.post(f"/dkim-keys/{key}/retire")
    for days, is_planned in ((0, True), (6, True), (8, False)):
        async with api.database.raw() as connection:
            statement = "UPDATE dkim_keys SET retired_at = now() - make_interval(days => $2) WHERE id = $1"
            await connection.execute(statement, key, days)
        names = {record["name"] for record in (await api.get("/dns/plan")).json()["records"]}
        assert (name in names) == is_planned


async def test_where_nothing_is_planned_nothing_is_right(api: AdminClient) -> None:
    assert (await checked(api, zone="nowhere.test"))["is_right"] is False


async def test_what_was_published_as_planned_is_right(api: AdminClient, records: Records) -> None:
    await stated(api)
    before = await checked(api)
    assert set(before["counts"]) == {"missing"}
    assert all(finding["mend"].startswith("Add ") for finding in before["findings"])
    await publish(api, records)
    after = await checked(api)
    assert [finding for finding in after["findings"] if finding["state"] != "right"] == []
    assert (after["is_right"], after["counts"]) == (True, {"right": len(before["findings"])})


async def test_each_thing_that_is_wrong_is_found_with_its_mend(api: AdminClient, records: Records) -> None:
    await stated(api)
    await publish(api, records)
    key = "key._domainkey.example.org"
    records["example.org", "MX"] = ["10 mx1.example.org.", "10 mx2.example.org.", "20 old.example.org."]
    records["mx1.example.org", "A"] = ["192.0.2.99"]
    records["example.org", "TXT"] = ['"unrelated"', '"v=spf1 include:provider.test -all"']
    records["provider.test", "TXT"] = ['"v=spf1 ip4:203.0.113.0/24 -all"']
    records[key, "TXT"] = [txt("v=DKIM1; k=rsa; p=AAAA")]
    records["_dmarc.example.org", "TXT"] = ['"v=DMARC1; p=reject"']
    records["11.2.0.192.in-addr.arpa", "PTR"] = ["pool-11.provider.test."]
    del records["_smtp._tls.example.org", "TXT"]
    records["click.example.org", "ANY"] = "SERVFAIL"

    found = {(name, kind, state): (there, mend) for name, kind, state, there, mend in await not_right(api)}
    assert found.pop(("example.org", "MX", "wrong")) == (
        ["20 old.example.org"],
        "Remove the MX 20 old.example.org of example.org, or state the host: mail that goes there does not come to this"
        " cluster.",
    )
    assert found.pop(("mx1.example.org", "A", "wrong")) == (
        ["192.0.2.99"],
        "Change the A record 192.0.2.99 of mx1.example.org to 192.0.2.10.",
    )
    assert found.pop(("example.org", "TXT", "wrong")) == (
        ["v=spf1 include:provider.test -all"],
        'Change the SPF record of example.org to ( "v=spf1 ip4:192.0.2.11 include:provider.test -all" )',
    )
    there, mend = found.pop((key, "TXT", "wrong"))
    assert there == ["v=DKIM1; k=rsa; p=AAAA"]
    assert mend.startswith("The record's p= is another key: let the one record there be key._domainkey.example.org. ")
    assert found.pop(("11.2.0.192.in-addr.arpa", "PTR", "wrong"))[0] == ["pool-11.provider.test"]
    assert found.pop(("_smtp._tls.example.org", "TXT", "missing"))[0] == []
    assert "click.example.org" in found.pop(("click.example.org", "A", "unknown"))[1]
    assert found == {}
    # The two MX findings of one name share a key above.
    assert [f[3] for f in await not_right(api) if f[1] == "MX"] == [["10 mx2.example.org"], ["20 old.example.org"]]


async def test_a_check_of_one_zone_asks_only_about_it(api: AdminClient, server: DnsServer, records: Records) -> None:
    await stated(api)
    await publish(api, records)
    server.questions.clear()
    assert [f["purpose"] for f in (await checked(api, zone="192.in-addr.arpa"))["findings"]] == ["reverse_name"]
    assert server.questions == ["11.2.0.192.in-addr.arpa PTR"]


async def test_a_question_that_many_records_raise_is_asked_once(
    api: AdminClient, server: DnsServer, records: Records
) -> None:
    await stated(api)
    await publish(api, records)
    server.questions.clear()
    await checked(api)
    assert sorted(server.questions) == sorted(set(server.questions))


async def test_a_silent_dns_takes_bounded_time_and_says_unknown(
    api: AdminClient, server: DnsServer, records: Records
) -> None:
    await stated(api)
    planned = (await api.get("/dns/plan")).json()["records"]
    records.update({(record["name"], "ANY"): "SILENCE" for record in planned})
    async with asyncio.timeout(10):
        found = await checked(api)
    assert (found["is_right"], set(found["counts"])) == (False, {"unknown"})
    assert all("Check again later" in finding["mend"] for finding in found["findings"])


async def test_the_whole_check_ends_in_time_however_many_questions_there_are(
    server: DnsServer, records: Records
) -> None:
    hosts = [
        PublicHost(f"h{n}.silent.test", (f"192.0.2.{n}",), n, is_tracking=False, is_sending=False) for n in range(200)
    ]
    records.update({(host.name, "ANY"): "SILENCE" for host in hosts})
    resolver = Resolver(("127.0.0.1", server.port), lifetime_seconds=1, cache_size=0)
    async with asyncio.timeout(15):  # the questions one after another take minutes
        findings = await check(plan(hosts, (), ()).records, resolver, timeout_seconds=1.5)
    assert len(findings) == 200
    assert {str(finding.state) for finding in findings} == {"unknown"}
    assert any("too slow" in (finding.mend or "") for finding in findings)

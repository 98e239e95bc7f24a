from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
from structlog.testing import capture_logs

from services.admin_api.app import application
from services.admin_api.auth import FIRST_TOKEN_NAME, FirstToken
from shared.contracts.base import Payload
from shared.runtime.consequences import Consequences
from shared.runtime.preflight import Preflight
from shared.runtime.specimens import Specimens
from shared.store import tokens
from shared.store.engine import Database
from tests.fakes.admin_client import (
    KEY_ROOM,
    LINKS,
    SUBSCRIPTIONS,
    TOKEN,
    AdminClient,
    admin_client,
    let_in,
    nothing_checked,
)
from tests.fakes.dns import FakeResolver

_JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[AdminClient]:
    async with admin_client(database_url) as client:
        await let_in(client)
        yield client


def _is_problem(answer: httpx.Response, status: int) -> bool:
    body = answer.json()
    return (
        answer.status_code == status == body["status"]
        and answer.headers["content-type"] == "application/problem+json"
        and bool(body["title"] and body["detail"] and body["type"] == "about:blank")
    )


async def test_every_operation_needs_a_token(api: AdminClient) -> None:
    description = (await api.get("http://api/openapi.json")).json()
    operations = [(method, path) for path, found in description["paths"].items() for method in found]
    assert len(operations) > 20
    for method, path in operations:
        path = path.replace("{mailing_id}", "1").replace("{message_id}", "0" * 32)
        for authorization in ({}, {"Authorization": "Bearer another-token-of-the-tests"}, {"Authorization": "Basic x"}):
            request = api.build_request(method, f"http://api{path}", content=b"{", headers={"Authorization": ""})
            request.headers.update(authorization)
            answer = await api.send(request)
            assert _is_problem(answer, 401), (method, path, answer.text)
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_documentation_needs_no_token_and_nothing_from_elsewhere(api: AdminClient) -> None:
    page = await api.get("http://api/docs", headers={"Authorization": ""})
    assert page.status_code == 200
    assert "/api/v1/nodes/{name}/settings" in page.text
    assert "<script" not in page.text
    assert "src=" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (await api.get("http://api/openapi.json", headers={"Authorization": ""})).status_code == 200


async def test_every_field_of_every_schema_is_described(api: AdminClient) -> None:
    schemas = (await api.get("http://api/openapi.json")).json()["components"]["schemas"]
    silent = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, kind in schema.get("properties", {}).items()
        if not kind.get("description")
    ]
    assert silent == []


_NODE_LIMITS = {
    "max_connections": "connections open at once",
    "max_connections_per_host": "to one destination host",
    "max_messages_per_second": "per second",
    "max_messages_per_hour": "per hour",
    "max_megabits_per_second": "1,000,000 bits per second",
    "prefetch_batches": "Batches",
    "lanes": "lanes",
    "sending_enabled": "takes recipients",
}
_DOMAIN_LIMITS = {
    "connections": "connections open at once",
    "messages_per_minute": "in any 60 seconds",
    "messages_per_connection": "on one connection",
}
UNITS = {
    "NodeSettings": _NODE_LIMITS,
    "OutboundSettings": _NODE_LIMITS,
    "DomainLimitSettings": _DOMAIN_LIMITS,
    "DomainLimitAnswer": {**_DOMAIN_LIMITS, "slowed_to_per_minute": "in any 60 seconds"},
    "NewList": {"max_messages_per_hour": "in any hour"},
    "ListChange": {"max_messages_per_hour": "in any hour"},
    "ListAnswer": {"max_messages_per_hour": "in any hour"},
    "NodeAnswer": {
        "rate_per_second": "per second",
        "megabits_per_second": "1,000,000 bits per second",
        "capacity_per_second": "per second",
        "held_back": "limits",
    },
    "HeldBackAnswer": {"limit": "setting", "since_at": "Since when", "recipients": "Recipients"},
}


async def test_every_limit_is_described_with_its_unit(api: AdminClient) -> None:
    schemas = (await api.get("http://api/openapi.json")).json()["components"]["schemas"]
    without = [
        f"{schema}.{field}"
        for schema, units in UNITS.items()
        for field, unit in units.items()
        if unit.lower() not in " ".join(schemas[schema]["properties"][field]["description"].lower().split())
    ]
    assert without == []


async def test_every_parameter_of_every_operation_is_described(api: AdminClient) -> None:
    paths = (await api.get("http://api/openapi.json")).json()["paths"]
    parameters = [
        (method, path, parameter)
        for path, operations in paths.items()
        for method, operation in operations.items()
        for parameter in operation.get("parameters", [])
    ]
    assert len(parameters) > 20
    assert [(method, path, p["name"]) for method, path, p in parameters if not p.get("description")] == []


async def test_every_body_refuses_fields_that_it_does_not_know(api: AdminClient) -> None:
    description = (await api.get("http://api/openapi.json")).json()
    bodies = {
        # A body that may be absent is this or null.
        content["schema"].get("anyOf", [content["schema"]])[0]["$ref"].rpartition("/")[2]
        for operations in description["paths"].values()
        for operation in operations.values()
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
        if media_type == "application/json"
    }
    assert len(bodies) > 4
    for name in bodies:
        assert description["components"]["schemas"][name]["additionalProperties"] is False


async def test_no_request_can_name_a_sending_node(api: AdminClient) -> None:
    address = await api.new_list()
    naming = {"node": "outbound-1"}
    answers = [
        await api.post("/lists", json={"name": "x", "domain": "example.org", **naming}),
        await api.patch(f"/lists/{address}", json=naming),
        await api.post(f"/lists/{address}/members", json={"email": "a@example.com", **naming}),
        await api.patch("/node-defaults", json=naming),
        await api.patch("/nodes/outbound-1/settings", json=naming),
        await api.post("/suppressions", json={"email": "a@example.com", **naming}),
        await api.get("/mailings", params=naming),
        await api.post("/nodes/outbound-1/drain", params=naming),
        await api.get("/mailings/1/deliveries", params=naming),
        await api.post(f"/lists/{address}/members/import", params=naming, headers={"Content-Type": "text/csv"}),
    ]
    for answer in answers:
        assert _is_problem(answer, 422), answer.text
        assert [error.get("pointer") or error.get("parameter") for error in answer.json()["errors"]] in (
            ["#/node"],
            ["node"],
        )


async def test_a_body_that_nobody_reads_is_refused(api: AdminClient) -> None:
    assert _is_problem(await api.post("/nodes/outbound-1/resume", json={"node": "outbound-2"}), 422)
    assert _is_problem(await api.request("DELETE", "/node-defaults", content=b"x"), 422)


async def test_there_is_no_way_to_make_a_mailing_for_a_node(api: AdminClient) -> None:
    assert _is_problem(await api.post("/mailings", json={"node": "outbound-1"}), 405)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"\xff\xfe",
        b'{"name": NaN, "domain": "example.org"}',
        b"[" * 100_000,
        b'{"name":' * 20_000,
        b'{"name": ' + b"9" * 5000 + b"}",
        b'{"name": "\\ud800", "domain": "example.org"}',
    ],
)
async def test_a_body_that_is_no_fitting_json_is_a_problem_of_the_client(api: AdminClient, content: bytes) -> None:
    answer = await api.post("/lists", content=content, headers=_JSON)
    assert answer.status_code in (400, 422)
    assert _is_problem(answer, answer.status_code)


async def test_a_body_without_the_type_of_json_is_refused(api: AdminClient) -> None:
    content = json.dumps({"name": "team", "domain": "example.org"})
    assert _is_problem(await api.post("/lists", content=content, headers={"Content-Type": "text/plain"}), 422)


async def test_a_body_above_a_megabyte_is_refused_before_it_is_read(api: AdminClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65536

    assert _is_problem(await api.post("/lists", content=b" " * 1_048_577, headers=_JSON), 413)
    assert _is_problem(await api.post("/lists", content=endless(), headers=_JSON), 413)
    assert _is_problem(await api.patch("/node-defaults", content=endless(), headers=_JSON), 413)


async def test_a_compressed_body_is_refused(api: AdminClient) -> None:
    assert _is_problem(await api.post("/lists", content=b"x", headers=_JSON | {"Content-Encoding": "gzip"}), 415)


async def test_unknown_paths_and_methods_are_problems_too(api: AdminClient) -> None:
    assert _is_problem(await api.get("/nothing"), 404)
    assert _is_problem(await api.get("http://api/elsewhere"), 404)
    put = await api.put("/lists", json={})
    assert _is_problem(put, 405)
    assert "GET" in put.headers["allow"]


@pytest.mark.parametrize(
    "path",
    [
        "/mailings/0",
        "/mailings/abc",
        "/mailings/99999999999999999999",
        "/mailings/1/deliveries?state=sending",
        "/messages/x",
        "/lists/a%00b@example.org",
        "/lists?after=%00",
        "/suppressions?after=a%0Ab",
        "/lists/a@example.org/members/a%00@example.com",
        "/nodes/*/settings",
        "/nodes/a%20b",
    ],
)
async def test_a_parameter_that_cannot_be_is_refused(api: AdminClient, path: str) -> None:
    answer = await api.get(path)
    assert _is_problem(answer, 422)
    assert answer.json()["errors"][0]["parameter"]


async def test_our_own_fault_is_a_problem_document_that_tells_no_secrets(api: AdminClient, database_url: str) -> None:
    class Broken(Database):
        def transaction(self):  # type: ignore[no-untyped-def]
            raise RuntimeError("a secret")

    broken = Broken(database_url, name="test")

    async def announce(_event: Payload) -> None: ...

    async def publish(_queue: str, _payload: Payload) -> bool:
        return True

    async def follow(_what: Consequences) -> None: ...

    preflight = Preflight(broken, FakeResolver({}), has_pages=True)
    specimens = Specimens(LINKS, None)
    app = application(broken, announce, publish, KEY_ROOM, nothing_checked, SUBSCRIPTIONS, follow, preflight, specimens)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=api.headers) as client:
        answer = await client.get("/api/v1/lists")
    assert _is_problem(answer, 500)
    assert "secret" not in answer.text


async def test_without_a_database_every_operation_answers_503(unused_tcp_url: str) -> None:
    async with admin_client(unused_tcp_url) as client:
        for method, path in (
            ("GET", "/lists"),
            ("GET", "/nodes"),
            ("PATCH", "/node-defaults"),
            ("POST", "/lists/a@example.org/members/import"),
        ):
            with capture_logs() as told:
                answer = await client.request(method, path, content=b"{}", headers=_JSON)
            assert _is_problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
            assert [line["error"] for line in told if "refused" in line["error"].lower()], "the log says why"


@pytest.fixture
def unused_tcp_url(unused_tcp_port: int) -> str:
    return f"postgresql://nobody:nothing@127.0.0.1:{unused_tcp_port}/nothing"


async def test_a_database_that_goes_away_in_an_import_is_told_with_what_is_stored(api: AdminClient) -> None:
    address = await api.new_list()

    async with api.database.raw() as connection:
        await connection.execute(
            "CREATE FUNCTION down(email text) RETURNS boolean LANGUAGE plpgsql AS"
            " $$ BEGIN IF email LIKE 'n%' THEN RAISE EXCEPTION 'shutting down' USING ERRCODE = '57P01'; END IF;"
            " RETURN true; END $$"
        )

    async def interrupted() -> AsyncIterator[bytes]:
        yield b"email\n" + b"".join(b"m%d@example.com\n" % number for number in range(2000))
        async with api.database.raw() as connection:
            await connection.execute("ALTER TABLE members ADD CONSTRAINT is_up CHECK (down(email)) NOT VALID")
        yield b"".join(b"n%d@example.com\n" % number for number in range(2000))

    try:
        headers = {"Content-Type": "text/csv"}
        with capture_logs() as told:
            answer = await api.post(f"/lists/{address}/members/import", content=interrupted(), headers=headers)
    finally:
        async with api.database.raw() as connection:
            await connection.execute("ALTER TABLE members DROP CONSTRAINT IF EXISTS is_up")
    assert _is_problem(answer, 503)
    assert any("shutting down" in line["error"] for line in told), "the log says why"
    assert answer.json()["stored_to_line"] == 2001
    assert answer.json()["so_far"]["added"] == 2000
    assert "2001" in answer.json()["detail"]


async def test_the_first_token_of_the_settings_takes_the_place_of_the_one_before(api: AdminClient) -> None:
    async with api.database.transaction() as session:
        await tokens.ensure(session, "somebody-else's-token", name="another")
    first = FirstToken(api.database, "a-new-token-of-the-settings")
    await first.look()
    async with api.database.transaction() as session:
        assert await tokens.is_known(session, "a-new-token-of-the-settings")
        assert await tokens.is_known(session, "somebody-else's-token")
        assert not await tokens.is_known(session, TOKEN)
        await tokens.ensure(session, TOKEN, name=FIRST_TOKEN_NAME)


async def test_tokens_are_stored_as_hashes(api: AdminClient) -> None:
    async with api.database.raw() as connection:
        rows = await connection.fetch("SELECT t::text AS row FROM api_tokens t")
    assert rows
    assert not [row for row in rows if TOKEN in row["row"] or TOKEN.encode().hex() in row["row"]]

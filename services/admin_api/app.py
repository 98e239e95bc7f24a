"""The application: routes, errors, documentation."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.responses import HTMLResponse, RedirectResponse

from services.admin_api import docs_page, openapi, problems
from services.admin_api.announcing import Announce
from services.admin_api.routes import (
    deliveries,
    delivery_exports,
    digests,
    dkim_keys,
    dns,
    domain_limits,
    held_posts,
    lists,
    mailings,
    member_exports,
    member_imports,
    members,
    messages,
    newsletter_attachments,
    newsletter_life,
    newsletter_looks,
    newsletter_templates,
    newsletters,
    node_defaults,
    nodes,
    notice_templates,
    parked,
    segments,
    statistics,
    subscription_requests,
    suppressions,
    tasks,
    tls_policies,
)
from services.admin_api.routes.dkim_keys import KeyRoom
from services.admin_api.routes.dns import CheckDns
from services.admin_api.routes.parked import Publish
from services.admin_api.routes.subscription_requests import Follow
from shared.runtime.preflight import Preflight
from shared.runtime.specimens import Specimens
from shared.runtime.subscriptions import Subscriptions
from shared.store.engine import Database

BASE = "/api/v1"

#: In this order: a member's address takes whatever path is left.
_RESOURCES = (
    lists,
    notice_templates,
    subscription_requests,
    member_imports,
    member_exports,
    members,
    digests,
    mailings,
    deliveries,
    delivery_exports,
    newsletters,
    newsletter_life,
    newsletter_attachments,
    newsletter_looks,
    newsletter_templates,
    messages,
    held_posts,
    suppressions,
    parked,
    segments,
    statistics,
    dkim_keys,
    dns,
    nodes,
    node_defaults,
    domain_limits,
    tls_policies,
    tasks,
)


def application(
    database: Database,
    announce: Announce,
    publish: Publish,
    key_room: KeyRoom,
    check_dns: CheckDns,
    subscriptions: Subscriptions,
    follow: Follow,
    preflight: Preflight,
    specimens: Specimens,
    sync_places: Collection[str] = (),
) -> FastAPI:
    """The API on `database`, telling the nodes of changes through `announce`, handing payloads to the queues through
    `publish`, making signing keys with `key_room`, comparing planned records with the DNS through `check_dns`, and
    deciding about requests with `subscriptions`, with what follows from that by `follow`, looking at newsletters with
    `preflight` and `specimens`; members may be read from files at `sync_places`."""
    app = FastAPI(
        title="Listfleet",
        version="1",
        description="The operator's API. Every request but those for this documentation carries a bearer token.",
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        # A path is written one way.
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.database = database
    app.state.announce = announce
    app.state.publish = publish
    app.state.key_room = key_room
    app.state.sync_places = sync_places
    app.state.check_dns = check_dns
    app.state.subscriptions = subscriptions
    app.state.follow = follow
    app.state.preflight = preflight
    app.state.specimens = specimens
    for resource in _RESOURCES:
        app.include_router(resource.router, prefix=BASE)
    problems.install(app)
    openapi.install(app)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page.page(app.openapi()), headers=docs_page.HEADERS)

    @app.get("/", include_in_schema=False)
    async def entrance() -> RedirectResponse:
        return RedirectResponse("/docs")

    return app


def _operation_id(route: APIRoute) -> str:
    return route.name

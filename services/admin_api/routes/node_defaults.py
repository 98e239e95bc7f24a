"""The settings of all nodes of a kind for which nothing else was set."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, BackgroundTasks, Query

from services.admin_api.announcing import Announcing
from services.admin_api.checked_route import CheckedRoute
from services.admin_api.routes.lists import Store
from services.admin_api.routes.nodes import changes_for, settings_of
from services.admin_api.schemas.node_settings import SETTINGS_OF, NodeSettings, SettingsAnswer
from shared.contracts.events import NodeSettingsChanged
from shared.core.node import NodeKind
from shared.store import node_settings
from shared.store.node_settings import DEFAULTS

router = APIRouter(prefix="/node-defaults", tags=["Nodes"], route_class=CheckedRoute)

Kind = Annotated[Literal["outbound", "ingress"], Query(description="The kind of node that the defaults are for.")]


@router.get("")
async def get_defaults(database: Store, kind: Kind = "outbound") -> SettingsAnswer:
    """The defaults that were set for a kind of node, and what follows from them."""
    async with database.transaction() as session:
        return await settings_of(session, NodeKind(kind), DEFAULTS)


@router.patch("")
async def change_defaults(
    database: Store, change: NodeSettings, announce: Announcing, background: BackgroundTasks, kind: Kind = "outbound"
) -> SettingsAnswer:
    """Set defaults of a kind of node, in force within 2 seconds at every one that has no setting of its own."""
    changes = changes_for(NodeKind(kind), change)
    async with database.transaction() as session:
        await node_settings.configure(session, NodeKind(kind), DEFAULTS, changes)
        answer = await settings_of(session, NodeKind(kind), DEFAULTS)
    background.add_task(announce, NodeSettingsChanged())
    return answer


@router.delete("")
async def reset_defaults(
    database: Store, announce: Announcing, background: BackgroundTasks, kind: Kind = "outbound"
) -> SettingsAnswer:
    """Go back to the defaults that are built in."""
    async with database.transaction() as session:
        await node_settings.configure(session, NodeKind(kind), DEFAULTS, {}, inherit=SETTINGS_OF[NodeKind(kind)])
        answer = await settings_of(session, NodeKind(kind), DEFAULTS)
    background.add_task(announce, NodeSettingsChanged())
    return answer

"""The settings of all nodes for which nothing else was set."""

from __future__ import annotations

from fastapi import APIRouter, BackgroundTasks

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.routes.lists import Store
from services.admin_api.routes.nodes import Announcing, settings_of
from services.admin_api.schemas.nodes import NodeSettings, SettingsAnswer
from shared.contracts.events import NodeSettingsChanged
from shared.core.limits import SETTINGS
from shared.store import node_settings
from shared.store.node_settings import DEFAULTS

router = APIRouter(prefix="/node-defaults", tags=["Nodes"], route_class=CheckedRoute)


@router.get("")
async def get_defaults(database: Store) -> SettingsAnswer:
    """The defaults that were set, and what follows from them."""
    async with database.transaction() as session:
        return await settings_of(session, await node_settings.configuration_of(session, DEFAULTS))


@router.patch("")
async def change_defaults(
    database: Store, change: NodeSettings, announce: Announcing, background: BackgroundTasks
) -> SettingsAnswer:
    """Set defaults, in force within 2 seconds at every node that has no setting of its own."""
    async with database.transaction() as session:
        await node_settings.configure(session, DEFAULTS, change.model_dump(exclude_unset=True))
        answer = await settings_of(session, await node_settings.configuration_of(session, DEFAULTS))
    background.add_task(announce, NodeSettingsChanged())
    return answer


@router.delete("")
async def reset_defaults(database: Store, announce: Announcing, background: BackgroundTasks) -> SettingsAnswer:
    """Go back to the defaults that are built in."""
    async with database.transaction() as session:
        await node_settings.configure(session, DEFAULTS, {}, inherit=SETTINGS)
        answer = await settings_of(session, await node_settings.configuration_of(session, DEFAULTS))
    background.add_task(announce, NodeSettingsChanged())
    return answer

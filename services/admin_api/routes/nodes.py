"""Nodes, their settings, and draining. A change is a row first; then the nodes are told to look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, cast

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Request

from services.admin_api.checked_route import CheckedRoute
from services.admin_api.problems import Problem
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.nodes import (
    EffectiveSettings,
    HeldBackAnswer,
    NodeAnswer,
    NodeSettings,
    NodeStanding,
    SettingsAnswer,
)
from shared.contracts.base import Payload
from shared.contracts.events import NodeSettingsChanged
from shared.core.limits import SETTINGS, limits_from
from shared.core.node import NodeKind, NodeState
from shared.store import node_settings, nodes
from shared.store.engine import Session
from shared.store.node_settings import DEFAULTS, NodeConfiguration
from shared.store.nodes import Node

#: Tells all processes of a change and never raises: whoever does not hear it reads the rows soon.
Announce = Callable[[Payload], Awaitable[None]]

router = APIRouter(prefix="/nodes", tags=["Nodes"], route_class=CheckedRoute)

NodeName = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="The node's name, running or not.")
]


def announce_of(request: Request) -> Announce:
    return cast(Announce, request.app.state.announce)


Announcing = Annotated[Announce, Depends(announce_of)]


@router.get("")
async def get_nodes(database: Store) -> list[NodeAnswer]:
    """All nodes that are there, and those that left, for a day or as long as they are configured."""
    async with database.transaction() as session:
        return [await _answer(session, node) for node in await nodes.all_nodes(session)]


@router.get("/{name}")
async def get_node(database: Store, name: NodeName) -> NodeAnswer:
    """One node."""
    async with database.transaction() as session:
        return await _answer(session, await _node_at(session, name))


@router.get("/{name}/settings")
async def get_settings(database: Store, name: NodeName) -> SettingsAnswer:
    """What is set for a name, whether or not such a node is running, and what follows from it."""
    async with database.transaction() as session:
        return await settings_of(session, await node_settings.configuration_of(session, name))


@router.patch("/{name}/settings")
async def change_settings(
    database: Store, name: NodeName, change: NodeSettings, announce: Announcing, background: BackgroundTasks
) -> SettingsAnswer:
    """Set limits of a node, in force within 2 seconds and kept over restarts; also for a node that is yet to come."""
    async with database.transaction() as session:
        await node_settings.configure(session, name, change.model_dump(exclude_unset=True))
        answer = await settings_of(session, await node_settings.configuration_of(session, name))
    background.add_task(announce, NodeSettingsChanged(node_name=name))
    return answer


@router.delete("/{name}/settings")
async def inherit_settings(
    database: Store, name: NodeName, announce: Announcing, background: BackgroundTasks
) -> SettingsAnswer:
    """Let the node inherit everything again."""
    async with database.transaction() as session:
        await node_settings.configure(session, name, {}, inherit=SETTINGS)
        await node_settings.forget_empty_configuration(session, name)
        answer = await settings_of(session, await node_settings.configuration_of(session, name))
    background.add_task(announce, NodeSettingsChanged(node_name=name))
    return answer


@router.post("/{name}/drain")
async def drain(database: Store, name: NodeName, announce: Announcing, background: BackgroundTasks) -> NodeAnswer:
    """Let the node take nothing more and finish what it started, until it is resumed, over restarts too."""
    return await _set_draining(database, name, announce, background, is_draining=True)


@router.post("/{name}/resume")
async def resume(database: Store, name: NodeName, announce: Announcing, background: BackgroundTasks) -> NodeAnswer:
    """Let the node take work again."""
    return await _set_draining(database, name, announce, background, is_draining=False)


async def _set_draining(
    database: Store, name: str, announce: Announce, background: BackgroundTasks, *, is_draining: bool
) -> NodeAnswer:
    async with database.transaction() as session:
        node = await _node_at(session, name)
        await node_settings.set_draining(session, name, is_draining=is_draining)
        await node_settings.forget_empty_configuration(session, name)
        answer = await _answer(session, node)
    background.add_task(announce, NodeSettingsChanged(node_name=name))
    return answer


async def settings_of(session: Session, configuration: NodeConfiguration) -> SettingsAnswer:
    """What is set there, over the defaults and what is built in."""
    defaults = await node_settings.configuration_of(session, DEFAULTS)
    limits = limits_from(defaults.settings, configuration.settings)
    own = {name: value for name, value in configuration.settings.items() if name in SETTINGS}
    return SettingsAnswer(own=own, effective=EffectiveSettings.model_validate(limits))


async def _node_at(session: Session, name: str) -> Node:
    found = await nodes.find(session, name)
    if found is None:
        raise Problem(404, f"There is no node {name}, and none left within a day.")
    return found


async def _answer(session: Session, node: Node) -> NodeAnswer:
    configuration = await node_settings.configuration_of(session, node.name)
    standing = NodeStanding(node.state.value)
    if node.state is NodeState.LIVE and configuration.is_draining:
        standing = NodeStanding.DRAINING
    return NodeAnswer(
        name=node.name,
        kind=node.kind,
        state=standing,
        started_at=node.started_at,
        renewed_at=node.renewed_at,
        left_at=node.left_at,
        left_because=node.left_because,
        rate_per_second=node.rate_per_second,
        megabits_per_second=node.megabits_per_second,
        capacity_per_second=node.capacity_per_second,
        open_connections=node.open_connections,
        unstarted=node.unstarted,
        held_back=[HeldBackAnswer.model_validate(held_back) for held_back in node.held_back],
        settings=await settings_of(session, configuration) if node.kind is NodeKind.OUTBOUND else None,
    )

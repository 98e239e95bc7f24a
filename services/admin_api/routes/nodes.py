"""Nodes, their settings, and draining. A change is a row first; then the nodes are told to look.

Settings belong to a name and the kind of node that has it. Of a name that no node has yet the kind is what the request
says, or what its slot's name says (`ingress-2`), or outbound.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, BackgroundTasks, Path, Query

from services.admin_api.announcing import Announce, Announcing
from services.admin_api.checked_route import CheckedRoute
from services.admin_api.problems import Problem, wrong_part
from services.admin_api.routes.lists import Store
from services.admin_api.schemas.node_settings import (
    SETTINGS_OF,
    IngressSettings,
    NodeSettings,
    OutboundSettings,
    SettingsAnswer,
)
from services.admin_api.schemas.nodes import BusyAnswer, HeldBackAnswer, NodeAnswer, NodeStanding
from shared.contracts.events import NodeSettingsChanged
from shared.core.ingress_limits import ingress_limits_from
from shared.core.limits import limits_from
from shared.core.node import NodeKind, NodeState
from shared.store import node_settings, nodes
from shared.store.engine import Session
from shared.store.node_settings import DEFAULTS
from shared.store.nodes import Node

router = APIRouter(prefix="/nodes", tags=["Nodes"], route_class=CheckedRoute)

NodeName = Annotated[
    str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$", description="The node's name, running or not.")
]
#: What a request may say of the kind.
AskedKind = Annotated[
    Literal["outbound", "ingress"] | None,
    Query(
        description="The kind of node. It need not be said of a name that a node has, nor of a slot's (`ingress-2`);"
        " else it is outbound."
    ),
]


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
async def get_settings(database: Store, name: NodeName, kind: AskedKind = None) -> SettingsAnswer:
    """What is set for a name, whether or not such a node is running, and what follows from it."""
    async with database.transaction() as session:
        return await settings_of(session, await _kind_of(session, name, kind), name)


@router.patch("/{name}/settings")
async def change_settings(
    database: Store,
    name: NodeName,
    change: NodeSettings,
    announce: Announcing,
    background: BackgroundTasks,
    kind: AskedKind = None,
) -> SettingsAnswer:
    """Set limits of a node, in force within 2 seconds and kept over restarts; also for a node that is yet to come.

    Outbound and ingress nodes have different settings: each says whose it is. One of another kind is refused.
    """
    async with database.transaction() as session:
        found = await _kind_of(session, name, kind)
        await node_settings.configure(session, found, name, changes_for(found, change))
        answer = await settings_of(session, found, name)
    background.add_task(announce, NodeSettingsChanged(node_name=name))
    return answer


@router.delete("/{name}/settings")
async def inherit_settings(
    database: Store, name: NodeName, announce: Announcing, background: BackgroundTasks, kind: AskedKind = None
) -> SettingsAnswer:
    """Let the node inherit everything again."""
    async with database.transaction() as session:
        found = await _kind_of(session, name, kind)
        await node_settings.configure(session, found, name, {}, inherit=SETTINGS_OF[found])
        await node_settings.forget_empty_configuration(session, found, name)
        answer = await settings_of(session, found, name)
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
        await node_settings.set_draining(session, node.kind, name, is_draining=is_draining)
        await node_settings.forget_empty_configuration(session, node.kind, name)
        answer = await _answer(session, node)
    background.add_task(announce, NodeSettingsChanged(node_name=name))
    return answer


def changes_for(kind: NodeKind, change: NodeSettings) -> dict[str, object]:
    """What the request changes. `Problem` 422 when some of it is no setting of this kind of node."""
    changes = change.model_dump(exclude_unset=True)
    errors = [
        wrong_part(["body", name], f"This is a setting of {_kinds_with(name)} nodes, not of {kind.value} nodes.")
        for name in changes
        if name not in SETTINGS_OF[kind]
    ]
    if errors:
        raise Problem(422, f"These are settings of {kind.value} nodes: see errors.", errors=errors)
    return changes


def _kinds_with(name: str) -> str:
    return " and ".join(kind.value for kind, names in SETTINGS_OF.items() if name in names)


async def settings_of(session: Session, kind: NodeKind, name: str) -> SettingsAnswer:
    """What is set there, over the defaults and what is built in."""
    defaults = (await node_settings.configuration_of(session, kind, DEFAULTS)).settings
    settings = (await node_settings.configuration_of(session, kind, name)).settings
    effective = (
        IngressSettings.model_validate(ingress_limits_from(defaults, settings))
        if kind is NodeKind.INGRESS
        else OutboundSettings.model_validate(limits_from(defaults, settings))
    )
    own = {name: value for name, value in settings.items() if name in SETTINGS_OF[kind]}
    return SettingsAnswer(kind=kind, own=own, effective=effective)


async def _kind_of(session: Session, name: str, asked: str | None) -> NodeKind:
    """The kind of the node of this name; `Problem` 422 when it has no settings, or another was asked for."""
    node = await nodes.find(session, name)
    if node is None:
        by_slot = NodeKind.INGRESS if name.startswith("ingress-") else NodeKind.OUTBOUND
        return NodeKind(asked) if asked else by_slot
    if node.kind not in SETTINGS_OF:
        raise Problem(422, f"{name} is a {node.kind.value}, and a {node.kind.value} has no settings.")
    if asked not in (None, node.kind.value):
        sentence = f"{name} is an {node.kind.value} node."
        raise Problem(422, sentence, errors=[wrong_part(["query", "kind"], sentence)])
    return node.kind


async def _node_at(session: Session, name: str) -> Node:
    found = await nodes.find(session, name)
    if found is None:
        raise Problem(404, f"There is no node {name}, and none left within a day.")
    return found


async def _answer(session: Session, node: Node) -> NodeAnswer:
    configuration = await node_settings.configuration_of(session, node.kind, node.name)
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
        busy=BusyAnswer.model_validate(node.busy) if node.busy else None,
        settings=await settings_of(session, node.kind, node.name) if node.kind in SETTINGS_OF else None,
    )

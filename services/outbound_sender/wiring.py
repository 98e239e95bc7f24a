"""The outbound sender's object graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import structlog

from services.outbound_sender.answers import Answers
from services.outbound_sender.backlog import Backlog
from services.outbound_sender.connecting import Connections
from services.outbound_sender.connection import Timeouts
from services.outbound_sender.copies import WireContent
from services.outbound_sender.dialing import is_ours
from services.outbound_sender.key_ring import KeyRing
from services.outbound_sender.limits import Limiter
from services.outbound_sender.next_hop import MxRoute, NextHop, RelayRoute
from services.outbound_sender.node import OutboundNode
from services.outbound_sender.outcomes import Recorder
from services.outbound_sender.pipeline import Pipeline
from services.outbound_sender.rendering import Renderer
from services.outbound_sender.settings import OutboundSettings
from services.outbound_sender.slots import Slots
from services.outbound_sender.source_addresses import SourceAddresses
from services.outbound_sender.stop_list import StopList
from services.outbound_sender.taking import Taker
from services.outbound_sender.transport import Login, Terms
from shared.broker.connection import BrokerUnavailable
from shared.broker.consumer import Consumer, ControlListener, Handler, Received, reader_of
from shared.broker.publisher import Publisher
from shared.contracts.commands import SendBatch
from shared.contracts.events import DeliveriesCancelled
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.delivery import Outcome
from shared.core.node import NodeKind
from shared.dns.mx import MxLookup
from shared.dns.resolver import Resolver
from shared.runtime.lease import LeaseKeeper
from shared.runtime.lifecycle import Process
from shared.runtime.settings import host_and_port
from shared.store import contents, dkim_keys
from shared.store.claims import Recipient
from shared.store.contents import MailingContent
from shared.store.dkim_keys import ActiveKey
from shared.store.engine import Database
from shared.store.patience import until_available

_log = structlog.get_logger(__name__)


def build(settings: OutboundSettings) -> Process:
    """An outbound node; nothing connects before the process starts."""
    name = settings.node_name or "outbound"
    database = Database(settings.database_url, name=name, pool_size=6)
    lease_database = Database(settings.database_url, name=f"{name} lease", pool_size=1)
    publisher = Publisher(settings.amqp_url, name=name)
    limiter = Limiter(has_one_host=settings.delivery == "relay")
    backlog = Backlog(_destination(settings))
    stops = StopList()
    node = OutboundNode(backlog, limiter, stops)
    limiter.places.on_room = backlog.has_room

    async def load(mailing_id: int) -> MailingContent:
        async with database.raw() as connection:
            content = await contents.load(connection, mailing_id)
        if content is None:
            raise LookupError(f"mailing {mailing_id} does not exist")
        return content

    async def active_keys(domain: str) -> Sequence[ActiveKey]:
        async with database.raw() as connection:
            return await dkim_keys.active(connection, domain)

    secret = settings.secret.encode()
    renderer = Renderer(
        load,
        KeyRing(active_keys, secret).keys,
        secret=secret,
        links=settings.links,
        tracked_links=settings.tracked_links,
    )

    async def cancel_elsewhere(to_cancel: Mapping[int, tuple[int, ...]]) -> None:
        for batch_id, delivery_ids in to_cancel.items():
            try:
                await publisher.broadcast(DeliveriesCancelled(batch_id, delivery_ids))
            except BrokerUnavailable as error:
                _log.warning("cancellation not heard", batch=batch_id, error=str(error))
                return

    async def seven_bit(mailing_id: int, recipient: Recipient) -> WireContent | Outcome:
        return await until_available(lambda: renderer.in_seven_bits(mailing_id, recipient), doing="content")

    taker = Taker(
        database,
        publisher,
        renderer,
        backlog,
        stops,
        lease=node.lease,
        capacity_per_second=node.capacity_per_second,
        limited_connections=lambda: limiter.limited_connections,
        domain_limits=lambda: node.domain_limits,
        paced_mailings=lambda: node.paced_mailings,
        serves=node.serves,
        on_room=node.on_room,
    )
    keeper = LeaseKeeper(
        lease_database,
        NodeKind.OUTBOUND,
        settings.node_name,
        lease_seconds=settings.lease_seconds,
        vitals=node.vitals,
        on_configuration=node.on_configuration,
        on_lost=node.on_lost,
    )
    recorder = Recorder(
        database,
        node_name=lambda: keeper.name,
        unstarted_of=taker.unstarted_of,
        on_cancelled=cancel_elsewhere,
    )
    answers = Answers(database)
    connections = Connections(
        _next_hop(settings, node, limiter),
        limiter.places,
        destination=_destination(settings),
        domain_limits=lambda: node.domain_limits,
    )
    pipeline = Pipeline(
        backlog,
        taker,
        limiter,
        connections,
        recorder.record,
        answers.count,
        secret=secret,
        may_send=node.may_send,
        is_lease_fresh=lambda: keeper.is_fresh,
        max_messages_a_connection=settings.messages_per_connection,
        seven_bit=seven_bit,
        is_stopped=stops.covers,
    )
    slots = Slots(backlog, limiter, pipeline.serve, connections.close, idle_seconds=settings.connection_idle_seconds)

    async def take(lane: Lane, received: Received[SendBatch]) -> None:
        await taker.take(received, lane)

    async def take_limited(lane: Lane, received: Received[SendBatch]) -> None:
        await taker.take_limited(received, lane)

    def consumer(queue: str, handler: Handler[SendBatch], prefetch: int) -> Consumer[SendBatch]:
        return Consumer(settings.amqp_url, queue, reader_of(SendBatch), handler, name=name, prefetch=prefetch)

    consumers: dict[str, Consumer[SendBatch]] = {}
    for lane in Lane:
        consumers[lane.queue] = consumer(lane.queue, partial(take, lane), limiter.limits.prefetch_batches)
        consumers[lane.limited_queue] = consumer(lane.limited_queue, partial(take_limited, lane), 1)
    node.keeper, node.taker, node.pipeline, node.slots, node.consumers = keeper, taker, pipeline, slots, consumers
    node.connections = connections
    node.on_room(())  # until the settings are read
    control = ControlListener(settings.amqp_url, node.on_control, name=name)

    async def close() -> None:
        renderer.close()
        await keeper.leave()
        await publisher.close()
        await database.close()
        await lease_database.close()

    return Process(
        start=keeper.acquire,
        loops=[
            keeper.run,
            recorder.run,
            slots.run,
            taker.run,
            node.measure,
            answers.run,
            control.run,
            *(consumer.run for consumer in consumers.values()),
        ],
        drain=node.drain,
        close=close,
        readiness=lambda: {
            "database": keeper.is_fresh,
            "broker": all(consumer.is_connected for consumer in consumers.values()),
        },
    )


def _next_hop(settings: OutboundSettings, node: OutboundNode, limiter: Limiter) -> NextHop:
    sources = SourceAddresses(settings.source_addresses)
    terms = Terms(settings.hostname, _timeouts(settings), bandwidth=limiter.bandwidth)
    if settings.relay is None or settings.delivery == "mx":
        return NextHop(
            _mx_route(settings),
            terms,
            policy=node.tls_policy,
            sources=sources,
            places=limiter.places,
            domain_limits=lambda: node.domain_limits,
        )
    # A relay is no mail exchanger: whom it talks to, it does not say. So no limit of one is looked for.
    if settings.relay_user is not None and settings.relay_password is not None:
        terms = replace(terms, login=Login(settings.relay_user, settings.relay_password.get_secret_value()))
    route = RelayRoute(*host_and_port(settings.relay))
    policy = settings.relay_policy
    return NextHop(route, terms, policy=lambda _domain: policy, sources=sources, places=limiter.places)


def _mx_route(settings: OutboundSettings) -> MxRoute:
    resolver = Resolver(settings.nameserver)
    lookup = MxLookup(
        resolver,
        allow_private_hosts=settings.allow_private_hosts,
        is_ours=lambda host: host.name.lower() == settings.hostname.lower() or is_ours(host.address),
    )
    return MxRoute(lookup, port=settings.remote_smtp_port)


def _timeouts(settings: OutboundSettings) -> Timeouts:
    return Timeouts(
        connect_seconds=settings.connect_timeout_seconds,
        command_seconds=settings.command_timeout_seconds,
        final_dot_seconds=settings.final_dot_timeout_seconds,
    )


def _destination(settings: OutboundSettings) -> Callable[[Address], str]:
    """Which recipients may share a connection: all of them with a relay, else those of one domain."""
    if settings.delivery == "relay":
        return lambda _address: "relay"
    return lambda address: address.ascii_domain

"""The node as a whole: what it may do now, from its lease, its settings and its own end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import structlog
from prometheus_client import Gauge

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.connecting import Connections
from services.outbound_sender.holding import Holding
from services.outbound_sender.limits import Limiter
from services.outbound_sender.pipeline import Pipeline
from services.outbound_sender.slots import Slots
from services.outbound_sender.stop_list import StopList
from services.outbound_sender.taking import Taker
from shared.broker.consumer import Consumer
from shared.contracts.base import Payload
from shared.contracts.commands import SendBatch
from shared.contracts.events import AddressSuppressed, DeliveriesCancelled, MailingChanged, NodeSettingsChanged
from shared.contracts.topology import Lane
from shared.core.domain_limit import DomainLimits
from shared.core.limits import Limit, limits_from
from shared.core.pacer import Wait
from shared.core.tls_policy import TlsPolicy, policy_for
from shared.runtime.lease import LeaseKeeper
from shared.store.nodes import Configuration, Lease, Vitals

_log = structlog.get_logger(__name__)

_rate = Gauge("listfleet_messages_per_second", "Messages that the node started in the last second.")
_megabits = Gauge("listfleet_megabits_per_second", "Content that the node wrote in the last second, in 1,000,000 bits.")
_connections = Gauge("listfleet_open_connections", "SMTP connections that are open to other hosts.")

#: A change of capacity by this factor is told at once, not with the next renewal.
NOTABLE_CHANGE = 1.5
RATE_SECONDS = 1.0
#: Looks at the capacity for each look at the rate: a node that just started learns within a second what it can do.
LOOKS_A_RATE = 5
#: A node whose rate lets nothing start within so long takes nothing: others can start it earlier.
SOON_SECONDS = 2.0


class OutboundNode:
    """Ties the rooms of the sender together; `wiring` fills in the parts that need one another."""

    keeper: LeaseKeeper
    taker: Taker
    pipeline: Pipeline
    connections: Connections
    slots: Slots
    #: By queue.
    consumers: Mapping[str, Consumer[SendBatch]]

    def __init__(self, backlog: Backlog, limiter: Limiter, stops: StopList) -> None:
        self._backlog = backlog
        self._stops = stops
        self._limiter = limiter
        self._is_configured = False
        self._is_draining = False
        self._is_stopping = False
        self._tls_policies: Mapping[str, TlsPolicy] = {}
        self._rate_per_second = 0.0
        self._megabits_per_second = 0.0
        self._holding = Holding()
        self._told_capacity = 0.0
        #: The limits of recipient domains that are in force.
        self.domain_limits = DomainLimits()
        #: Mailings whose list has a rate.
        self.paced_mailings: frozenset[int] = frozenset()

    def lease(self) -> Lease | None:
        """The lease that is held."""
        return self.keeper.lease

    def may_send(self) -> bool:
        """Whether any message may start now."""
        return (
            self.keeper.is_fresh
            and self._is_configured
            and self._limiter.limits.sending_enabled
            and not self._is_draining
            and not self._is_stopping
        )

    def tls_policy(self, domain: str) -> TlsPolicy:
        """Whether mail to `domain` (A-labels) may go out unencrypted."""
        return policy_for(domain, self._tls_policies)

    def capacity_per_second(self) -> float:
        """How many messages the node could start in a second, 0 while it may start none soon."""
        answer = self._limiter.answer()
        if not self.may_send() or (isinstance(answer, Wait) and answer.seconds > SOON_SECONDS):
            return 0.0
        return self._limiter.starts_per_second(self.pipeline.mean_transaction_seconds)

    def serves(self, lane: Lane) -> bool:
        """Whether the node takes recipients of the lane."""
        return self._limiter.limits.serves(lane)

    def vitals(self) -> Vitals:
        """What goes with every sign of life."""
        self._look_what_holds()
        self._told_capacity = self.capacity_per_second()
        return Vitals(
            capacity_per_second=self._told_capacity,
            rate_per_second=self._rate_per_second,
            open_connections=self.connections.open,
            unstarted=self.taker.unstarted,
            megabits_per_second=self._megabits_per_second,
            lanes=self._limiter.limits.lanes,
            held_back=self._holding.held_back,
        )

    def _look_what_holds(self) -> None:
        recipients: dict[Limit, int] = {}
        if set_aside := self._backlog.set_aside_count:
            recipients[Limit.MAX_CONNECTIONS_PER_HOST] = set_aside
        answer = self._limiter.answer()
        if self._limiter.last_reason is not None and self._limiter.waiting:
            recipients[self._limiter.last_reason] = self.taker.unstarted - set_aside
        elif len(self._backlog) > set_aside and not self.slots.has_free_slots:
            recipients[self._limiter.limit_of_slots] = len(self._backlog) - set_aside
        elif isinstance(answer, Wait) and answer.seconds > SOON_SECONDS:
            recipients[answer.because] = self.taker.unstarted - set_aside
        self._holding.look(recipients if self.may_send() else {}, datetime.now(UTC))

    def on_room(self, queues: Collection[str]) -> None:
        """Consume only what there is room for."""
        for queue, consumer in self.consumers.items():
            if queue in queues:
                consumer.resume()
            else:
                consumer.pause()

    def on_configuration(self, configuration: Configuration) -> None:
        """What the administrator set, read with every renewal."""
        self._tls_policies = configuration.tls_policies
        limits = limits_from(json.loads(configuration.defaults_json), json.loads(configuration.own_json))
        is_first, self._is_configured = not self._is_configured, True
        domain_limits, paced_mailings = DomainLimits(configuration.domain_limits), configuration.paced_mailings
        if (domain_limits, paced_mailings) != (self.domain_limits, self.paced_mailings):
            self.domain_limits, self.paced_mailings = domain_limits, paced_mailings
            self.taker.hand_back_misfits()
        if is_first or limits != self._limiter.limits or configuration.is_draining != self._is_draining:
            _log.info("settings in force", limits=repr(limits), draining=configuration.is_draining)
            self._is_draining = configuration.is_draining
            self._limiter.apply(limits)
            self.slots.resize()
            for lane in Lane:
                self.consumers[lane.queue].set_prefetch(limits.prefetch_batches)
            if self.may_send():
                self.taker.hand_back_unserved()
            else:
                self.taker.hand_back_all()
            self.keeper.renew_soon()
        self._stops.read(configuration.stops)
        self.taker.hand_back_stopped()
        self.taker.look_for_room()

    def on_control(self, payload: Payload) -> None:
        """What was broadcast to all processes."""
        if isinstance(payload, NodeSettingsChanged | MailingChanged):
            self.keeper.renew_soon()
        elif isinstance(payload, DeliveriesCancelled | AddressSuppressed):
            self._stops.hear(payload.delivery_ids if isinstance(payload, DeliveriesCancelled) else [payload.email_key])
            self.taker.hand_back_stopped()

    def on_lost(self) -> None:
        """Others took over: what waits here is theirs. The next lease may be on another name."""
        self._is_configured = False
        self._limiter.wake()
        self.taker.forget_all()

    async def measure(self) -> None:
        """Keep the rate that is shown, and tell of a capacity that changed much, until cancelled."""
        while True:
            started_before, written_before = self.pipeline.started, self._limiter.bandwidth.written_bytes
            for _ in range(LOOKS_A_RATE):
                await asyncio.sleep(RATE_SECONDS / LOOKS_A_RATE)
                self._look_what_holds()
                capacity, told = self.capacity_per_second(), self._told_capacity
                if max(capacity, told) > NOTABLE_CHANGE * min(capacity, told):
                    self.keeper.renew_soon()
            self._rate_per_second = (self.pipeline.started - started_before) / RATE_SECONDS
            written_bytes = self._limiter.bandwidth.written_bytes - written_before
            self._megabits_per_second = written_bytes / 125_000 / RATE_SECONDS
            _rate.set(self._rate_per_second)
            _megabits.set(self._megabits_per_second)
            _connections.set(self.connections.open)

    async def drain(self) -> None:
        """Take nothing more, finish what is in flight, hand the rest back."""
        self._is_stopping = True
        self._limiter.wake()
        self.keeper.renew_soon()
        self.on_room(())
        for consumer in self.consumers.values():
            await consumer.settle()
        self.taker.hand_back_all()
        await self.slots.settle()
        await self.taker.settle()

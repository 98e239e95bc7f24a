"""The node as a whole: what it may do now, from its lease, its settings and its own end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping

import structlog

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.limits import Limiter
from services.outbound_sender.pipeline import Pipeline
from services.outbound_sender.taking import Taker
from shared.broker.consumer import Consumer
from shared.contracts.base import Payload
from shared.contracts.commands import SendBatch
from shared.contracts.events import DeliveriesCancelled, NodeSettingsChanged
from shared.contracts.topology import Lane
from shared.core.domain_limit import DomainLimits
from shared.core.limits import limits_from
from shared.runtime.lease import LeaseKeeper
from shared.store.nodes import Configuration, Lease, Vitals

_log = structlog.get_logger(__name__)

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
    #: By queue.
    consumers: Mapping[str, Consumer[SendBatch]]

    def __init__(self, backlog: Backlog, limiter: Limiter) -> None:
        self._backlog = backlog
        self._limiter = limiter
        self._is_configured = False
        self._is_draining = False
        self._is_stopping = False
        self._rate_per_second = 0.0
        self._told_capacity = 0.0
        #: The limits of recipient domains that are in force.
        self.domain_limits = DomainLimits()

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

    def capacity_per_second(self) -> float:
        """How many messages the node could start in a second, 0 while it may start none soon."""
        if not self.may_send() or self._limiter.wait_seconds > SOON_SECONDS:
            return 0.0
        return self._limiter.starts_per_second(self.pipeline.mean_transaction_seconds)

    def vitals(self) -> Vitals:
        """What goes with every sign of life."""
        self._told_capacity = self.capacity_per_second()
        return Vitals(
            capacity_per_second=self._told_capacity,
            rate_per_second=self._rate_per_second,
            open_connections=self.pipeline.open_connections,
            unstarted=self.taker.unstarted,
        )

    def on_room(self, queues: Collection[str]) -> None:
        """Consume only what there is room for."""
        for queue, consumer in self.consumers.items():
            if queue in queues:
                consumer.resume()
            else:
                consumer.pause()

    def on_configuration(self, configuration: Configuration) -> None:
        """What the administrator set, read with every renewal."""
        limits = limits_from(json.loads(configuration.defaults_json), json.loads(configuration.own_json))
        is_first, self._is_configured = not self._is_configured, True
        if self.domain_limits != (domain_limits := DomainLimits(configuration.domain_limits)):
            self.domain_limits = domain_limits
        if is_first or limits != self._limiter.limits or configuration.is_draining != self._is_draining:
            _log.info("settings in force", limits=repr(limits), draining=configuration.is_draining)
            self._is_draining = configuration.is_draining
            self._limiter.apply(limits)
            self.pipeline.resize()
            for lane in Lane:
                self.consumers[lane.queue].set_prefetch(limits.prefetch_batches)
            if not self.may_send():
                self.taker.hand_back_all()
            self.keeper.renew_soon()
        self.taker.look_for_room()

    def on_control(self, payload: Payload) -> None:
        """What was broadcast to all processes."""
        if isinstance(payload, NodeSettingsChanged):
            self.keeper.renew_soon()
        elif isinstance(payload, DeliveriesCancelled):
            self.taker.cancel(payload.batch_id, payload.delivery_ids)

    def on_lost(self) -> None:
        """Others took over: what waits here is theirs. The next lease may be on another name."""
        self._is_configured = False
        self._limiter.wake()
        self.taker.forget_all()

    async def measure(self) -> None:
        """Keep the rate that is shown, and tell of a capacity that changed much, until cancelled."""
        while True:
            started_before = self.pipeline.started
            for _ in range(LOOKS_A_RATE):
                await asyncio.sleep(RATE_SECONDS / LOOKS_A_RATE)
                capacity, told = self.capacity_per_second(), self._told_capacity
                if max(capacity, told) > NOTABLE_CHANGE * min(capacity, told):
                    self.keeper.renew_soon()
            self._rate_per_second = (self.pipeline.started - started_before) / RATE_SECONDS

    async def drain(self) -> None:
        """Take nothing more, finish what is in flight, hand the rest back."""
        self._is_stopping = True
        self._limiter.wake()
        self.keeper.renew_soon()
        self.on_room(())
        for consumer in self.consumers.values():
            await consumer.settle()
        self.taker.hand_back_all()
        await self.pipeline.settle()
        await self.taker.settle()

"""The ingress node as a whole: what it obeys, what it says of itself, and whether it takes mail."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import structlog

from services.ingress_smtp import metrics
from services.ingress_smtp.admission import Admission
from services.ingress_smtp.busyness import Busyness
from services.ingress_smtp.server import SmtpServer
from shared.contracts.base import Payload
from shared.contracts.events import NodeSettingsChanged
from shared.core.ingress_limits import ingress_limits_from
from shared.runtime.lease import LeaseKeeper
from shared.store.nodes import Configuration, Vitals

_log = structlog.get_logger(__name__)

RATE_SECONDS = 1.0
#: Looks at what makes the node busy, for each look at the rate.
LOOKS_A_RATE = 5


class IngressNode:
    """Ties lease, settings and server together; `wiring` fills in the keeper, which needs the node."""

    keeper: LeaseKeeper

    def __init__(self, admission: Admission, server: SmtpServer) -> None:
        self._admission = admission
        self._server = server
        self._busyness = Busyness()
        self._rate_per_second = 0.0

    def on_configuration(self, configuration: Configuration) -> None:
        """What the administrator set, read with every renewal."""
        limits = ingress_limits_from(json.loads(configuration.defaults_json), json.loads(configuration.own_json))
        if limits == self._admission.limits and configuration.is_draining == self._admission.is_draining:
            return
        _log.info("settings in force", limits=repr(limits), draining=configuration.is_draining)
        self._admission.apply(limits, is_draining=configuration.is_draining)
        if not self._admission.is_open:
            self._server.send_away()
        self.keeper.renew_soon()

    def on_control(self, payload: Payload) -> None:
        """What was broadcast to all processes."""
        if isinstance(payload, NodeSettingsChanged):
            self.keeper.renew_soon()

    def vitals(self) -> Vitals:
        """What goes with every sign of life."""
        self._look()
        return Vitals(
            rate_per_second=self._rate_per_second,
            open_connections=self._server.session_count,
            busy=self._busyness.busy,
        )

    def is_accepting(self) -> bool:
        """Whether a balancer is to send clients here."""
        self._look()
        return self._busyness.busy is None

    async def measure(self) -> None:
        """Keep the figures that are shown, and tell at once when the node gets busy or free, until cancelled."""
        while True:
            accepted_before = self._admission.accepted_count
            for _ in range(LOOKS_A_RATE):
                await asyncio.sleep(RATE_SECONDS / LOOKS_A_RATE)
                before = self._busyness.busy
                self._look()
                if self._busyness.busy != before:
                    self.keeper.renew_soon()
            self._rate_per_second = (self._admission.accepted_count - accepted_before) / RATE_SECONDS
            metrics.RATE.set(self._rate_per_second)
            if self._admission.is_crowded:
                self._server.send_idle_away()

    def _look(self) -> None:
        self._busyness.look(self._admission.busy_because(), datetime.now(UTC))
        metrics.tell_busy(self._busyness.busy)

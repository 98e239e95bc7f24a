"""The faults, one kind a file; they run, and stand in the table, in this order."""

from __future__ import annotations

from chaos.fault import Fault
from chaos.faults import ack_timeout, alarms, cut, deadly, flood, frozen, killed, stopped, suppressed, tarpit

FAULTS: tuple[Fault, ...] = (
    *killed.FAULTS,
    *stopped.FAULTS,
    *frozen.FAULTS,
    *cut.FAULTS,
    *alarms.FAULTS,
    *ack_timeout.FAULTS,
    *deadly.FAULTS,
    *tarpit.FAULTS,
    *suppressed.FAULTS,
    *flood.FAULTS,
)

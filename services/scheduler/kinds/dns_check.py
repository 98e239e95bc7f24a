"""DNS check: compare the plan with what the DNS has, and keep in the run's result what is to be mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from services.scheduler.run import Run
from shared.contracts.task_kinds.dns_check import DnsCheckParameters
from shared.core.dns.finding import Finding, State
from shared.core.dns.record import PlannedRecord
from shared.store import dns_plan
from shared.store.engine import Database

#: What the DNS has of planned records.
CheckDns = Callable[[Sequence[PlannedRecord]], Awaitable[Sequence[Finding]]]

#: Findings that a result tells of.
MAX_TOLD = 100


@dataclass(frozen=True, slots=True)
class NotRight:
    """A record that is not as planned, or should not be."""

    name: str
    type: str
    state: str
    mend: str | None


@dataclass(frozen=True, slots=True)
class DnsChecked:
    """How the DNS stands."""

    is_right: bool
    #: Records, by state.
    counts: Mapping[str, int]
    #: The first of those that are not right.
    not_right: Sequence[NotRight]
    #: What the plan lacks.
    gaps: Sequence[str]


@dataclass(frozen=True, slots=True)
class DnsCheck:
    """The doing of the kind."""

    database: Database
    check: CheckDns

    async def __call__(self, run: Run, _parameters: DnsCheckParameters) -> DnsChecked:
        """What was found; asked anew by whoever takes the run over."""
        async with self.database.transaction() as session:
            planned = await dns_plan.of_cluster(session)
        findings = await self.check(planned.records)
        async with run.step():
            """The claim is still ours."""
        not_right = [finding for finding in findings if finding.state is not State.RIGHT]
        return DnsChecked(
            is_right=bool(findings) and not not_right,
            counts=dict(Counter(finding.state.value for finding in findings)),
            not_right=[
                NotRight(each.name, each.type.value, each.state.value, each.mend) for each in not_right[:MAX_TOLD]
            ],
            gaps=planned.gaps,
        )

"""Every kind of task has its parameters and its doing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import ValidationError

from services.scheduler.fetching import Fetcher
from services.scheduler.kinds import doings
from services.scheduler.kinds.dns_check import DnsCheck
from services.scheduler.kinds.start_newsletter import StartNewsletter
from shared.contracts.task_kinds import PARAMETERS
from shared.contracts.task_kinds.purge import PurgeParameters
from shared.core.dns.finding import Finding
from shared.core.dns.record import PlannedRecord
from shared.core.links import Links
from shared.core.task import TaskKind
from shared.core.tokens import Tokens
from shared.dns.resolver import Resolver
from shared.runtime.consequences import Consequences
from shared.runtime.moderation import Telling
from shared.runtime.subscriptions import Subscriptions
from shared.store.engine import Database
from tests.fakes.kept_publisher import KeptPublisher


def test_every_kind_is_done_and_has_parameters() -> None:
    links = Links(Tokens(b"a secret of at least sixteen"), None)

    async def follow(_what: Consequences) -> None:
        """Nothing follows here."""

    async def check_dns(_planned: Sequence[PlannedRecord]) -> Sequence[Finding]:
        return ()

    async def compose(_newsletter_id: int) -> None:
        """There are no newsletters here."""

    start = StartNewsletter(compose, KeptPublisher(), publish_within_seconds=5, give_up_after_seconds=60)
    check = DnsCheck(Database("postgresql://nobody@127.0.0.1:1/nothing", name="test"), check_dns)
    fetcher = Fetcher(Resolver(("127.0.0.1", 1)), ())
    assert set(doings(fetcher, Telling(links, None), Subscriptions(links), follow, start, check)) == set(TaskKind)
    assert set(PARAMETERS) == set(TaskKind)


@pytest.mark.parametrize("kind", TaskKind)
def test_every_parameter_is_described_and_nothing_unknown_is_taken(kind: TaskKind) -> None:
    for name, field in PARAMETERS[kind].model_fields.items():
        assert field.description, name
    with pytest.raises(ValidationError, match="node"):
        PARAMETERS[kind].model_validate({"node": "scheduler-1"})


def test_a_purge_purges_something() -> None:
    for nothing in ({}, {"run_days": None}):
        with pytest.raises(ValidationError, match="deletes nothing"):
            PurgeParameters.model_validate(nothing)

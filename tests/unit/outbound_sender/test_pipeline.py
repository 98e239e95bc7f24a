"""The connection slots: who shares a transaction, what is committed before what, when a connection goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import cast
from uuid import UUID

from services.outbound_sender.backlog import Backlog
from services.outbound_sender.connecting import Connections
from services.outbound_sender.copies import WireContent
from services.outbound_sender.held_batch import HeldBatch, Job
from services.outbound_sender.limits import Limiter
from services.outbound_sender.moments import Moments
from services.outbound_sender.pipeline import Pipeline
from services.outbound_sender.slots import Slots
from services.outbound_sender.taking import Taker
from shared.contracts.topology import Lane
from shared.core.address import Address
from shared.core.delivery import Outcome, OutcomeKind
from shared.core.domain_limit import DomainLimits
from shared.core.limits import NodeLimits
from shared.core.smtp_reply import Reply
from shared.runtime.clock import seconds_since_boot
from shared.store.claims import BatchLimit, ClaimedBatch, Recipient
from shared.store.outcomes import Report
from tests.fakes.waiting import until

DELIVERED, DEFERRED, REFUSED, UNKNOWN = OutcomeKind
EVERYBODY = Outcome(DELIVERED, "accepted", Reply(250, "ok"))
SHARED = WireContent((b"x\r\n.\r\n",), has_8bit=False, return_domain="list.test", shared_return_path="post@list.test")
PERSONAL = WireContent((b"x\r\n.\r\n",), has_8bit=False, return_domain="list.test")
EIGHT_BIT = WireContent((b"\xe9\r\n.\r\n",), has_8bit=True, return_domain="list.test")


class FakeConnection:
    """Answers as it was told to; keeps what it was sent."""

    def __init__(self, answer: Callable[[Sequence[str]], Sequence[Outcome | None]], *, takes_8bit: bool = True) -> None:
        self.is_usable = True
        self.hosts = frozenset({"mx.peer.test"})
        self.max_recipients = 100
        self.takes_8bit = takes_8bit
        #: Of each transaction: return path, recipients, content.
        self.sent: list[tuple[str, Sequence[str], bytes]] = []
        self._answer = answer

    async def send(
        self,
        return_path: str,
        recipients: Sequence[str],
        content: Sequence[bytes],
        *,
        has_8bit: bool,  # noqa: ARG002 - shown with the transport
        has_utf8_header: bool,  # noqa: ARG002
        needs_smtputf8: bool,  # noqa: ARG002
        may_start_content: Callable[[], bool],
    ) -> Sequence[Outcome | None]:
        assert may_start_content()
        self.sent.append((return_path, recipients, b"".join(content)))
        await asyncio.sleep(0)
        return self._answer(recipients)

    async def quit(self) -> None:
        self.is_usable = False

    def abort(self) -> None:
        self.is_usable = False


def takes_everybody(recipients: Sequence[str]) -> Sequence[Outcome | None]:
    return [EVERYBODY] * len(recipients)


class Node:
    """A pipeline with everything around it at hand: the next hop, the taker and the recorder."""

    def __init__(
        self,
        answer: Callable[[Sequence[str]], Sequence[Outcome | None]] = takes_everybody,
        *,
        takes_8bit: bool = True,
        max_messages: int = 1000,
        max_connections: int = 1,
        per_second: float | None = None,
    ) -> None:
        self.connections: list[FakeConnection] = []
        self.reports: list[Report] = []
        #: What was told of how the domains answer.
        self.counted: list[Outcome] = []
        self.may_commit = asyncio.Event()
        self.may_commit.set()
        self._answer, self.takes_8bit = answer, takes_8bit
        self.may_send = True
        self.domain_limits = DomainLimits()
        self.handed_back: list[str] = []
        self.backlog = Backlog(lambda address: address.ascii_domain)
        self.limiter = limiter = Limiter()
        limiter.apply(NodeLimits(max_connections=max_connections, max_messages_per_second=per_second))
        self.slot_connections = Connections(
            self,
            limiter.places,
            destination=lambda address: address.ascii_domain,
            domain_limits=lambda: self.domain_limits,
        )
        self.pipeline = Pipeline(
            self.backlog,
            cast("Taker", self),
            limiter,
            self.slot_connections,
            self.record,
            lambda _batch, _domain, outcome: self.counted.append(outcome),
            secret=b"x" * 16,
            may_send=lambda: self.may_send,
            is_lease_fresh=lambda: True,
            max_messages_a_connection=max_messages,
            is_stopped=lambda _job: False,
            seven_bit=self.seven_bit,
        )
        self.slots = Slots(self.backlog, limiter, self.pipeline.serve, self.slot_connections.close, idle_seconds=0.05)

    async def open_connection(self, domain: str, domain_limit: str) -> FakeConnection:  # noqa: ARG002 - all the same
        self.connections.append(FakeConnection(self._answer, takes_8bit=self.takes_8bit))
        return self.connections[-1]

    async def record(self, report: Report) -> None:
        await self.may_commit.wait()
        self.reports.append(report)

    async def seven_bit(self, mailing_id: int, _recipient: Recipient) -> WireContent | Outcome:
        return WireContent((b"=E9 %d\r\n.\r\n" % mailing_id,), False, "list.test", shared_return_path="post@list.test")

    def holds(self, job: Job) -> bool:  # noqa: ARG002 - nobody takes over
        return True

    def started(self, job: Job) -> None:
        job.held.leave_unstarted(job.recipient.delivery_id)

    def ended(self, job: Job) -> None:
        job.held.open.discard(job.recipient.delivery_id)

    def hand_back(self, jobs: Sequence[Job], *, domain_limit: str | None = None) -> None:  # noqa: ARG002 - as they were
        for job in jobs:
            self.started(job)
            self.ended(job)
            self.handed_back.append(job.recipient.address)

    @property
    def transactions(self) -> list[Sequence[str]]:
        """The recipients of each."""
        return [recipients for connection in self.connections for _, recipients, _ in connection.sent]

    def add(self, content: WireContent, *addresses: str, limit: BatchLimit | None = None) -> HeldBatch:
        recipients = tuple(Recipient(number, 1, 1, address) for number, address in enumerate(addresses))
        created_at = datetime(2026, 1, 1, tzinfo=UTC)
        batch = ClaimedBatch(1, UUID(int=1), 77, created_at, Lane.POSTS, recipients, 0, limit=limit)
        ids = {recipient.delivery_id for recipient in recipients}
        held = HeldBatch(batch, content, 0, lambda: None, set(ids), set(ids))
        if limit is not None:
            now_seconds = seconds_since_boot()
            held.moments = Moments(limit, len(ids), asked_at_seconds=now_seconds, answered_at_seconds=now_seconds)
        self.backlog.add([Job(held, recipient, Address.parse(recipient.address)) for recipient in recipients])
        return held

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.slots.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def until_ended(self, *batches: HeldBatch) -> None:
        await until(lambda: not any(batch.open for batch in batches))


def members(count: int, domain: str = "x.test") -> list[str]:
    return [f"m{number}@{domain}" for number in range(count)]


async def test_each_recipient_has_a_transaction_and_a_return_path_of_its_own() -> None:
    node = Node()
    async with node.running():
        await node.until_ended(node.add(PERSONAL, *members(3)))
    assert node.transactions == [["m0@x.test"], ["m1@x.test"], ["m2@x.test"]]
    paths = {path for path, _, _ in node.connections[0].sent}
    assert len(paths) == 3
    assert all(path.endswith("@list.test") for path in paths)


async def test_recipients_of_one_return_path_share_a_transaction() -> None:
    node = Node()
    async with node.running():
        batch = node.add(SHARED, *members(150), *members(2, "y.test"))
        await node.until_ended(batch)
    assert [len(recipients) for recipients in node.transactions] == [100, 50, 2]
    assert {path for connection in node.connections for path, _, _ in connection.sent} == {"post@list.test"}
    assert sorted(report.delivery_id for report in node.reports) == list(range(152))
    assert node.pipeline.started == 152


async def test_another_mailing_and_an_address_beyond_ascii_go_separately() -> None:
    node = Node()
    async with node.running():
        one = node.add(SHARED, "a@x.test", "b@x.test", "mïra@x.test", "c@x.test")
        other = node.add(WireContent((b"y\r\n.\r\n",), False, "list.test", shared_return_path="p@l.test"), "d@x.test")
        await node.until_ended(one, other)
    assert node.transactions == [["a@x.test", "b@x.test"], ["mïra@x.test"], ["c@x.test"], ["d@x.test"]]


async def test_no_transaction_starts_before_every_outcome_of_the_last_is_committed() -> None:
    node = Node()
    node.may_commit.clear()
    async with node.running():
        batch = node.add(SHARED, *members(150))
        await until(lambda: bool(node.transactions))
        await asyncio.sleep(0.02)
        assert len(node.transactions) == 1
        node.may_commit.set()
        await node.until_ended(batch)
    assert len(node.transactions) == 2


async def test_whom_the_peer_leaves_over_is_next() -> None:
    def takes_two(recipients: Sequence[str]) -> Sequence[Outcome | None]:
        return [EVERYBODY if place < 2 else None for place in range(len(recipients))]

    node = Node(takes_two)
    async with node.running():
        batch = node.add(SHARED, *members(5))
        await node.until_ended(batch)
    assert [len(recipients) for recipients in node.transactions] == [5, 3, 1]
    assert [report.delivery_id for report in node.reports] == [0, 1, 2, 3, 4]
    assert {report.outcome.kind for report in node.reports} == {DELIVERED}


async def test_each_recipient_of_a_transaction_gets_its_own_outcome() -> None:
    def mixed(recipients: Sequence[str]) -> Sequence[Outcome | None]:
        kinds = {"m0@x.test": DELIVERED, "m1@x.test": REFUSED, "m2@x.test": UNKNOWN}
        return [Outcome(kinds[recipient], "") for recipient in recipients]

    node = Node(mixed)
    async with node.running():
        await node.until_ended(node.add(SHARED, *members(3)))
    assert [report.outcome.kind for report in node.reports] == [DELIVERED, REFUSED, UNKNOWN]


async def test_a_rate_lets_no_transaction_grow_beyond_it() -> None:
    node = Node(per_second=50)
    async with node.running():
        await node.until_ended(node.add(SHARED, *members(10)))
    assert max(len(recipients) for recipients in node.transactions) <= 2


async def test_a_connection_is_closed_after_so_many_recipients_and_when_it_is_idle() -> None:
    node = Node(max_messages=3)
    async with node.running():
        await node.until_ended(node.add(PERSONAL, *members(7)))
        assert [len(connection.sent) for connection in node.connections] == [3, 3, 1]
        assert [connection.is_usable for connection in node.connections] == [False, False, True]
        await until(lambda: not node.connections[-1].is_usable)
        assert node.slot_connections.open == 0


async def test_a_kept_connection_that_ends_says_nothing_about_the_recipient() -> None:
    outcomes = [EVERYBODY, Outcome(DEFERRED, "421 to MAIL", Reply(421, "4.7.0 that was your last")), EVERYBODY]
    node = Node(lambda recipients: [outcomes.pop(0)] * len(recipients))
    async with node.running():
        await node.until_ended(node.add(PERSONAL, *members(3)))
    assert [report.retry_after_seconds < 2 for report in node.reports] == [False, True, False]


async def test_that_a_connection_was_kept_long_enough_is_no_refusal_for_volume() -> None:
    plain, with_reason = (Outcome(DEFERRED, "421 to MAIL", Reply(421, words)) for words in ("enough", "4.7.0 too much"))
    outcomes = [plain, EVERYBODY, plain, EVERYBODY, with_reason]
    node = Node(lambda recipients: [outcomes.pop(0)] * len(recipients))
    async with node.running():
        await node.until_ended(node.add(PERSONAL, *members(1)))
        node.connections[-1].is_usable = False
        await node.until_ended(node.add(PERSONAL, *members(2)))
        node.connections[-1].is_usable = False
        await node.until_ended(node.add(PERSONAL, *members(2)))
    assert node.counted == [plain, EVERYBODY, EVERYBODY, with_reason]
    assert len(node.reports) == 5


async def test_a_slot_kept_for_express_mail_takes_any_when_there_are_fewer_connections() -> None:
    node = Node(max_connections=40)
    async with node.running():
        await until(lambda: node.limiter.express_connections == 2)
        node.limiter.apply(NodeLimits(max_connections=1))
        node.slots.resize()
        await node.until_ended(node.add(PERSONAL, *members(3)))
    assert len(node.reports) == 3


async def test_who_takes_seven_bits_gets_seven_bits() -> None:
    node = Node(takes_8bit=False)
    async with node.running():
        await node.until_ended(node.add(EIGHT_BIT, "a@x.test"), node.add(PERSONAL, "b@x.test"))
    assert [content for _, _, content in node.connections[0].sent] == [b"=E9 77\r\n.\r\n", *PERSONAL.segments]


async def test_whom_the_peer_leaves_over_goes_back_when_nothing_may_start_any_more() -> None:
    def takes_two_then_stops(recipients: Sequence[str]) -> Sequence[Outcome | None]:
        node.may_send = False
        return [EVERYBODY if place < 2 else None for place in range(len(recipients))]

    node = Node(takes_two_then_stops)
    async with node.running():
        await node.until_ended(node.add(SHARED, *members(5)))
    assert [len(recipients) for recipients in node.transactions] == [5]
    assert [report.delivery_id for report in node.reports] == [0, 1]
    assert node.handed_back == ["m2@x.test", "m3@x.test", "m4@x.test"]


async def test_whom_the_peer_leaves_over_gets_the_bits_that_the_next_connection_takes() -> None:
    def takes_one_and_ends(recipients: Sequence[str]) -> Sequence[Outcome | None]:
        node.connections[-1].is_usable = False
        node.takes_8bit = not node.takes_8bit
        return [EVERYBODY, *[None] * (len(recipients) - 1)]

    node = Node(takes_one_and_ends)
    async with node.running():
        await node.until_ended(node.add(replace(EIGHT_BIT, shared_return_path="post@list.test"), *members(3)))
    contents = [content for connection in node.connections for _, _, content in connection.sent]
    assert contents == [b"\xe9\r\n.\r\n", b"=E9 77\r\n.\r\n", b"\xe9\r\n.\r\n"]


async def test_a_new_limit_of_domains_reaches_the_connections_that_are_kept() -> None:
    node = Node()
    async with node.running():
        await node.until_ended(node.add(PERSONAL, *members(2)))
        node.domain_limits = DomainLimits()  # read again, and the same
        await node.until_ended(node.add(PERSONAL, *members(1)))
        node.domain_limits = DomainLimits(["mx:*.peer.test"])
        await node.until_ended(node.add(PERSONAL, *members(2)))
    assert [len(connection.sent) for connection in node.connections] == [3, 2]


# A node's only connection


def domains(node: Node) -> list[str]:
    """Of each transaction, in the order of their connections."""
    return [recipient.rpartition("@")[2] for (recipient,) in node.transactions]


async def test_while_a_limited_batch_waits_for_its_moment_others_mail_has_the_only_connection() -> None:
    node = Node()
    limited = node.add(
        PERSONAL, "a@limited.test", limit=BatchLimit("limited.test", starts_in_seconds=60.0, interval_seconds=1.0)
    )
    async with node.running():
        await node.until_ended(node.add(PERSONAL, *members(20)))
        await asyncio.sleep(0)  # and who comes later does not wait for the moment either
        await node.until_ended(node.add(PERSONAL, *members(3, "y.test")))
        assert limited.open
        assert domains(node) == ["x.test"] * 20 + ["y.test"] * 3
        assert len(node.connections) == 2


async def test_a_limited_batch_keeps_its_moments_on_the_only_connection() -> None:
    node = Node()
    node.pipeline.mean_transaction_seconds = 0.01
    limit = BatchLimit("limited.test", starts_in_seconds=0.1, interval_seconds=0.1)
    limited = node.add(PERSONAL, *members(4, "limited.test"), limit=limit)
    others = node.add(PERSONAL, *members(300))
    async with node.running():
        await node.until_ended(limited, others)
    assert node.handed_back == []
    for connection in node.connections:
        carried = {recipients[0].rpartition("@")[2] for _, recipients, _ in connection.sent}
        assert len(carried) == 1, "a limited domain's connection carries nobody else's mail"


async def test_on_the_only_connection_a_limited_batch_without_moments_and_others_take_turns() -> None:
    node = Node()
    limited = node.add(PERSONAL, *members(30, "limited.test"), limit=BatchLimit("limited.test"))
    others = node.add(PERSONAL, *members(40))
    async with node.running():
        await node.until_ended(limited, others)
    runs = [(domain, len(list(run))) for domain, run in groupby(domains(node))]
    assert runs[:6] == [("x.test", 10), ("limited.test", 10)] * 3

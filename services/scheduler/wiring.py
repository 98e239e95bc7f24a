"""The scheduler's object graph."""

from __future__ import annotations

from functools import partial
from typing import Any

from services.scheduler.clock import Clock
from services.scheduler.fetching import Fetcher
from services.scheduler.kinds import doings
from services.scheduler.kinds.dns_check import DnsCheck
from services.scheduler.kinds.start_newsletter import StartNewsletter
from services.scheduler.limited_release import LimitedReleaser
from services.scheduler.release import Releaser
from services.scheduler.scoring import Scoring
from services.scheduler.settings import SchedulerSettings
from services.scheduler.slowing import Slowing
from services.scheduler.stopping import Stopper
from services.scheduler.sweep import Sweep
from services.scheduler.takeover import Takeover
from services.scheduler.tasks.authors import Authors
from services.scheduler.tasks.broken_off import CountedTries
from services.scheduler.tasks.commands import ObeyCommands
from services.scheduler.tasks.destinations import Destinations
from services.scheduler.tasks.digest import MakeDigests
from services.scheduler.tasks.expansion import Expand
from services.scheduler.tasks.parking import Park
from services.scheduler.tasks.post import HandlePost
from services.scheduler.tasks.reading import CountReadings
from services.scheduler.tasks.reports import ReadReports
from services.scheduler.tasks.run_task import RunTasks
from services.scheduler.tasks.subscription import BeginRequest, Leave
from services.scheduler.worker import dispatched, handled_by
from shared.broker.consumer import Consumer, read_dead, reader_of
from shared.broker.publisher import Publisher
from shared.contracts.commands import ExpandMailing, MakeDigest, RunTask
from shared.contracts.events import CopiesRead, LeaveAsked, MailReceived, SubscriptionAsked
from shared.contracts.topology import PARKED_QUEUE, TRACKING_QUEUE, TaskQueue
from shared.core.node import NodeKind
from shared.dns.check import QUESTION_SECONDS, check
from shared.dns.resolver import Resolver
from shared.runtime.consequences import follow
from shared.runtime.lease import LeaseKeeper
from shared.runtime.lifecycle import Process
from shared.runtime.moderation import Telling
from shared.runtime.newsletters import Composer
from shared.runtime.subscriptions import Subscriptions
from shared.store.engine import Database
from shared.store.nodes import Configuration, Vitals

#: Payloads that one scheduler handles at once, a queue.
PREFETCH = 2
#: A dead payload that could not be kept has nowhere else to go: it is tried again after so long.
PUT_BACK_AFTER_SECONDS = 30.0
#: Of the grace of a stop, the part that runs of tasks have to come to their next step.
TASKS_PART_OF_GRACE = 0.8


def build(settings: SchedulerSettings) -> Process:
    """A scheduler; nothing connects before the process starts."""
    name = settings.node_name or "scheduler"
    database = Database(settings.database_url, name=name, pool_size=8)
    lease_database = Database(settings.database_url, name=f"{name} lease", pool_size=1)
    # A step of a run may take long; with the renewals, and the claims.
    run_database = Database(settings.database_url, name=f"{name} tasks", pool_size=settings.tasks_at_once + 2)
    publisher = Publisher(settings.amqp_url, name=name)
    keeper = LeaseKeeper(
        lease_database,
        NodeKind.SCHEDULER,
        settings.node_name,
        lease_seconds=settings.lease_seconds,
        vitals=Vitals,
        on_configuration=lambda configuration: obey(configuration),
        on_lost=lambda: None,
    )
    releaser = Releaser(
        database,
        publisher,
        publish_within_seconds=settings.publish_within_seconds,
        republish_after_seconds=settings.republish_after_seconds,
    )
    limited_releaser = LimitedReleaser(database, releaser, publish_within_seconds=settings.publish_within_seconds)
    resolver = Resolver(settings.nameserver)
    takeover = Takeover(
        database,
        lease_seconds=settings.lease_seconds,
        has_written_lately=lambda: keeper.is_fresh,
        on_recipients=releaser.wake,
    )
    sweep = Sweep(
        database,
        publisher,
        releaser,
        republish_after_seconds=settings.republish_after_seconds,
        forget_nodes_after_seconds=settings.forget_nodes_after_seconds,
    )
    subscriptions = Subscriptions(settings.links)
    telling = Telling(settings.links, settings.operator_address)
    post = HandlePost(
        database,
        publisher,
        Authors(database, resolver),
        ObeyCommands(subscriptions, settings.links.tokens),
        ReadReports(settings.secret.encode(), settings.links.tokens, subscriptions),
        telling,
        operator_address=settings.operator_address,
        publish_within_seconds=settings.publish_within_seconds,
        give_up_after_seconds=settings.give_up_after_seconds,
    )
    expand = Expand(
        database,
        page_size=settings.expansion_page_size,
        stalled_after_seconds=settings.republish_after_seconds,
        on_page=releaser.wake,
        destinations=Destinations(database, resolver),
    )
    tasks = dispatched(
        {
            MailReceived: post,
            ExpandMailing: expand,
            SubscriptionAsked: BeginRequest(database, publisher, subscriptions),
            LeaveAsked: Leave(database, publisher, subscriptions),
        }
    )
    work = CountedTries(handled_by(tasks), database)
    consumers = [
        Consumer(
            settings.amqp_url,
            queue.value,
            reader_of(MailReceived, ExpandMailing, SubscriptionAsked, LeaveAsked),
            work,
            name=name,
            prefetch=PREFETCH,
        )
        for queue in (TaskQueue.EXPRESS, TaskQueue.TASKS)
    ]
    reading = Consumer(
        settings.amqp_url,
        TRACKING_QUEUE,
        reader_of(CopiesRead),
        handled_by(CountReadings(database)),
        name=name,
        prefetch=PREFETCH,
    )
    clock = Clock(
        database,
        publisher,
        publish_within_seconds=settings.publish_within_seconds,
        republish_after_seconds=settings.republish_after_seconds,
    )
    check_dns = partial(check, resolver=Resolver(settings.nameserver, lifetime_seconds=QUESTION_SECONDS, cache_size=0))
    fetcher = Fetcher(resolver, settings.sync_places, allow_private_hosts=settings.allow_private_hosts)
    run_tasks = RunTasks(
        run_database,
        doings(
            fetcher,
            telling,
            Subscriptions(settings.links),
            partial(follow, database, publisher),
            StartNewsletter(
                Composer(database),
                publisher,
                publish_within_seconds=settings.publish_within_seconds,
                give_up_after_seconds=settings.give_up_after_seconds,
            ),
            DnsCheck(database, check_dns),
        ),
        node_name=lambda: keeper.name,
        lease_seconds=settings.task_lease_seconds,
        allowed_places=settings.sync_places,
    )
    make_digest = MakeDigests(
        database,
        publisher,
        publish_within_seconds=settings.publish_within_seconds,
        give_up_after_seconds=settings.give_up_after_seconds,
    )
    scheduled = Consumer(
        settings.amqp_url,
        TaskQueue.SCHEDULED.value,
        reader_of(RunTask, MakeDigest),
        handled_by(dispatched({RunTask: run_tasks, MakeDigest: make_digest})),
        name=name,
        prefetch=settings.tasks_at_once,
    )
    parking = Consumer(
        settings.amqp_url,
        PARKED_QUEUE,
        read_dead,
        handled_by(Park(database)),
        name=name,
        put_back_after_seconds=PUT_BACK_AFTER_SECONDS,
    )
    working: list[Consumer[Any]] = [*consumers, scheduled, reading]
    all_consumers: list[Consumer[Any]] = [*working, parking]

    def obey(configuration: Configuration) -> None:
        for consumer in working:
            if configuration.is_draining or run_tasks.is_leaving:
                consumer.pause()
            else:
                consumer.resume()

    async def drain() -> None:
        run_tasks.leave(cut_off_after_seconds=settings.stop_grace_seconds * TASKS_PART_OF_GRACE)
        for consumer in all_consumers:
            consumer.pause()
        for consumer in all_consumers:
            await consumer.settle()

    async def close() -> None:
        await keeper.leave()
        await publisher.close()
        await database.close()
        await run_database.close()
        await lease_database.close()

    return Process(
        start=keeper.acquire,
        loops=[
            keeper.run,
            takeover.run,
            releaser.run,
            limited_releaser.run,
            Slowing(database).run,
            Scoring(database, publisher, subscriptions).run,
            sweep.run,
            Stopper(database).run,
            clock.run,
            run_tasks.run,
            *(consumer.run for consumer in all_consumers),
        ],
        drain=drain,
        close=close,
        readiness=lambda: {
            "database": keeper.is_fresh,
            "broker": all(consumer.is_connected for consumer in all_consumers),
        },
    )

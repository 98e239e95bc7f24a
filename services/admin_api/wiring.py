"""The API's object graph."""

from __future__ import annotations

from functools import partial

import structlog

from services.admin_api.app import application
from services.admin_api.auth import FirstToken
from services.admin_api.routes.dkim_keys import KeyRoom, Unanswered
from services.admin_api.settings import AdminSettings
from shared.broker.connection import BrokerUnavailable
from shared.broker.publisher import Publisher
from shared.contracts.base import Payload
from shared.dns.check import QUESTION_SECONDS, check
from shared.dns.resolver import LookupFailedError, NoSuchDomainError, Resolver
from shared.runtime.consequences import follow
from shared.runtime.http import HttpServer
from shared.runtime.lifecycle import Process
from shared.runtime.preflight import Preflight
from shared.runtime.specimens import Specimens
from shared.runtime.subscriptions import Subscriptions
from shared.store.engine import Database

_log = structlog.get_logger(__name__)


def build(settings: AdminSettings) -> Process:
    """The API; nothing connects before the process starts."""
    database = Database(settings.database_url, name="admin")
    publisher = Publisher(settings.amqp_url, name="admin")
    first_token = FirstToken(database, settings.admin_token)

    async def announce(event: Payload) -> None:
        try:
            await publisher.broadcast(event)
        except BrokerUnavailable as error:
            _log.warning("change not announced, the nodes will read it", change=repr(event), because=str(error))

    async def publish(queue: str, payload: Payload) -> bool:
        try:
            await publisher.publish(queue, payload)
        except BrokerUnavailable as error:
            _log.warning("parked payload not sent again", queue=queue, because=str(error))
            return False
        return True

    keys = KeyRoom(settings.secret.encode(), partial(_look_up, Resolver(settings.nameserver, cache_size=0)))
    resolver = Resolver(settings.nameserver, lifetime_seconds=QUESTION_SECONDS, cache_size=0)
    check_dns = partial(check, resolver=resolver)
    preflight = Preflight(database, resolver, has_pages=settings.public_url is not None)
    specimens = Specimens(settings.links, settings.tracked_links)
    subscriptions = Subscriptions(settings.links)
    following = partial(follow, database, publisher)
    api = application(
        database,
        announce,
        publish,
        keys,
        check_dns,
        subscriptions,
        following,
        preflight,
        specimens,
        sync_places=settings.sync_places,
    )
    server = HttpServer(api, settings.admin_host, settings.admin_port)

    async def nothing() -> None:
        """The server finishes its requests when its loop ends."""

    async def close() -> None:
        await publisher.close()
        await database.close()

    return Process(
        start=first_token.turn,
        loops=[server.run, first_token.run],
        drain=nothing,
        close=close,
        readiness=lambda: {"http": server.is_listening, "database": first_token.is_database_there},
    )


async def _look_up(resolver: Resolver, name: str) -> tuple[str, ...] | Unanswered:
    try:
        return await resolver.txt(name)
    except NoSuchDomainError:
        return ()
    except LookupFailedError as error:
        return Unanswered(str(error))

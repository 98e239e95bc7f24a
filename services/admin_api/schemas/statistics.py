"""What became of a mailing, as answers say it."""

from __future__ import annotations

from shared.contracts.bodies import Answer, Moment


class ReadingsAnswer(Answer):
    """Opens or clicks, by people and by machines."""

    total: int
    """Events of people."""
    unique: int
    """Different recipients behind them; 0 where the list keeps nobody's name (tracking is anonymous)."""
    machine_total: int
    """Events of programs: link scanners, prefetchers, privacy proxies, by what the request says, by its network and by
    its manner (right after the delivery, many links at once)."""
    machine_unique: int
    """Different recipients whose mail these programs looked at."""


class LinkStatistics(Answer):
    """One link of a mailing."""

    url: str
    """Where it leads."""
    clicks: ReadingsAnswer
    """How often it was followed."""


class DeliveriesAnswer(Answer):
    """What became of deliveries."""

    delivered: int
    """Those that a mail server took, also those that bounced afterwards."""
    refused: int
    """Those that a mail server refused for good (5yz)."""
    deferred: int
    """Those that wait after an attempt that was put off."""
    bounced: int
    """Those that were delivered, and of which a report came back that they failed after all (DSN)."""


class DomainStatistics(Answer):
    """The recipients at one domain."""

    domain: str
    """What stands behind the @, in lower case and ASCII."""
    deliveries: DeliveriesAnswer | None
    """What became of their deliveries, as of `counted_at`."""
    opens: ReadingsAnswer
    """How often their copies were opened; only of those whose name is kept."""
    clicks: ReadingsAnswer
    """How often they followed links; only of those whose name is kept."""


class HourStatistics(Answer):
    """What happened within one hour."""

    begins_at: Moment
    """The hour's begin."""
    deliveries: DeliveriesAnswer | None
    """Deliveries that ended within the hour, and how many of these bounced later, as of `counted_at`."""
    opens: ReadingsAnswer
    """Opens within the hour; `unique`: recipients whose first open it was."""
    clicks: ReadingsAnswer
    """Clicks within the hour; `unique`: recipients whose first click it was."""


class StatisticsAnswer(Answer):
    """What became of a mailing. Numbers are a few seconds old at most."""

    delivered: int
    """Deliveries that a mail server took."""
    refused: int
    """Deliveries that a mail server refused for good (5yz)."""
    deferred: int
    """Attempts that were put off (4yz, a lost connection); several of one delivery count several times."""
    deferred_now: int | None
    """Deliveries that wait after an attempt that was put off, as of `counted_at`."""
    bounced: int | None
    """Deliveries of which a report came back after they were delivered (DSN), as of `counted_at`."""
    counted_at: Moment | None
    """When `deferred_now`, `bounced` and the deliveries of domains and hours were counted: now for a mailing to at most
    5,000 recipients, for a larger one when a task of kind *roll_up* did it last. Null, as they are then: not yet."""
    opens: ReadingsAnswer
    """How often copies were opened, as far as mail programs fetched the image."""
    clicks: ReadingsAnswer
    """How often links were followed."""
    links: list[LinkStatistics]
    """The links that were followed, at most 100, those followed most first."""
    domains: list[DomainStatistics]
    """Recipients' domains, at most 100, those with most deliveries first, or with most events before any are
    counted."""
    hours: list[HourStatistics]
    """The hours in which anything happened, in order."""

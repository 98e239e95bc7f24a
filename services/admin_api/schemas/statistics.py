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


class DomainStatistics(Answer):
    """The recipients at one domain; only those whose name is kept."""

    domain: str
    """What stands behind the @, in lower case and ASCII."""
    opens: ReadingsAnswer
    """How often their copies were opened."""
    clicks: ReadingsAnswer
    """How often they followed links."""


class HourStatistics(Answer):
    """What happened within one hour."""

    begins_at: Moment
    """The hour's begin."""
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
    opens: ReadingsAnswer
    """How often copies were opened, as far as mail programs fetched the image."""
    clicks: ReadingsAnswer
    """How often links were followed."""
    links: list[LinkStatistics]
    """The links that were followed, at most 100, those followed most first."""
    domains: list[DomainStatistics]
    """Recipients' domains, at most 100, those with most events first."""
    hours: list[HourStatistics]
    """The hours in which anything happened, in order."""

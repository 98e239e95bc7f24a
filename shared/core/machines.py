"""Programs that read mail and follow its links, told from people: by what a request says, where it comes from, and what
the events of a delivery look like together.

None of it is sure. What is marked is counted apart, never left out, and a GET changes nothing whoever sends it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address, ip_network

from shared.core.readings import MachineSign, Reading, ReadingKind

#: Within so much of the delivery nobody has read anything. (Before it: filters look before they accept.)
SOON = timedelta(seconds=3)
BEFORE_DELIVERY = timedelta(seconds=30)
#: So many different links within so short a time; soon after the delivery, fewer do.
BURST = timedelta(seconds=5)
BURST_LINKS = 3
BURST_LINKS_WHEN_NEW = 2
NEW = timedelta(seconds=60)
#: A click of a person so soon after the delivery comes with the images of the copy.
UNSEEN_WITHIN = timedelta(seconds=30)
IMAGES_FOLLOW_WITHIN = timedelta(seconds=5)

#: Header fields by which browsers and mail programs say that nobody looks yet.
PREFETCH_FIELDS = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_PREFETCH = re.compile(r"prefetch|prerender|preview", re.IGNORECASE)

_AGENTS = (
    (
        MachineSign.PROXY,
        re.compile(r"GoogleImageProxy|YahooMailProxy|YahooCacheSystem|DuckDuckGo|proton|fastmail", re.IGNORECASE),
    ),
    (
        MachineSign.SCANNER,
        re.compile(
            r"Barracuda|Mimecast|Proofpoint|BitDefender|SafeLinks|Symantec|MessageLabs|TrendMicro|Sophos|Fortinet|"
            r"Cisco-?IronPort|urlscan|VirusTotal|Forcepoint|CheckPoint|McAfee|Kaspersky",
            re.IGNORECASE,
        ),
    ),
    (
        MachineSign.PROGRAM,
        re.compile(
            r"bot\b|bot/|crawl|spider|slurp|facebookexternalhit|embedly|preview|monitor|headless|phantomjs|"
            r"^(?:curl|wget|python|java|go-http-client|libwww|okhttp|apache-httpclient|ruby|perl|php|axios|node)\b",
            re.IGNORECASE,
        ),
    ),
)
#: What is looked at of an agent's name.
_AGENT_CHARACTERS = 300
#: What Apple's privacy protection says, and nothing else does.
_APPLE_AGENT = "Mozilla/5.0"

#: Networks out of which, as their owners publish, images are fetched ahead or links are looked at.
_NETWORKS = tuple(
    (sign, ip_network(network))
    for sign, networks in (
        (MachineSign.PROXY, ("17.0.0.0/8", "66.249.80.0/20", "66.102.0.0/20", "2620:149::/32")),
        (
            MachineSign.SCANNER,
            (
                *("40.92.0.0/15", "40.107.0.0/16", "52.100.0.0/14", "104.47.0.0/17", "2a01:111:f400::/48"),
                *("67.231.144.0/20", "148.163.128.0/19"),
                *("64.235.144.0/20", "209.222.80.0/21"),
            ),
        ),
    )
    for network in networks
)


def sign_of_request(method: str, agent: str, prefetch: Sequence[str], peer: str) -> MachineSign | None:
    """What a request tells of a machine; `None` when it may be a person's.

    `agent` is its User-Agent, `prefetch` the values of those of `PREFETCH_FIELDS` that it has, `peer` the
    client's address.
    """
    if method == "HEAD":
        return MachineSign.HEAD
    if any(_PREFETCH.search(value) for value in prefetch):
        return MachineSign.PREFETCH
    return _sign_of_agent(agent.strip()[:_AGENT_CHARACTERS]) or _sign_of_network(peer)


@lru_cache(maxsize=4096)
def _sign_of_agent(agent: str) -> MachineSign | None:
    if not agent:
        return MachineSign.PROGRAM
    if agent == _APPLE_AGENT:
        return MachineSign.PROXY
    return next((sign for sign, pattern in _AGENTS if pattern.search(agent)), None)


@lru_cache(maxsize=4096)
def _sign_of_network(peer: str) -> MachineSign | None:
    try:
        address = ip_address(peer)
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    return next((sign for sign, network in _NETWORKS if address in network), None)


def judged(readings: Sequence[Reading], delivered_at: datetime | None) -> list[MachineSign | None]:
    """For each event of a delivery, in any order, by which sign it is a machine's; `None`: a person's.

    Without `delivered_at` (the delivery's outcome is not known yet) only the events themselves tell.
    """
    signs = [reading.sign or _is_soon(reading, delivered_at) for reading in readings]
    opened = [
        reading.at
        for reading, sign in zip(readings, signs, strict=True)
        if reading.kind is ReadingKind.OPEN and sign is None
    ]
    first_opened_at = min(opened, default=None)
    in_bursts = _in_bursts(readings, delivered_at)
    for number, (reading, sign) in enumerate(zip(readings, signs, strict=True)):
        if sign is None and number in in_bursts:
            signs[number] = MachineSign.BURST
        elif sign is None and reading.kind is ReadingKind.CLICK:
            signs[number] = _is_unseen(reading, first_opened_at, delivered_at)
    return signs


def _since(reading: Reading, delivered_at: datetime | None) -> timedelta:
    """How old the delivery was; very old, where that is not known or clocks differ too much to tell."""
    age = timedelta.max if delivered_at is None else reading.at - delivered_at
    return age if age >= -BEFORE_DELIVERY else timedelta.max


def _is_soon(reading: Reading, delivered_at: datetime | None) -> MachineSign | None:
    return MachineSign.SOON if _since(reading, delivered_at) <= SOON else None


def _in_bursts(readings: Sequence[Reading], delivered_at: datetime | None) -> set[int]:
    """The places of the clicks in any stretch of that length that has enough different links."""
    clicks = [number for number, reading in enumerate(readings) if reading.kind is ReadingKind.CLICK]
    clicks.sort(key=lambda number: readings[number].at)
    found: set[int] = set()
    links: Counter[int] = Counter()
    end = found_to = 0
    for begin, number in enumerate(clicks):
        first = readings[number]
        while end < len(clicks) and readings[clicks[end]].at <= first.at + BURST:
            links[readings[clicks[end]].link_id] += 1
            end += 1
        if len(links) >= (BURST_LINKS_WHEN_NEW if _since(first, delivered_at) <= NEW else BURST_LINKS):
            found.update(clicks[max(begin, found_to) : end])
            found_to = end
        links[first.link_id] -= 1
        if not links[first.link_id]:
            del links[first.link_id]
    return found


def _is_unseen(reading: Reading, first_opened_at: datetime | None, delivered_at: datetime | None) -> MachineSign | None:
    if _since(reading, delivered_at) > UNSEEN_WITHIN:
        return None
    is_seen = first_opened_at is not None and first_opened_at <= reading.at + IMAGES_FOLLOW_WITHIN
    return None if is_seen else MachineSign.UNSEEN

"""A rate that is exact for the whole cluster: every message has a moment of its own.

Moments of one limit lie an interval apart and are given out once, by the release step; a message starts at its moment
or shortly after it, never before, and one that cannot takes a later moment of its batch or goes back. So whatever
nodes there are, in no window of the limit's length more messages arrive than the limit says (`interval_seconds`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: A message starts within so long of its moment, or not at that moment.
START_WITHIN_SECONDS = 0.5
#: Within so long of its moment a message is at the remote, for the rate to be exact there too.
ARRIVE_WITHIN_SECONDS = 1.0
#: The first moment of a block is at least so long after its release: the batch is to reach a node.
REACH_SECONDS = 0.5
#: A block is released at most so long before its first moment.
LEAD_SECONDS = 2.0
#: The moments of a batch lie within so long, so that with the lead they are over before a node hands back what it
#: holds (10 s), and that a node's death wastes few.
BLOCK_SECONDS = 7.0
#: One connection is asked for a message no oftener than this, so that a slow remote does not miss its moments.
CONNECTION_INTERVAL_SECONDS = 1.0
#: Connections to a destination whose number is not limited, but something else is.
DEFAULT_CONNECTIONS = 50


@dataclass(frozen=True, slots=True)
class Course:
    """One batch's share of a block of moments: the first, how far apart they are, and how many."""

    starts_after_seconds: float
    interval_seconds: float
    size: int


def interval_seconds(messages: float, window_seconds: float) -> float:
    """How far apart moments lie so that in no window more than `messages` arrive.

    A window sees the messages of moments from `ARRIVE_WITHIN_SECONDS` before it until its end; in a half-open span of
    that length there are at most `messages` multiples of this interval.
    """
    return (window_seconds + ARRIVE_WITHIN_SECONDS) / messages


def next_within_seconds(messages: float | None, window_seconds: float) -> float:
    """A rate that is set anew has its next moment within so long: what was given out before is over by then.

    `messages` is `None` for no rate.
    """
    return LEAD_SECONDS + BLOCK_SECONDS + (interval_seconds(messages, window_seconds) if messages else 0.0)


def courses(waiting: int, *, interval_seconds: float, connections: int, at_most: int) -> Sequence[Course]:
    """The next block of moments, dealt out to as many connections as are needed and free.

    `at_most` is how many messages one connection may carry. The block takes the sum of the sizes times the interval.
    """
    messages = min(waiting, 1 + math.floor(BLOCK_SECONDS / interval_seconds))
    wanted = max(math.ceil(CONNECTION_INTERVAL_SECONDS / interval_seconds), math.ceil(messages / at_most))
    lanes = min(connections, wanted, messages)
    messages = min(messages, lanes * at_most)
    return [
        Course(number * interval_seconds, lanes * interval_seconds, (messages - number + lanes - 1) // lanes)
        for number in range(lanes)
    ]

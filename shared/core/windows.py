"""How much of each mailing is released: windows, so that no large mailing delays the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_BATCH_SIZE = 100
MIN_BATCH_SIZE = 5
MAX_BATCHES_A_STEP = 25
#: A batch is at most this part of what remains for one node, so that every node gets some of a small mailing too.
PARTS_A_NODE = 8
#: A batch is at most this part of a node's share of the window, so that the next is released before all are started.
BATCHES_A_WINDOW = 2


@dataclass(frozen=True, slots=True)
class Demand:
    """A mailing with due recipients: how many wait, and how many are released that nobody started."""

    mailing_id: int
    waiting: int
    unstarted: int


@dataclass(frozen=True, slots=True)
class Portion:
    """What is to be released of a mailing now."""

    mailing_id: int
    recipients: int
    batch_size: int


def batch_size(waiting: int, nodes: int) -> int:
    """Recipients a batch, so that `waiting` of them make some batches for each of the nodes."""
    even_share = -(-waiting // (PARTS_A_NODE * max(1, nodes)))
    return max(MIN_BATCH_SIZE, min(MAX_BATCH_SIZE, even_share))


def portions(demands: Sequence[Demand], *, window: int, nodes: int) -> Sequence[Portion]:
    """What to release in one step. `window` is how many recipients may be out without being started, in all.

    It is shared evenly by the mailings that have something to release; a mailing with nothing out gets at least one
    recipient, however small the window is.
    """
    if not demands:
        return []
    share = window // len(demands)
    batches_left = MAX_BATCHES_A_STEP
    released = []
    for demand in demands:
        at_least = 1 if demand.unstarted == 0 else 0
        recipients = min(demand.waiting, max(at_least, share - demand.unstarted))
        size = min(batch_size(demand.waiting, nodes), max(MIN_BATCH_SIZE, share // (BATCHES_A_WINDOW * max(1, nodes))))
        recipients = min(recipients, size * batches_left)
        if demand.unstarted and recipients < demand.waiting:
            # Whole batches: a window that opens bit by bit would make batches of bits, each as dear as a whole one.
            recipients -= recipients % size
        if recipients > 0:
            released.append(Portion(demand.mailing_id, recipients, size))
            batches_left -= -(-recipients // size)
    return released

"""Windows: how much of each mailing is released."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.core.windows import (
    MAX_BATCH_SIZE,
    MAX_BATCHES_A_STEP,
    MIN_BATCH_SIZE,
    PARTS_A_NODE,
    Demand,
    batch_size,
    portions,
)

_demands = st.lists(st.tuples(st.integers(1, 1_000_000), st.integers(0, 100_000)), min_size=1, max_size=60).map(
    lambda rows: [Demand(number, waiting, unstarted) for number, (waiting, unstarted) in enumerate(rows, start=1)]
)
_windows = st.integers(0, 200_000)
_nodes = st.integers(0, 50)


@given(_demands, _windows, _nodes)
def test_the_window_is_exceeded_only_by_one_recipient_of_a_mailing_that_has_nothing_out(
    demands: list[Demand], window: int, nodes: int
) -> None:
    share = window // len(demands)
    by_mailing = {demand.mailing_id: demand for demand in demands}
    for portion in portions(demands, window=window, nodes=nodes):
        demand = by_mailing[portion.mailing_id]
        assert 0 < portion.recipients <= demand.waiting
        is_the_one_at_least = demand.unstarted == 0 and portion.recipients == 1
        assert is_the_one_at_least or demand.unstarted + portion.recipients <= share


@given(_demands, _windows, _nodes)
def test_a_step_makes_at_most_25_batches(demands: list[Demand], window: int, nodes: int) -> None:
    released = portions(demands, window=window, nodes=nodes)
    assert sum(-(-portion.recipients // portion.batch_size) for portion in released) <= MAX_BATCHES_A_STEP


@given(_demands, _windows, _nodes)
def test_step_by_step_every_waiting_mailing_gets_something(demands: list[Demand], window: int, nodes: int) -> None:
    unstarted = {demand.mailing_id: demand.unstarted for demand in demands}
    waiting = {demand.mailing_id: demand.waiting for demand in demands}
    while released := portions(
        [Demand(number, left, unstarted[number]) for number, left in waiting.items() if left],
        window=window,
        nodes=nodes,
    ):
        for portion in released:
            unstarted[portion.mailing_id] += portion.recipients
            waiting[portion.mailing_id] -= portion.recipients
    assert all(unstarted.values())


@given(st.integers(1, 10_000_000), _nodes)
def test_batches_are_small_enough_that_every_node_gets_some(waiting: int, nodes: int) -> None:
    size = batch_size(waiting, nodes)
    assert MIN_BATCH_SIZE <= size <= MAX_BATCH_SIZE
    if size > MIN_BATCH_SIZE:
        assert -(-waiting // size) >= min(PARTS_A_NODE * nodes, waiting // MAX_BATCH_SIZE) // 2


def test_a_large_mailing_leaves_a_small_one_its_share() -> None:
    large, small = portions([Demand(1, 1_000_000, 0), Demand(2, 10, 0)], window=1000, nodes=4)
    assert (large.recipients, small.recipients) == (500, 10)


def test_nothing_is_released_for_a_mailing_whose_share_is_out() -> None:
    assert portions([Demand(1, 100, 1000)], window=1000, nodes=4) == []


def test_without_capacity_one_recipient_of_each_mailing_is_out() -> None:
    released = portions([Demand(1, 100, 0), Demand(2, 100, 1), Demand(3, 100, 0)], window=0, nodes=0)
    assert [(portion.mailing_id, portion.recipients) for portion in released] == [(1, 1), (3, 1)]


@given(_demands, _windows, _nodes)
def test_what_is_added_to_a_mailing_that_is_out_comes_in_whole_batches_or_is_the_rest(
    demands: list[Demand], window: int, nodes: int
) -> None:
    by_mailing = {demand.mailing_id: demand for demand in demands}
    for portion in portions(demands, window=window, nodes=nodes):
        demand = by_mailing[portion.mailing_id]
        if demand.unstarted and portion.recipients < demand.waiting:
            assert portion.recipients % portion.batch_size == 0


def test_a_small_window_has_small_batches_so_that_it_never_runs_dry() -> None:
    (released,) = portions([Demand(1, 1_000_000, 15)], window=40, nodes=1)
    assert (released.batch_size, released.recipients) == (20, 20)

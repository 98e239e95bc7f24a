from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.ingress_smtp.groups import Grouped
from shared.store.engine import StoreUnavailable
from tests.fakes.waiting import until


class Oracle:
    """Doubles numbers, once `gate` is open; 13 is more than it can bear, and 0 is an outage."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.gate = asyncio.Event()

    async def double_all(self, numbers: Sequence[int]) -> Sequence[int]:
        self.groups.append(list(numbers))
        await self.gate.wait()
        if 13 in numbers:
            raise ValueError("13")
        if 0 in numbers:
            raise StoreUnavailable("connection refused")
        return [2 * number for number in numbers]

    def grouped(self, *, most: int = 10, timeout_seconds: float = 60.0) -> Grouped[int, int]:
        return Grouped(self.double_all, most=most, timeout_seconds=timeout_seconds)


async def asked_at_once(oracle: Oracle, grouped: Grouped[int, int], *numbers: int) -> list[int | BaseException]:
    """The answers to questions that came while a first one was under way."""
    first = asyncio.create_task(grouped.ask(1))
    await until(lambda: oracle.groups == [[1]])
    others = [asyncio.create_task(grouped.ask(number)) for number in numbers]
    await asyncio.sleep(0)
    oracle.gate.set()
    assert await first == 2
    return await asyncio.gather(*others, return_exceptions=True)


async def test_who_asks_alone_is_answered_without_waiting_for_others() -> None:
    oracle = Oracle()
    oracle.gate.set()
    grouped = oracle.grouped()
    assert [await grouped.ask(4), await grouped.ask(5)] == [8, 10]
    assert oracle.groups == [[4], [5]]


async def test_what_comes_while_a_group_is_under_way_is_the_next_and_each_gets_its_own_answer() -> None:
    oracle = Oracle()
    assert await asked_at_once(oracle, oracle.grouped(), 2, 3, 2) == [4, 6, 4]
    assert oracle.groups == [[1], [2, 3, 2]]


async def test_a_group_has_its_limit() -> None:
    oracle = Oracle()
    assert await asked_at_once(oracle, oracle.grouped(most=2), 2, 3, 4) == [4, 6, 8]
    assert oracle.groups == [[1], [2, 3], [4]]


async def test_a_question_that_cannot_be_answered_is_nobody_elses_trouble() -> None:
    oracle = Oracle()
    two, bad, three = await asked_at_once(oracle, oracle.grouped(), 2, 13, 3)
    assert (two, three) == (4, 6)
    assert isinstance(bad, ValueError)


async def test_an_outage_is_told_to_all_without_asking_again() -> None:
    oracle = Oracle()
    answers = await asked_at_once(oracle, oracle.grouped(), 2, 0, 3)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    assert oracle.groups == [[1], [2, 0, 3]]


async def test_a_question_whose_asker_is_gone_is_not_asked() -> None:
    oracle = Oracle()
    grouped = oracle.grouped()
    first = asyncio.create_task(grouped.ask(1))
    await until(lambda: oracle.groups == [[1]])
    gone, stays = asyncio.create_task(grouped.ask(2)), asyncio.create_task(grouped.ask(3))
    await asyncio.sleep(0)
    gone.cancel()
    first.cancel()
    await asyncio.wait([gone, first])
    oracle.gate.set()
    assert await stays == 6
    assert oracle.groups == [[1], [3]]


async def test_a_group_that_hangs_is_given_up_and_the_next_one_is_asked() -> None:
    oracle = Oracle()
    grouped = oracle.grouped(timeout_seconds=0.01)
    with pytest.raises(TimeoutError):
        await grouped.ask(1)
    oracle.gate.set()
    assert await grouped.ask(2) == 4

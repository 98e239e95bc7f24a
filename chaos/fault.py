"""What a fault is: a cluster's shape, and what is done to it in the middle of a mailing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from chaos.rig import Rig, Shape


class NotAsItMustBe(Exception):
    """Something that is not counted in copies went wrong; the text is a sentence for the table's reader."""


#: Posts, strikes, and returns when the fault is over: how many extra copies it may have caused. What is random about
#: it is asked from the seed's generator.
Strike = Callable[[Rig, Random], int]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the table. Dead processes are started again by whoever runs the seeds."""

    name: str
    strike: Strike
    shape: Shape = field(default_factory=Shape)
    #: Of a fault that takes minutes, or the whole machine, no more seeds than these; `None`: as many as are asked for.
    at_most_seeds: int | None = None

"""One running cluster that many stories use, one after another."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from deploy.local.live_cluster import LiveCluster

NODES = 4


class KeptCluster:
    """Started by the first story that asks, with one of each service that mail goes through and four nodes."""

    def __init__(self, make: Callable[[], AbstractAsyncContextManager[LiveCluster]]) -> None:
        self._make = make
        self._cluster: LiveCluster | None = None
        self._end = AsyncExitStack()
        self._stories = itertools.count(1)

    async def for_a_story(self) -> LiveCluster:
        """The cluster, running, with domains and counts of the story's own."""
        try:
            if self._cluster is None:
                self._cluster = await self._end.enter_async_context(self._make())
                self._cluster.start(outbound=NODES)
            self._cluster.hand_over(next(self._stories))
        except BaseException:
            await self.throw_away()
            raise
        return self._cluster

    async def throw_away(self) -> None:
        """The next story gets a new one."""
        self._cluster = None
        await self._end.aclose()
